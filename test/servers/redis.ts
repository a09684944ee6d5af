/** A real redis for a test, on a free loopback port, its data in a temp folder. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from './ports.ts'

export interface Redis {
  readonly port: number
  readonly pid: number
  /** The URL of one of its databases. */
  url(database?: number): string
  /** What redis-cli prints. */
  ask(database: number, ...words: string[]): string
  stop(): Promise<void>
}

export async function startRedis(): Promise<Redis> {
  const dir = mkdtempSync('/tmp/slipway-redis-')
  const port = await freePort('127.0.0.1')
  const child = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no'],
    { stdio: 'ignore' },
  )
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const end = () => child.kill()
  process.once('exit', end)
  const ask = (database: number, ...words: string[]) =>
    execFileSync('redis-cli', ['-p', String(port), '-n', String(database), ...words], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trimEnd()
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      if (ask(0, 'PING') === 'PONG') break
    } catch (error) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error('redis does not start', { cause: error })
    }
    await delay(50)
  }
  return {
    port,
    pid: child.pid as number,
    url: (database = 0) => `redis://127.0.0.1:${port}/${database}`,
    ask,
    async stop() {
      process.removeListener('exit', end)
      end()
      await gone
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
