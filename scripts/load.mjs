/**
 * Load on a pony, from a client that never sends a request twice: reads and writes, half of the connections kept
 * alive and half fresh for each request. Every acknowledged write goes into a ledger, to be looked for afterwards.
 */
import { randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'

/** Starts the load described in load.d.mts. */
export function startLoad(options) {
  const { connections = 32, writeShare = 0.2, pauseMs = 0 } = options
  const report = {
    requests: 0,
    ok: 0,
    statuses: {},
    failures: [],
    refused: [],
    longestMs: 0,
    releases: {},
    ledger: [],
    uncertain: [],
    startedAt: Date.now(),
    endedAt: 0,
  }
  let stopping = false

  async function client(number) {
    const kept = number % 2 === 0 ? new Agent({ keepAlive: true, maxSockets: 1 }) : undefined
    while (!stopping) {
      await once(Math.random() < writeShare, kept)
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
    kept?.destroy()
  }

  async function once(writes, agent) {
    const key = randomUUID()
    const begun = Date.now()
    report.requests += 1
    const fail = (what) => {
      report.failures.push({ at: begun, what, writes })
      if (writes) report.uncertain.push(key)
    }
    try {
      const { status, release, retryAfter } = await send(options, writes ? key : undefined, agent)
      report.statuses[status] = (report.statuses[status] ?? 0) + 1
      if (status === (writes ? 201 : 200)) {
        report.ok += 1
        if (writes) report.ledger.push(key)
        report.releases[release] ??= { first: begun, last: begun, answers: 0 }
        report.releases[release].last = Date.now()
        report.releases[release].answers += 1
      } else if (status === 503 && retryAfter !== undefined) report.refused.push({ at: begun, status })
      else fail(`status ${status}`)
    } catch (error) {
      fail(error.code ?? error.message)
    }
    report.longestMs = Math.max(report.longestMs, Date.now() - begun)
  }

  const clients = Array.from({ length: connections }, (_, number) => client(number))
  return {
    report,
    async stop() {
      stopping = true
      await Promise.all(clients)
      report.endedAt = Date.now()
      return report
    },
  }
}

/** One request: a registration where there is a key, else the front page. */
function send({ address = '127.0.0.1', port, host, brevet = 200 }, key, agent) {
  return new Promise((resolve, reject) => {
    const body = key && JSON.stringify({ name: 'Load', email: `${key}@example.org`, key })
    const sent = request(
      {
        host: address,
        port,
        agent: agent ?? false,
        method: body ? 'POST' : 'GET',
        path: body ? `/brevets/${brevet}/riders` : '/',
        headers: {
          host: host ?? `${address}:${port}`,
          ...(body && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
      },
      (response) => {
        response.resume()
        response.once('error', reject)
        response.once('end', () => {
          if (!response.complete) return reject(new Error('cut off'))
          const { 'x-release': release = 'none', 'retry-after': retryAfter } = response.headers
          resolve({ status: response.statusCode, release, retryAfter })
        })
      },
    )
    sent.once('error', reject)
    sent.end(body)
  })
}
