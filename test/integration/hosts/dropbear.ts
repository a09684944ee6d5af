/**
 * A second kind of server, and of shell: dropbear with busybox as `sh`, in a mount namespace of its own, so that the
 * real home and the real /bin/sh are not touched. Needs root.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { clientConfig, freePort } from './sshd.ts'

export const canNamespace = spawnSync('unshare', ['-m', 'true']).status === 0

export interface Dropbear {
  readonly port: number
  readonly home: string
  readonly sshConfigFile: string
  readonly clientKey: string
  readonly knownHosts: string
  stop(): Promise<void>
}

export async function startDropbear(): Promise<Dropbear> {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-dropbear-'))
  const port = await freePort()
  const home = join(dir, 'home')
  mkdirSync(join(home, '.ssh'), { recursive: true, mode: 0o700 })
  const clientKey = join(dir, 'client_key')
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', clientKey])
  writeFileSync(join(home, '.ssh/authorized_keys'), readFileSync(`${clientKey}.pub`), { mode: 0o600 })
  const hostKey = join(dir, 'host_key')
  execFileSync('dropbearkey', ['-t', 'ed25519', '-f', hostKey], { stdio: 'ignore' })
  const shown = execFileSync('dropbearkey', ['-y', '-f', hostKey]).toString()
  const pub = /^ssh-ed25519 \S+/m.exec(shown)?.[0]
  const knownHosts = join(dir, 'known_hosts')
  writeFileSync(knownHosts, `[127.0.0.1]:${port} ${pub}\n`)
  const child = spawn(
    'unshare',
    [
      ...['-m', 'sh', '-c'],
      'mount --bind "$1" "$2" && mount --bind /bin/busybox "$(readlink -f /bin/sh)" && shift 2 && exec dropbear "$@"',
      ...['dropbear', home, homedir()],
      ...['-F', '-E', '-s', '-p', `127.0.0.1:${port}`, '-r', hostKey, '-P', join(dir, 'pid')],
    ],
    { stdio: 'ignore' },
  )
  const deadline = Date.now() + 10_000
  for (;;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
    if (open) break
    if (Date.now() > deadline || child.exitCode !== null) throw new Error('dropbear does not listen')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const sshConfigFile = join(dir, 'ssh_config')
  writeFileSync(sshConfigFile, clientConfig('test', { address: '127.0.0.1', port, clientKey, knownHosts }))
  return {
    port,
    home,
    sshConfigFile,
    clientKey,
    knownHosts,
    async stop() {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      if (child.exitCode === null) {
        child.kill('SIGTERM')
        await gone
      }
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
