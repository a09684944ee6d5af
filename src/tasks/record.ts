/** Errors as plain data, for events. */
import { asSlipwayError, type ErrorRecord, ForeignError, SlipwayError } from '../events/index.ts'

export function errorRecord(error: unknown): ErrorRecord {
  const known = asSlipwayError(error)
  const { code, message, state, next, detail, host } = known
  const stack = known instanceof ForeignError && known.cause instanceof Error ? known.cause.stack : known.stack
  return JSON.parse(JSON.stringify({ code, message, state, next, detail, host, stack })) as ErrorRecord
}

/** Errors as they were thrown → the innermost task that they ended. Weak: it lives as long as they do. */
const threw = new WeakMap<object, string>()

export function rememberWhoThrew(error: unknown, task: string): void {
  if (typeof error === 'object' && error !== null && !threw.has(error)) threw.set(error, task)
}

/** The innermost task that `error`, or what it was made of, ended. */
export function taskThatThrew(error: unknown): string | undefined {
  for (let at: unknown = error; typeof at === 'object' && at !== null; at = (at as { cause?: unknown }).cause) {
    const task = threw.get(at)
    if (task !== undefined) return task
  }
  return undefined
}

/** Ends a task with another program's exit status, which becomes the run's: for one-off commands. 0 goes on. */
export function exitWith(status: number): void {
  if (status !== 0) throw new ExitStatus(status)
}

export class ExitStatus extends SlipwayError {
  override readonly name = 'ExitStatus'
  override readonly exitCode: number

  constructor(status: number) {
    super('exit-status', `the command ended with status ${status}`)
    this.exitCode = status
  }
}
