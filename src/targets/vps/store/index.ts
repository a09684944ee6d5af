/**
 * Locks, journals and the audit log of an app, as files in ~/.slipway/<app> on one host: whoever can deploy there
 * agrees, without a server of ours. One round trip an operation.
 */
import type { BeginEntry } from '../../../engine/index.ts'
import { decodeEntries, encodeEntry, LockedError, summaryOf, wholeBytes } from '../../../engine/index.ts'
import { isDead, unlockedLine } from '../../../engine/locks.ts'
import type {
  AuditLine,
  ChangeStore,
  Journal,
  JournalEntry,
  JournalSummary,
  Lock,
  LockInfo,
  LockOptions,
  Owner,
} from '../../../engine/types.ts'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import { createScrubber } from '../../../events/scrub.ts'
import type { Host, Result } from '../../../hosts/host.ts'
import { evenIfAborted } from '../step.ts'
import * as scripts from './scripts.ts'
import { auditsUnderWay } from './under-way.ts'

export { guardText, storeFolder } from './scripts.ts'

const scopePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/** How the text of a lock's script gets to the host and its answer back. */
export type SendLock = (script: string) => Promise<Pick<Result, 'stdout' | 'stderr'> & { exitCode: number | null }>

export interface VpsStore extends ChangeStore {
  /** As `lock`, its script sent by `send`: along with something else. */
  lockWith(scopes: readonly string[], owner: Owner, send?: SendLock): Promise<Lock>
}

/** The change store of `app` on `host`. In a dry run locks are not taken and nothing is written. */
export function vpsStore(host: Host, app: string): VpsStore {
  checkName(app)
  /** Guards of the locks that this store holds: what every append runs first. */
  const guards = new Set<{ text: string }>()
  const guard = () => [...guards].map((each) => each.text).join('\n')

  const read = async (script: string): Promise<Result> =>
    checked(
      host,
      await host.run(script, { kind: 'probe', quiet: true, nothrow: true, label: `read ~/.slipway/${app}` }),
    )
  const write = async (script: string, label: string, input?: string): Promise<Result> =>
    checked(
      host,
      await host.run(script, {
        kind: 'write',
        quiet: true,
        nothrow: true,
        label,
        ownRecord: true,
        ...(input === undefined ? {} : { input }),
      }),
    )

  async function lock(
    scopes: readonly string[],
    owner: Owner,
    options: LockOptions = {},
    send?: SendLock,
  ): Promise<Lock> {
    const sorted = [...new Set(scopes)].sort()
    sorted.forEach(checkName)
    if (currentRun().options.dryRun) return { scopes: sorted, release: async () => {} }
    const text = {
      run: owner.run,
      scopes: sorted,
      members: membersOf(owner, sorted),
      ...(options.journal ? { journal: options.journal } : {}),
    }
    const uses = usesOf(host, app)
    const free = (which: readonly string[]) =>
      write(scripts.releaseScript(app, owner.run, which), `unlock ${which.join(', ')}`)
    let answer = await take(text, send).catch(async (error: unknown) => {
      // The host may have given it in the moment of the interrupt, to nobody who would let go of it.
      const unheld = sorted.filter((scope) => !uses.get(scope))
      if (currentRun().signal.aborted && unheld.length > 0) await evenIfAborted(() => free(unheld)).catch(() => {})
      throw error
    })
    // Resuming: a lock that a dead process of this very machine left behind is taken over.
    if ('holder' in answer && options.journal && !answer.holder.journal && isDead(answer.holder, owner)) {
      answer = await take({ ...text, replace: answer.holder.run })
    }
    if ('holder' in answer) throw new LockedError(answer.holder, { host: host.name })
    for (const scope of sorted) uses.set(scope, (uses.get(scope) ?? 0) + 1)
    const held = { text: scripts.guardText(app, owner.run, sorted) }
    guards.add(held)
    return {
      scopes: sorted,
      guard: held.text,
      async release() {
        if (!guards.delete(held)) return
        const unused = sorted.filter((scope) => {
          uses.set(scope, (uses.get(scope) ?? 1) - 1)
          return uses.get(scope) === 0
        })
        if (unused.length > 0) await free(unused)
      },
    }
  }

  async function take(text: scripts.LockText, send?: SendLock): Promise<{ taken: string[] } | { holder: LockInfo }> {
    const script = scripts.lockScript(app, text)
    const { stdout } = send ? checked(host, await send(script)) : await write(script, `lock ${text.scopes.join(', ')}`)
    const taken = /^taken(.*)$/m.exec(stdout)
    if (taken) return { taken: (taken[1] as string).split(' ').filter(Boolean) }
    const holder = holderIn(stdout)
    if (!holder)
      throw new SlipwayError('lock-unreadable', `the answer of ${host.name} about its locks can't be read`, {
        detail: stdout,
      })
    return { holder }
  }

  function journal(id: string, at?: { offset: number; bytes: number }): Journal {
    let place = at
    const entries = async (): Promise<JournalEntry[]> => {
      const { stdout } = await read(scripts.readScript(app, id))
      const [count, text] = cut(stdout, '\n')
      place = { bytes: Number(count), offset: wholeBytes(text) }
      return decodeEntries(text)
    }
    return {
      id,
      entries,
      async append(entry) {
        if (!place) await entries()
        const { offset, bytes } = place as { offset: number; bytes: number }
        const line = encodeEntry(withoutSecrets(entry))
        const last = entry.entry === 'end'
        // If the answer is lost, what was written is not known: it is read before the next line.
        place = undefined
        await write(
          scripts.appendScript(app, { id, guard: guard(), offset, bytes, last }),
          `journal ${id}: ${entry.entry}`,
          line,
        )
        const end = offset + Buffer.byteLength(line)
        place = { offset: end, bytes: end }
      },
    }
  }

  return {
    lock: (scopes, owner, options) => lock(scopes, cleanOwner(owner), options),
    lockWith: (scopes, owner, send) => lock(scopes, cleanOwner(owner), {}, send),
    async begin(entry: BeginEntry) {
      checkName(entry.id)
      const line = encodeEntry(withoutSecrets(entry))
      await write(scripts.beginScript(app, entry.id, guard()), `journal ${entry.id}: begin`, line)
      return journal(entry.id, { offset: Buffer.byteLength(line), bytes: Buffer.byteLength(line) })
    },
    async open(id) {
      checkName(id)
      return journal(id)
    },
    async list(): Promise<JournalSummary[]> {
      const { stdout } = await read(scripts.listScript(app))
      const texts = stdout.split(/^journal\n/m).slice(1)
      const summaries = texts.flatMap((text) => {
        const [first, last] = cut(text, 'last\n')
        const begin = decodeEntries(first)
        return summaryOf([...begin, ...tailEntries(last).filter((entry) => entry.entry !== 'begin')]) ?? []
      })
      return summaries.sort((a, b) => (a.begun < b.begun ? 1 : -1))
    },
    async holder(scope) {
      checkName(scope)
      return holderIn((await read(scripts.holderScript(app, scope))).stdout)
    },
    async breakLock(scope, by) {
      checkName(scope)
      const was = holderIn((await write(scripts.breakScript(app, scope), `break the lock of ${scope}`)).stdout)
      if (was) await this.audit(unlockedLine(was, scope, by))
      return was
    },
    async audit(line: AuditLine) {
      const kept = Object.fromEntries(
        Object.entries(line).flatMap(([key, value]) => (value === undefined ? [] : [[key, clean(String(value))]])),
      )
      await write(scripts.auditScript(app), 'audit', `${JSON.stringify(kept)}\n`)
    },
    async audits(limit) {
      await auditsUnderWay(host, app).last
      const { stdout } = await read(scripts.auditsScript(app, limit))
      return stdout.split('\n').flatMap(parseAudit).reverse()
    },
  }
}

const clean = (text: string): string => createScrubber(currentRun().secrets).text(text)

const cleanOwner = (owner: Owner): Owner => ({ ...owner, command: clean(owner.command) })

/** What people wrote and errors say is kept for all to read; what a change goes on from stays as it is. */
function withoutSecrets<E extends JournalEntry>(entry: E): E {
  if (entry.entry === 'begin') return { ...entry, title: clean(entry.title), by: cleanOwner(entry.by) }
  if (entry.entry === 'note') return { ...entry, text: clean(entry.text) }
  if (entry.entry === 'outcome' && entry.error !== undefined) return { ...entry, error: clean(entry.error) }
  return entry
}

/** How often this run holds each lock: the last one to let go releases it. */
function usesOf(host: Host, app: string): Map<string, number> {
  return currentRun().memo(`locks of ${app} on ${host.name}`, () => new Map<string, number>())
}

/** Who holds a lock, from what the host printed. */
function holderIn(stdout: string): LockInfo | undefined {
  const lines = stdout.split('\n')
  const clock = /^clock (\S+) (\S+)$/m.exec(stdout)
  const at = lines.findIndex((line) => /^(locked|journal) /.test(line))
  if (at < 0) return undefined
  const [kind, scope] = (lines[at] as string).split(' ') as [string, string]
  const text = lines[at + 1] ?? ''
  if (kind === 'journal') {
    const begin = decodeEntries(`${text}\n`)[0]
    if (begin?.entry !== 'begin') return { ...nobody, scope, since: 'unknown', journal: 'unknown' }
    return { ...begin.by, scope, since: begin.at, journal: begin.id }
  }
  const held = parseLock(text)
  const { boot, uptime, ...info } = held
  const age = clock && boot === clock[1] ? Number(clock[2]) - Number(uptime) : undefined
  return { ...info, scope, ...(age === undefined ? {} : { ageSeconds: Math.max(0, Math.round(age)) }) }
}

const nobody: Owner = { run: '', user: 'unknown', machine: 'unknown', command: 'unknown' }

function parseLock(text: string): Owner & { since: string; boot?: string; uptime?: number } {
  try {
    return JSON.parse(text) as Owner & { since: string; boot: string; uptime: number }
  } catch {
    return { ...nobody, since: 'unknown' }
  }
}

function membersOf(owner: Owner, scopes: readonly string[]): Record<string, string> {
  const since = new Date().toISOString()
  return Object.fromEntries(scopes.map((scope) => [scope, JSON.stringify({ ...owner, scope, since }).slice(1, -1)]))
}

/** The whole entries among the last lines, of which the first ones may be anything. */
function tailEntries(text: string): JournalEntry[] {
  return text.split('\n').flatMap((line) => decodeEntries(`${line}\n`))
}

function parseAudit(line: string): AuditLine[] {
  try {
    return line ? [JSON.parse(line) as AuditLine] : []
  } catch {
    return []
  }
}

function cut(text: string, at: string): [string, string] {
  const index = text.indexOf(at)
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + at.length)]
}

function checkName(name: string): void {
  if (!scopePattern.test(name)) {
    throw new SlipwayError('bad-name', `${JSON.stringify(name)} can't be the name of a lock, an app or a journal`)
  }
}

function checked<T extends Pick<Result, 'stdout' | 'stderr' | 'exitCode'>>(host: Host, result: T): T {
  if (result.exitCode === 0) return result
  const message = result.stderr.trim() || result.stdout.trim() || `exit status ${result.exitCode}`
  if (result.exitCode === scripts.lockLost) {
    throw new SlipwayError('lock-lost', message, {
      host: host.name,
      state: 'Somebody broke the lock, and may be changing things; this run changed nothing more.',
      next: 'Look at `tasks audit`, and start again.',
    })
  }
  if (result.exitCode === scripts.journalMoved) {
    throw new SlipwayError('lock-lost', message, { host: host.name, next: 'Look at `tasks promotions`.' })
  }
  if (/No space left on device|is the disk full/.test(message)) {
    throw new SlipwayError(
      'disk-full',
      `the disk of ${host.name} is full: the records of the app could not be written`,
      {
        host: host.name,
        detail: message,
        state: 'Nothing was changed by this: it is recorded first.',
        next: `Make room there, and do it again: \`slipway ssh ${host.name}\`, then \`du -xh ~ | sort -h | tail\`.`,
      },
    )
  }
  throw new SlipwayError('store-failed', `the records of the app could not be read or written: ${message}`, {
    host: host.name,
  })
}
