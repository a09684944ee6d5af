/**
 * Doing a plan, going on with it, and going back: each a walk over its steps with the journal beside. Nothing is
 * assumed of an earlier run: what the journal says was begun is probed with the step's own `check`.
 */
import {
  AbortedError,
  asSlipwayError,
  currentRun,
  type ErrorDetails,
  OutcomeUnknownError,
  SlipwayError,
  scoped,
  throwIfAborted,
  withRun,
} from '../events/index.ts'
import { LockedError, StepFailedError } from './errors.ts'
import { beginOf, endOf, mayHaveHappened, type StepRecord, stepRecords } from './journal.ts'
import { changedFacts, planFaults } from './plan.ts'
import type { ChangeStore, Journal, JournalEntry, Lock, Owner, Plan, Step } from './types.ts'

export interface ExecuteOptions {
  /** Reads the facts again, once the locks are held: a plan whose facts changed since is refused. */
  facts?: () => Promise<Plan['facts']>
  /** After a step failed before the point of no return: go back (the default), or stop there and keep the journal. */
  onFailure?: 'undo' | 'stop'
  /** The journal's id; a new one unless given. */
  id?: string
}

export interface ChangeResult {
  journal: string
  result: 'done' | 'undone'
  /** Milliseconds by step, of those that were done. */
  times: Record<string, number>
}

/**
 * Takes the plan's locks, begins a journal and does the steps in order. A step that fails before the point of no
 * return takes everything back; after it, or with `onFailure: 'stop'`, the journal stays, to be resumed or undone.
 * Rejects with a LockedError, a StepFailedError, or `facts-changed`.
 */
export async function execute(
  plan: Plan,
  store: ChangeStore,
  owner: Owner,
  options: ExecuteOptions = {},
): Promise<ChangeResult> {
  return locked(store, plan, owner, undefined, async () => {
    await refuseChangedFacts(plan, options)
    const journal = await store.begin({
      entry: 'begin',
      at: now(),
      id: options.id ?? newJournalId(owner),
      kind: plan.kind,
      locks: [...plan.locks].sort(),
      title: plan.title,
      by: owner,
      steps: plan.steps.map((step) => step.id),
      facts: { ...plan.facts },
    })
    return forward(plan, journal, [], options)
  })
}

/** Goes on with an unfinished change: what is done is left, what is half done is done, then the rest. */
export async function resume(
  id: string,
  plan: Plan,
  store: ChangeStore,
  owner: Owner,
  options: ExecuteOptions = {},
): Promise<ChangeResult> {
  return locked(store, plan, owner, id, async () => {
    const { journal, entries } = await openSettled(store, plan, id, 'forward')
    await noteBy(journal, 'resumed', owner)
    return forward(plan, journal, entries, options)
  })
}

/** Goes back through everything that an unfinished change may have done. Refused after its point of no return. */
export async function undo(id: string, plan: Plan, store: ChangeStore, owner: Owner): Promise<ChangeResult> {
  return locked(store, plan, owner, id, async () => {
    const { journal, entries } = await openSettled(store, plan, id, 'back')
    if (await pastReturn(plan, entries)) {
      throw new SlipwayError(
        'past-return',
        `${plan.title}: it is past ${plan.pointOfNoReturn}, undoing would lose data`,
        {
          state: 'Nothing was changed by this run.',
          next: plan.afterwards ?? 'Finish it with --resume.',
        },
      )
    }
    await noteBy(journal, 'undone', owner)
    return backward(plan, journal)
  })
}

/** Gives a change up as it stands: its journal no longer locks anything. For what was put right by hand. */
export async function abandon(id: string, store: ChangeStore): Promise<void> {
  const { journal } = await openUnfinished(store, id)
  await journal.append({ entry: 'end', at: now(), result: 'abandoned' })
}

async function forward(
  plan: Plan,
  journal: Journal,
  earlier: readonly JournalEntry[],
  options: ExecuteOptions,
): Promise<ChangeResult> {
  const records = stepRecords(earlier)
  const times: Record<string, number> = {}
  const frontier = plan.steps.findLastIndex((step) => mayHaveHappened(records.get(step.id)))
  let current: Step | undefined
  try {
    for (let index = 0; index < plan.steps.length; index++) {
      current = plan.steps[index] as Step
      throwIfAborted(currentRun())
      // Proved then, and built upon since: what is there now may well be a later step's doing.
      if (!current.window && index < frontier && isDone(records.get(current.id))) continue
      if (current.window) {
        const steps = plan.steps.filter((step) => step.window)
        Object.assign(times, await throughWindow(plan, steps, journal))
        index += steps.length - 1
      } else {
        times[current.id] = await perform(current, journal, records.get(current.id))
      }
    }
  } catch (error) {
    const step = error instanceof WindowFailed ? error.step : current
    throw await settled(plan, journal, step, error, options)
  }
  await journal.append({ entry: 'end', at: now(), result: 'done' })
  return { journal: journal.id, result: 'done', times }
}

function isDone(record: StepRecord | undefined): boolean {
  return record?.direction === 'do' && record.ok === true
}

/** One step: probed, then begun in the journal, done, proved, and its outcome kept. Returns milliseconds. */
async function perform(step: Step, journal: Journal, record: StepRecord | undefined): Promise<number> {
  const run = currentRun()
  const started = performance.now()
  const id = `${journal.id}/${step.id}`
  const elapsed = () => Math.round(performance.now() - started)
  run.emit({ type: 'step.started', id, title: step.title, ...(step.window ? { window: true } : {}) })
  try {
    const state = await step.check()
    if (state === 'done') {
      if (!isDone(record)) {
        // Found done though nobody began it: undo must leave it so.
        const data = mayHaveHappened(record) ? record.data : { found: true }
        await journal.append({
          entry: 'outcome',
          at: now(),
          step: step.id,
          direction: 'do',
          ok: true,
          durationMs: 0,
          data,
        })
      }
      run.emit({ type: 'step.finished', id, outcome: 'unchanged', durationMs: elapsed() })
      return elapsed()
    }
    if (state === 'unclear' && step.undo && mayHaveHappened(record)) {
      // Half done: taken back, and then done from its beginning.
      await step.undo(record.data)
    } else if (state === 'unclear') {
      throw new SlipwayError('step-unclear', `it can't be told whether this was done: ${step.title}`, {
        next: 'Look at what is in the place of what this makes, and begin again.',
      })
    }
    // What was read for undo before an interrupted attempt is the truth; now it might be our own doing.
    const known = mayHaveHappened(record) && Object.keys(record.data).length > 0 && record.data['found'] !== true
    const prepared = known ? record.data : { ...(await step.prepare?.()), ...(record ? { found: false } : {}) }
    await journal.append({
      entry: 'intent',
      at: now(),
      step: step.id,
      direction: 'do',
      ...(Object.keys(prepared).length > 0 ? { data: prepared } : {}),
    })
    const data = await step.do(prepared)
    await step.verify?.()
    await journal.append({
      entry: 'outcome',
      at: now(),
      step: step.id,
      direction: 'do',
      ok: true,
      durationMs: elapsed(),
      ...(data ? { data } : {}),
    })
    run.emit({ type: 'step.finished', id, outcome: 'ok', durationMs: elapsed() })
    return elapsed()
  } catch (error) {
    run.emit({ type: 'step.finished', id, outcome: 'failed', durationMs: elapsed(), detail: messageOf(error) })
    if (!leavesUnknown(error)) {
      const failure = { ok: false, durationMs: elapsed(), error: messageOf(error) }
      await journal.append({ entry: 'outcome', at: now(), step: step.id, direction: 'do', ...failure })
    }
    throw error
  }
}

/** With the step of the window that failed: who runs the window knows only of the whole of it. */
class WindowFailed extends SlipwayError {
  readonly step: Step

  constructor(step: Step, message: string, details: ErrorDetails) {
    super('window-failed', message, details)
    this.step = step
  }
}

/** The window, which the host runs: afterwards the journal says what became of it. */
async function throughWindow(plan: Plan, steps: readonly Step[], journal: Journal): Promise<Record<string, number>> {
  await plan.window?.forward(journal)
  const records = stepRecords(await journal.entries())
  const open = steps.find((step) => records.get(step.id)?.direction !== 'do' || records.get(step.id)?.ok !== true)
  if (open) {
    const failed = [...records.values()].find((record) => record.error !== undefined)
    const wentBack = steps.every((step) => !mayHaveHappened(records.get(step.id)))
    const step = failed && steps.find((each) => each.id === failed.step)
    throw new WindowFailed(step ?? open, failed?.error ?? 'the host stopped before it', {
      state: wentBack ? 'The host went back by itself.' : `The host stopped at: ${open.title}.`,
    })
  }
  return Object.fromEntries(steps.map((step) => [step.id, records.get(step.id)?.durationMs ?? 0]))
}

/** What to make of a failure: go back if that loses nothing, otherwise say how to go on. */
async function settled(
  plan: Plan,
  journal: Journal,
  step: Step | undefined,
  error: unknown,
  options: ExecuteOptions,
): Promise<Error> {
  const cause = asSlipwayError(error)
  const title = step?.title ?? plan.title
  const waiting = {
    state: `The change ${journal.id} is unfinished, and locks ${[...plan.locks].sort().join(' and ')}.`,
    next: 'Go on with --resume, or go back with --undo; any operator can.',
  }
  if (cause instanceof AbortedError) return new AbortedError(`interrupted at: ${title}`, { cause, ...waiting })
  const detail = [cause.state, cause.detail].filter((text) => text !== undefined).join('\n') || undefined
  const details = { cause, ...(detail ? { detail } : {}), ...(cause.host ? { host: cause.host } : {}) }
  const failed = (undone: boolean, more: { state: string; next?: string }) =>
    new StepFailedError(step?.id ?? '', journal.id, undone, `${title}: ${cause.message}`, { ...details, ...more })
  if (leavesUnknown(cause) || options.onFailure === 'stop') return failed(false, waiting)
  try {
    if (await pastReturn(plan, await journal.entries()))
      return failed(false, { ...waiting, next: 'Go on with --resume.' })
    await backward(plan, journal)
    return failed(true, { state: 'Everything was put back as it was.', ...(cause.next ? { next: cause.next } : {}) })
  } catch (second) {
    return failed(false, { ...waiting, state: `${waiting.state} Going back failed too: ${messageOf(second)}` })
  }
}

async function backward(plan: Plan, journal: Journal): Promise<ChangeResult> {
  const times: Record<string, number> = {}
  let windowIsBack = false
  for (const step of plan.steps.toReversed()) {
    const records = stepRecords(await journal.entries())
    if (step.window) {
      if (windowIsBack) continue
      windowIsBack = true
      await windowBack(plan, journal)
      continue
    }
    const record = records.get(step.id)
    if (!record || !isOurs(record)) continue
    times[step.id] = await takeBack(step, journal, record)
  }
  await journal.append({ entry: 'end', at: now(), result: 'undone' })
  return { journal: journal.id, result: 'undone', times }
}

async function windowBack(plan: Plan, journal: Journal): Promise<void> {
  const steps = plan.steps.filter((step) => step.window)
  const before = stepRecords(await journal.entries())
  if (!steps.some((step) => isOurs(before.get(step.id)))) return
  await plan.window?.back(journal)
  const after = stepRecords(await journal.entries())
  const left = steps.find((step) => isOurs(after.get(step.id)))
  if (left) {
    throw new SlipwayError('undo-failed', after.get(left.id)?.error ?? `the host could not take back: ${left.title}`)
  }
}

/** What was found done though nobody began it is left as it is. */
function isOurs(record: StepRecord | undefined): boolean {
  return mayHaveHappened(record) && record.data['found'] !== true
}

async function takeBack(step: Step, journal: Journal, record: StepRecord): Promise<number> {
  const run = currentRun()
  const started = performance.now()
  const id = `${journal.id}/undo/${step.id}`
  const elapsed = () => Math.round(performance.now() - started)
  const outcome = async (ok: boolean, error?: string) => {
    const entry = { entry: 'outcome', at: now(), step: step.id, direction: 'undo', ok, durationMs: elapsed() } as const
    await journal.append({ ...entry, ...(error === undefined ? {} : { error }) })
  }
  run.emit({ type: 'step.started', id, title: `undo: ${step.undoTitle ?? step.title}` })
  try {
    if ((await step.check()) === 'todo') {
      // Begun, and nothing of it happened or is left.
      await outcome(true)
      run.emit({ type: 'step.finished', id, outcome: 'unchanged', durationMs: elapsed() })
      return elapsed()
    }
    if (step.irreversible) {
      throw new SlipwayError('irreversible', `${step.title} can't be undone: ${step.irreversible}`)
    }
    await journal.append({ entry: 'intent', at: now(), step: step.id, direction: 'undo' })
    await step.undo?.(record.data)
    if (step.undo && (await step.check()) === 'done') {
      throw new SlipwayError('undo-failed', `it is still done after it was undone: ${step.title}`)
    }
    await outcome(true)
    run.emit({ type: 'step.finished', id, outcome: 'ok', durationMs: elapsed() })
    return elapsed()
  } catch (error) {
    run.emit({ type: 'step.finished', id, outcome: 'failed', durationMs: elapsed(), detail: messageOf(error) })
    if (!leavesUnknown(error)) await outcome(false, messageOf(error))
    throw error
  }
}

/** Whether the point of no return has been passed, by the journal and by the world. */
async function pastReturn(plan: Plan, entries: readonly JournalEntry[]): Promise<boolean> {
  const step = plan.steps.find((each) => each.id === plan.pointOfNoReturn)
  if (!step || !mayHaveHappened(stepRecords(entries).get(step.id))) return false
  return (await step.check()) !== 'todo'
}

const releaseWithinMs = 10_000

/** Does `work` while this run has the plan's locks: those of an unfinished journal are taken over for its own sake alone. */
async function locked<T>(
  store: ChangeStore,
  plan: Plan,
  owner: Owner,
  journal: string | undefined,
  work: (lock: Lock) => Promise<T>,
): Promise<T> {
  refuseFaults(plan)
  const lock = await store.lock(plan.locks, owner, journal === undefined ? {} : { journal })
  try {
    return await work(lock)
  } finally {
    // After an interrupt too, so with a signal of its own. A lost connection leaves the lock behind; the unfinished
    // journal says as much, and its resumption takes it over.
    const release = scoped(currentRun(), { signal: AbortSignal.timeout(releaseWithinMs) })
    await withRun(release, () => lock.release()).catch(() => {})
  }
}

async function openUnfinished(store: ChangeStore, id: string): Promise<{ journal: Journal; entries: JournalEntry[] }> {
  const journal = await store.open(id)
  const entries = await journal.entries()
  const end = endOf(entries)
  if (!beginOf(entries)) throw new SlipwayError('journal-empty', `the journal ${id} has no beginning: nothing was done`)
  if (end) throw new SlipwayError('journal-ended', `the change ${id} has ended already: ${end.result}, ${end.at}`)
  return { journal, entries }
}

/** The journal, once nobody but this run writes into it: the host may still be at the window. */
async function openSettled(
  store: ChangeStore,
  plan: Plan,
  id: string,
  direction: 'forward' | 'back',
): Promise<{ journal: Journal; entries: JournalEntry[] }> {
  const { journal } = await openUnfinished(store, id)
  await plan.window?.settle?.(journal, direction)
  return openUnfinished(store, id)
}

async function refuseChangedFacts(plan: Plan, options: ExecuteOptions): Promise<void> {
  if (!options.facts) return
  const changed = changedFacts(plan.facts, await options.facts())
  if (changed.length === 0) return
  throw new SlipwayError('facts-changed', `${plan.title}: what the plan rests on has changed since it was made`, {
    detail: changed.join('\n'),
    state: 'Nothing was changed.',
    next: 'Look at the plan again: --plan.',
  })
}

function refuseFaults(plan: Plan): void {
  const faults = planFaults(plan)
  if (faults.length > 0) throw new SlipwayError('bad-plan', `${plan.title}: ${faults.join('; ')}`)
}

/** After these nobody knows what happened, or may write any more: what is there has to be probed by another run. */
function leavesUnknown(error: unknown): boolean {
  if (error instanceof OutcomeUnknownError || error instanceof AbortedError || error instanceof LockedError) return true
  return error instanceof SlipwayError && error.code === 'lock-lost'
}

const noteBy = (journal: Journal, what: 'resumed' | 'undone', by: Owner): Promise<void> =>
  journal.append({ entry: 'note', at: now(), text: `${what} by ${by.user} on ${by.machine}`, data: { by } })

function newJournalId(owner: Owner): string {
  return owner.run
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function now(): string {
  return new Date().toISOString()
}
