import { describe, expect, it } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { prunable } from '../../../src/targets/vps/promotion/promotions.ts'
import { memoryStore } from '../engine/memory-store.ts'

/** Promotions that were done, in the order in which the store lists them: newest first, by somebody's clock. */
function storeOf(...changes: { id: string; old: string; result?: 'done' | 'undone' }[]) {
  const store = memoryStore()
  const by = { run: 'r', user: 'ann', machine: 'laptop', command: 'promote' }
  return withRun(createRun(), async () => {
    for (const { id, old, result } of changes.toReversed()) {
      const at = '2026-11-27T10:00:00.000Z'
      const facts = { old: { release: old } }
      const journal = await store.begin({
        entry: 'begin',
        at,
        id,
        kind: 'promote',
        locks: [],
        title: id,
        by,
        steps: [],
        facts,
      })
      await journal.append({ entry: 'end', at, result: result ?? 'done' })
    }
    return store
  })
}

describe('what may be deleted of past promotions', () => {
  it('is every former production but the last ones, and what they kept', async () => {
    const store = await storeOf({ id: 'c', old: 'r3' }, { id: 'b', old: 'r2' }, { id: 'a', old: 'r1' })
    const roles = { production: 'r4', former: 'r3' }
    expect(await prunable(store, roles, 1)).toEqual({ releases: ['r2', 'r1'], changes: ['b', 'a'] })
    expect(await prunable(store, roles, 2)).toEqual({ releases: ['r1'], changes: ['a'] })
    expect(await prunable(store, roles, 0)).toEqual({ releases: ['r3', 'r2', 'r1'], changes: ['c', 'b', 'a'] })
  })

  it('is never the one that demote would go back to, though the clocks say that another was last', async () => {
    const store = await storeOf({ id: 'b', old: 'r2' }, { id: 'a', old: 'r1' }, { id: 'c', old: 'r3' })
    expect((await prunable(store, { production: 'r4', former: 'r3' }, 1)).releases).toEqual(['r2', 'r1'])
  })

  it('is nothing of what was taken back but its leavings', async () => {
    const store = await storeOf({ id: 'b', old: 'r1', result: 'undone' })
    expect(await prunable(store, { production: 'r1' }, 1)).toEqual({ releases: [], changes: ['b'] })
  })
})
