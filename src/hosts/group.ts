/** Several hosts as easily as one: chosen, paced, all outcomes collected. */
import { randomBytes } from 'node:crypto'
import { UsageError } from '../events/errors.ts'
import { currentRun, type Run, scoped, throwIfAborted, withRun } from '../events/run.ts'
import { FleetError, hostEnds } from './errors.ts'
import type { EachOptions, Host, HostGroup, HostOutcome } from './host.ts'
import { host } from './remote-host.ts'

const defaultPoolSize = 32

/**
 * The hosts at these ssh destinations: `hosts('web1', 'deploy@web2')`.
 *
 * @example
 * ```ts
 * await hosts('web1', 'web2').each((host) => host.$`sudo systemctl reload nginx`, { parallel: 2 })
 * ```
 */
export function hosts(...destinations: readonly string[]): HostGroup {
  return hostGroup(destinations.join(', '), [...new Set(destinations)].map(host))
}

/**
 * `members` under a name that errors use. `roles` says which roles each host (by name) has, for -R; the label alone is
 * a group's role unless given.
 */
export function hostGroup(
  label: string,
  members: readonly Host[],
  roles?: ReadonlyMap<string, readonly string[]>,
): HostGroup {
  return {
    label,
    size: members.length,
    [Symbol.iterator]: () => members[Symbol.iterator](),
    each: (fn, options) => each(label, members, roles, fn, options),
    except: (...names) => {
      const left = members.filter((member) => !names.some((name) => isNamed(member, name)))
      return hostGroup(`${label} without ${names.join(', ')}`, left, roles)
    },
    first: () => {
      const first = members[0]
      if (!first) throw empty(label)
      return first
    },
  }
}

/** Whether `name`, as a person wrote it, means `member`: the whole destination, or its host part. `*` matches. */
function isNamed(member: Host, name: string): boolean {
  const bare = member.name.replace(/^ssh:\/\//, '').replace(/^[^@]*@/, '')
  const pattern = new RegExp(
    `^${name
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replace(/\*/g, '.*')
      .replace(/\?/g, '.')}$`,
    'i',
  )
  return [member.name, bare, bare.replace(/:\d+$/, '')].some((each) => pattern.test(each))
}

function empty(label: string): UsageError {
  return new UsageError('no-hosts', `there are no hosts in ${label || 'this group'}`, {
    state: 'Nothing was run, here or anywhere.',
  })
}

/** `members` narrowed by -H, -R and -x. */
function narrowed(
  run: Run,
  label: string,
  members: readonly Host[],
  roles?: ReadonlyMap<string, readonly string[]>,
): readonly Host[] {
  const selection = run.options.selection
  if (!selection) return members
  let left = members
  const by = (given: readonly string[] | undefined, keep: (given: readonly string[]) => (member: Host) => boolean) => {
    if (!given || given.length === 0) return
    run.usedSelection = true
    left = left.filter(keep(given))
  }
  by(selection.hosts, (names) => (member) => names.some((name) => isNamed(member, name)))
  if (roles || selection.roles?.includes(label)) {
    by(
      selection.roles,
      (wanted) => (member) => (roles?.get(member.name) ?? [label]).some((role) => wanted.includes(role)),
    )
  }
  by(selection.exclude, (names) => (member) => !names.some((name) => isNamed(member, name)))
  if (left.length === 0 && members.length > 0) {
    throw new UsageError('no-hosts', `nothing is left of ${label} after -H, -R and -x`, {
      state: 'Nothing was run, here or anywhere.',
      next: `It has: ${members.map((member) => member.name).join(', ')}`,
    })
  }
  return left
}

async function each<T>(
  label: string,
  members: readonly Host[],
  roles: ReadonlyMap<string, readonly string[]> | undefined,
  fn: (host: Host) => T | PromiseLike<T>,
  options: EachOptions = {},
): Promise<Map<Host, HostOutcome<T>>> {
  const run = currentRun()
  throwIfAborted(run)
  if (members.length === 0) throw empty(label)
  const chosen = narrowed(run, label, members, roles)
  const pacing = paceOf(run, options)
  const outcomes = new Map<Host, HostOutcome<T>>()
  const skipped: Host[] = []
  const controller = new AbortController()
  const inner = scoped(run, { signal: AbortSignal.any([run.signal, controller.signal]) })
  let failures = 0
  const one = async (member: Host) => {
    if (failures > pacing.maxFailures || run.signal.aborted) {
      skipped.push(member)
      return
    }
    const startedAt = performance.now()
    try {
      const value = await withRun(inner, async () => await fn(member))
      outcomes.set(member, { ok: true, value, durationMs: performance.now() - startedAt })
    } catch (error) {
      failures++
      const wrapped = error instanceof Error ? error : new Error(String(error))
      outcomes.set(member, { ok: false, error: wrapped, durationMs: performance.now() - startedAt })
    }
  }
  const cut = batches(chosen, options.batch)
  const id = randomBytes(4).toString('hex')
  const several = chosen.length > 1
  if (several) run.emit({ type: 'hosts.started', id, label, hosts: chosen.map(({ name }) => name) })
  for (const batch of cut) {
    await atMost(pacing.poolSize, batch, one)
  }
  const ordered = new Map(
    chosen.flatMap((member) => {
      const outcome = outcomes.get(member)
      return outcome ? [[member, outcome] as const] : []
    }),
  )
  if (several) run.emit({ type: 'hosts.finished', id, outcomes: [...hostEnds(ordered, skipped)] })
  throwIfAborted(run)
  if (failures === 0 || options.nothrow) return ordered
  const only = [...ordered.values()][0]
  // One host is not a fleet: its own error says more.
  if (members.length === 1 && only && !only.ok) throw only.error
  throw new FleetError(label, ordered, skipped)
}

function paceOf(run: Run, options: EachOptions): { poolSize: number; maxFailures: number } {
  const selection = run.options.selection
  const serial = selection?.parallel === false || (options.parallel === false && selection?.parallel !== true)
  if (selection?.parallel !== undefined || selection?.poolSize !== undefined) run.usedSelection = true
  const size = serial ? 1 : (selection?.poolSize ?? options.poolSize ?? defaultPoolSize)
  if (!Number.isInteger(size) || size < 1) throw new UsageError('bad-pool-size', `a pool of ${size} hosts cannot work`)
  return { poolSize: size, maxFailures: options.maxFailures ?? Number.POSITIVE_INFINITY }
}

/** `members` cut into batches: of a number, a share (`'25%'`), or a ramp of them whose last one goes on. */
export function batches<T>(members: readonly T[], batch: EachOptions['batch']): T[][] {
  if (batch === undefined) return [[...members]]
  const ramp = typeof batch === 'object' ? batch : [batch]
  if (ramp.length === 0) throw new UsageError('bad-batch', 'a batch ramp has no steps')
  const sizes = ramp.map((size) => batchSize(size, members.length))
  const cut: T[][] = []
  for (let from = 0, step = 0; from < members.length; step++) {
    const size = sizes[Math.min(step, sizes.length - 1)] as number
    cut.push(members.slice(from, from + size))
    from += size
  }
  return cut
}

function batchSize(size: number | string, total: number): number {
  const percent = typeof size === 'string' ? /^(\d+(?:\.\d+)?)%$/.exec(size.trim()) : null
  const count = percent ? Math.ceil((Number(percent[1]) / 100) * total) : Number(size)
  if (!Number.isInteger(count) || count < 1) {
    throw new UsageError('bad-batch', `${JSON.stringify(size)} is not a batch size`, {
      next: "Write a number of hosts, a share like '25%', or a list of them.",
    })
  }
  return count
}

async function atMost<T>(size: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < items.length) await work(items[next++] as T)
  }
  await Promise.all(Array.from({ length: Math.min(size, items.length) }, worker))
}
