/** Runs an engine's programs on a host, and says what went wrong in the engine's own words. */
import { currentRun, OutcomeUnknownError, SlipwayError } from '../../../events/index.ts'
import type { Host, Result, RunCommandOptions } from '../../../hosts/host.ts'
import type { Command } from '../../../shell/index.ts'
import { pipeBetween } from './between.ts'
import {
  besideOf,
  type Counts,
  type DatabaseAddress,
  type DatabaseFacts,
  type Dump,
  differences,
  type Located,
  readCounts,
  readValue,
} from './engine.ts'
import { explain, type Known } from './engine-errors.ts'

export interface Work {
  host: Host
  at: DatabaseAddress
  /** What is being done, for people: `dump pony`. */
  what: string
  /** What is true when it has failed; `Nothing was changed.` unless given. */
  state?: string
  known: readonly Known[]
}

/** What `command` printed. Rejects with what it failed of. */
export async function perform(work: Work, command: Command, options: RunCommandOptions = {}): Promise<string> {
  const result = await work.host.run(command, { quiet: true, label: work.what, ...options, nothrow: true })
  if (result.exitCode === 0) return result.stdout
  throw failure(work, result.stderr, result.exitCode)
}

function failure(work: Work, stderr: string, exitCode: number | null): SlipwayError {
  const attempt = { what: work.what, host: work.host.name, at: work.at, state: work.state ?? 'Nothing was changed.' }
  return explain(attempt, stderr, exitCode, work.known)
}

export function readDump(file: string, text: string): Dump {
  return {
    file,
    bytes: Number(readValue(text, 'bytes') ?? 0),
    sha256: readValue(text, 'sha256') ?? '',
    counts: readCounts(text),
  }
}

/**
 * What `send` prints on one host into `receive` on another. Memory holds a few blocks; a disk here, nothing. `total` is
 * about how many bytes will come. Resolves with what both printed besides.
 */
async function stream(
  from: Work,
  send: Command,
  to: Work,
  receive: Command,
  total: number,
): Promise<{ sent: string; received: string }> {
  const label = { from: from.what, to: to.what }
  const ends = await pipeBetween(from.host, send, to.host, receive, { label, total })
  const { received } = ends
  const sent: PromiseSettledResult<Result> =
    ends.sent.status === 'fulfilled' && ends.sent.value.exitCode !== 0
      ? { status: 'rejected', reason: failure(from, ends.sent.value.stderr, ends.sent.value.exitCode) }
      : ends.sent
  if (received.status === 'fulfilled' && received.value.exitCode !== 0) {
    // Of a sender whose line is gone the receiver knows only that nothing more came.
    if (sent.status === 'rejected' && sent.reason instanceof OutcomeUnknownError) throw sent.reason
    const error = failure(to, received.value.stderr, received.value.exitCode)
    // Where the sender died, the receiver complains of what it did not get; where the receiver did, the sender was ended.
    throw sent.status === 'rejected' && error.code === 'database-dump-damaged' ? sent.reason : error
  }
  if (sent.status === 'rejected') throw sent.reason
  if (received.status === 'rejected') throw received.reason
  return { sent: sent.value.stderr, received: received.value.stdout }
}

/** Rejects where two databases that should have the same rows have not. */
function requireSame(work: Work, expected: Counts, found: Counts): void {
  const lines = differences(expected, found)
  if (lines.length === 0) return
  throw new SlipwayError('database-differs', `${work.what}: the copy has other rows than the original`, {
    host: work.host.name,
    state: work.state ?? 'Nothing was changed.',
    detail: lines.slice(0, 20).join('\n'),
    next: 'Do it again; if that gives the same, compare the tables named above by hand.',
  })
}

/** Streams a copy from one host to another and compares it; what was made is dropped where anything fails. */
export async function copyBetween(
  from: Work,
  to: Work,
  ways: { send: Command; receive: Command; drop: Command },
  total: number,
): Promise<Counts> {
  try {
    const { sent, received } = await stream(from, ways.send, to, ways.receive, total)
    const found = readCounts(received)
    requireSame(to, readCounts(sent), found)
    return found
  } catch (error) {
    // What was there before is not ours. In an aborted run the host's own program has dropped it.
    if ((error as SlipwayError).code !== 'database-exists' && !currentRun().signal.aborted) {
      await perform(to, ways.drop).catch(() => {})
    }
    throw error
  }
}

/** Only what this tool named may be dropped: everything else could be somebody's only copy. */
export function requireOurs(at: DatabaseAddress, name: string): void {
  if (besideOf(at.database, name)) return
  throw new SlipwayError('database-not-ours', `${name} was not made by this tool beside ${at.database}`, {
    state: 'It was not dropped.',
    next: 'Drop it by hand, if it is needed no more.',
  })
}

export function readFacts(text: string): DatabaseFacts {
  const value = (name: string) => readValue(text, name) ?? ''
  return {
    exists: value('exists') === '1',
    bytes: Number(value('bytes') || 0),
    accepts: value('accepts') === '1',
    sessions: [...text.matchAll(/^session\t(.+)$/gm)].map((match) => match[1] as string),
    server: value('server'),
    identity: `${value('server')}/${value('identity')}`,
    version: value('version'),
    canCreate: value('create') === '1',
    tables: Number(value('tables') || 0),
  }
}

export const oneHost = (from: Located, to: Located): boolean => from.host.name === to.host.name
