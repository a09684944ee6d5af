/** HTTP over a stream that is already open (a unix socket on a host): one connection, kept for many requests. */
import { Agent, request } from 'node:http'
import type { Duplex } from 'node:stream'

export interface HttpAnswer {
  status: number
  headers: Record<string, string>
  body: string
}

export interface HttpAsk {
  method?: string
  path: string
  headers?: Record<string, string>
  body?: string
  timeoutMs?: number
  /** Bytes of the body that are kept. 1 MiB unless given. */
  maxBody?: number
  signal?: AbortSignal
}

/** Keeps using one stream, which need not be a socket: what an agent calls of a socket does nothing on it. */
class StreamAgent extends Agent {
  private readonly stream: Duplex

  constructor(stream: Duplex) {
    super({ keepAlive: true, maxSockets: 1 })
    const nothing = () => stream
    this.stream = Object.assign(stream, { ref: nothing, unref: nothing, setKeepAlive: nothing, setTimeout: nothing })
  }

  override createConnection(): Duplex {
    return this.stream
  }
}

export interface HttpConnection {
  ask(ask: HttpAsk): Promise<HttpAnswer>
  close(): void
}

export function httpOver(stream: Duplex): HttpConnection {
  const agent = new StreamAgent(stream)
  // Between requests nobody listens: a stream that dies then must not end the process.
  stream.on('error', () => {})
  return {
    ask: (ask) => send(agent, ask),
    close() {
      agent.destroy()
      stream.destroy()
    },
  }
}

function send(agent: Agent, ask: HttpAsk): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const limit = ask.maxBody ?? 1024 * 1024
    const body = ask.body === undefined ? undefined : Buffer.from(ask.body)
    const outgoing = request({
      agent,
      method: ask.method ?? (body ? 'POST' : 'GET'),
      path: ask.path,
      host: 'localhost',
      headers: { host: 'localhost', ...ask.headers, ...(body ? { 'content-length': String(body.length) } : {}) },
      signal: ask.signal,
    })
    const timer = ask.timeoutMs
      ? setTimeout(() => outgoing.destroy(new Error(`no answer within ${ask.timeoutMs} ms`)), ask.timeoutMs)
      : undefined
    const settle = <T>(finish: (value: T) => void, value: T) => {
      clearTimeout(timer)
      finish(value)
    }
    outgoing.on('error', (error) => settle(reject, error))
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = []
      let kept = 0
      incoming.on('data', (chunk: Buffer) => {
        if (kept < limit) chunks.push(chunk.subarray(0, limit - kept))
        kept += chunk.length
      })
      incoming.on('error', (error) => settle(reject, error))
      incoming.on('end', () =>
        settle(resolve, {
          status: incoming.statusCode ?? 0,
          headers: Object.fromEntries(
            Object.entries(incoming.headers).map(([name, value]) => [
              name,
              Array.isArray(value) ? value.join(', ') : (value ?? ''),
            ]),
          ),
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      )
    })
    outgoing.end(body)
  })
}
