/**
 * A host over the system's ssh, for what ssh2 lacks: certificates, security keys, post-quantum key exchange, GSSAPI.
 * One master process holds the connection; commands are sessions of it. The interface, and the promises, are the same.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex, type Readable, Transform, type Writable } from 'node:stream'
import { abortedBy } from '../events/errors.ts'
import { currentRun } from '../events/run.ts'
import { backOff, jittered } from './back-off.ts'
import { defaultConnectTimeoutMs } from './dial.ts'
import { ConnectError } from './errors.ts'
import { createGate } from './gate.ts'
import { fingerprint } from './known-hosts.ts'
import type { SshConfig } from './ssh-config.ts'
import { StatusMarkFilter, withStatusMark } from './status-mark.ts'
import type { Channel, ExecOptions, PtySize, Transport } from './transport.ts'
import { AnnouncementFilter, quoteForAnyShell } from './wire.ts'

const commandChannels = 4

// Ctrl-C on the terminal is for us to pass on: a master that it ended could not carry what ends a command. ssh leaves
// alone what is ignored when it starts.
const deafToTheTerminal = 'trap "" INT QUIT HUP; exec ssh "$@"'

/** What ends the masters, should the process exit while they stand. One listener for all: Node warns of more than ten. */
const leaving = new Set<() => void>()
process.once('exit', () => {
  for (const leave of leaving) leave()
})

/** Starts a master for `config`. Rejects with a ConnectError that says what ssh said, or once `signal` is aborted. */
export async function connectOpenssh(
  config: SshConfig,
  configFile: string | undefined,
  signal?: AbortSignal,
): Promise<Transport> {
  const run = currentRun()
  const dir = await mkdtemp(join(socketFolder(), 'slw-'))
  const socket = join(dir, 's')
  const file = configFile === undefined ? [] : ['-F', configFile]
  const batch = run.prompter.interactive ? [] : ['-o', 'BatchMode=yes']
  const master = spawn(
    'sh',
    [
      ...['-c', deafToTheTerminal, 'sh'],
      ...file,
      ...['-M', '-N', '-S', socket, '-o', 'ControlPersist=no', '-o', 'ClearAllForwardings=yes'],
      ...[
        '-o',
        'RemoteCommand=none',
        '-o',
        'RequestTTY=no',
        '-o',
        'PermitLocalCommand=no',
        '-o',
        'ForkAfterAuthentication=no',
      ],
      ...['-o', `ConnectTimeout=${Math.ceil((config.connectTimeoutMs ?? defaultConnectTimeoutMs) / 1000)}`],
      ...['-o', `ServerAliveInterval=${Math.ceil((config.serverAliveIntervalMs ?? 15_000) / 1000)}`],
      // What `no` means for a changed key is to go on, with a warning: here it always fails.
      ...(config.strictHostKeyChecking === 'no' ? ['-o', 'StrictHostKeyChecking=accept-new'] : []),
      ...batch,
      ...['--', config.destination],
    ],
    // A group of its own, but where a passphrase may be asked for: on the terminal that is the group in front.
    { stdio: ['ignore', 'ignore', 'pipe'], detached: !run.prompter.interactive },
  )
  let said = ''
  master.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-8000)
  })
  let closing = false
  // Who leaves at once (a second Ctrl-C) leaves no connection behind.
  const leave = () => {
    master.kill('SIGKILL')
    rmSync(dir, { recursive: true, force: true })
  }
  leaving.add(leave)
  const lost = new Promise<Error>((resolve) => {
    master.once('error', (error) => resolve(error))
    master.once('exit', () => {
      leaving.delete(leave)
      void rm(dir, { recursive: true, force: true })
      resolve(new Error(closing ? 'it was closed' : said.trim().split('\n').at(-1) || 'ssh ended'))
    })
  })
  let gone: Error | undefined
  void lost.then((error) => {
    gone = error
  })
  while (!(await check(socket))) {
    if (gone) throw masterFailure(config, said, gone, await changedKey(said))
    if (signal?.aborted) {
      master.kill('SIGKILL')
      await lost
      throw abortedBy(signal)
    }
    await Promise.race([lost, new Promise((resolve) => setTimeout(resolve, 20))])
  }
  const close = async () => {
    closing = true
    await new Promise((resolve) => execFile('ssh', ['-S', socket, '-O', 'exit', 'host'], resolve))
    const timer = setTimeout(() => master.kill('SIGKILL'), 2000)
    await lost
    clearTimeout(timer)
  }
  return opensshTransport(config, socket, dir, lost, () => gone, close)
}

/**
 * Where the sockets' own folder is made, which nobody else may enter. A unix socket's path holds 107 bytes, of which ssh
 * takes seventeen while it makes one: a long TMPDIR leaves too few.
 */
function socketFolder(): string {
  return Buffer.byteLength(tmpdir()) > 70 ? '/tmp' : tmpdir()
}

/** Asks the master, without a process: the protocol's greeting is enough to know that it listens. */
function check(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket)
    connection.once('connect', () => {
      connection.destroy()
      resolve(true)
    })
    connection.once('error', () => resolve(false))
  })
}

/** The options of a session: through the master, and if it refuses, not by a connection of its own. */
const session = (socket: string) => ['-F', 'none', '-S', socket, '-o', 'ProxyCommand=false', '-o', 'LogLevel=ERROR']

function opensshTransport(
  config: SshConfig,
  socket: string,
  dir: string,
  lost: Promise<Error>,
  gone: () => Error | undefined,
  close: () => Promise<void>,
): Transport {
  const gate = createGate(commandChannels)
  let streams = 0
  let sessions = 0

  /**
   * A session that sshd has no room for (MaxSessions) was not begun: it is asked for again for ten seconds, as over
   * ssh2. Whether there was room is waited for where there are others; a lone one need not lose the time.
   */
  async function startSession(start: () => ChildProcess, signal?: AbortSignal): Promise<ChildProcess> {
    const giveUp = Date.now() + 10_000
    for (let pause = 20; ; pause = Math.min(pause * 2, 250)) {
      const child = start()
      const failed = new Promise<never>((_resolve, reject) => child.once('error', reject))
      failed.catch(() => {})
      const alone = sessions++ === 0
      child.once('close', () => sessions--)
      const refusal = alone ? undefined : await Promise.race([failed, refusedSession(child)])
      if (refusal === undefined) return child
      if (Date.now() > giveUp) throw refused(config, 'a command channel', new Error(refusal))
      await backOff(jittered(pause), signal)
    }
  }

  async function exec(command: string, options: ExecOptions = {}): Promise<Channel> {
    const leave = options.urgent ? () => {} : await gate.enter(options.signal)
    const missing = gone()
    if (missing) {
      leave()
      throw missing
    }
    const nonce = randomBytes(6).toString('hex')
    const line = options.pty ? onTerminal(command, options.pty, nonce) : withStatusMark(command, nonce)
    const start = () =>
      spawn('ssh', [...session(socket), options.pty ? '-tt' : '-T', '--', 'host', line], {
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
        ...(options.pty?.term === undefined ? {} : { env: { ...process.env, TERM: options.pty.term } }),
      })
    const child = await startSession(start, options.signal).catch((error: unknown) => {
      leave()
      throw error
    })
    child.once('close', leave)
    child.once('error', leave)
    const mark = new StatusMarkFilter(nonce)
    const channel = adopt(child, mark, gone, lost)
    if (!options.pty) return channel
    const filter = new AnnouncementFilter(nonce)
    let wanted: PtySize | undefined
    let under = false
    // A size that is told before it is known which process there is meant waits for that.
    const resize = async () => {
      if (under || filter.pid === undefined) return
      under = true
      for (let size = wanted; size; size = wanted) {
        wanted = undefined
        await quietly(socket, resizeLine(filter.pid, size))
      }
      under = false
    }
    const own = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        const rest = filter.push(chunk)
        void resize()
        done(null, rest)
      },
      flush: (done) => done(null, filter.flush()),
    })
    const stdout = channel.stdout.pipe(own)
    return {
      ...channel,
      stdout,
      resize: (size) => {
        wanted = size
        void resize()
      },
    }
  }

  async function openStream(path: string): Promise<Duplex> {
    const local = join(dir, `f${streams++}`)
    const forwarding = ['-L', `${local}:${path}`]
    await control(socket, 'forward', forwarding).catch((error: unknown) => {
      throw refused(config, `a connection to the socket ${path}`, error)
    })
    const stream = connect({ path: local, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      stream.once('connect', resolve)
      stream.once('error', reject)
    })
    stream.once('close', () => {
      control(socket, 'cancel', forwarding).then(
        () => rm(local, { force: true }),
        () => {},
      )
    })
    return stream
  }

  async function openTcp(host: string, port: number): Promise<Duplex> {
    const child = spawn(
      'ssh',
      [...session(socket), '-W', `${host.includes(':') ? `[${host}]` : host}:${port}`, '--', 'host'],
      {
        stdio: ['pipe', 'pipe', 'ignore'],
        detached: true,
      },
    )
    const stream = Duplex.from({ readable: child.stdout, writable: child.stdin }) as Duplex
    child.once('error', (error) => stream.destroy(error))
    stream.once('close', () => child.kill())
    return stream
  }

  return {
    kind: 'openssh',
    lost,
    exec,
    openStream,
    openTcp,
    // rsync splits this at spaces; the socket's path has none.
    rsyncShell: async () => ({
      remoteShell: `ssh ${session(socket).join(' ')}`,
      extraStdio: 0,
      attach: async (child) => {
        sessions++
        child.once('close', () => sessions--)
      },
    }),
    close,
  }
}

/** What ssh says where the server had no room for the session; undefined once its command has said that it began. */
async function refusedSession(child: ChildProcess): Promise<string | undefined> {
  const { stdout, stderr } = child as { stdout: Readable; stderr: Readable }
  const readable = (stream: Readable) => new Promise<void>((resolve) => stream.once('readable', resolve))
  const complaint = readable(stderr)
  await Promise.race([readable(stdout), complaint])
  if (stdout.readableLength > 0) return undefined
  // Both end with ssh, in whatever order.
  await complaint
  const said = stderr.read() as Buffer | null
  if (said === null) return undefined
  if (/session request failed|refused by peer/.test(String(said))) return String(said).trim()
  stderr.unshift(said)
  return undefined
}

/**
 * `command` on a terminal of `size`. The ssh here has no terminal of its own whose size it could pass on, so the shell
 * there sets it, and says which process it is: whose terminal that is, is asked when the size changes.
 */
function onTerminal(command: string, size: PtySize, nonce: string): string {
  const body = `printf '\\036${nonce} %s\\n' "$$"; stty rows ${size.rows} cols ${size.columns} 2>/dev/null; ${command}`
  return `sh -c ${quoteForAnyShell(body)}`
}

function resizeLine(pid: number, size: PtySize): string {
  const body = `t=$(ps -o tty= -p ${pid} | tr -d ' ') && stty rows ${size.rows} cols ${size.columns} <"/dev/$t"`
  return `sh -c ${quoteForAnyShell(body)}`
}

/** Runs `line` over the master, and lets it fail: a terminal's size is not worth an error. */
function quietly(socket: string, line: string): Promise<void> {
  return new Promise((resolve) => {
    execFile('ssh', [...session(socket), '-T', '--', 'host', line], { timeout: 5000 }, () => resolve())
  })
}

function control(socket: string, command: string, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('ssh', ['-F', 'none', '-S', socket, '-O', command, ...args, 'host'], (error, _stdout, stderr) =>
      error ? reject(new Error(stderr.trim() || error.message)) : resolve(),
    )
  })
}

function refused(config: SshConfig, what: string, error: unknown): ConnectError {
  return new ConnectError('channel-refused', `${config.destination} refused ${what}`, {
    host: config.destination,
    detail: error instanceof Error ? error.message : String(error),
    cause: error,
    state: 'That was not started.',
  })
}

function adopt(
  child: ChildProcess,
  mark: StatusMarkFilter,
  gone: () => Error | undefined,
  lost: Promise<Error>,
): Channel {
  const ended = (exitCode: number | null) => ({ exitCode, signal: null })
  const exit = new Promise<{ exitCode: number | null; signal: null }>((resolve) => {
    child.once('error', () => resolve(ended(null)))
    child.once('close', async (code) => {
      if (mark.status !== undefined) return resolve(ended(mark.status))
      // ssh itself says 255 when the connection goes, and so might the command: the master knows.
      if (code === 255) await Promise.race([lost, new Promise((wait) => setTimeout(wait, 100))])
      resolve(ended(code === 255 && gone() ? null : code))
    })
  })
  let tell: () => void = () => {}
  const exited = new Promise<void>((resolve) => {
    tell = resolve
  })
  const stderr = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const own = mark.push(chunk)
      if (mark.status !== undefined) tell()
      done(null, own)
    },
    flush: (done) => done(null, mark.flush()),
  })
  return {
    stdin: child.stdin as Writable,
    stdout: child.stdout as Readable,
    stderr: (child.stderr as Readable).pipe(stderr),
    exit,
    exited,
    signal: () => {},
    resize: () => {},
    close: () => {
      child.kill('SIGTERM')
    },
  }
}

interface ChangedKey {
  readonly detail: string
  /** The command that removes the old key. */
  readonly remove: string
}

/** Both fingerprints and the line on record, from what ssh says of a changed key: it names the line, not its key. */
async function changedKey(said: string): Promise<ChangedKey | undefined> {
  const [, type, shown] = /fingerprint for the (\S+) key sent by the remote host is\s+(SHA256:[^\s.]+)/.exec(said) ?? []
  const [, file, line] = /Offending \S+ key in (.+):(\d+)/.exec(said) ?? []
  const [, remove] = /remove with:\s+(ssh-keygen .+)/.exec(said) ?? []
  if (!type || !shown || !file || !line || !remove) return undefined
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n')
  const known = /(\S+) (AAAA[A-Za-z0-9+/=]+)/.exec(lines[Number(line) - 1] ?? '')
  const onRecord = known ? `${known[1]} ${fingerprint(Buffer.from(known[2] as string, 'base64'))} ` : ''
  return { detail: `it showed    ${type} ${shown}\non record is ${onRecord}(${file}:${line})`, remove: remove.trim() }
}

/** What ssh said when it could not connect, as one of our own failures. */
function masterFailure(config: SshConfig, said: string, gone: Error, changed: ChangedKey | undefined): ConnectError {
  const host = config.destination
  const detail = said.trim() || gone.message
  const make = (code: string, message: string, next?: string) => new ConnectError(code, message, { host, detail, next })
  const retry = `Try: ssh -v ${host}`
  if (/REMOTE HOST IDENTIFICATION HAS CHANGED/.test(said)) {
    return new ConnectError('host-key-changed', `the host key of ${host} has changed`, {
      host,
      detail: changed?.detail ?? detail,
      state: 'Nothing was sent to it: someone else may be answering in its name.',
      next: `If the host was reinstalled: ${changed?.remove ?? 'remove its old key with ssh-keygen -R'}, then connect again.`,
    })
  }
  if (/Host key verification failed|No \S+ host key is known/.test(said)) {
    return make('host-key-unknown', `the host key of ${host} is not known`, `Connect once on a terminal: ssh ${host}`)
  }
  if (/Permission denied|Too many authentication failures/.test(said)) {
    return make('auth-failed', `${host} did not accept the user ${config.user}`, retry)
  }
  if (/Could not resolve hostname/.test(said)) return make('host-unresolvable', `${host} does not resolve`, retry)
  if (/Connection refused/.test(said)) return make('host-refused', `${host} refused the connection`, retry)
  if (/timed out/.test(said)) return make('host-timeout', `${host} did not answer in time`, retry)
  if (/no matching|Unable to negotiate/.test(said)) {
    return make('no-common-algorithm', `${host} and this machine's ssh share no algorithm`, retry)
  }
  return make('handshake-failed', `ssh could not connect to ${host}`, retry)
}
