import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeEntries, encodeEntry, stepRecords, summaryOf } from '../../../src/engine/journal.ts'
import type { JournalEntry } from '../../../src/engine/types.ts'
import { ownerNamed } from './world.ts'

const at = '2026-11-27T10:15:00.000Z'
const begin: JournalEntry = {
  at,
  entry: 'begin',
  id: 'j1',
  kind: 'promote',
  title: 'pony: 2026r2 becomes production',
  by: ownerNamed('r1'),
  facts: { size: 1 },
  steps: ['a', 'b'],
}
const text = fc.string({ unit: 'binary', maxLength: 60 })
const entry: fc.Arbitrary<JournalEntry> = fc.oneof(
  fc.record({ at: fc.constant(at), entry: fc.constant('note' as const), text }),
  fc.record({
    at: fc.constant(at),
    entry: fc.constant('intent' as const),
    step: text,
    direction: fc.constantFrom('do' as const, 'undo' as const),
  }),
)

describe('a journal', () => {
  it('reads back what was written, whatever is in it', () => {
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        expect(decodeEntries(entries.map(encodeEntry).join(''))).toEqual(entries)
      }),
    )
  })

  it('is one line an entry', () => {
    fc.assert(fc.property(entry, (each) => encodeEntry(each).trimEnd().split('\n').length === 1))
  })

  it('loses only the line in which writing was cut off', () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1 }), fc.nat(), (entries, cut) => {
        const bytes = Buffer.from(entries.map(encodeEntry).join(''))
        const kept = cut % bytes.length
        const torn = Buffer.concat([bytes.subarray(0, kept), Buffer.alloc(64)]).toString()
        const whole = decodeEntries(torn)
        expect(whole).toEqual(entries.slice(0, whole.length))
        const length = Buffer.byteLength(whole.map(encodeEntry).join(''))
        // Only a lost newline still leaves a line that is whole.
        expect(length - kept).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('is read up to the first line that is not what was written', () => {
    const good = encodeEntry({ at, entry: 'note', text: 'one' })
    const changed = encodeEntry({ at, entry: 'note', text: 'two' }).replace('two', 'too')
    expect(decodeEntries(good + changed + good)).toHaveLength(1)
  })

  it('is summed up', () => {
    const entries: JournalEntry[] = [
      begin,
      { at, entry: 'intent', step: 'a', direction: 'do' },
      { at, entry: 'outcome', step: 'a', direction: 'do', ok: true, durationMs: 3 },
    ]
    expect(summaryOf(entries)).toMatchObject({ id: 'j1', result: 'unfinished', lastStep: 'a' })
    expect(summaryOf([...entries, { at, entry: 'end', result: 'done' }])).toMatchObject({ result: 'done', ended: at })
    expect(summaryOf([])).toBeUndefined()
  })

  it('keeps the data of intent and outcome together for undo', () => {
    const records = stepRecords([
      { at, entry: 'intent', step: 'a', direction: 'do', data: { before: 1 } },
      { at, entry: 'outcome', step: 'a', direction: 'do', ok: true, durationMs: 3, data: { after: 2 } },
      { at, entry: 'intent', step: 'a', direction: 'undo' },
    ])
    expect(records.get('a')).toMatchObject({ direction: 'undo', data: { before: 1, after: 2 } })
    expect(records.get('a')?.ok).toBeUndefined()
  })
})
