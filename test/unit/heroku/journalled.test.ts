import { expect, test } from 'vitest'
import type { ChangeStore, JournalEntry } from '../../../src/engine/types.ts'
import { journalled } from '../../../src/targets/heroku/change.ts'

test("a step stands where its own deployment's unfinished change left it, whatever others have of that kind", async () => {
  const [at, kind, by] = ['2026-11-27T10:00:00.000Z', 'restore', { run: 'r', user: 'u', machine: 'm', command: 'c' }]
  const begun = (id: string): JournalEntry => {
    return { entry: 'begin', at, id, kind, locks: [id], title: '', by, steps: ['restore'], facts: {} }
  }
  const journals: Record<string, JournalEntry[]> = {
    production: [begun('production')],
    staging: [begun('staging'), { entry: 'intent', at, step: 'restore', direction: 'do' }],
  }
  const store = {
    list: async () => Object.keys(journals).map((id) => ({ id, kind, result: 'unfinished' })),
    open: async (id: string) => ({ entries: async () => journals[id] }),
  } as unknown as ChangeStore
  const stateOf = (deployment: string) => journalled(store, { kind, step: 'restore', deployment })()
  expect(await Promise.all(['production', 'staging', 'other'].map(stateOf))).toEqual(['todo', 'unclear', 'todo'])
})
