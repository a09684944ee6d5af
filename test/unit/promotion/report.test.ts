import { expect, it } from 'vitest'
import type { JournalEntry } from '../../../src/engine/types.ts'
import { reportOf } from '../../../src/targets/vps/promotion/report.ts'

const linesOf = (kind: string, data: string, isLast?: boolean): string[] => {
  const at = '2026-11-27T10:15:00.000Z'
  const by = { run: 'r', user: 'ada', machine: 'laptop', command: kind, pid: 1 }
  const facts = { kind, data, next: { release: 'pony2026r2' }, old: { release: 'pony2026r1' } }
  const begin = { entry: 'begin', at, id: 'j1', kind, title: 'pony', by, locks: [], steps: [], facts }
  return reportOf([begin, { entry: 'end', at, result: 'done' }] as unknown as JournalEntry[], isLast).lines
}

it.each([
  ['promote', 'copy', ': `tasks demote` goes back to it'],
  ['demote', 'copy', ': `tasks promote_staging_to_production` makes it production again'],
  ['promote', 'fresh', ''],
])('says of a %s with data=%s how the release before it comes back, where it can', (kind, data, way) => {
  expect(linesOf(kind, data)).toEqual(['pony: done', `pony2026r1 is stopped and kept, with its data${way}`])
})

it('does not say so of one that another came after', () => {
  expect(linesOf('promote', 'copy', false)).toEqual(['pony: done', 'pony2026r1 was production before'])
})
