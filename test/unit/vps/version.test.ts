import { expect, test } from 'vitest'
import {
  asVersion,
  installable,
  parseRecord,
  prunable,
  rollbackTarget,
  type VersionRecord,
  versionId,
} from '../../../src/targets/vps/version.ts'

const record = (id: string, more: Partial<VersionRecord> = {}): VersionRecord => ({
  id,
  state: 'retired',
  wasLive: true,
  by: 'ann@desk',
  at: '',
  deployment: 'staging',
  uploadedAt: 'x',
  ...more,
})
const [one, two, three, four] = [
  '20260101-000001-aaaaaa',
  '20260101-000002-bbbbbb',
  '20260101-000003-cccccc',
  '20260101-000004-dddddd',
] as const

test('an id sorts by time and carries the commit, or is random without one', () => {
  const at = new Date('2026-11-27T10:15:00Z')
  expect(versionId(at, 'ab12cd34ef')).toBe('20261127-101500-000ab12')
  expect(versionId(at)).toMatch(/^20261127-101500-000[0-9a-f]{4}$/)
  expect(versionId(at)).not.toBe(versionId(at))
})

test('a torn record is no record', () => {
  expect(parseRecord('{"id":"x"')).toBeUndefined()
  expect(parseRecord('{"id":"x","state":"live"}')).toMatchObject({ id: 'x' })
})

test('rollback goes to what was live before, by when it was live, and never to a failed one', () => {
  const records = [
    record(four, { state: 'live', liveAt: '4' }),
    record(three, { state: 'failed', wasLive: false }),
    record(two, { liveAt: '2' }),
    record(one, { liveAt: '3' }),
  ]
  expect(rollbackTarget(records, four).id).toBe(one)
  expect(rollbackTarget(records, four, '20260101-000002').id).toBe(two)
  expect(() => rollbackTarget(records, four, three)).toThrow(expect.objectContaining({ code: 'never-live' }))
  expect(() => rollbackTarget(records, four, '2026')).toThrow(expect.objectContaining({ code: 'ambiguous-version' }))
  expect(() => rollbackTarget(records, four, 'zzz')).toThrow(expect.objectContaining({ code: 'no-version' }))
  expect(() => rollbackTarget(records, four, four)).toThrow(expect.objectContaining({ code: 'already-current' }))
  expect(() => rollbackTarget([record(one)], one)).toThrow(expect.objectContaining({ code: 'no-rollback' }))
})

test('a commit chooses a version too', () => {
  expect(rollbackTarget([record(two, { state: 'live' }), record(one, { commit: 'abcdef123' })], two, 'abcdef').id).toBe(
    one,
  )
})

test('prune counts only versions that were live, and keeps the current one and the one before', () => {
  const failed = record(three, { state: 'failed', wasLive: false })
  expect(prunable([record(four, { state: 'live' }), failed, record(two), record(one)], four, 1)).toEqual([three, one])
  expect(prunable([record(four, { state: 'live' }), failed, record(two), record(one)], four, 5)).toEqual([three])
  // After a rollback, what is newer than the current one stays.
  expect(prunable([record(four), record(three), record(two, { state: 'live' }), record(one)], two, 1)).toEqual([])
})

test('install takes the newest version whose files are all there', () => {
  expect(installable([record(two, { uploadedAt: undefined, state: 'uploading' }), record(one)])?.id).toBe(one)
  expect(installable([record(one, { state: 'failed' })])).toBeUndefined()
  expect(asVersion(record(one), one)).toMatchObject({ current: true, wasLive: true })
})
