/**
 * Processes that outlive us, told apart from later ones that got the same number: a pid together with its start
 * time. Linux only where the start time is asked for (/proc); elsewhere a pid alone has to do.
 */
import { readdir, readFile, readlink } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

export interface ProcessIdentity {
  pid: number
  /** Clock ticks after boot, as /proc gives it; empty where there is no /proc. */
  startTime: string
}

/** The identity of a live process, or undefined when there is none (a zombie counts as none). */
export async function identify(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await procStat(pid)
  if (stat) return stat.state === 'Z' || stat.state === 'X' ? undefined : { pid, startTime: stat.startTime }
  if (process.platform === 'linux') return undefined
  return signalled(pid, 0) ? { pid, startTime: '' } : undefined
}

/** Whether this very process still runs. */
export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  const now = await identify(identity.pid)
  return now !== undefined && now.startTime === identity.startTime
}

/**
 * Ends the processes and waits until they are gone: `signal` first, SIGKILL after `graceMs`.
 * Resolves with those that had to be killed. Throws when one survives even that for five seconds.
 */
export async function endProcesses(
  identities: readonly ProcessIdentity[],
  options: { signal?: NodeJS.Signals; graceMs?: number } = {},
): Promise<ProcessIdentity[]> {
  const { signal = 'SIGTERM', graceMs = 5000 } = options
  let left = await running(identities)
  for (const { pid } of left) signalled(pid, signal)
  left = await gone(left, graceMs)
  const killed = left
  for (const { pid } of left) signalled(pid, 'SIGKILL')
  left = await gone(left, 5000)
  if (left.length > 0) throw new Error(`processes survive SIGKILL: ${left.map(({ pid }) => pid).join(', ')}`)
  return killed
}

/** All processes below `roots`, those excluded. Children whose parent has died are not found. */
export async function descendants(roots: readonly number[]): Promise<ProcessIdentity[]> {
  const children = new Map<number, ProcessIdentity[]>()
  for (const pid of await pids()) {
    const stat = await procStat(pid)
    if (!stat) continue
    const siblings = children.get(stat.parent) ?? []
    siblings.push({ pid, startTime: stat.startTime })
    children.set(stat.parent, siblings)
  }
  const found: ProcessIdentity[] = []
  const queue = [...roots]
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    for (const child of children.get(pid) ?? []) {
      found.push(child)
      queue.push(child.pid)
    }
  }
  return found
}

/** Processes that were started with all of `variables` in their environment, ours excluded. */
export async function withEnvironment(variables: Readonly<Record<string, string>>): Promise<ProcessIdentity[]> {
  const wanted = Object.entries(variables).map(([name, value]) => `\0${name}=${value}\0`)
  const found: ProcessIdentity[] = []
  for (const pid of await pids()) {
    if (pid === process.pid) continue
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')
    if (!wanted.every((variable) => `\0${environment}\0`.includes(variable))) continue
    const identity = await identify(pid)
    if (identity) found.push(identity)
  }
  return found
}

/**
 * Processes of the programs `names` that hold a file below `dir` open, ours excluded. nginx and sshd overwrite their
 * environment with their titles, so this is how their orphans are known.
 */
export async function holding(dir: string, names: readonly string[]): Promise<ProcessIdentity[]> {
  const found: ProcessIdentity[] = []
  for (const pid of await pids()) {
    const name = (await readFile(`/proc/${pid}/comm`, 'latin1').catch(() => '')).trim()
    if (pid === process.pid || !names.includes(name)) continue
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => [])
    const files = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
    const identity = files.some((file) => file.startsWith(`${dir}/`)) ? await identify(pid) : undefined
    if (identity) found.push(identity)
  }
  return found
}

async function gone(identities: readonly ProcessIdentity[], deadlineMs: number): Promise<ProcessIdentity[]> {
  const deadline = Date.now() + deadlineMs
  for (;;) {
    const left = await running(identities)
    if (left.length === 0 || Date.now() > deadline) return left
    await delay(10)
  }
}

async function running(identities: readonly ProcessIdentity[]): Promise<ProcessIdentity[]> {
  const alive = await Promise.all(identities.map(isRunning))
  return identities.filter((_, index) => alive[index])
}

async function pids(): Promise<number[]> {
  const entries = await readdir('/proc').catch(() => [])
  return entries.filter((name) => /^\d+$/.test(name)).map(Number)
}

async function procStat(pid: number): Promise<{ state: string; parent: number; startTime: string } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => undefined)
  if (text === undefined) return undefined
  // The name in parentheses may itself hold spaces and parentheses: fields count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0] ?? '', parent: Number(fields[1]), startTime: fields[19] ?? '' }
}

function signalled(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false
  }
}
