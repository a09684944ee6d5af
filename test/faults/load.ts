/**
 * Load from a client that never retries, with a ledger of its own: each write carries a mark, and those that were
 * acknowledged have to be found afterwards, once each. Half of the connections are kept alive, half are fresh.
 */
import { Agent, request } from 'node:http'

export interface LoadOptions {
  address: string
  port: number
  /** The Host header: the site's name. */
  host: string
  /** 32 unless given. */
  connections?: number
  /** The share of writes. 0.2 unless given. */
  writes?: number
  /** No more writes than this, however fast requests are answered: what they queue has to be worked off. */
  writesPerSecond?: number
  /** What each connection waits after an answer, in milliseconds, so that the machine has time for something else. */
  pauseMs?: number
  /** Paths that are read, in turn. */
  reads: readonly string[]
  /** A write that carries `mark`. */
  write(mark: string): { path: string; body: string; type: string }
  /** What may answer without being a failure besides 2xx: a 503 with Retry-After, where nothing is held. */
  allow?(status: number, headers: Record<string, string | string[] | undefined>): boolean
}

export interface LoadReport {
  requests: number
  failed: { what: string; at: number }[]
  /** Marks of writes that were answered with success. */
  acknowledged: string[]
  /** Marks of writes whose outcome is not known. */
  uncertain: string[]
  /** Answers that `allow` let through. */
  allowed: number
  /** Answers by X-Release. */
  releases: Record<string, number>
  /** The longest wait for an answer, in milliseconds. */
  longestMs: number
  durationMs: number
}

export interface Load {
  /** What came so far. */
  readonly report: LoadReport
  /** Resolves once so many requests have been answered. */
  reached(requests: number): Promise<void>
  /** Lets every request under way come to its end. */
  stop(): Promise<LoadReport>
}

/** Starts at once. */
export function startLoad(options: LoadOptions): Load {
  const connections = options.connections ?? 32
  const writeShare = options.writes ?? 0.2
  const perSecond = options.writesPerSecond ?? Number.POSITIVE_INFINITY
  let written = 0
  const began = performance.now()
  const report: LoadReport = {
    requests: 0,
    failed: [],
    acknowledged: [],
    uncertain: [],
    allowed: 0,
    releases: {},
    longestMs: 0,
    durationMs: 0,
  }
  let stopping = false
  let waiting: { requests: number; resolve: () => void }[] = []
  const run = Math.random().toString(36).slice(2, 8)

  async function connection(index: number): Promise<void> {
    const keepAlive = index % 2 === 0
    const agent = new Agent({ keepAlive, maxSockets: 1 })
    for (let count = 0; !stopping; count++) {
      const due = written < 1 + ((performance.now() - began) / 1000) * perSecond
      const writing = due && (index + count * 7) % 100 < writeShare * 100
      if (writing) written += 1
      await one(agent, writing, writing ? `w-${run}-${index}-${count}` : '', count)
      if (options.pauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, options.pauseMs))
    }
    agent.destroy()
  }

  async function one(agent: Agent, writing: boolean, mark: string, count: number): Promise<void> {
    const started = performance.now()
    const { path, body, type } = writing
      ? options.write(mark)
      : { path: options.reads[count % options.reads.length] as string, body: '', type: '' }
    const outcome = await ask(agent, writing ? 'POST' : 'GET', path, body, type)
    const took = performance.now() - started
    report.requests += 1
    report.longestMs = Math.max(report.longestMs, took)
    if (typeof outcome === 'string') {
      report.failed.push({
        what: `${writing ? 'POST' : 'GET'} ${outcome} after ${Math.round(took)} ms`,
        at: Date.now(),
      })
      if (writing) report.uncertain.push(mark)
    } else if (outcome.status >= 200 && outcome.status < 400) {
      if (writing) report.acknowledged.push(mark)
      const release = String(outcome.headers['x-release'] ?? '')
      report.releases[release] = (report.releases[release] ?? 0) + 1
    } else if (options.allow?.(outcome.status, outcome.headers)) {
      report.allowed += 1
      await new Promise((resolve) => setTimeout(resolve, 20))
    } else {
      report.failed.push({
        what: `${writing ? 'POST' : 'GET'} answered ${outcome.status} after ${Math.round(took)} ms`,
        at: Date.now(),
      })
      if (writing) report.uncertain.push(mark)
    }
    for (const each of waiting) if (report.requests >= each.requests) each.resolve()
    waiting = waiting.filter((each) => report.requests < each.requests)
  }

  type Answer = { status: number; headers: Record<string, string | string[] | undefined> }
  function ask(agent: Agent, method: string, path: string, body: string, type: string): Promise<Answer | string> {
    return new Promise((resolve) => {
      const headers = {
        host: options.host,
        ...(type ? { 'content-type': type, 'content-length': String(Buffer.byteLength(body)) } : {}),
      }
      const sent = request({ agent, host: options.address, port: options.port, method, path, headers }, (answer) => {
        answer.on('error', (error) => resolve(`was cut off: ${error.message}`))
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers }))
        answer.resume()
      })
      sent.on('error', (error) => resolve(error.message))
      sent.end(body)
    })
  }

  const all = Promise.all(Array.from({ length: connections }, (_, index) => connection(index)))
  return {
    report,
    reached: (requests) =>
      report.requests >= requests ? Promise.resolve() : new Promise((resolve) => waiting.push({ requests, resolve })),
    async stop() {
      stopping = true
      await all
      report.durationMs = performance.now() - began
      return report
    },
  }
}

/** `work` under load: so many requests are answered before it, and as many after it. What the client saw, and what came of it. */
export async function around<T>(
  load: Load,
  requests: number,
  work: () => Promise<T>,
): Promise<{ client: LoadReport; value: T }> {
  await load.reached(requests)
  const value = await work()
  await load.reached(load.report.requests + requests)
  return { client: await load.stop(), value }
}

/** What the ledger says of the marks that were found: those missing, and those found more than once. */
export function audit(report: LoadReport, found: readonly string[]): { missing: string[]; twice: string[] } {
  const counts = new Map<string, number>()
  for (const mark of found) counts.set(mark, (counts.get(mark) ?? 0) + 1)
  return {
    missing: report.acknowledged.filter((mark) => !counts.has(mark)),
    twice: [...counts].filter(([, count]) => count > 1).map(([mark]) => mark),
  }
}
