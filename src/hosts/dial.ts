/** Opens the byte stream that SSH runs over: TCP, a proxy command, or a tunnel through another host. */
import { spawn } from 'node:child_process'
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import { abortedBy } from '../events/errors.ts'
import { humanDuration } from './duration.ts'
import { ConnectError } from './errors.ts'
import type { SshConfig } from './ssh-config.ts'

export const defaultConnectTimeoutMs = 15_000

/** A TCP connection without Nagle's delay. Rejects with a ConnectError for each way it can fail. */
export async function dialTcp(config: SshConfig, signal?: AbortSignal): Promise<Duplex> {
  const { hostName, port, destination } = config
  const timeoutMs = config.connectTimeoutMs ?? defaultConnectTimeoutMs
  const endpoint = `${hostName} port ${port}`
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: hostName,
      port,
      noDelay: true,
      family: config.addressFamily === 'inet' ? 4 : config.addressFamily === 'inet6' ? 6 : 0,
    })
    const stop = (error: unknown) => {
      settle()
      socket.destroy()
      reject(error)
    }
    const timer = setTimeout(() => stop(dialTimeout(config, timeoutMs)), timeoutMs)
    const abort = () => stop(signal && abortedBy(signal))
    signal?.addEventListener('abort', abort, { once: true })
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    const fail = (error: NodeJS.ErrnoException) => {
      settle()
      reject(dialError(destination, endpoint, error))
    }
    socket.once('error', fail)
    socket.once('connect', () => {
      settle()
      socket.off('error', fail)
      // A connection that nobody reads yet must not end the process when it breaks.
      socket.on('error', () => {})
      resolve(socket)
    })
  })
}

/** What a host is told as that did not answer in time. */
export function dialTimeout({ destination, hostName, port }: SshConfig, timeoutMs: number): ConnectError {
  const endpoint = `${hostName} port ${port}`
  return new ConnectError('host-timeout', `${destination} did not answer within ${humanDuration(timeoutMs)}`, {
    host: destination,
    detail: `connecting to ${endpoint}`,
    next: `Is the host up, and does a firewall let ${endpoint} through? ConnectTimeout in ~/.ssh/config sets the limit.`,
  })
}

/** What a failed connection is told as. */
export function dialError(destination: string, endpoint: string, error: NodeJS.ErrnoException): ConnectError {
  const details = { host: destination, detail: error.message, cause: error }
  switch (firstCode(error)) {
    case 'ENOTFOUND':
      return new ConnectError('host-unresolvable', `${destination} does not resolve: no such host name`, {
        ...details,
        next: `Is the name right? Try: ssh -G ${destination} | grep -i ^hostname`,
      })
    case 'EAI_AGAIN':
      return new ConnectError('host-dns-unavailable', `the name of ${destination} could not be looked up just now`, {
        ...details,
        next: 'Is the network up? Then try again.',
      })
    case 'ECONNREFUSED':
      return new ConnectError('host-refused', `${destination} refused the connection: nothing listens on ${endpoint}`, {
        ...details,
        next: 'Is sshd running there, and is the port right?',
      })
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new ConnectError('host-unreachable', `there is no route to ${destination} (${endpoint})`, {
        ...details,
        next: 'Is the network (or the VPN) up?',
      })
    case 'ETIMEDOUT':
      return new ConnectError('host-timeout', `${destination} did not answer (${endpoint})`, {
        ...details,
        next: 'Is the host up, and does a firewall let it through?',
      })
    default:
      return new ConnectError('host-unreachable', `${destination} could not be reached: ${error.message}`, details)
  }
}

/** Several addresses tried give an AggregateError; what the first one said is the reason. */
function firstCode(error: NodeJS.ErrnoException): string | undefined {
  const errors = (error as { errors?: NodeJS.ErrnoException[] }).errors
  return errors?.[0]?.code ?? error.code
}

/** A stream whose other end can say why it stopped. */
export type Complaining = Duplex & { complaint?: () => Promise<string> }

/** The streams of a ProxyCommand, run as OpenSSH runs it: by the user's shell, after `exec`. */
export function dialProxyCommand(config: SshConfig): Duplex {
  const shell = process.env.SHELL || '/bin/sh'
  // Its own process group: Ctrl-C on the terminal must not cut the connection before the host is told.
  const child = spawn(shell, ['-c', `exec ${config.proxyCommand ?? ''}`], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000)
  })
  const stream = Duplex.from({ readable: child.stdout, writable: child.stdin }) as Complaining
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve())
    child.once('error', () => resolve())
  })
  stream.complaint = async () => {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 500))])
    return complaint.trim()
  }
  stream.on('error', () => {})
  child.on('error', (error) => stream.destroy(error))
  stream.on('close', () => {
    try {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGTERM')
    } catch {
      // It is gone already.
    }
  })
  return stream
}
