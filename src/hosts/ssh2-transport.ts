/**
 * A host over ssh2. One authenticated connection; everything is a channel of it. At most four command channels at
 * once: sshd frees a slot of its ten (MaxSessions) only after we see the close, so that more would race for them.
 */
import type { Duplex, Readable, Writable } from 'node:stream'
import type { NodeSSH as NodeSshClass } from 'node-ssh'
import type { Client, ClientChannel, ConnectConfig, ParsedKey, SFTPWrapper } from 'ssh2'
import { OutcomeUnknownError } from '../events/errors.ts'
import { currentRun } from '../events/run.ts'
import { backOff, jittered } from './back-off.ts'
import type { Complaining } from './dial.ts'
import { earlyInput } from './early-input.ts'
import { ConnectError } from './errors.ts'
import { createGate } from './gate.ts'
import type { HostKeyCheck } from './host-key.ts'
import { orAborted } from './promises.ts'
import { rsyncBridge } from './rsync-bridge.ts'
import { spareChannel } from './spare-channel.ts'
import type { SshConfig } from './ssh-config.ts'
import { planAuth } from './ssh2-auth.ts'
import { loadNodeSsh } from './ssh2-library.ts'
import { bulk, limitWindow, windowFor } from './ssh2-packets.ts'
import type { Channel, ExecOptions, Transport } from './transport.ts'

export { loadAhead } from './ssh2-library.ts'

const commandChannels = 4
/** What takes longer than this, milliseconds, is not waited for where commands go one by one. */
const longMs = 1000
/** How long a server may take to answer once TCP stands, milliseconds. */
const handshakeTimeoutMs = 20_000
/** How long it is waited for what it says of a login, while no person and no agent is asked: sshd's LoginGraceTime. */
const loginGraceMs = 120_000

/**
 * Connects over `stream` and authenticates. Rejects with a ConnectError that says which phase failed, or as soon as
 * `signal` is aborted.
 */
export async function connectSsh2(
  config: SshConfig,
  stream: Duplex,
  check: HostKeyCheck,
  signal?: AbortSignal,
): Promise<Transport> {
  const { NodeSSH } = loadNodeSsh()
  const auth = planAuth(config)
  let refusal: unknown
  let phase: 'key exchange' | 'authentication' = 'key exchange'
  let asking = false
  let accepted: Buffer | undefined
  const clock = deadline(() =>
    phase === 'authentication' ? loginGraceMs : (config.connectTimeoutMs ?? handshakeTimeoutMs),
  )
  const options: ConnectConfig = {
    sock: stream,
    username: config.user,
    readyTimeout: 0,
    keepaliveInterval: config.serverAliveIntervalMs ?? 15_000,
    keepaliveCountMax: config.serverAliveCountMax,
    algorithms: { serverHostKey: hostKeyOrder(check) } as unknown as ConnectConfig['algorithms'],
    hostVerifier: (key: Buffer, verify: (ok: boolean) => void) => {
      // At once where the server renews its keys (RekeyLimit): while ssh2 waits for this it would send what comes
      // under keys that hold no more.
      if (accepted?.equals(key)) return verify(true)
      asking = true
      check.verify(key).then(
        () => {
          asking = false
          accepted = Buffer.from(key)
          phase = 'authentication'
          verify(true)
        },
        (error: unknown) => {
          refusal = error
          verify(false)
        },
      )
    },
    authHandler: auth.handler,
    ...(config.forwardAgent === undefined ? {} : { agent: config.forwardAgent }),
  }
  const ssh: NodeSshClass = new NodeSSH()
  const connecting = ssh.connect(options as Parameters<NodeSshClass['connect']>[0])
  // node-ssh makes the client at once, and its own listener goes when it is ready: later errors would end the process.
  const client = ssh.connection as Client
  client.on('error', () => {})
  // A tunnel whose far end has gone stays open in this direction: nothing would say that the host is lost.
  client.on('end', () => stream.destroy())
  let said = ''
  stream.once('data', (chunk: Buffer) => {
    said = chunk.toString('latin1', 0, 200).split(/\r?\n/, 1)[0] ?? ''
  })
  signAtOnce(client)
  const timedOut = clock
    .expired(() => asking || auth.isWaiting())
    .then(() => {
      client.destroy()
      throw new ConnectError('handshake-timeout', `${config.destination} accepted the connection, then said nothing`, {
        host: config.destination,
        detail: `during ${phase}`,
        next: 'Is it an SSH server that answers there, and is it overloaded?',
      })
    })
  timedOut.catch(() => {})
  try {
    await orAborted(signal, Promise.race([connecting, timedOut]))
  } catch (error) {
    connecting.catch(() => {})
    stream.destroy()
    if (error instanceof ConnectError || signal?.aborted) throw error
    const complaint = await (stream as Complaining).complaint?.()
    throw refusal ?? connectFailure(config, error, phase, auth.tried, auth.beyond, complaint, said)
  } finally {
    clock.stop()
  }
  bulk(client, stream)
  return ssh2Transport(client, stream, config)
}

interface Authenticating {
  authPK?(
    user: string,
    key: ParsedKey,
    algorithm?: string,
    sign?: (data: Buffer, done: (signed: Buffer) => void) => void,
  ): void
}

/**
 * ssh2 asks first whether a key would do, and signs when the server says yes. The question is for keys that ask a
 * person at each use; with a key file at hand the signature itself is sent, which saves a round trip and the server
 * half of the work. Where ssh2 is not as expected, nothing changes.
 */
function signAtOnce(client: Client): void {
  const protocol = (client as unknown as { _protocol?: Authenticating })._protocol
  const ask = protocol?.authPK
  if (!protocol || typeof ask !== 'function') return
  protocol.authPK = function (user, key, algorithm, sign) {
    // RSA has several signature algorithms; which to take depends on what the server answers.
    const direct = sign === undefined && key.isPrivateKey?.() === true && key.type !== 'ssh-rsa'
    const signer = (data: Buffer, done: (signed: Buffer) => void) => {
      const signed: unknown = key.sign(data)
      if (signed instanceof Error) ask.call(this, user, key, algorithm)
      else done(signed as Buffer)
    }
    ask.call(this, user, key, algorithm, direct ? signer : sign)
  }
}

function deadline(limitMs: () => number) {
  let timer: NodeJS.Timeout | undefined
  return {
    /** Resolves after the limit; not while `paused()`, when a person is being asked. One that has changed begins anew. */
    expired: (paused: () => boolean) =>
      new Promise<void>((resolve) => {
        const arm = () => {
          const ms = limitMs()
          timer = setTimeout(() => (paused() || limitMs() !== ms ? arm() : resolve()), ms)
          timer.unref()
        }
        arm()
      }),
    stop: () => clearTimeout(timer),
  }
}

/** The types on record first: a server whose recorded key is RSA must not be asked for its ed25519 key. */
function hostKeyOrder(check: HostKeyCheck): string[] | undefined {
  const rsa = ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa']
  const all = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', ...rsa]
  const known = check.knownTypes
    .flatMap((type) => (type === 'ssh-rsa' ? rsa : [type]))
    .filter((type) => all.includes(type))
  return known.length > 0 ? [...new Set([...known, ...all])] : undefined
}

interface Ssh2Error extends Error {
  level?: string
  code?: string
}

/** A failure that the system's ssh may not have. */
export class BeyondSsh2Error extends ConnectError {}

function connectFailure(
  config: SshConfig,
  error: unknown,
  phase: string,
  tried: readonly string[],
  beyond: readonly string[],
  complaint: string | undefined,
  said: string,
): ConnectError {
  const failure = error as Ssh2Error
  const host = config.destination
  const message = failure.message ?? String(error)
  if (failure.level === 'client-authentication' || /authentication methods failed/.test(message)) {
    const details = {
      host,
      detail: [
        'tried, in order:',
        ...[...tried, ...beyond.map((key) => `${key}: not offered`)].map((line) => `  ${line}`),
      ].join('\n'),
      cause: error,
      next: `Try: ssh -v ${host}. A key is added on the host with ssh-copy-id ${host}.`,
    }
    const text = `${host} did not accept the user ${config.user}`
    return beyond.length > 0
      ? new BeyondSsh2Error('auth-failed', text, details)
      : new ConnectError('auth-failed', text, details)
  }
  if (/no matching|Handshake failed: no/.test(message)) {
    return new BeyondSsh2Error('no-common-algorithm', `${host} and this client share no algorithm`, {
      host,
      detail: message,
      cause: error,
    })
  }
  if (phase === 'key exchange' && config.proxyCommand !== undefined) {
    return new ConnectError('proxy-failed', `the ProxyCommand of ${host} did not lead to it`, {
      host,
      detail: complaint || message,
      cause: error,
      next: `Its command is: ${config.proxyCommand}`,
    })
  }
  // What sshd says in place of its version is that it has no room now.
  if (phase === 'key exchange' && said !== '' && !/^(SSH-|Exceeded MaxStartups|Not allowed at this time)/.test(said)) {
    return new ConnectError('not-ssh', `${host} answers, but is no SSH server on port ${config.port}`, {
      host,
      detail: `it said: ${said}`,
      cause: error,
      next: `ssh -G ${host} shows the address and the port that are taken.`,
    })
  }
  if (phase === 'key exchange') {
    return new ConnectError('handshake-failed', `${host} closed the connection during key exchange`, {
      host,
      detail: message,
      cause: error,
      next: 'It may have too many connections at once (MaxStartups), or it is not an SSH server.',
    })
  }
  return new ConnectError('auth-interrupted', `${host} closed the connection during authentication`, {
    host,
    detail: [message, ...tried].join('\n'),
    cause: error,
    next: `Too many keys may have been offered (MaxAuthTries); IdentitiesOnly in ~/.ssh/config limits them.`,
  })
}

function ssh2Transport(client: Client, stream: Duplex, config: SshConfig): Transport {
  // Dropbear loses the status of a command that begins as another ends, and at times the connection with it (so it
  // does for OpenSSH's client): there they go one by one, past those that take long, such as the following of a log.
  const oneByOne = /^dropbear/i.test((client as unknown as { _remoteVer?: string })._remoteVer ?? '')
  const gate = createGate(oneByOne ? 1 : commandChannels)
  /** For what is urgent and waits for nobody; where commands go one by one, the others wait for it. */
  const pass = oneByOne ? gate.push : () => () => {}
  const env = { ...sentVariables(config), ...config.setEnv }
  const always: { env?: Record<string, string>; agentForward?: true } = {
    ...(Object.keys(env).length > 0 ? { env } : {}),
    ...(config.forwardAgent === undefined ? {} : { agentForward: true as const }),
  }
  const early = earlyInput(client)
  const spare = spareChannel(client, always)
  /** The least that a command's start has taken. */
  let roundTripMs = Number.POSITIVE_INFINITY
  let reason: Error | undefined
  client.on('error', (error) => {
    reason ??= error
  })
  let closing = false
  const lost = new Promise<Error>((resolve) => {
    client.on('close', () => {
      resolve(closing ? new Error('it was closed') : (reason ?? new Error('the connection was closed by the host')))
    })
  })
  let gone: Error | undefined
  void lost.then((error) => {
    gone = error
  })

  /**
   * Opens a channel. For a command, a full sshd (reason 2: nothing was started) is asked again for ten seconds; for a
   * stream the same reason says at once that nothing listens there.
   */
  async function open<T>(
    what: string,
    start: (done: (error: Error | undefined, value: T) => void) => void,
    kind: 'command' | 'stream' = 'command',
    signal?: AbortSignal,
  ): Promise<T> {
    const giveUp = Date.now() + (kind === 'command' ? 10_000 : 0)
    for (let pause = 5; ; pause = Math.min(pause * 2, 250)) {
      try {
        return await new Promise<T>((resolve, reject) => {
          if (gone) return reject(gone)
          void lost.then(reject)
          start((error, value) => (error ? reject(error) : resolve(value)))
        })
      } catch (error) {
        const { reason: code, message } = error as Error & { reason?: number }
        if (gone) throw gone
        if (code === 2) spare.giveUp()
        if (/agent forwarding/.test(message) && always.agentForward) {
          // Refused before the command was asked for: as OpenSSH does, go on without.
          delete always.agentForward
          const text = `${config.destination} does not let the agent be forwarded (AllowAgentForwarding)`
          currentRun().emit({ type: 'warning', host: config.destination, text })
          continue
        }
        if (code === 2 && Date.now() < giveUp) {
          await backOff(jittered(pause), signal)
          continue
        }
        if (/Channel open failure/.test(message)) {
          const next =
            code === 1
              ? 'The host forbids it (AllowTcpForwarding or AllowStreamLocalForwarding in its sshd_config).'
              : 'Its sshd allows too few sessions at once (MaxSessions), or what was asked for does not answer.'
          const refusal = kind === 'stream' && code === 2 ? 'stream-refused' : 'channel-refused'
          throw new ConnectError(refusal, `${config.destination} refused ${what}`, {
            host: config.destination,
            detail: message,
            cause: error,
            state: 'That was not started.',
            next,
          })
        }
        if (/^Unable to (exec|start subsystem)/.test(message)) {
          throw new OutcomeUnknownError(
            'channel-unanswered',
            `${config.destination} did not say that it began ${what}`,
            {
              host: config.destination,
              detail: message,
              cause: error,
              state: 'Whether it was started there is unknown.',
              next: `Look at ${config.destination}; a server that refuses all commands does this too: ssh ${config.destination} true`,
            },
          )
        }
        throw error
      }
    }
  }

  async function exec(command: string, options: ExecOptions = {}): Promise<Channel> {
    const leave = options.urgent ? pass() : await gate.enter(options.signal)
    if (oneByOne) setTimeout(leave, longMs).unref()
    try {
      const pty = options.pty && {
        cols: options.pty.columns,
        rows: options.pty.rows,
        term: options.pty.term ?? 'xterm-256color',
      }
      let waiting = pty ? undefined : spare.take()
      const askedAt = performance.now()
      const fed =
        options.input && !pty ? early.behind(command, options.input.data, options.input.more ?? false) : undefined
      // Adopted within the callback: a quick command's status and close can be in the same packet as its opening.
      const begin = (done: (error: Error | undefined, channel: Channel) => void) => {
        const started = (error: Error | undefined, channel: ClientChannel) => {
          if (error) return done(error, undefined as never)
          channel.on('close', leave)
          roundTripMs = Math.min(roundTripMs, performance.now() - askedAt)
          limitWindow(channel, windowFor(roundTripMs))
          done(undefined, { ...adopt(channel, lost), fed: fed?.sent })
        }
        const onSpare = waiting
        waiting = undefined
        if (onSpare) onSpare(command, started)
        else client.exec(command, { ...(pty ? { pty } : {}), ...always }, started)
      }
      const opened = open('a command channel', begin, 'command', options.signal)
      // Where there is one command there may be more.
      spare.refill()
      return await opened
    } catch (error) {
      leave()
      throw error
    }
  }

  return {
    kind: 'ssh2',
    lost,
    exec,
    openStream: (path) =>
      open<Duplex>(
        `a connection to the socket ${path}`,
        (done) => client.openssh_forwardOutStreamLocal(path, (error, stream) => done(error, stream)),
        'stream',
      ),
    openTcp: (host, port) =>
      open<Duplex>(
        `a connection to ${host} port ${port}`,
        (done) => client.forwardOut('127.0.0.1', 0, host, port, (error, stream) => done(error, stream)),
        'stream',
      ),
    rsyncShell: async () => rsyncBridge(exec),
    sftp: () => open<SFTPWrapper>('file transfer (sftp)', (done) => client.sftp((error, sftp) => done(error, sftp))),
    async close() {
      closing = true
      // Once what was written is on its way, nobody need wait for the server's end of it: that is a round trip.
      const sent = new Promise<void>((resolve) => stream.once('finish', resolve))
      client.end()
      const timer = setTimeout(() => client.destroy(), 1000)
      timer.unref()
      await Promise.race([sent, lost])
      void lost.then(() => clearTimeout(timer))
    },
  }
}

/** Variables of this process that SendEnv names, as OpenSSH sends them. The host's AcceptEnv decides. */
function sentVariables(config: SshConfig): Record<string, string> {
  const patterns = config.sendEnv
    .flatMap((value) => value.split(/\s+/))
    .map(
      (glob) =>
        new RegExp(
          `^${glob
            .replace(/[.+^${}()|[\]\\]/g, '\\$&')
            .replace(/\*/g, '.*')
            .replace(/\?/g, '.')}$`,
        ),
    )
  return Object.fromEntries(
    Object.entries(process.env).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && patterns.some((pattern) => pattern.test(entry[0])),
    ),
  )
}

function adopt(channel: ClientChannel, lost: Promise<Error>): Channel {
  let status: { exitCode: number | null; signal: string | null; coreDumped?: boolean } = {
    exitCode: null,
    signal: null,
  }
  let reported: (() => void) | undefined
  const reportedStatus = new Promise<void>((resolve) => {
    reported = resolve
  })
  channel.on('exit', (code: number | null, signal?: string, coreDumped?: boolean) => {
    status =
      code === null
        ? { exitCode: null, signal: signal?.replace(/^SIG/, '') ?? null, coreDumped }
        : { exitCode: code, signal: null }
    reported?.()
  })
  channel.on('error', () => {})
  const exit = new Promise<typeof status>((resolve) => {
    channel.on('close', () => resolve(status))
    // Closed channels are told of after the connection's end, but not when it breaks in the middle of a packet.
    void lost.then(() => setImmediate(() => resolve(status)))
  })
  return {
    stdin: channel as unknown as Writable,
    stdout: channel as unknown as Readable,
    stderr: channel.stderr as unknown as Readable,
    exit,
    exited: reportedStatus,
    signal: (name) => {
      channel.signal(name)
    },
    resize: (size) => {
      channel.setWindow(size.rows, size.columns, 0, 0)
    },
    close: () => {
      channel.close()
    },
  }
}
