/**
 * A throwaway host on loopback: sshd and nginx as the current user, with a home of its own. Its processes outlive
 * the command that starts it; they and all they started are found and ended by the one that stops it.
 */
import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { SlipwayError } from '../events/errors.ts'
import { stopHeroku } from './heroku.ts'
import { type Nginx, startNginx } from './nginx.ts'
import { isLeftOver, makePlace, removePlace, type SandboxPlace, sandboxPlace } from './place.ts'
import { freePort, isFree } from './ports.ts'
import { endProcesses, holding, identify, isRunning, withEnvironment } from './process.ts'
import { moveSites } from './sites.ts'
import { endSshd, type Sshd, startSshd } from './sshd.ts'
import { sandboxMarker, writeHostStandIns } from './standins.ts'
import { recordedState, recordState, type SandboxState, sandboxState } from './state.ts'

export interface SandboxOptions {
  /** The project: the sandbox is kept in its `.slipway/sandbox`. */
  dir: string
}

export interface Sandbox extends SandboxState {
  /** Whether this call started it. */
  started: boolean
  stop(): Promise<void>
}

/** Starts the sandbox of a project, or what is missing of it. Its home, and its ports where they are free, stay the same. */
export async function startSandbox({ dir }: SandboxOptions): Promise<Sandbox> {
  const place = await sandboxPlace(dir)
  await mkdir(place.dir, { recursive: true, mode: 0o700 })
  return exclusively(place, async () => {
    if (await isLeftOver(place)) {
      await end(place)
      await rm(place.root, { recursive: true, force: true })
    }
    await makePlace(place)
    const there = await sandboxState(dir)
    const state = there ?? (await start(place))
    return { ...state, started: there === undefined, stop: async () => void (await stopSandbox({ dir })) }
  })
}

/** Ends every process of the sandbox and keeps its files. Resolves with whether anything ran. */
export async function stopSandbox({ dir }: SandboxOptions): Promise<boolean> {
  const place = await sandboxPlace(dir)
  return end(place)
}

/** Ends the sandbox and removes all its files. */
export async function removeSandbox({ dir }: SandboxOptions): Promise<void> {
  const place = await sandboxPlace(dir)
  await end(place)
  await stopHeroku(dir)
  await removePlace(place)
}

async function start(place: SandboxPlace): Promise<SandboxState> {
  const { root } = place
  const before = await recordedState(place)
  // What is left of one that died halfway would hold its ports and its databases.
  await end(place)
  const home = join(root, 'home')
  await mkdir(home, { recursive: true, mode: 0o700 })
  const httpPort = await keptPort(before?.httpPort)
  if (before && before.httpPort !== httpPort) await moveSites(home, before.httpPort, httpPort)
  let nginx: Nginx | undefined
  let sshd: Sshd | undefined
  try {
    const include = [join(home, '.slipway', '*', 'sites', '*', 'nginx.conf')]
    nginx = await startNginx({ dir: root, port: httpPort, include, detached: true })
    sshd = await startSshd({
      dir: root,
      home,
      port: await keptPort(before?.sshPort),
      anyDestination: true,
      environment: { SLIPWAY_NGINX_LISTEN: `127.0.0.1:${httpPort}` },
      detached: true,
    })
    await writeHostStandIns(root, nginx.command)
    const { user, sshConfigFile, knownHostsFile, clientKeyFile } = sshd
    const state: SandboxState = {
      home,
      user,
      sshConfigFile,
      knownHostsFile,
      clientKeyFile,
      sshPort: sshd.port,
      httpPort,
      root,
      sshd: sshd.process,
      nginx: nginx.process,
    }
    await recordState(place, state)
    return state
  } catch (error) {
    await sshd?.stop()
    await nginx?.stop()
    throw error
  }
}

async function end(place: SandboxPlace): Promise<boolean> {
  const state = await recordedState(place)
  // Another version of this code may have put it elsewhere.
  const roots = [...new Set([place.root, ...(state ? [state.root] : [])])]
  const marked = (await Promise.all(roots.map((root) => withEnvironment(sandboxMarker(root))))).flat()
  const orphans = (await Promise.all(roots.map((root) => holding(root, ['nginx', 'sshd'])))).flat()
  const servers = [...(state ? [state.sshd, state.nginx] : []), ...orphans]
  const alive = (await Promise.all(servers.map(isRunning))).some(Boolean) || marked.length > 0
  if (state) await endSshd(state.sshd, state.root)
  await endProcesses([...servers, ...marked])
  return alive
}

async function keptPort(wanted: number | undefined): Promise<number> {
  return wanted !== undefined && (await isFree(wanted)) ? wanted : freePort()
}

/** One at a time: two starts at once would leave servers that nobody knows of. Waits for another for `patienceMs`. */
export async function exclusively<T>(
  { dir }: Pick<SandboxPlace, 'dir'>,
  action: () => Promise<T>,
  patienceMs = 30_000,
): Promise<T> {
  const file = join(dir, 'lock')
  const deadline = Date.now() + patienceMs
  for (;;) {
    const lock = await open(file, 'wx').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
      return undefined
    })
    if (lock) {
      try {
        await lock.writeFile(`${process.pid} ${(await identify(process.pid))?.startTime ?? ''}`)
        return await action()
      } finally {
        await lock.close()
        await rm(file, { force: true })
      }
    }
    if (await abandoned(file)) await rm(file, { force: true })
    else if (Date.now() > deadline) {
      throw new SlipwayError('sandbox-busy', 'another command is starting this sandbox', {
        state: 'This one did nothing.',
        next: `Wait for it, or remove ${file} if there is none.`,
      })
    }
    await delay(50)
  }
}

async function abandoned(file: string): Promise<boolean> {
  const [pid = '', startTime = ''] = (await readFile(file, 'utf8').catch(() => '')).split(' ')
  // Still empty: its owner is about to write it.
  return pid !== '' && !(await isRunning({ pid: Number(pid), startTime }))
}
