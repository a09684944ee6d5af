/** Logs: the last lines, or followed for as long as one likes: new sessions as they expire, nothing twice, gaps marked. */
import { createParser } from 'eventsource-parser'
import { SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import type { LogLine, LogOptions } from '../deployment.ts'
import type { HerokuContext } from './context.ts'
import * as resource from './resources.ts'
import { pause } from './wait.ts'

export interface LogFilter {
  /** A dyno (`web.1`) or a process type (`web`). */
  dyno?: string
  /** `app`, or the platform itself: `heroku`. */
  source?: 'app' | 'heroku'
  /** Several of them, sorted out here: a session takes one. */
  anyOf?: readonly string[]
}

/** Whether a line's source is one of `names`: `heroku`, `app` (the web dynos), a process type or a dyno. */
function isFrom(source: string, names: readonly string[]): boolean {
  return names.some((name) =>
    name === 'heroku'
      ? source.startsWith('heroku/')
      : source === name || source.split('.')[0] === (name === 'app' ? 'web' : name),
  )
}

/** The platform keeps so many lines. */
const kept = 1500

interface Parsed {
  at?: string
  /** `web.1` */
  source: string
  text: string
  raw: string
}

/** `2026-11-27T10:00:00.000000+00:00 app[web.1]: text` */
export function parseLine(raw: string): Parsed {
  const match = /^(\S+) (\w+)\[([^\]]+)\]: ?([\s\S]*)$/.exec(raw)
  if (!match) return { source: 'app', text: raw, raw }
  const [, at, by, dyno, text] = match as unknown as [string, string, string, string, string]
  return { at, source: by === 'heroku' && !dyno.includes('.') ? `heroku/${dyno}` : dyno, text, raw }
}

async function openSession(context: HerokuContext, filter: LogFilter, lines: number, tail: boolean): Promise<Response> {
  // Making a session changes nothing that anyone could see, so a dry run makes one too.
  const run = currentRun()
  const body = {
    lines,
    tail,
    ...(filter.dyno ? { dyno: filter.dyno } : {}),
    ...(filter.source ? { source: filter.source } : {}),
  }
  const session = await context.client.write('POST', `${context.path}/log-sessions`, resource.logSession, {
    body,
    variant: 'sdk',
    reread: async () => undefined,
    reads: true,
  })
  const response = await context.client.open(
    session.logplex_url,
    { Accept: 'text/event-stream, text/plain' },
    run.signal,
  )
  if (!response.ok || !response.body) {
    await response.body?.cancel()
    throw new SessionEnded(response.status)
  }
  return response
}

class SessionEnded extends Error {
  readonly status: number
  constructor(status: number) {
    super(`the log session ended with HTTP ${status}`)
    this.status = status
  }
}

/** The lines of one session, whatever content type it comes in. Of one that is `followed`, whole lines only. */
async function* sessionLines(response: Response, followed: boolean): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  const queue: string[] = []
  const events = /event-stream/.test(response.headers.get('content-type') ?? '')
  const parser = createParser({ onEvent: (event) => queue.push(...event.data.split('\n')) })
  let rest = ''
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    const text = decoder.decode(chunk, { stream: true })
    if (events) parser.feed(text)
    else {
      const parts = (rest + text).split('\n')
      rest = parts.pop() ?? ''
      queue.push(...parts)
    }
    while (queue.length > 0) yield queue.shift() as string
  }
  // What a followed session's end cuts short, the next session says in full.
  if (rest && !followed) yield rest
}

/** The last lines, oldest first, without following. */
export async function recentLines(context: HerokuContext, filter: LogFilter, lines = 30): Promise<string[]> {
  const found: string[] = []
  for await (const line of sessionLines(await openSession(context, filter, lines, false), false)) {
    const { source, text } = parseLine(line)
    found.push(`${source}: ${text}`)
  }
  return found
}

/**
 * Follows or shows the log. A session that ends is followed by a new one, which repeats the last lines: those seen are
 * left out, and so is what comes before them; where the first news comes without one of them, a gap is marked. Yields
 * until the run is aborted.
 */
export async function* appLog(context: HerokuContext, options: LogOptions, filter: LogFilter): AsyncGenerator<LogLine> {
  const grep = options.grep === undefined ? undefined : new RegExp(options.grep)
  const since = options.since === undefined ? undefined : sinceTime(options.since)
  const follow = options.follow ?? false
  const asked = Math.min(options.lines ?? (since ? kept : 100), kept)
  /** How often each line was seen, oldest first: equal lines of one moment are several lines. */
  const seen = new Map<string, number>()
  /** When the newest of them was said. */
  let newest = ''
  let failures = 0
  for (let session = 0; ; session += 1) {
    const again = session > 0 && seen.size > 0
    const counts = new Map<string, number>()
    let overlap = !again
    try {
      const response = await openSession(context, filter, again ? kept : asked, follow)
      for await (const raw of sessionLines(response, follow)) {
        if (raw === '') continue
        failures = 0
        const count = (counts.get(raw) ?? 0) + 1
        counts.set(raw, count)
        if (again && count <= (seen.get(raw) ?? 0)) {
          overlap = true
          continue
        }
        const { at, source, text } = parseLine(raw)
        // Before the first of those seen: history that was not asked for, some of it said at the same moment.
        if (!overlap && (at ?? '') <= newest) continue
        if (!overlap) {
          overlap = true
          yield { host: context.app, source: 'log', text: 'lines may be missing here', mark: 'gap' }
        }
        seen.set(raw, count)
        if (at !== undefined && at > newest) newest = at
        if (seen.size > 2 * kept) forget(seen)
        if (filter.anyOf && !isFrom(source, filter.anyOf)) continue
        if (grep && !grep.test(text)) continue
        if (since !== undefined && at !== undefined && Date.parse(at) < since) continue
        yield { host: context.app, source, text, ...(at ? { at } : {}) }
      }
      if (!follow) return
    } catch (error) {
      if (currentRun().signal.aborted) return
      if (error instanceof SlipwayError && error.code !== 'heroku-unreachable' && error.code !== 'heroku-down')
        throw error
      failures += 1
      if (!follow || failures > 10) {
        const why = error instanceof Error ? error.message : String(error)
        throw new SlipwayError('heroku-log-lost', `the log of ${context.app} can't be read: ${why}`, {
          cause: error,
          next: 'Run it again.',
        })
      }
    }
    await pause(Math.min(10_000, 200 * 2 ** failures)).catch(() => undefined)
    if (currentRun().signal.aborted) return
  }
}

function forget(seen: Map<string, number>): void {
  for (const key of seen.keys()) {
    if (seen.size <= kept) return
    seen.delete(key)
  }
}

/** `10m`, `2h`, `1d`, or a date: milliseconds since the epoch. */
function sinceTime(text: string): number {
  const match = /^(\d+)\s*([smhd])$/.exec(text.trim())
  if (match) return Date.now() - Number(match[1]) * { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 }[match[2] as 's']
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new SlipwayError('bad-since', `"${text}" is neither a duration (10m, 2h) nor a date`)
  return time
}
