/**
 * A journal's text: one line an entry, a CRC-32 before the JSON, so that a line that was torn by a crash is told from
 * a whole one. Pure: encoding, decoding, and what a list of entries amounts to.
 */
import { crc32 } from 'node:zlib'
import type { JournalEntry, JournalSummary, UndoData } from './types.ts'

export type BeginEntry = Extract<JournalEntry, { entry: 'begin' }>

/** `entry` as its line, newline included. Begins with when and what, so that a shell can tell the lines apart. */
export function encodeEntry(entry: JournalEntry): string {
  const { at, entry: kind, ...rest } = entry
  const json = JSON.stringify({ at, entry: kind, ...rest })
  return `${checksum(json)} ${json}\n`
}

/**
 * The entries of a journal's text. Space that was allocated and not written (NUL bytes) and a torn last line are
 * ignored; reading ends at the first line that is not whole, since nothing after it can be trusted.
 */
export function decodeEntries(text: string): JournalEntry[] {
  const entries: JournalEntry[] = []
  for (const line of text.replaceAll('\0', '').split('\n')) {
    const entry = decodeLine(line)
    if (!entry) break
    entries.push(entry)
  }
  return entries
}

/** Bytes of a journal's text up to the end of its last whole line: where the next one goes. */
export function wholeBytes(text: string): number {
  let bytes = 0
  for (const line of text.replaceAll('\0', '').split('\n').slice(0, -1)) {
    if (!decodeLine(line)) break
    bytes += Buffer.byteLength(line) + 1
  }
  return bytes
}

function decodeLine(line: string): JournalEntry | undefined {
  const json = line.slice(9)
  if (line.length < 11 || line[8] !== ' ' || line.slice(0, 8) !== checksum(json)) return undefined
  return JSON.parse(json) as JournalEntry
}

function checksum(json: string): string {
  return crc32(json).toString(16).padStart(8, '0')
}

/** What the journal says of one step. */
export interface StepRecord {
  readonly step: string
  /** The last thing done with it. */
  readonly direction: 'do' | 'undo'
  /** Whether that was finished, and how; undefined is an intent without an outcome. */
  readonly ok?: boolean
  /** Whether something of it may be in the world: begun, or found done, and not wholly undone. */
  readonly begun: boolean
  /** Everything kept for undo: from the intent, and from what `do` returned. */
  readonly data: UndoData
  readonly durationMs?: number
  /** What it failed of. Stays when it is taken back: that is why it was. */
  readonly error?: string
}

/**
 * The records of all steps that the journal names, in that order. A step can fail before it is begun, where it looks
 * at what is there: what it finds then is not its own doing, and not for it to take back.
 */
export function stepRecords(entries: readonly JournalEntry[]): Map<string, StepRecord> {
  const records = new Map<string, StepRecord>()
  for (const entry of entries) {
    if (entry.entry === 'intent') {
      const before = records.get(entry.step)
      const data = { ...before?.data, ...entry.data }
      const error = entry.direction === 'undo' && before?.error !== undefined ? { error: before.error } : {}
      records.set(entry.step, { step: entry.step, direction: entry.direction, begun: true, data, ...error })
    } else if (entry.entry === 'outcome') {
      const before = records.get(entry.step)
      const error = entry.error ?? (entry.direction === 'undo' ? before?.error : undefined)
      records.set(entry.step, {
        step: entry.step,
        direction: entry.direction,
        ok: entry.ok,
        begun: entry.direction === 'undo' ? !entry.ok : entry.ok || before?.begun === true,
        data: { ...before?.data, ...entry.data },
        durationMs: entry.durationMs,
        ...(error === undefined ? {} : { error }),
      })
    }
  }
  return records
}

/** Whether something of the step may be in the world. */
export function mayHaveHappened(record: StepRecord | undefined): record is StepRecord {
  return record?.begun === true
}

export function beginOf(entries: readonly JournalEntry[]): BeginEntry | undefined {
  const first = entries[0]
  return first?.entry === 'begin' ? first : undefined
}

export function endOf(entries: readonly JournalEntry[]): Extract<JournalEntry, { entry: 'end' }> | undefined {
  const last = entries.at(-1)
  return last?.entry === 'end' ? last : undefined
}

/** A line about a journal, or undefined where it has no beginning (its first line was torn). */
export function summaryOf(entries: readonly JournalEntry[]): JournalSummary | undefined {
  const begin = beginOf(entries)
  if (!begin) return undefined
  const end = endOf(entries)
  const lastStep = entries.findLast((entry) => entry.entry === 'intent' || entry.entry === 'outcome')
  return {
    id: begin.id,
    kind: begin.kind,
    title: begin.title,
    by: begin.by,
    begun: begin.at,
    result: end?.result ?? 'unfinished',
    ...(end ? { ended: end.at } : {}),
    ...(lastStep && 'step' in lastStep ? { lastStep: lastStep.step } : {}),
  }
}
