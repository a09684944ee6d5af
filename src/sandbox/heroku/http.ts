/** A small HTTP server with a route table: JSON in and out, the platform's error bodies, paging and rate limits. */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Faults } from './faults.ts'

export interface Call {
  request: IncomingMessage
  response: ServerResponse
  method: string
  path: string
  params: Record<string, string>
  query: URLSearchParams
  // biome-ignore lint/suspicious/noExplicitAny: request bodies are whatever a client sends
  body: any
  raw: Buffer
}

export interface Reply {
  status?: number
  body?: unknown
  headers?: Record<string, string>
}

/** What a route resolves with; undefined means that it wrote to the response itself. */
export type Handler = (call: Call) => Promise<Reply | undefined> | Reply | undefined

export class ApiError extends Error {
  readonly status: number
  readonly id: string
  readonly extra: Record<string, unknown>

  constructor(status: number, id: string, message: string, extra: Record<string, unknown> = {}) {
    super(message)
    this.status = status
    this.id = id
    this.extra = extra
  }
}

interface Route {
  method: string
  pattern: RegExp
  names: string[]
  template: string
  handler: Handler
  open: boolean
}

export interface Seen {
  method: string
  path: string
  template: string
  status: number
  headers: Record<string, string | string[] | undefined>
  request: unknown
  reply: unknown
  /** When it came and when it was answered, in milliseconds of performance.now(). */
  begun: number
  ended: number
}

export interface ApiServer {
  readonly server: Server
  /** Every call that was answered, for tests to look at. */
  readonly seen: Seen[]
  /** `open`: needs no token. */
  route(method: string, template: string, handler: Handler, options?: { open?: boolean }): void
  /** Requests left in the hour. */
  remaining: number
  authorize: (call: Call) => void
}

export function createApiServer(faults: Faults): ApiServer {
  const routes: Route[] = []
  const seen: Seen[] = []
  const api: ApiServer = {
    server: createServer((request, response) => {
      answer(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : undefined)
      })
    }),
    seen,
    remaining: 4500,
    authorize: () => undefined,
    route(method, template, handler, options = {}) {
      const names: string[] = []
      const source = template.replace(/:(\w+)/g, (_all, name: string) => {
        names.push(name)
        return '([^/]+)'
      })
      routes.push({
        method,
        pattern: new RegExp(`^${source}/?$`),
        names,
        template,
        handler,
        open: options.open ?? false,
      })
    },
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const begun = performance.now()
    const url = new URL(request.url ?? '/', 'http://emulator')
    const method = request.method ?? 'GET'
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const raw = Buffer.concat(chunks)
    const route = routes.find((each) => each.method === method && each.pattern.test(url.pathname))
    const values = route?.pattern.exec(url.pathname)?.slice(1) ?? []
    const call: Call = {
      request,
      response,
      method,
      path: url.pathname,
      params: Object.fromEntries((route?.names ?? []).map((name, i) => [name, decodeURIComponent(values[i] ?? '')])),
      query: url.searchParams,
      body: {},
      raw,
    }
    const fault = faults.take(method, url.pathname)
    if (fault?.kind === 'refuse') return void request.socket.destroy()
    if (fault?.kind === 'hold') await fault.until
    if (fault?.kind === 'delay') await new Promise((resolve) => setTimeout(resolve, fault.ms))
    let reply: Reply | undefined
    try {
      if (!route) throw new ApiError(404, 'not_found', 'The requested API endpoint was not found.')
      if (fault?.kind === 'status') throw new ApiError(fault.status, fault.id, fault.message)
      if (!route.open) {
        if (fault?.kind === 'rate-limit') {
          api.remaining = 0
          throw new ApiError(429, 'rate_limit', 'Your account reached the API rate limit. Please wait a few minutes.')
        }
        api.remaining = Math.max(0, api.remaining - 1)
        api.authorize(call)
      }
      call.body = route.open ? {} : parseBody(request, raw)
      reply = await route.handler(call)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      reply = { status: error.status, body: { id: error.id, message: error.message, ...error.extra } }
    }
    if (fault?.kind === 'rate-limit') api.remaining = 75
    if (!reply) return
    const { status, headers, body } = page(request, reply)
    seen.push({
      method,
      path: url.pathname,
      template: route?.template ?? '',
      status,
      headers: request.headers,
      request: call.body,
      reply: body,
      begun,
      ended: performance.now(),
    })
    if (fault?.kind === 'lose-reply') return void request.socket.destroy()
    const text = body === undefined ? '' : JSON.stringify(body)
    response.writeHead(status, {
      'Content-Type': 'application/json',
      'Request-Id': randomUUID(),
      'RateLimit-Remaining': String(status === 429 ? 0 : api.remaining),
      'RateLimit-Multiplier': '1',
      ...(status === 429 ? { 'Retry-After': '1' } : {}),
      ...headers,
    })
    response.end(text)
  }
  return api
}

function parseBody(request: IncomingMessage, raw: Buffer): unknown {
  if (raw.length === 0 || !/json/.test(String(request.headers['content-type'] ?? 'json'))) return {}
  try {
    return JSON.parse(raw.toString('utf8'))
  } catch {
    throw new ApiError(400, 'bad_request', 'request invalid, validate usage and try again')
  }
}

/** Lists are cut into pages: `Range: id ..; max=2` gets 206 and Next-Range, whose value is sent back as Range. */
function page(
  request: IncomingMessage,
  reply: Reply,
): { status: number; headers: Record<string, string>; body: unknown } {
  const status = reply.status ?? 200
  const headers = { ...reply.headers }
  if (!Array.isArray(reply.body) || request.method !== 'GET') return { status, headers, body: reply.body }
  const range = String(request.headers['range'] ?? '')
  const field = /^(\w+)/.exec(range)?.[1] ?? 'id'
  const max = Math.min(1000, Number(/max=(\d+)/.exec(range)?.[1] ?? 200))
  const descending = /order=desc/.test(range)
  const after = /^\w+ \](\S+)\.\./.exec(range)?.[1]
  const key = (row: unknown): string | number => ((row as Record<string, unknown>)[field] as string | number) ?? ''
  let rows = [...(reply.body as unknown[])]
  if (/^\w+ /.test(range)) {
    rows.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0))
    if (descending) rows.reverse()
  }
  if (after !== undefined) {
    const index = rows.findIndex((row) => String(key(row)) === after)
    rows = rows.slice(index + 1)
  }
  if (rows.length <= max) return { status, headers, body: rows }
  const shown = rows.slice(0, max)
  const last = String(key(shown[shown.length - 1]))
  return {
    status: 206,
    headers: {
      ...headers,
      'Content-Range': `${field} ${String(key(shown[0]))}..${last}`,
      'Next-Range': `${field} ]${last}..; max=${max}${descending ? ', order=desc' : ''}`,
    },
    body: shown,
  }
}
