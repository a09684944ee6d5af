/** What can go wrong on a host, by what a caller can do about it. Every failure has a code of its own. */
import { type ErrorDetails, OutcomeUnknownError, SlipwayError } from '../events/errors.ts'
import { type HostEnd, hostTable } from '../events/fold.ts'
import { humanDuration } from './duration.ts'
import type { Host, HostOutcome, Result, StepResult } from './host.ts'

/** A command that ran and failed: a status that is not one of `okCodes`, a signal, or a channel without a status. */
export class CommandError extends SlipwayError {
  override readonly name: string = 'CommandError'
  readonly command: string
  readonly result: Result

  constructor(host: string, command: string, result: Result) {
    const [code, how] = verdict(result)
    super(code, `${oneLine(command)} ${how} on ${host}`, { host, detail: tailOf(result) })
    this.command = command
    this.result = result
  }
}

function verdict(result: Result): [string, string] {
  if (result.signal) return ['command-signalled', `was ended by SIG${result.signal.replace(/^SIG/, '')}`]
  if (result.exitCode === null) return ['command-no-status', 'ended without an exit status']
  if (result.exitCode === 127) return ['command-not-found', 'was not found (exit status 127)']
  if (result.exitCode === 126) return ['command-not-executable', 'could not be executed (exit status 126)']
  return ['command-failed', `failed with exit status ${result.exitCode}`]
}

/** A command that ran or was silent for too long; its process group was ended. */
export class TimeoutError extends SlipwayError {
  override readonly name: string = 'TimeoutError'
  readonly result: Result

  constructor(host: string, command: string, result: Result, limit: { ms: number; idle: boolean; ended: boolean }) {
    super(
      limit.idle ? 'command-idle' : 'command-timeout',
      limit.idle
        ? `${oneLine(command)} printed nothing for ${humanDuration(limit.ms)} on ${host}`
        : `${oneLine(command)} took longer than ${humanDuration(limit.ms)} on ${host}`,
      {
        host,
        state: limit.ended
          ? 'It and the processes it started were ended on the host.'
          : 'It could not be ended on the host, and may still be running there.',
        detail: tailOf(result),
      },
    )
    this.result = result
  }
}

/** A host could not be reached: nothing was run on it. */
export class ConnectError extends SlipwayError {
  override readonly name: string = 'ConnectError'

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(code, message, { state: 'Nothing was run on it.', ...details })
  }
}

/** `error`, with how long connecting was tried before it was given up. */
export function triedFor(error: ConnectError, ms: number, attempts: number): ConnectError {
  const tried = `given up after ${humanDuration(ms)}${attempts > 1 ? ` and ${attempts} attempts` : ''}`
  return Object.assign(error, { detail: error.detail === undefined ? tried : `${error.detail}\n${tried}` })
}

/** A step of a script failed; the steps before it are done. */
export class ScriptError extends SlipwayError {
  override readonly name: string = 'ScriptError'
  readonly steps: readonly StepResult[]
  /** The step that failed; undefined where the script did not get to one. */
  readonly step?: StepResult

  constructor(
    code: string,
    message: string,
    steps: readonly StepResult[],
    step?: StepResult,
    details: ErrorDetails = {},
  ) {
    super(code, message, details)
    this.steps = steps
    this.step = step
  }
}

/** Some of several hosts failed. `outcomes` has every host; the table is in `detail`. */
export class FleetError extends SlipwayError {
  override readonly name: string = 'FleetError'
  readonly outcomes: ReadonlyMap<Host, HostOutcome<unknown>>
  /** Names of the hosts to try again: those that failed and those that were not begun. */
  readonly retry: readonly string[]

  constructor(label: string, outcomes: ReadonlyMap<Host, HostOutcome<unknown>>, skipped: readonly Host[]) {
    const failed = [...outcomes].filter(([, outcome]) => !outcome.ok).map(([host]) => host.name)
    const total = outcomes.size + skipped.length
    super('hosts-failed', `${failed.length} of ${total} hosts of ${label} failed: ${some(failed)}`, {
      state: skipped.length > 0 ? `${skipped.length} hosts were not begun.` : undefined,
      next: 'Try them again with --retry-failed.',
      detail: hostTable(hostEnds(outcomes, skipped), humanDuration).join('\n'),
      cause: [...outcomes.values()].flatMap((outcome) => (outcome.ok ? [] : [outcome.error]))[0],
    })
    this.outcomes = outcomes
    this.retry = [...failed, ...skipped.map((host) => host.name)]
  }
}

/** How it went on each host, as it is told. */
export function hostEnds(
  outcomes: ReadonlyMap<Host, HostOutcome<unknown>>,
  skipped: readonly Host[] = [],
): readonly HostEnd[] {
  return [
    ...[...outcomes].map(([{ name: host }, outcome]): HostEnd => {
      const { ok, durationMs } = outcome
      if (ok) return { host, outcome: 'ok', durationMs }
      return { host, outcome: 'failed', durationMs, error: oneLine(outcome.error.message, 200) }
    }),
    ...skipped.map(({ name: host }): HostEnd => ({ host, outcome: 'not-begun', durationMs: 0 })),
  ]
}

/** The connection went while `what` was under way. */
export function connectionLost(
  host: string,
  what: string,
  reason: string,
  started: boolean,
  afterMs?: number,
): SlipwayError {
  if (!started) {
    return new ConnectError('connection-lost-before', `the connection to ${host} was lost before ${what} began`, {
      host,
      detail: reason,
      next: 'Run it again.',
    })
  }
  return new OutcomeUnknownError('connection-lost', `the connection to ${host} was lost during ${what}`, {
    host,
    detail: afterMs === undefined ? reason : `${reason}, ${humanDuration(afterMs)} after it began`,
    state: 'Its outcome is unknown: it may have finished, stopped, or still be running. It was not sent again.',
    next: `Look at ${host}, then run it again.`,
  })
}

function some(names: readonly string[]): string {
  return names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ')
}

/** `text` as it fits a sentence: its first line, shortened. */
export function oneLine(text: string, limit = 120): string {
  const lines = text.trim().split('\n')
  const first = lines[0] ?? ''
  const cut = first.length > limit ? `${first.slice(0, limit - 1)}…` : first
  return lines.length > 1 && cut === first ? `${cut} …` : cut
}

function tailOf(result: Result): string | undefined {
  const text = `${result.stdout}${result.stdout && !result.stdout.endsWith('\n') ? '\n' : ''}${result.stderr}`
  const lines = text.trimEnd().split('\n')
  const shown = lines.slice(-20).join('\n')
  return shown === '' ? undefined : shown
}
