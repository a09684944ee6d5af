/**
 * What code that isn't Slipway's threw (a task file, Node, zx, fetch), as a sentence that a person can act on: no raw
 * message of a library, no `undefined`, no stack. Pure; the original is the cause.
 */
import { AbortedError, SlipwayError } from './errors.ts'

/** Thrown by something else than Slipway. Where it was thrown is found in the cause's stack. */
export class ForeignError extends SlipwayError {
  override readonly name: string = 'ForeignError'
}

interface Systemic extends Error {
  code?: string
  syscall?: string
  path?: string
  address?: string
  hostname?: string
  port?: number
}

/** zx's and node:child_process's: a program that ran and did not end well. */
interface EndedBadly extends Error {
  exitCode?: number | null
  code?: unknown
  signal?: string | null
  cmd?: string
  stdout: string
  stderr: string
}

export function foreignError(thrown: unknown): ForeignError {
  if (!(thrown instanceof Error)) {
    return new ForeignError('thrown-no-error', `something was thrown that is no Error: ${inWords(thrown)}`, {
      next: 'Throw an Error: `throw new Error("what failed")`.',
      cause: thrown,
    })
  }
  const [first] = thrown instanceof AggregateError ? (thrown.errors as unknown[]) : []
  if (first instanceof Error) return severalFailed(thrown as AggregateError, first)
  if (thrown.message === 'fetch failed') return requestFailed(thrown)
  if (isEndedBadly(thrown)) return programFailed(thrown)
  if (isSystemic(thrown)) return systemFailed(thrown)
  if (thrown.name === 'TimeoutError') {
    return new ForeignError('local-timeout', 'something in the task took longer than it was given', {
      next: 'Give it longer, or see what it waited for with `--debug`.',
      cause: thrown,
    })
  }
  if (Array.isArray((thrown as { issues?: unknown }).issues))
    return notAsExpected(thrown as Error & { issues: Issue[] })
  return new ForeignError('unexpected', itsOwnWords(thrown), {
    next: '`--debug` shows the stack.',
    cause: thrown,
  })
}

/** A connection tried at several addresses is told by the first; what a task has put together, by its own words and all parts. */
function severalFailed(thrown: AggregateError, first: Error): ForeignError {
  const parts = thrown.errors as unknown[]
  if (parts.length === 1 || isSystemic(first) || thrown.message.trim() === '') {
    return withCause(foreignError(first), thrown)
  }
  return new ForeignError('unexpected', itsOwnWords({ name: 'Error', message: thrown.message }), {
    detail: parts.map((part) => foreignError(part).message).join('\n'),
    next: '`--debug` shows the stack.',
    cause: thrown,
  })
}

function withCause({ code, message, state, next, detail }: ForeignError, cause: unknown): ForeignError {
  return new ForeignError(code, message, {
    ...(state === undefined ? {} : { state }),
    ...(next === undefined ? {} : { next }),
    ...(detail === undefined ? {} : { detail }),
    cause,
  })
}

function itsOwnWords({ name, message }: Error): string {
  const kind = name === 'Error' ? '' : `${name}: `
  return `${kind}${message.trim() === '' ? 'an Error without a message' : plainWords(message)}`
}

/** What JavaScript says of values that are not there, without naming a value of the language. Pure. */
export function plainWords(message: string): string {
  return message
    .replace(
      /Cannot read properties of (?:undefined|null) \(reading '([^']*)'\)/g,
      '.$1 was read of a value that is not set',
    )
    .replace(
      /Cannot set properties of (?:undefined|null) \(setting '([^']*)'\)/g,
      '.$1 was set on a value that is not set',
    )
    .replace(
      /Cannot destructure property '([^']*)' of '([^']*)' as it is (?:undefined|null)\.?/g,
      '.$1 was read of $2, which is not set',
    )
    .replace(
      /Dynamic require of "([^"]*)" is not supported/g,
      'require("$1") is not there in a task file: write `import … from \'$1\'` at its top',
    )
    .replace(/\b(?:undefined|null) is not\b/g, 'a value that is not set is not')
    .replace(/\bundefined\b/g, 'a value that is not set')
    .replace(/\[object (\w+)\]/g, 'an object')
}

function inWords(thrown: unknown): string {
  if (thrown === undefined || thrown === null) return 'nothing at all'
  if (typeof thrown !== 'object') return String(thrown)
  try {
    return JSON.stringify(thrown)
  } catch {
    return 'an object'
  }
}

const isSystemic = (error: Error): error is Systemic =>
  typeof (error as Systemic).code === 'string' && /^E[A-Z0-9]+$/.test((error as Systemic).code!)

const isEndedBadly = (error: Error): error is EndedBadly => {
  const { exitCode, code, stderr } = error as Partial<EndedBadly>
  return typeof stderr === 'string' && (typeof exitCode === 'number' || typeof code === 'number' || 'signal' in error)
}

function programFailed(error: EndedBadly): ForeignError {
  const missing = (error as Systemic).code === 'ENOENT'
  if (missing) return systemFailed(error as Systemic)
  const status = error.exitCode ?? (typeof error.code === 'number' ? error.code : undefined)
  const what = error.cmd ? `\`${error.cmd}\`` : 'a command'
  const how = error.signal ? `was ended by ${error.signal}` : `ended with status ${status ?? 'unknown'}`
  const printed = (error.stderr || error.stdout).trimEnd()
  return new ForeignError('local-command-failed', `${what} on this machine ${how}`, {
    ...(printed ? { detail: printed } : {}),
    next: 'Try it in a shell; where its status does not matter: `.nothrow()`.',
    cause: error,
  })
}

function requestFailed(error: Error): ForeignError {
  const cause = error.cause instanceof AggregateError && error.cause.errors[0] ? error.cause.errors[0] : error.cause
  const why = cause instanceof Error ? (isSystemic(cause) ? systemSentence(cause) : cause.message) : 'no answer came'
  return new ForeignError('local-request-failed', `a request failed: ${why}`, {
    next: 'Look at its address, and at the network between here and there.',
    cause: error,
  })
}

function systemFailed(error: Systemic): ForeignError {
  const network = /^(ECONN|ENOTFOUND|EAI_|EHOST|ENET|ETIMEDOUT|EPIPE|EADDR)/.test(error.code ?? '')
  const program = error.syscall?.startsWith('spawn') === true
  const code = network ? 'local-network' : program ? 'local-program' : 'local-file'
  return new ForeignError(code, systemSentence(error), {
    next: network
      ? 'Look at the address, and at the network between here and there.'
      : program
        ? 'Install it, or give its whole path.'
        : 'Look at the path: it is one of this machine, relative to where the command was typed.',
    cause: error,
  })
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'it may not be read or written by you',
  EPERM: 'it may not be changed by you',
  EEXIST: 'it is there already',
  ENOTDIR: 'a part of it is no folder',
  EISDIR: 'it is a folder',
  ENOTEMPTY: 'it is not empty',
  ENOSPC: 'the disk is full',
  EROFS: 'the file system is read-only',
  EMFILE: 'too many files are open',
  ELOOP: 'its symbolic links go round in a circle',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the other side closed the connection',
  ETIMEDOUT: 'no answer came in time',
  ENOTFOUND: 'there is no host of that name',
  EAI_AGAIN: 'its name could not be looked up',
  EHOSTUNREACH: 'there is no way there',
  ENETUNREACH: 'there is no way there',
  EADDRINUSE: 'the port is taken',
}

function systemSentence(error: Systemic): string {
  const { code = '', syscall = '', path, address, hostname, port } = error
  const where =
    path ?? ((address ?? hostname) ? `${address ?? hostname}${port === undefined ? '' : `:${port}`}` : undefined)
  if (code === 'ENOENT' && syscall.startsWith('spawn'))
    return `there is no program ${where ?? syscall.slice(6)} on this machine`
  if (code === 'ENOENT') return where ? `there is no file or folder ${where}` : 'a file or folder is not there'
  const reason = reasons[code] ?? `it answered ${code}`
  return `${where ?? (syscall || 'something')}: ${reason}`
}

interface Issue {
  message: string
  path?: { key?: unknown }[]
}

/** A validator's list (valibot, zod): each issue with where it is. */
function notAsExpected(error: Error & { issues: Issue[] }): ForeignError {
  const lines = error.issues.map(({ message, path }) => {
    const at = (path ?? []).map((each) => (typeof each === 'object' && each !== null ? each.key : each)).join('.')
    return `${at ? `${at}: ` : ''}${plainWords(message)}`
  })
  return new ForeignError('local-value', `a value is not as it was expected: ${lines[0] ?? 'it is not said how'}`, {
    ...(lines.length > 1 ? { detail: lines.join('\n') } : {}),
    next: 'Look at where the value comes from.',
    cause: error,
  })
}

/** `error` as a SlipwayError: itself, or told as a sentence, with itself as the cause. */
export function asSlipwayError(error: unknown): SlipwayError {
  if (error instanceof SlipwayError) return error
  if (error instanceof Error && error.name === 'AbortError') return new AbortedError('interrupted', { cause: error })
  return foreignError(error)
}
