/**
 * The Platform API and the data API over fetch. Reads are tried again; a write is sent once, and where its reply is
 * lost, `reread` decides whether it took effect. The token is never shown. Obeys the run's abort signal and dry run.
 */
import { readFile } from 'node:fs/promises'
import { AbortedError, OutcomeUnknownError, SlipwayError, StubbedResultError } from '../../events/errors.ts'
import { currentRun, throwIfAborted } from '../../events/run.ts'
import type { Secret } from '../../shell/secret.ts'
import { type ApiFailure, apiError } from './errors.ts'
import { type Environment, findToken } from './token.ts'
import { pause } from './wait.ts'

/** Checks and narrows a reply. */
export type Parser<T> = (reply: unknown) => T

export interface ReadOptions {
  /** The variant of version 3: `sdk`, `pipelines`. */
  variant?: string
  data?: boolean
  /** The data API's credentials take the token as a password. */
  basic?: boolean
  /** 30,000 unless given. */
  deadlineMs?: number
}

export interface WriteOptions<T> extends ReadOptions {
  body?: unknown
  /** After a lost reply: what the call made, if it took effect; undefined where it did not, and it is sent again. */
  reread?: () => Promise<T | undefined>
  /** Goes on although the run is aborted: putting things back. */
  evenAborted?: boolean
  /** It only reads in the end (a log session): a dry run sends it too. */
  reads?: boolean
}

export interface HerokuClient {
  readonly apiUrl: string
  readonly dataUrl: string
  /** PEM that rendezvous connections trust besides the system's. */
  certificate(): Promise<string | undefined>
  get<T>(path: string, parse: Parser<T>, options?: ReadOptions): Promise<T>
  /** All pages of a list; `range` as in `version ..; order=desc, max=10`, and `limit` stops after so many rows. */
  list<T>(path: string, parse: Parser<T>, options?: ReadOptions & { range?: string; limit?: number }): Promise<T[]>
  write<T>(
    method: 'POST' | 'PATCH' | 'PUT' | 'DELETE',
    path: string,
    parse: Parser<T>,
    options?: WriteOptions<T>,
  ): Promise<T>
  /** Sends bytes to a signed URL. */
  upload(url: string, bytes: Uint8Array): Promise<void>
  /** A reply without the token, for signed URLs and streams. */
  open(url: string, headers?: Record<string, string>, signal?: AbortSignal): Promise<Response>
}

/** Replies that nobody looks at. */
export const ignored: Parser<void> = () => undefined

// 75 calls a minute come back: with few left, one call waits for one that comes back.
const refillMs = 60_000 / 75
const lowRemaining = 20
const readTries = 4

/** By `env`: HEROKU_API_KEY, HEROKU_API_URL or HEROKU_HOST, HEROKU_DATA_HOST, HEROKU_CA_FILE. */
export function herokuClient(env: Environment = process.env): HerokuClient {
  const host = env['HEROKU_HOST']
  const apiUrl = trim(env['HEROKU_API_URL'] ?? (host ? withScheme(host, 'api.') : 'https://api.heroku.com'))
  const dataUrl = trim(
    withScheme(env['HEROKU_DATA_HOST'] || env['HEROKU_POSTGRESQL_HOST'] || 'https://api.data.heroku.com'),
  )
  let token: Promise<Secret> | undefined
  let remaining = Number.POSITIVE_INFINITY
  let requestIds: string[] = []
  let twoFactor: string | undefined

  async function send(
    method: string,
    path: string,
    given: WriteOptions<unknown> & { range?: string },
  ): Promise<Response> {
    token ??= findToken(env)
    const secret = (await token).reveal()
    const url = (given.data ? dataUrl : apiUrl) + path
    const signals = [AbortSignal.timeout(given.deadlineMs ?? 30_000)]
    if (!given.evenAborted) signals.push(currentRun().signal)
    const response = await fetch(url, {
      method,
      headers: {
        Accept: `application/vnd.heroku+json; version=3${given.variant ? `.${given.variant}` : ''}`,
        Authorization: given.basic ? `Basic ${Buffer.from(`:${secret}`).toString('base64')}` : `Bearer ${secret}`,
        'User-Agent': 'slipway',
        ...(requestIds.length > 0 ? { 'Request-Id': requestIds.join(',') } : {}),
        ...(twoFactor === undefined ? {} : { 'Heroku-Two-Factor-Code': twoFactor }),
        ...(given.range === undefined ? {} : { Range: given.range }),
        ...(given.body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      body: given.body === undefined ? undefined : JSON.stringify(given.body),
      signal: AbortSignal.any(signals),
    })
    const left = response.headers.get('RateLimit-Remaining')
    if (left !== null) remaining = Number(left)
    const requestId = response.headers.get('Request-Id')
    if (requestId) requestIds = [...requestIds, requestId].slice(-20)
    return response
  }

  /** One call, waiting out 429 and asking once for a second factor: neither has done anything. */
  async function call(
    method: string,
    path: string,
    given: WriteOptions<unknown> & { range?: string },
  ): Promise<Response> {
    const giveUp = Date.now() + 5 * 60_000
    for (let attempt = 0; ; attempt += 1) {
      if (!given.evenAborted) throwIfAborted(currentRun())
      if (remaining < lowRemaining && attempt === 0) await pause(refillMs, waitSignal(given))
      const response = await send(method, path, given)
      if (response.ok) return response
      const failure = await failureOf(response, method, path)
      if (failure.status === 429) {
        const waitMs = Math.max(
          Number(response.headers.get('Retry-After') ?? 0) * 1000,
          Math.min(refillMs * 2 ** attempt, 60_000),
        )
        if (Date.now() + waitMs > giveUp) throw apiError(failure)
        if (attempt === 0) {
          currentRun().emit({
            type: 'note',
            text: `Heroku's rate limit is reached; waiting ${Math.ceil(waitMs / 1000)} s`,
          })
        }
        await pause(waitMs, waitSignal(given))
        continue
      }
      if (failure.id === 'two_factor' && twoFactor === undefined && currentRun().prompter.interactive) {
        twoFactor = (await currentRun().prompter.password('Heroku two-factor code')).trim()
        continue
      }
      throw apiError(failure)
    }
  }

  async function read(path: string, given: ReadOptions & { range?: string }): Promise<Response> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await call('GET', path, given)
      } catch (error) {
        throwIfAborted(currentRun())
        if (attempt >= readTries || !transient(error)) throw named(error, 'GET', path)
        await pause(250 * 2 ** attempt * (0.75 + Math.random() / 2))
      }
    }
  }

  const client: HerokuClient = {
    apiUrl,
    dataUrl,
    async certificate() {
      const file = env['HEROKU_CA_FILE']
      return file ? await readFile(file, 'utf8') : undefined
    },
    async get(path, parse, given = {}) {
      return parsed(parse, await (await read(path, given)).json(), path)
    },
    async list(path, parse, given = {}) {
      const rows: ReturnType<typeof parse>[] = []
      let range: string | undefined = given.range ?? (given.data ? undefined : 'id ..; max=1000')
      for (;;) {
        const response = await read(path, { ...given, range })
        const page = (await response.json()) as unknown[]
        rows.push(...page.map((row) => parsed(parse, row, path)))
        range = response.headers.get('Next-Range') ?? undefined
        if (response.status !== 206 || !range || rows.length >= (given.limit ?? Number.POSITIVE_INFINITY)) break
      }
      return given.limit === undefined ? rows : rows.slice(0, given.limit)
    },
    async write(method, path, parse, given = {}) {
      if (currentRun().options.dryRun && !given.reads) {
        const display = `${method} ${path}`
        currentRun().emit({ type: 'held-back', host: 'heroku', display })
        return stub(display) as ReturnType<typeof parse>
      }
      for (let attempt = 1; ; attempt += 1) {
        try {
          const response = await call(method, path, given)
          const text = await response.text()
          return parsed(parse, text === '' ? {} : JSON.parse(text), path)
        } catch (error) {
          if (!lost(error)) throw named(error, method, path)
          if (!given.evenAborted && currentRun().signal.aborted) throw interrupted(method, path, error)
          if (!given.reread) throw unknown(method, path, error)
          const found = await given.reread().catch((cause: unknown) => {
            throw unknown(method, path, cause)
          })
          if (found !== undefined) {
            currentRun().emit({ type: 'note', text: `the reply to ${method} ${path} was lost; it had taken effect` })
            return found
          }
          if (attempt >= 3) throw unknown(method, path, error)
          await pause(250 * 2 ** attempt, waitSignal(given))
        }
      }
    },
    async upload(url, bytes) {
      // The signature covers an empty content type. Putting the same bytes again does no harm.
      for (let attempt = 1; ; attempt += 1) {
        try {
          const response = await fetch(url, {
            method: 'PUT',
            body: bytes as Uint8Array<ArrayBuffer>,
            signal: AbortSignal.any([currentRun().signal, AbortSignal.timeout(30 * 60_000)]),
          })
          if (response.ok) return
          const failure = await failureOf(response, 'PUT', new URL(url).pathname)
          throw apiError(failure)
        } catch (error) {
          throwIfAborted(currentRun())
          if (attempt >= readTries || !transient(error)) throw named(error, 'PUT', 'the source')
          await pause(500 * 2 ** attempt)
        }
      }
    },
    open(url, headers = {}, signal = currentRun().signal) {
      return fetch(url, { headers: { 'User-Agent': 'slipway', ...headers }, signal })
    },
  }
  return client
}

const waitSignal = (given: { evenAborted?: boolean }): AbortSignal =>
  given.evenAborted ? new AbortController().signal : currentRun().signal

const trim = (url: string): string => url.replace(/\/+$/, '')

function withScheme(host: string, prefix = ''): string {
  return /^https?:\/\//.test(host) ? host : `https://${prefix}${host}`
}

async function failureOf(response: Response, method: string, path: string): Promise<ApiFailure> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>
  const text = (value: unknown, otherwise: string): string => (typeof value === 'string' ? value : otherwise)
  return {
    method,
    path,
    status: response.status,
    id: text(body['id'], `http_${response.status}`),
    message: text(body['message'] ?? body['error'], response.statusText || `HTTP ${response.status}`),
    resource: typeof body['resource'] === 'string' ? body['resource'] : undefined,
    requestId: response.headers.get('Request-Id') ?? undefined,
  }
}

/** The network, or a gateway, failed: a read may be tried again. */
function transient(error: unknown): boolean {
  if (error instanceof SlipwayError) return 'failure' in error && (error.failure as ApiFailure).status >= 500
  return true
}

/** It can't be known whether the platform acted: no reply came, or a gateway's. */
function lost(error: unknown): boolean {
  if (error instanceof SlipwayError && 'failure' in error) return (error.failure as ApiFailure).status >= 500
  return !(error instanceof SlipwayError)
}

function unknown(method: string, path: string, cause: unknown): OutcomeUnknownError {
  return new OutcomeUnknownError('heroku-outcome-unknown', `no reply came to ${method} ${path}`, {
    cause,
    state: 'Heroku may or may not have done it; it was not sent again.',
    next: 'Look with `tasks status`, then run the task again: it begins with what is really there.',
  })
}

/** Ctrl-C while a write was under way: an interruption like any other, whose effect is not known. */
function interrupted(method: string, path: string, cause: unknown): AbortedError {
  const { state, next } = unknown(method, path, cause)
  return new AbortedError(`interrupted before a reply came to ${method} ${path}`, { cause, state, next })
}

function named(error: unknown, method: string, path: string): unknown {
  if (error instanceof SlipwayError) return error
  if (error instanceof Error && error.name === 'AbortError') return new AbortedError('interrupted', { cause: error })
  const why = error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error)
  return new SlipwayError('heroku-unreachable', `Heroku's API did not answer ${method} ${path}: ${why}`, {
    cause: error,
    next: 'Check the network and https://status.heroku.com, and run it again.',
  })
}

function parsed<T>(parse: Parser<T>, reply: unknown, path: string): T {
  try {
    return parse(reply)
  } catch (error) {
    throw new SlipwayError('heroku-odd-reply', `Heroku's reply to ${path} is not what its schema says`, {
      cause: error,
      detail: error instanceof Error ? error.message : String(error),
    })
  }
}

/** The result of a write that a dry run held back: looking at it ends the task there. */
function stub(display: string): unknown {
  return new Proxy(Object.create(null), {
    get(_target, key) {
      if (key === 'then' || typeof key === 'symbol') return undefined
      throw new StubbedResultError(display)
    },
  })
}
