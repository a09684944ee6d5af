/**
 * A real systemd user manager for a test: its own runtime folder, its own home, its own part of the control groups. It
 * only runs where the machine was booted with systemd, which a private /run makes it believe. Needs root.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export interface Systemd {
  readonly home: string
  /** What `systemctl --user` needs. */
  readonly env: { HOME: string; XDG_RUNTIME_DIR: string; XDG_CONFIG_HOME: string }
  systemctl(...words: string[]): string
  stop(): Promise<void>
}

/** Where groups of our own can be made: the first that is there is of version 2, if any is. */
export const hierarchies = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup/systemd', '/sys/fs/cgroup']

/** undefined where none can be run: not root, no systemd, no control groups of ours, no namespaces. */
export async function startSystemd(): Promise<Systemd | undefined> {
  if (process.getuid?.() !== 0 || !existsSync('/lib/systemd/systemd')) return undefined
  const dir = mkdtempSync('/tmp/slipway-sd-')
  const group = `slipway-test-${process.pid}`
  const env = { HOME: dir, XDG_RUNTIME_DIR: join(dir, 'run'), XDG_CONFIG_HOME: join(dir, '.config') }
  mkdirSync(env.XDG_RUNTIME_DIR, { mode: 0o700 })
  mkdirSync(join(dir, '.config/systemd/user'), { recursive: true })
  const log = join(dir, 'log')
  const groups = hierarchies.filter((root) => existsSync(join(root, 'cgroup.procs'))).map((root) => join(root, group))
  try {
    for (const each of groups) mkdirSync(each)
  } catch {
    rmSync(dir, { recursive: true, force: true })
    return undefined
  }
  const script = `for g in ${groups.join(' ')}; do echo $$ >"$g/cgroup.procs" || exit 1; done
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit 1
exec /lib/systemd/systemd --user >${log} 2>&1`
  const child = spawn('unshare', ['--mount', '--propagation', 'private', '/bin/sh', '-c', script], {
    env: { ...env, PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    stdio: 'ignore',
  })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const end = () => child.kill('SIGKILL')
  process.once('exit', end)
  const systemctl = (...words: string[]) =>
    execFileSync('systemctl', ['--user', ...words], {
      env: { ...process.env, ...env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trimEnd()
  const clean = async () => {
    process.removeListener('exit', end)
    // TERM: the manager stops its units, then itself.
    child.kill('SIGTERM')
    const late = setTimeout(end, 10_000)
    await gone
    clearTimeout(late)
    for (const each of groups) removeGroup(each)
    rmSync(dir, { recursive: true, force: true })
  }
  for (const deadline = Date.now() + 20_000; ; ) {
    try {
      systemctl('show', '--property=Version')
      return { home: dir, env, systemctl, stop: clean }
    } catch {
      if (child.exitCode !== null || child.signalCode !== null) {
        await clean()
        return undefined
      }
      if (Date.now() > deadline) {
        const said = existsSync(log) ? readFileSync(log, 'utf8') : ''
        await clean()
        throw new Error(`systemd does not answer: ${said}`)
      }
      await delay(50)
    }
  }
}

export function removeGroup(path: string): void {
  try {
    for (const each of execFileSync('find', [path, '-depth', '-type', 'd'], { encoding: 'utf8' }).trim().split('\n')) {
      rmdirSync(each)
    }
  } catch {
    // Something is in it still, or it is gone: the machine's end takes it away.
  }
}
