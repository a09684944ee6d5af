/**
 * A host that is made once and put back as it was for each case: its files are copied, its servers and releases started
 * again. Takes a fifth of the time of making it.
 */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { promisify } from 'node:util'
import { type Sandbox, startSandbox, stopSandbox } from '../../src/sandbox/index.ts'
import { withEnvironment } from '../../src/sandbox/process.ts'
import type { Sshd } from '../../src/sandbox/sshd.ts'
import { sandboxMarker } from '../../src/sandbox/standins.ts'
import { mountSmall, unmount } from './inject.ts'

export interface Kept {
  /** As it was, with everything started; on a file system of its own of so many megabytes, if told. */
  again(diskMegabytes?: number): Promise<void>
  /** Everything of the host has ended, and the copy is gone. */
  discard(): Promise<void>
}

/** Stops the host. What is told to start it again has to wait until it answers. */
export async function keep(
  { dir, sandbox }: { dir: string; sandbox: Sandbox },
  startReleases: () => Promise<void>,
): Promise<Kept> {
  await stopSandbox({ dir })
  const copies = mkdtempSync('/tmp/sw-kept-')
  const { root } = sandbox
  const isApart = !root.startsWith(`${dir}/`)
  copy(dir, `${copies}/dir`)
  if (isApart) copy(root, `${copies}/root`)
  let mounted = false
  async function end(): Promise<void> {
    await killMarked(root)
    await stopSandbox({ dir })
    if (mounted) unmount(root)
    mounted = false
  }
  return {
    async again(diskMegabytes) {
      await end()
      for (const each of [dir, root]) rmSync(each, { recursive: true, force: true })
      copy(`${copies}/dir`, dir)
      if (diskMegabytes !== undefined) {
        execFileSync('mkdir', ['-p', root])
        mountSmall(root, diskMegabytes)
        mounted = true
      }
      if (isApart) copy(`${copies}/root`, root)
      const { sshConfigFile: _, ...state } = await startSandbox({ dir })
      // Those who were given the sandbox see it as it is now; an ssh_config of their own stays theirs.
      Object.assign(sandbox, state)
      await startReleases()
    },
    async discard() {
      await end()
      rmSync(copies, { recursive: true, force: true })
    },
  }
}

/** A host that has its sshd alone, which goes on: what else ran there ends. Its releases are not started again. */
export async function keepOther({ dir, process: sshd }: Sshd): Promise<Kept> {
  await killMarked(dir, [sshd.pid])
  const copies = mkdtempSync('/tmp/sw-kept-')
  copy(dir, copies)
  return {
    async again() {
      await killMarked(dir, [sshd.pid])
      execFileSync('rsync', ['-a', '--delete', '--exclude=/etc/', `${copies}/`, `${dir}/`])
    },
    discard: async () => rmSync(copies, { recursive: true, force: true }),
  }
}

/** Without ado: what they would write at their end is thrown away anyway. */
export async function killMarked(root: string, except: readonly number[] = []): Promise<void> {
  for (const { pid } of await withEnvironment(sandboxMarker(root))) {
    if (except.includes(pid)) continue
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }
}

/** What a restart of the host would start, by the scripts that its crontab calls. */
export async function startReleasesOf(home: string, sshConfigFile: string, destination: string): Promise<void> {
  const webapps = `${home}/webapps`
  const start = async (release: string): Promise<void> => {
    const boot = `${webapps}/${release}/bin/boot`
    if (!existsSync(boot)) return
    rmSync(`${webapps}/${release}/run/supervisor.sock`, { force: true })
    await promisify(execFile)('ssh', ['-F', sshConfigFile, destination, `sh ${boot}`]).catch((error: Error) => {
      throw new Error(`${release} does not start again: ${error.message}`)
    })
  }
  await Promise.all(readdirSync(webapps).map(start))
}

function copy(from: string, to: string): void {
  execFileSync('cp', ['-a', '--reflink=auto', `${from}/.`, makeFolder(to)])
}

function makeFolder(path: string): string {
  execFileSync('mkdir', ['-p', path])
  return path
}
