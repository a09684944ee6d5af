/** The logs of earlier runs, read. */
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../events/errors.ts'
import type { Outcome, RunEvent } from '../events/events.ts'
import { runsFolder } from './log.ts'

export interface RunSummary {
  id: string
  /** Milliseconds since the epoch. */
  at: number
  argv: string[]
  user: string
  dryRun: boolean
  /** `unfinished`: it was killed, or it is still going. */
  outcome: Outcome | 'unfinished'
  durationMs?: number
}

/** Newest first. A log that cannot be read is left out. */
export function listRuns(projectDir: string): RunSummary[] {
  const runs = runIds(projectDir).flatMap((id): RunSummary[] => {
    const [first, last] = ends(join(runsFolder(projectDir), `${id}.jsonl`))
    if (first?.type !== 'run.started') return []
    const { at, argv, user, dryRun } = first
    const end = last?.type === 'run.finished' ? { outcome: last.outcome, durationMs: last.durationMs } : undefined
    return [{ id, at, argv, user, dryRun, ...(end ?? { outcome: 'unfinished' as const }) }]
  })
  // Ids sort by the second only.
  return runs.sort((a, b) => b.at - a.at)
}

/** The events of a run: of the newest one, or of the one whose id begins (or ends) with `wanted`. Throws a UsageError. */
export function readRun(projectDir: string, wanted?: string): RunEvent[] {
  const ids = runIds(projectDir)
  if (ids.length === 0) {
    throw new UsageError('no-runs', `no run has been logged in ${projectDir}`, {
      next: 'Run a task first: tasks --list',
    })
  }
  const found =
    wanted === undefined || wanted === 'last'
      ? listRuns(projectDir)
          .slice(0, 1)
          .map(({ id }) => id)
      : ids.filter((id) => id === wanted || id.startsWith(wanted) || id.endsWith(wanted))
  if (found.length !== 1) {
    const what = found.length === 0 ? `there is no run "${wanted}"` : `"${wanted}" means ${found.length} runs`
    throw new UsageError('no-such-run', what, { next: '`slipway history` lists them.' })
  }
  const text = readFileSync(join(runsFolder(projectDir), `${found[0]}.jsonl`), 'utf8')
  return text.split('\n').flatMap(parseEvent)
}

function runIds(projectDir: string): string[] {
  try {
    const names = readdirSync(runsFolder(projectDir)).filter((name) => name.endsWith('.jsonl'))
    return names
      .map((name) => name.slice(0, -'.jsonl'.length))
      .sort()
      .reverse()
  } catch {
    return []
  }
}

/** A torn last line, of a run that was killed, is no event. */
function parseEvent(line: string): RunEvent[] {
  if (line === '') return []
  try {
    return [JSON.parse(line) as RunEvent]
  } catch {
    return []
  }
}

const endBytes = 16 * 1024

/** The first and the last event, without reading what may be megabytes between them. */
function ends(file: string): [RunEvent | undefined, RunEvent | undefined] {
  const descriptor = openSync(file, 'r')
  try {
    const { size } = fstatSync(descriptor)
    const read = (from: number) => {
      const buffer = Buffer.alloc(Math.min(endBytes, size - from))
      readSync(descriptor, buffer, 0, buffer.length, from)
      return buffer.toString().split('\n')
    }
    const first = read(0)
    const last = size > endBytes ? read(size - endBytes) : first
    return [parseEvent(first[0] ?? '')[0], parseEvent(last.at(-2) ?? '')[0]]
  } finally {
    closeSync(descriptor)
  }
}
