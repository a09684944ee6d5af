/** Named parts of an operation, told as events. */
import { randomBytes } from 'node:crypto'
import {
  currentRun,
  OutcomeUnknownError,
  SlipwayError,
  StubbedResultError,
  scoped,
  withRun,
} from '../../events/index.ts'
import { hostsReached } from '../../events/run.ts'
import { CommandError, ConnectError, ScriptError } from '../../hosts/errors.ts'
import type { VpsContext } from './context.ts'
import { fullDisk } from './database/app-commands.ts'

/**
 * Runs `fn` as a step that is shown; in a dry run as held back where anything in it was. `fn` may return
 * `'unchanged'`, or a text that is shown beside it.
 */
export async function inStep<T>(title: string, host: string | undefined, fn: () => Promise<T>): Promise<T> {
  const run = currentRun()
  const id = randomBytes(4).toString('hex')
  const begun = performance.now()
  run.emit({ type: 'step.started', id, title, ...(host === undefined ? {} : { host }) })
  let held = false
  const unsubscribe = run.options.dryRun
    ? run.bus.on((event) => {
        if (event.type === 'held-back' && (host === undefined || event.host === host)) held = true
      })
    : undefined
  const finish = (outcome: 'ok' | 'failed' | 'aborted' | 'unchanged' | 'stopped' | 'held-back', detail?: string) =>
    run.emit({
      type: 'step.finished',
      id,
      outcome,
      durationMs: performance.now() - begun,
      ...(detail ? { detail } : {}),
    })
  try {
    const value = await fn()
    finish(
      held ? 'held-back' : value === 'unchanged' ? 'unchanged' : 'ok',
      typeof value === 'string' && value !== 'unchanged' ? value : undefined,
    )
    return value
  } catch (error) {
    finish(run.signal.aborted ? 'aborted' : error instanceof StubbedResultError ? 'stopped' : 'failed')
    throw error
  } finally {
    unsubscribe?.()
  }
}

/**
 * The error of a connection that was lost, or could not be made anew, with what is true now and what to type next;
 * other errors as they are.
 */
export function lostDuring(error: unknown, state: string, next: string): unknown {
  if (error instanceof ConnectError && hostsReached(currentRun()).has(error.host ?? '')) {
    const { code, message, host, detail } = error
    return new ConnectError(code, message, { host, detail, cause: error, state, next })
  }
  if (!(error instanceof OutcomeUnknownError)) return error
  const { code, message, host, detail } = error
  return new OutcomeUnknownError(code, message, { host, detail, cause: error, state, next })
}

/** Starts or stops by `act`; where the line is lost in it, that says what may be true. */
export const unlessLost = (context: VpsContext, act: (context: VpsContext) => Promise<void>): Promise<void> =>
  act(context).catch((error: unknown) => {
    throw lostDuring(
      error,
      'What was to be started or stopped may run, be on its way, or have ended.',
      `When the host can be reached, look at \`tasks ps:release=${context.deployment.name}\`; doing it again is right in each case.`,
    )
  })

/** What is true when a change fails that leaves the app itself alone. */
export interface BesideTheApp {
  /** Where the line was lost in it. */
  lost: string
  /** Where a disk was full. */
  full: string
  /** The task that shows how it is now. */
  look: string
}

/**
 * The error of a lost line or a full disk in a change that leaves the app alone, with what is true then and what to
 * type next; other errors as they are.
 */
export function besideTheApp(error: unknown, deployment: string, { lost, full, look }: BesideTheApp): unknown {
  const told = lostDuring(
    error,
    `${lost} The app runs on.`,
    `When the host can be reached, look at \`tasks ${look}:release=${deployment}\`; doing it again is right in each case.`,
  )
  if (told !== error || !(error instanceof ScriptError || error instanceof CommandError)) return told
  const why = fullDisk(error.detail)
  if (why === '') return error
  return new SlipwayError('disk-full', `${error.message}${why}`, {
    host: error.host,
    cause: error,
    detail: error.detail,
    state: `${full} The app runs on.`,
    next: `Make room there, and do it again: \`tasks prune:release=${deployment}\`, or look with \`du -xh ~ | sort -h | tail\`.`,
  })
}

/**
 * Asks `check` until it answers something else than undefined; rejects with `late()` after `deadlineMs`, and with the
 * abort's reason as soon as the run is interrupted.
 */
export async function until<T>(
  check: () => Promise<T | undefined>,
  options: { deadlineMs: number; everyMs?: number; late(): Error | Promise<Error> },
): Promise<T> {
  const { signal } = currentRun()
  const deadline = performance.now() + options.deadlineMs
  for (;;) {
    signal.throwIfAborted()
    const value = await check()
    if (value !== undefined) return value
    if (performance.now() >= deadline) throw await options.late()
    await pause(options.everyMs ?? 50, signal)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
  })
}

/**
 * Runs what must be put back (a lock, a maintenance page) after an interruption too: with a deadline of its own in
 * place of the run's signal.
 */
export function evenIfAborted<T>(fn: () => Promise<T>, deadlineMs = 30_000): Promise<T> {
  const run = currentRun()
  if (!run.signal.aborted) return fn()
  // Who has interrupted the run is not asked whether it may be left tidy.
  return withRun(scoped(run, { signal: AbortSignal.timeout(deadlineMs), step: false }), fn)
}
