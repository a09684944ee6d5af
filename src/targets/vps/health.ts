/** Whether an app server is well: an HTTP request to its own socket or port on the host, and what the answer must be. */
import type { HealthConfig } from '../../config/types.ts'
import { currentRun, OutcomeUnknownError } from '../../events/index.ts'
import { ConnectError } from '../../hosts/errors.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import { type HttpAnswer, httpOver } from './stream-http.ts'

export type Endpoint = { socket: string } | { port: number }

export interface HealthResult {
  healthy: boolean
  /** One line: what was wrong, or what answered. */
  detail: string
  /** The X-Release header, where the app sends one. */
  release?: string
}

/** What an answer says. `expected` is `release/version`. Pure. */
export function judge(
  answer: Pick<HttpAnswer, 'status' | 'headers' | 'body'>,
  health: Pick<HealthConfig, 'path' | 'status' | 'body'>,
  expected?: string,
): HealthResult {
  const release = answer.headers['x-release']
  const beginning = answer.body.trim().slice(0, 200)
  const shown = beginning === '' ? '' : `: ${beginning.split('\n').slice(0, 3).join(' ')}`
  if (answer.status !== health.status) {
    return { healthy: false, release, detail: `${health.path} answered ${answer.status}, not ${health.status}${shown}` }
  }
  if (health.body !== undefined && !answer.body.includes(health.body)) {
    return { healthy: false, release, detail: `${health.path} answered without "${health.body}"${shown}` }
  }
  if (expected !== undefined && release !== undefined && release !== expected) {
    return { healthy: false, release, detail: `${health.path} was answered by ${release}, not ${expected}` }
  }
  return {
    healthy: true,
    release,
    detail: `${health.path} answered ${answer.status}${release ? ` from ${release}` : ''}`,
  }
}

/** Asks once. Never rejects for what the app does; rejects where the connection to the host is lost. */
export async function checkHealth(
  host: Host,
  endpoint: Endpoint,
  health: Pick<HealthConfig, 'path' | 'status' | 'body'>,
  expected?: string,
): Promise<HealthResult> {
  try {
    return judge(await request(host, endpoint, health.path), health, expected)
  } catch (error) {
    currentRun().signal.throwIfAborted()
    if (error instanceof OutcomeUnknownError) throw error
    if (error instanceof ConnectError && error.code !== 'stream-refused') throw error
    return { healthy: false, detail: `no answer: ${(error as Error).message}` }
  }
}

const answerWithinMs = 5_000

async function request(host: Host, endpoint: Endpoint, path: string): Promise<HttpAnswer> {
  if ('port' in endpoint) return requestPort(host, endpoint.port, path)
  const stream = await host.openStream(endpoint.socket)
  const connection = httpOver(stream)
  try {
    return await connection.ask({
      path,
      headers: { connection: 'close' },
      timeoutMs: answerWithinMs,
      signal: currentRun().signal,
    })
  } catch (error) {
    throw (await stream.lost?.(`the health check ${path}`)) ?? error
  } finally {
    connection.close()
  }
}

/** By what the host has: bash's own sockets. */
async function requestPort(host: Host, port: number, path: string): Promise<HttpAnswer> {
  const ask = `exec 3<>/dev/tcp/127.0.0.1/${port}; printf 'GET %s HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' "$1" >&3; head -c 65536 <&3`
  const { stdout } = await host.run(sh`bash -c ${ask} health ${path}`, {
    kind: 'probe',
    quiet: true,
    timeoutMs: answerWithinMs,
  })
  return parseAnswer(stdout)
}

/** An HTTP/1.0 answer as it came. Pure. */
export function parseAnswer(text: string): HttpAnswer {
  const end = /\r?\n\r?\n/.exec(text)
  const head = end ? text.slice(0, end.index) : text
  const [statusLine = '', ...lines] = head.split(/\r?\n/)
  const status = Number(/^HTTP\/[\d.]+ (\d{3})/.exec(statusLine)?.[1] ?? 0)
  if (status === 0) throw new Error(text === '' ? 'it closed the connection' : 'what answers is not HTTP')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim()
  }
  return { status, headers, body: end ? text.slice(end.index + end[0].length) : '' }
}
