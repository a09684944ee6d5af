/**
 * A real OpenSSH server on loopback, as the current user, with keys and a home of its own: what a sandbox is
 * reached through, and what the integration tests log in to. Works as root and as an ordinary user.
 */
import { execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { userInfo } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { SlipwayError } from '../events/errors.ts'
import { anyDestination } from '../hosts/ssh-config.ts'
import { freePort } from './ports.ts'
import { descendants, endProcesses, identify, isRunning, type ProcessIdentity, withEnvironment } from './process.ts'
import { exists, programIn, systemFolders } from './programs.ts'
import { sandboxMarker, writeProfiles, writeStandIns } from './standins.ts'

export interface SshdOptions {
  /** Loopback address to listen on. 127.0.0.1 unless given; 127.0.1.1 and on are loopback as well. */
  address?: string
  /** A free port unless given. */
  port?: number
  /** Where keys, configuration, log, stand-ins and home lie. A new folder in /tmp, removed by stop(), unless given. */
  dir?: string
  /** The home of those who log in. `<dir>/home` unless given. */
  home?: string
  /** Lines of sshd_config placed first, so that they win. End a Match block with `Match all`. */
  extraConfig?: string
  /** Lines of ssh_config placed first, so that they win. */
  extraClientConfig?: string
  /** Variables of everyone who logs in. */
  environment?: Readonly<Record<string, string>>
  /** Whether a user and a port written in a destination are overruled, as far as Slipway itself connects. */
  anyDestination?: boolean
  /** Survives this process. */
  detached?: boolean
}

export interface Sshd {
  readonly address: string
  readonly port: number
  readonly user: string
  readonly dir: string
  readonly home: string
  /** For `ssh -F`: any destination is this server. */
  readonly sshConfigFile: string
  readonly knownHostsFile: string
  readonly clientKeyFile: string
  readonly hostKeyFile: string
  readonly process: ProcessIdentity
  /** What sshd has logged, from when it started. */
  log(): string
  /** Ends the server and all that was started through it; removes `dir` unless it was given. */
  stop(): Promise<void>
}

const run = promisify(execFile)

/**
 * Starts sshd and resolves once it greets. Rejects with code `sshd-missing` where OpenSSH's server is not installed,
 * and `sshd-failed`, with its log, where it does not come up within half a minute.
 */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const program = await sshdProgram()
  const address = options.address ?? '127.0.0.1'
  const dir = options.dir ?? (await mkdtemp('/tmp/slipway-sshd-'))
  const home = options.home ?? join(dir, 'home')
  const etc = join(dir, 'etc')
  await mkdir(etc, { recursive: true, mode: 0o700 })
  await mkdir(home, { recursive: true, mode: 0o700 })
  const bin = await writeStandIns(dir)
  await writeProfiles(home, bin)
  const hostKeyFile = await ensureKey(join(etc, 'host_ed25519'))
  const clientKeyFile = await ensureKey(join(etc, 'client_ed25519'))
  await writeFile(join(etc, 'authorized_keys'), await readFile(`${clientKeyFile}.pub`), { mode: 0o600 })
  // Privilege separation wants this folder whenever sshd runs as root; Debian makes it when the service starts.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })

  const user = userInfo().username
  const marker = sandboxMarker(dir)
  const logFile = join(etc, 'sshd.log')
  const configFile = join(etc, 'sshd_config')
  const knownHostsFile = join(etc, 'known_hosts')
  const sshConfigFile = join(dir, 'ssh_config')
  const hostKey = (await readFile(`${hostKeyFile}.pub`, 'utf8')).trim().split(' ').slice(0, 2).join(' ')

  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort(address))
    const environment = { HOME: home, PATH: sandboxPath(bin), ...marker, ...options.environment }
    await writeFile(
      configFile,
      serverConfig({ address, port, etc, environment, locked: await isLocked(user), extra: options.extraConfig }),
    )
    await writeFile(knownHostsFile, `[${address}]:${port} ${hostKey}\n`)
    await writeFile(
      sshConfigFile,
      clientConfig({
        address,
        port,
        user,
        clientKeyFile,
        knownHostsFile,
        first: options.anyDestination ? anyDestination : undefined,
        extra: options.extraClientConfig,
      }),
    )
    await writeFile(logFile, '')
    const child = spawn(program, ['-D', '-f', configFile, '-E', logFile], {
      detached: options.detached ?? false,
      stdio: 'ignore',
      env: { PATH: process.env['PATH'], ...marker },
    })
    child.unref()
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('spawn', () => resolve(child.pid as number))
    })
    const identity = await identify(pid)
    if (identity && (await greets(address, port, identity))) {
      return {
        address,
        port,
        user,
        dir,
        home,
        sshConfigFile,
        knownHostsFile,
        clientKeyFile,
        hostKeyFile,
        process: identity,
        log: () => readFileSync(logFile, 'utf8'),
        stop: async () => {
          await endSshd(identity, dir)
          if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
        },
      }
    }
    const log = await readFile(logFile, 'utf8').catch(() => '')
    if (identity) await endProcesses([identity])
    const taken = log.includes('Address already in use')
    if (taken && options.port === undefined && attempt < 5) continue
    throw new SlipwayError('sshd-failed', `sshd did not start on ${address}:${port}`, {
      detail: log.trim(),
      state: 'Nothing is left running.',
      next: taken
        ? 'Choose another port.'
        : `Look at what sshd says of its configuration: ${program} -t -f ${configFile}`,
    })
  }
}

/** Ends a server and everything that was started through it. */
export async function endSshd(identity: ProcessIdentity, dir: string): Promise<void> {
  const below = (await isRunning(identity)) ? await descendants([identity.pid]) : []
  const listener = await endProcesses([identity])
  const rest = [...below, ...(await withEnvironment(sandboxMarker(dir)))]
  await endProcesses(rest, { graceMs: listener.length > 0 ? 1000 : 5000 })
}

/** Whether the account is locked, as far as we, and so our sshd, may see it: only root reads /etc/shadow. */
async function isLocked(user: string): Promise<boolean> {
  const shadow = await readFile('/etc/shadow', 'utf8').catch(() => '')
  const line = shadow.split('\n').find((entry) => entry.startsWith(`${user}:`))
  return line?.split(':')[1]?.startsWith('!') ?? false
}

function sandboxPath(bin: string): string {
  return [bin, '/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'].join(delimiter)
}

interface ServerConfig {
  address: string
  port: number
  etc: string
  environment: Readonly<Record<string, string>>
  /** The account has no password and never will: sshd lets it in by key only if PAM is asked. */
  locked?: boolean
  extra?: string
}

/**
 * sshd_config. All variables are on one SetEnv line, since only the first counts. SetEnv alone leaves commands,
 * rsync and sftp in the real home: the forced command goes to the one that was set.
 */
export function serverConfig({ address, port, etc, environment, locked, extra }: ServerConfig): string {
  const variables = Object.entries(environment).map(([name, value]) => `"${name}=${value}"`)
  return `${extra === undefined ? '' : `${extra}\n`}ListenAddress ${address}:${port}
HostKey ${etc}/host_ed25519
PidFile ${etc}/sshd.pid
AuthorizedKeysFile ${etc}/authorized_keys
StrictModes no
UsePAM ${locked ? 'yes' : 'no'}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserRC no
PrintMotd no
UseDNS no
MaxSessions 100
MaxStartups 200
SetEnv ${variables.join(' ')}
Subsystem sftp ${sftpServer()}
ForceCommand cd && eval "\${SSH_ORIGINAL_COMMAND:-exec $SHELL -l}"
`
}

interface ClientConfig {
  address: string
  port: number
  user: string
  clientKeyFile: string
  knownHostsFile: string
  first?: string
  extra?: string
}

/** ssh_config in which every destination is the server. The client ignores HOME, so each file is named. */
export function clientConfig({
  address,
  port,
  user,
  clientKeyFile,
  knownHostsFile,
  first,
  extra,
}: ClientConfig): string {
  return `${first === undefined ? '' : `${first}\n`}# Written by slipway: every destination is the sandbox on ${address}:${port}.
${extra === undefined ? '' : `${extra}\n`}Host *
  HostName ${address}
  Port ${port}
  User ${user}
  IdentityFile ${clientKeyFile}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile ${knownHostsFile}
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  UpdateHostKeys no
  CheckHostIP no
  ControlMaster no
  ControlPath none
  ForwardAgent no
`
}

/** Its path, which has to be a whole one: sshd starts itself again by it. */
export async function sshdProgram(folders = systemFolders): Promise<string> {
  const program = await programIn(folders, 'sshd')
  if (program !== undefined) return program
  throw new SlipwayError('sshd-missing', 'there is no OpenSSH server on this machine', {
    next: 'Install it: sudo apt-get install openssh-server',
  })
}

function sftpServer(): string {
  const places = ['/usr/lib/openssh', '/usr/libexec/openssh', '/usr/lib/ssh', '/usr/libexec']
  const found = places.map((dir) => join(dir, 'sftp-server')).find((program) => existsSync(program))
  return found ?? '/usr/lib/openssh/sftp-server'
}

async function ensureKey(file: string): Promise<string> {
  if (!(await exists(file))) {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'slipway-sandbox', '-f', file])
  }
  await chmod(file, 0o600)
  return file
}

/** Whether a server greets at the address before it dies or half a minute has passed. */
async function greets(address: string, port: number, identity: ProcessIdentity): Promise<boolean> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    if (!(await isRunning(identity))) return false
    if (await banner(address, port)) return true
    await delay(10)
  }
  return false
}

function banner(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port, timeout: 2000 })
    const done = (greeted: boolean) => {
      socket.destroy()
      resolve(greeted)
    }
    socket.once('data', (data) => done(data.toString('latin1').startsWith('SSH-')))
    socket.once('error', () => done(false))
    socket.once('close', () => done(false))
    socket.once('timeout', () => done(false))
  })
}
