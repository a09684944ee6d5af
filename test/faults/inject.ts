/** What goes wrong: each fault is done to a world while its promotion stands still at a step. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { sandboxMarker } from '../../src/sandbox/standins.ts'
import type { World as PonyWorld } from './world.ts'

/** What a fault needs to know of a host. */
export type World = Pick<PonyWorld, 'app' | 'home' | 'sandbox'> & {
  /** Of all its hosts, where there are others. */
  homes?: string[]
  /** The processes by which connections come in, of all its hosts. */
  sshds?(): number[]
}

export type FaultName =
  | 'kill-tool'
  | 'cut-connection'
  | 'kill-script'
  | 'kill-script-and-guard'
  | 'kill-holder'
  | 'kill-app'
  | 'kill-supervisord'
  | 'kill-nginx'
  | 'disk-full'

export interface Fault {
  name: FaultName
  /** Only while the host's script runs. */
  window?: boolean
  /** Whether requests may fail: the fault itself ends what answers them. */
  hurts?: boolean
  inject(world: World, tool: { kill(): void }): Promise<void> | void
  /** Once the tool has ended. */
  mend?(world: World): Promise<void> | void
}

export const faults: readonly Fault[] = [
  { name: 'kill-tool', inject: (_, tool) => tool.kill() },
  {
    name: 'cut-connection',
    inject: (world) => (world.sshds?.() ?? [world.sandbox.sshd.pid]).flatMap(childrenOf).forEach(kill),
  },
  {
    name: 'kill-script',
    window: true,
    inject: (world) => scripts(world, /window\.py (forward|back|recover)/).forEach(kill),
  },
  {
    name: 'kill-script-and-guard',
    window: true,
    inject: (world) => scripts(world, /window\.py (guard|forward|back|recover)/).forEach(kill),
  },
  {
    name: 'kill-holder',
    window: true,
    inject: (world) =>
      scripts(world, /hold\.py/)
        .slice(0, 1)
        .forEach(kill),
  },
  { name: 'kill-app', hurts: true, inject: (world) => appProcesses(world).forEach(kill) },
  {
    name: 'kill-supervisord',
    hurts: true,
    inject: (world) => processes((line) => line.includes('supervisord') && isOf(world, line)).forEach(kill),
  },
  {
    name: 'kill-nginx',
    hurts: true,
    async inject(world) {
      const { root, nginx } = world.sandbox
      const all = [nginx.pid, ...childrenOf(nginx.pid)]
      all.forEach(kill)
      await until(
        () => all.every((pid) => !existsSync(`/proc/${pid}/cmdline`) || commandLine(pid) === ''),
        'nginx is gone',
      )
      // As an init system would.
      const { spawnfile, spawnargs } = spawn(
        '/usr/sbin/nginx',
        ['-e', `${root}/nginx/error.log`, '-p', `${root}/nginx`, '-c', `${root}/nginx/nginx.conf`],
        {
          detached: true,
          stdio: 'ignore',
          env: { ...process.env, ...sandboxMarker(root) },
        },
      )
      if (!spawnfile) throw new Error(`not started: ${spawnargs}`)
    },
  },
  {
    name: 'disk-full',
    hurts: true,
    inject(world) {
      const block = Buffer.alloc(1 << 16)
      const ballast = `${world.sandbox.root}/ballast`
      writeFileSync(ballast, '')
      for (let size = block.length; size >= 1; size = Math.floor(size / 16)) {
        for (;;) {
          try {
            writeFileSync(ballast, block.subarray(0, size), { flag: 'a' })
          } catch {
            break
          }
        }
      }
    },
    mend: (world) => rmSync(`${world.sandbox.root}/ballast`, { force: true }),
  },
]

export async function until(condition: () => boolean, what: string, seconds = 60): Promise<void> {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await delay(20)) if (condition()) return
  throw new Error(`waited in vain for ${seconds} s: ${what}`)
}

/** Has the next change stand still at a step, on the host; resolves with its folder. Removing `paused` there lets it go on. */
export async function standStill({ home }: Pick<World, 'home'>, place: string): Promise<string> {
  const changes = `${home}/.slipway/pony/changes`
  const known = new Set(existsSync(changes) ? readdirSync(changes) : [])
  const begun = () => readdirSync(changes).find((id) => !known.has(id) && existsSync(`${changes}/${id}/spec.json`))
  await until(() => existsSync(changes) && begun() !== undefined, 'it begins')
  const folder = `${changes}/${begun()}`
  writeFileSync(`${folder}/pause`, place)
  await until(() => existsSync(`${folder}/paused`), `it stands still at ${place}`)
  return folder
}

/** Everything of the app and of its promotion is gone at once, as when the machine is restarted. */
export function killAll(world: World): void {
  const all = [
    ...scripts(world, /window\.py|hold\.py/),
    ...processes((line) => line.includes('supervisord') && isOf(world, line)),
    ...pids().filter((pid) => isOf(world, programOf(pid))),
  ]
  all.forEach(kill)
}

/**
 * Whether scripts or holders of the world's changes are at work on the host. Holders that relay wait for nobody: for apps
 * on ports they do so until the operator has led the domain to the new one.
 */
export const hostIsBusy = (world: World): boolean =>
  scripts(world, /window\.py/).length > 0 || (scripts(world, /hold\.py/).length > 0 && !relays(world))

function relays(world: World): boolean {
  const changes = `${world.home}/.slipway/${world.app}/changes`
  return readdirSync(changes).some((id) => readdirSync(`${changes}/${id}`).includes('hold.json.target'))
}

/** Whether the journal of the newest change has not ended. */
export function journalText(world: World): string {
  const folder = `${world.home}/.slipway/${world.app}/journals`
  const name = readdirSync(folder)
    .filter((each) => each.endsWith('.journal'))
    .sort()
    .at(-1)
  return name ? readFileSync(`${folder}/${name}`, 'utf8').replaceAll('\0', '') : ''
}

/** Scripts of a change, on any of its hosts. */
export function scripts(world: World, pattern: RegExp): number[] {
  return processes((line) => isOf(world, line) && pattern.test(line) && line.includes('python'))
}

const isOf = (world: World, text: string): boolean =>
  (world.homes ?? [world.home]).some((home) => text.includes(`${home}/`))

/** What is running of the app, on any of its hosts: `pony2026r1:app-a`, with its pid. */
export function programs(world: World): { name: string; pid: number }[] {
  return pids().flatMap((pid) => {
    const program = programOf(pid)
    return isOf(world, program) ? [{ name: program.slice(program.lastIndexOf('/') + 1), pid }] : []
  })
}

const appProcesses = (world: World): number[] =>
  programs(world).flatMap(({ name, pid }) => (/:app-[ab]$/.test(name) ? [pid] : []))

const programOf = (pid: number): string => /(?:^|\0)SLIPWAY_PROCESS=([^\0]*)/.exec(environmentOf(pid))?.[1] ?? ''

/** Stops them wherever they are, as if the machine had other things to do; what resolves lets them go on. */
export function freeze(pids: readonly number[]): () => void {
  const signal = (name: NodeJS.Signals) => {
    for (const pid of pids) {
      try {
        process.kill(pid, name)
      } catch {
        // It has ended already.
      }
    }
  }
  signal('SIGSTOP')
  return () => signal('SIGCONT')
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1')
  } catch {
    return ''
  }
}

export function processes(wanted: (commandLine: string) => boolean): number[] {
  return pids().filter((pid) => wanted(commandLine(pid)))
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid)
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return text ? text.split(' ').map(Number) : []
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended already.
  }
}

/** A file system of its own for a world, so that it can be filled. Needs root. */
export function mountSmall(folder: string, megabytes: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'slipway-faults', folder])
}

export const unmount = (folder: string): void => void execFileSync('umount', ['-l', folder])
