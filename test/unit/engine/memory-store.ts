/** A change store in memory, which can be cut off after so many lines: what a crash of the tool looks like. */
import { LockedError } from '../../../src/engine/errors.ts'
import { beginOf, decodeEntries, encodeEntry, endOf, summaryOf } from '../../../src/engine/journal.ts'
import type { AuditLine, ChangeStore, Journal, JournalEntry, LockInfo, Owner } from '../../../src/engine/types.ts'
import { OutcomeUnknownError } from '../../../src/events/index.ts'

export interface MemoryStore extends ChangeStore {
  readonly journals: Map<string, string>
  readonly locks: Map<string, LockInfo>
  /** Lines that may still be written; after that the store is gone, as is everything else of that run. */
  linesLeft: number
}

/** What a killed process would not even see. */
export class Killed extends OutcomeUnknownError {
  constructor() {
    super('killed', 'the tool was killed here')
  }
}

export function memoryStore(): MemoryStore {
  const journals = new Map<string, string>()
  const locks = new Map<string, LockInfo>()
  const audits: AuditLine[] = []
  const entriesOf = (id: string) => decodeEntries(journals.get(id) ?? '')
  const store: MemoryStore = {
    journals,
    locks,
    linesLeft: Number.POSITIVE_INFINITY,
    async begin(entry) {
      const journal = await store.open(entry.id)
      await journal.append(entry)
      return journal
    },
    async open(id): Promise<Journal> {
      return {
        id,
        async append(entry: JournalEntry) {
          if (store.linesLeft <= 0) throw new Killed()
          store.linesLeft -= 1
          journals.set(id, (journals.get(id) ?? '') + encodeEntry(entry))
        },
        entries: async () => entriesOf(id),
      }
    },
    async list() {
      return [...journals.keys()].flatMap((id) => summaryOf(entriesOf(id)) ?? []).reverse()
    },
    async lock(scopes, owner, options = {}) {
      const sorted = [...scopes].sort()
      for (const scope of sorted) {
        const held = await store.holder(scope)
        if (!held || held.run === owner.run) continue
        if (held.journal !== undefined && held.journal === options.journal) continue
        throw new LockedError(held)
      }
      for (const scope of sorted) locks.set(scope, { ...owner, scope, since: '2026-11-27T10:00:00Z', ageSeconds: 0 })
      return {
        scopes: sorted,
        async release() {
          if (store.linesLeft <= 0) return
          for (const scope of sorted) if (locks.get(scope)?.run === owner.run) locks.delete(scope)
        },
      }
    },
    async holder(scope) {
      for (const [id] of journals) {
        const entries = entriesOf(id)
        const begin = beginOf(entries)
        if (begin?.locks?.includes(scope) && !endOf(entries))
          return { ...begin.by, scope, since: begin.at, journal: id }
      }
      return locks.get(scope)
    },
    async breakLock(scope: string, _by: Owner) {
      const held = locks.get(scope)
      locks.delete(scope)
      return held
    },
    async audit(line) {
      audits.push(line)
    },
    audits: async (limit) => audits.slice(-limit).reverse(),
  }
  return store
}
