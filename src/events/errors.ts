/**
 * Errors as sentences. An error's message says what failed and where; `state` says what is true now; `next` is
 * what to type or do. Typed by what a caller can do about them, so there are few classes and many codes.
 */

export interface ErrorDetails {
  /** What is true now: what changed, what did not, whether a lock is held. One sentence. */
  state?: string
  /** The next thing to type or do. One sentence, or a command. */
  next?: string
  cause?: unknown
  /** Lines shown under the message: the end of a command's output, a table of hosts. */
  detail?: string
  /** The host it happened on, as the user named it. */
  host?: string
}

/** A failure that a person can act on. `code` is stable and is what docs/troubleshooting is keyed on. */
export class SlipwayError extends Error {
  override readonly name: string = 'SlipwayError'
  /** The exit status of a run that ends with this error: 1 a task failed, 2 used wrongly, 130 interrupted. */
  readonly exitCode: number = 1
  readonly code: string
  readonly state?: string
  readonly next?: string
  readonly detail?: string
  readonly host?: string
  /** Set once an error was shown, so that it is not shown twice on its way up. */
  shown = false

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.state = details.state
    this.next = details.next
    this.detail = details.detail
    this.host = details.host
  }
}

/** `error` as it is, but for what is true now and, where it is given, what to type next. */
export function restated(error: SlipwayError, state: string, next = error.next): SlipwayError {
  const { code, message, host, detail } = error
  return new SlipwayError(code, message, { host, detail, cause: error, state, next })
}

/** The command line, the configuration or the task file is wrong; nothing was changed for it. Exit 2. */
export class UsageError extends SlipwayError {
  override readonly name: string = 'UsageError'
  override readonly exitCode: number = 2
}

/** The run was interrupted (Ctrl-C, a sibling's failure, a deadline above). Exit 130. */
export class AbortedError extends SlipwayError {
  override readonly name: string = 'AbortedError'
  override readonly exitCode: number = 130

  constructor(message = 'interrupted', details: ErrorDetails = {}) {
    super('aborted', message, details)
  }
}

/** What ends whatever waits on `signal`, once it is aborted: its own reason, if that is one of these errors. */
export function abortedBy({ reason }: AbortSignal): SlipwayError {
  return reason instanceof SlipwayError ? reason : new AbortedError()
}

/** A connection was lost while something was under way: its outcome is unknown, and it was not sent again. */
export class OutcomeUnknownError extends SlipwayError {
  override readonly name: string = 'OutcomeUnknownError'
}

/** In a dry run, the result of a write that was held back was looked at. It stops that task, not the run. */
export class StubbedResultError extends SlipwayError {
  override readonly name: string = 'StubbedResultError'

  constructor(command: string) {
    super('depends-on-stub', `depends on the result of ${command}`)
  }
}
