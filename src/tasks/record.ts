/** Errors as plain data, for events. */
import { asSlipwayError, type ErrorRecord, SlipwayError } from '../events/index.ts'

export function errorRecord(error: unknown): ErrorRecord {
  const known = asSlipwayError(error)
  const { code, message, state, next, detail, host } = known
  const stack = known.code === 'unexpected' && known.cause instanceof Error ? known.cause.stack : known.stack
  return JSON.parse(JSON.stringify({ code, message, state, next, detail, host, stack })) as ErrorRecord
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
