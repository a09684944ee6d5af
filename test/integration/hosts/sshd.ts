/** Throwaway sshd processes on loopback, as the current user, with a home of their own. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'

export interface Sshd {
  readonly port: number
  readonly address: string
  readonly dir: string
  readonly home: string
  readonly sshConfigFile: string
  readonly clientKey: string
  readonly knownHosts: string
  readonly log: string
  readonly pid: number
  stop(): Promise<void>
}

export interface SshdOptions {
  address?: string
  /** More addresses to listen on; an sshd takes sixteen at most. */
  addresses?: readonly string[]
  /** Lines for sshd_config; they come first, so that they win. */
  config?: string
  /** Shares keys and home with another. */
  like?: Sshd
  forceCommand?: boolean
  /** Lines for the client's configuration of the host `test`. */
  client?: string
  /** The name in the client's configuration. */
  alias?: string
}

export async function freePort(address = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, address, () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-sshd-'))
  const address = options.address ?? '127.0.0.1'
  const port = await freePort(address)
  const home = options.like?.home ?? join(dir, 'home')
  mkdirSync(home, { recursive: true })
  const key = (name: string, type = 'ed25519') => {
    execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', join(dir, name)])
    return join(dir, name)
  }
  const hostKey = key('host_key')
  const clientKey = options.like?.clientKey ?? key('client_key')
  const authorized = join(dir, 'authorized_keys')
  writeFileSync(authorized, readFileSync(`${clientKey}.pub`))
  mkdirSync('/run/sshd', { recursive: true })
  const knownHosts = join(dir, 'known_hosts')
  writeFileSync(
    knownHosts,
    `${[address, ...(options.addresses ?? [])].map((each) => `[${each}]:${port}`).join(',')} ${readFileSync(`${hostKey}.pub`, 'utf8')}`,
  )
  const log = join(dir, 'sshd.log')
  const config = [
    options.config ?? '',
    ...[address, ...(options.addresses ?? [])].map((each) => `ListenAddress ${each}`),
    `Port ${port}`,
    `HostKey ${hostKey}`,
    'PidFile none',
    `AuthorizedKeysFile ${authorized}`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    'PermitUserRC no',
    'UseDNS no',
    `SetEnv HOME=${home} PATH=${dir}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin`,
    'Subsystem sftp /usr/lib/openssh/sftp-server',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the shell's
    ...(options.forceCommand === false ? [] : ['ForceCommand cd && eval "${SSH_ORIGINAL_COMMAND:-exec $SHELL -l}"']),
  ]
  const configFile = join(dir, 'sshd_config')
  writeFileSync(configFile, `${config.join('\n')}\n`)
  const child = spawn('/usr/sbin/sshd', ['-D', '-f', configFile, '-E', log], { stdio: 'ignore' })
  await untilListening(child, address, port, log)
  const sshConfigFile = join(dir, 'ssh_config')
  writeFileSync(
    sshConfigFile,
    clientConfig(options.alias ?? 'test', { address, port, clientKey, knownHosts }, options.client),
  )
  chmodSync(sshConfigFile, 0o600)
  return {
    port,
    address,
    dir,
    home,
    sshConfigFile,
    clientKey,
    knownHosts,
    log,
    pid: child.pid as number,
    async stop() {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM')
        await gone
      }
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** A connection that sshd has begun with, and that never logs in: one of its MaxStartups. */
export async function beginLogin(at: Pick<Sshd, 'address' | 'port'>): Promise<Socket> {
  for (;;) {
    const socket = connect({ host: at.address, port: at.port })
    socket.on('error', () => {})
    const first = await new Promise<string>((resolve) => {
      socket.once('data', (chunk) => resolve(String(chunk)))
      socket.once('close', () => resolve(''))
    })
    // It is told `Exceeded MaxStartups` while the one that asked whether sshd listens still counts.
    if (first.startsWith('SSH-')) return socket
    socket.destroy()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export function clientConfig(
  alias: string,
  at: { address: string; port: number; clientKey: string; knownHosts: string },
  extra = '',
): string {
  return `${[
    `Host ${alias}`,
    ...extra.split('\n').map((line) => `  ${line}`),
    `  HostName ${at.address}`,
    `  Port ${at.port}`,
    `  User ${userInfo().username}`,
    `  IdentityFile ${at.clientKey}`,
    '  IdentitiesOnly yes',
    '  IdentityAgent none',
    `  UserKnownHostsFile ${at.knownHosts}`,
    '  GlobalKnownHostsFile none',
    '  StrictHostKeyChecking yes',
  ].join('\n')}\n`
}

/**
 * A client configuration for `sshd`, by which the system's ssh takes the host: a certificate lies beside its key, and
 * only the certificate is authorized. `extra` are lines for the host.
 */
export function certifiedConfig(sshd: Sshd, extra = ''): string {
  const ca = join(sshd.dir, 'ca')
  const clientKey = join(sshd.dir, 'certified_key')
  for (const file of [ca, clientKey]) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
  execFileSync('ssh-keygen', ['-q', '-s', ca, '-I', 'me', '-n', userInfo().username, `${clientKey}.pub`])
  appendFileSync(join(sshd.dir, 'authorized_keys'), `cert-authority ${readFileSync(`${ca}.pub`, 'utf8')}`)
  const file = join(sshd.dir, 'ssh_config_certified')
  // Not the post-quantum key exchange, which takes a tenth of a second: many tests connect.
  const lines = ['KexAlgorithms curve25519-sha256', extra].filter(Boolean).join('\n')
  writeFileSync(file, clientConfig('test', { ...sshd, clientKey }, lines))
  return file
}

async function untilListening(child: ChildProcess, address: string, port: number, log: string): Promise<void> {
  const deadline = Date.now() + 10_000
  for (;;) {
    if (child.exitCode !== null) throw new Error(`sshd ended: ${readFileSync(log, 'utf8')}`)
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host: address, port })
      socket.once('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
    if (open) return
    if (Date.now() > deadline) throw new Error('sshd does not listen')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
