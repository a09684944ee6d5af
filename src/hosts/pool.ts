/**
 * The connections of a run: one for each endpoint, whatever it is called, made on first use and closed at the run's
 * end. Connecting is retried with backoff; nothing else ever is.
 */
import type { Duplex } from 'node:stream'
import { UsageError } from '../events/errors.ts'
import { currentRun, hostsReached, type Run } from '../events/run.ts'
import { backOff, jittered } from './back-off.ts'
import { hasKerberosTicket, needsOpenssh } from './choose.ts'
import { defaultConnectTimeoutMs, dialProxyCommand, dialTcp, dialTimeout } from './dial.ts'
import { ConnectError, triedFor } from './errors.ts'
import { createGate, type Gate } from './gate.ts'
import { hostKeyCheck } from './host-key.ts'
import { orAborted, within } from './promises.ts'
import { readAhead } from './read-once.ts'
import { resolveSshConfigs, type SshConfig } from './ssh-config.ts'
import type { Transport } from './transport.ts'

export interface Pool {
  /** The configuration for a destination, resolved once a run. */
  config(destination: string): Promise<SshConfig>
  /** The connection for a destination: that which stands, or a new one. */
  transport(destination: string): Promise<Transport>
  local(): Promise<Transport>
}

/** What the pool of a run is kept under: a test puts a pool of fakes there first. */
export const poolKey = Symbol('hosts')
/** New connections that one sshd is asked for at once; its MaxStartups begins to refuse at ten. */
const handshakesPerServer = 8
const attempts = 6

/** The pool of the current run. */
export function pool(): Pool {
  const run = currentRun()
  return run.memo(poolKey, () => createPool(run))
}

function createPool(run: Run): Pool {
  const configs = new Map<string, Promise<SshConfig>>()
  const standing = new Map<string, Promise<Transport>>()
  const gates = new Map<string, Gate>()
  let local: Promise<Transport> | undefined
  // Destinations asked about in the same turn are looked up by few processes.
  const asked = new Map<string, (config: Promise<SshConfig>) => void>()
  const askAll = () => {
    const all = [...asked]
    asked.clear()
    const found = resolveSshConfigs(
      all.map(([destination]) => destination),
      run.options.sshConfigFile,
    )
    for (const [index, [, resolve]] of all.entries()) resolve(found[index] as Promise<SshConfig>)
    // Most hosts are ssh2's: part of it is loaded while the answers are on their way.
    void import('./ssh2-transport.ts').then(({ loadAhead }) => loadAhead())
  }

  run.defer(async () => {
    const all = await Promise.allSettled([...standing.values(), ...(local ? [local] : [])])
    await Promise.all(all.map((each) => (each.status === 'fulfilled' ? each.value.close() : undefined)))
  })

  const config = (destination: string) => {
    let found = configs.get(destination)
    if (!found) {
      found = new Promise<SshConfig>((resolve) => {
        if (asked.size === 0) setImmediate(askAll)
        asked.set(destination, resolve)
      })
      configs.set(destination, found)
      found.then(
        ({ note }) => note && run.emit({ type: 'note', host: destination, text: note }),
        () => configs.delete(destination),
      )
    }
    return found
  }

  async function transport(destination: string, path: readonly string[] = []): Promise<Transport> {
    if (path.includes(destination) || path.length > 10) {
      throw new UsageError('proxy-loop', `the ProxyJump of ${path[0]} leads back to itself`, {
        detail: [...path, destination].join(' → '),
      })
    }
    const resolved = await config(destination)
    const key = endpointKey(resolved)
    let found = standing.get(key)
    if (!found) {
      const gateKey = `${resolved.hostName}:${resolved.port}`
      let gate = gates.get(gateKey)
      if (!gate) {
        gate = createGate(handshakesPerServer)
        gates.set(gateKey, gate)
      }
      found = connectPaced(resolved, gate, [...path, destination])
      standing.set(key, found)
      const mine = found
      const forget = () => {
        if (standing.get(key) === mine) standing.delete(key)
      }
      found.then((made) => void made.lost.then(forget), forget)
    }
    return found
  }

  /** An interrupt ends what is connecting. Who connects after it, to let go of a lock, is not ended by it. */
  const interrupting = () => (run.signal.aborted ? undefined : run.signal)

  async function connectPaced(resolved: SshConfig, gate: Gate, path: readonly string[]): Promise<Transport> {
    const leave = await gate.enter(interrupting())
    const host = resolved.destination
    const endpoint = `${resolved.user}@${resolved.hostName}:${resolved.port}`
    const startedAt = performance.now()
    run.emit({ type: 'host.connecting', host, endpoint })
    try {
      const { transport: made, why } = await connectWithRetries(resolved, path)
      const durationMs = performance.now() - startedAt
      hostsReached(run).add(host)
      run.emit({ type: 'host.connected', host, endpoint, transport: made.kind, durationMs, ...(why ? { why } : {}) })
      return made
    } finally {
      leave()
    }
  }

  async function connectWithRetries(
    resolved: SshConfig,
    path: readonly string[],
  ): Promise<{ transport: Transport; why?: string }> {
    const startedAt = performance.now()
    for (let attempt = 1; ; attempt++) {
      try {
        return await connectOnce(resolved, path)
      } catch (error) {
        // What a jump host said of itself says how long that took, too.
        if (!(error instanceof ConnectError) || error.host !== resolved.destination) throw error
        if (!mayPass(error) || attempt >= attempts || run.signal.aborted)
          throw triedFor(error, performance.now() - startedAt, attempt)
        await backOff(jittered(Math.min(100 * 2 ** attempt, 3000)), run.signal)
      }
    }
  }

  async function connectOnce(
    resolved: SshConfig,
    path: readonly string[],
  ): Promise<{ transport: Transport; why?: string }> {
    const signal = interrupting()
    // What is looked at in them is read in one go; each is then looked at in its turn.
    for (const file of resolved.identityFiles) readAhead(file, `${file}-cert.pub`, `${file}.pub`)
    readAhead(...resolved.userKnownHostsFiles, ...resolved.globalKnownHostsFiles)
    const check = await hostKeyCheck(resolved)
    const openssh = async (why: string) => {
      const { connectOpenssh } = await import('./openssh-transport.ts')
      return { transport: await connectOpenssh(resolved, run.options.sshConfigFile, signal), why }
    }
    const why = await needsOpenssh(resolved, check)
    if (why !== undefined) return openssh(why)
    // The module is loaded while TCP connects.
    const loading = import('./ssh2-transport.ts')
    const [stream, { connectSsh2, BeyondSsh2Error }] = await Promise.all([dial(resolved, path, signal), loading])
    try {
      return { transport: await connectSsh2(resolved, stream, check, signal) }
    } catch (error) {
      if (resolved.note !== undefined || !(error instanceof ConnectError)) throw error
      if (error instanceof BeyondSsh2Error) return openssh(error.detail?.split('\n').at(-1) ?? error.message)
      if (error.code === 'auth-failed' && (await hasKerberosTicket(resolved)))
        return openssh('there is a Kerberos ticket')
      throw error
    }
  }

  async function dial(resolved: SshConfig, path: readonly string[], signal: AbortSignal | undefined): Promise<Duplex> {
    if (resolved.proxyCommand !== undefined) return dialProxyCommand(resolved)
    const lastHop = resolved.proxyJump.at(-1)
    if (lastHop === undefined) return dialTcp(resolved, signal)
    // The last hop is reached through those before it, as OpenSSH does: in the order written.
    const hop = await jump(resolved.proxyJump, path)
    const timeoutMs = resolved.connectTimeoutMs ?? defaultConnectTimeoutMs
    const opening = hop.openTcp(resolved.hostName, resolved.port)
    // The hop's own patience may be minutes.
    try {
      const stream = await orAborted(signal, within(timeoutMs, opening))
      if (stream) return stream
      throw dialTimeout(resolved, timeoutMs)
    } catch (error) {
      void opening.then((late) => late.destroy()).catch(() => {})
      throw error
    }
  }

  /** The connection to the last of `hops`, through the ones before it. */
  async function jump(hops: readonly string[], path: readonly string[]): Promise<Transport> {
    const last = hops.at(-1) as string
    const before = hops.slice(0, -1)
    if (before.length === 0) return transport(last, path)
    const own = await config(last)
    const through: SshConfig = { ...own, proxyJump: before, proxyCommand: undefined }
    const key = endpointKey(through)
    let found = standing.get(key)
    if (!found) {
      found = connectPaced(through, createGate(1), [...path, last])
      standing.set(key, found)
      const forget = () => standing.delete(key)
      found.then((made) => void made.lost.then(forget), forget)
    }
    return found
  }

  return {
    config,
    transport: (destination) => transport(destination),
    local: () => {
      local ??= import('./local-transport.ts').then(({ localTransport }) => localTransport())
      return local
    },
  }
}

/** What is the same connection for two names. */
function endpointKey(config: SshConfig): string {
  return JSON.stringify([
    config.user,
    config.hostName.toLowerCase(),
    config.port,
    config.proxyJump,
    config.proxyCommand,
    config.hostKeyAlias,
    config.identityFiles,
    config.certificateFiles,
    config.identityAgent,
  ])
}

const worthRetrying = new Set(['handshake-failed', 'host-dns-unavailable', 'auth-interrupted'])

/** Whether it may go better the next time. The same keys will be too many again, and hosts lock out who goes on. */
function mayPass(error: ConnectError): boolean {
  return worthRetrying.has(error.code) && !/Too many authentication failures/.test(error.detail ?? '')
}
