/** The example app, run for real with the Python of the system: its web process, its worker and its commands. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { type Agent, request } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const ponyDir = fileURLToPath(new URL('../../examples/pony', import.meta.url))

export interface PonyOptions {
  /** Where shared/ and logs/ lie. A new folder in /tmp, removed by remove(), unless given. */
  dir?: string
  environment?: Readonly<Record<string, string>>
}

export interface PonyProcess {
  readonly pid: number
  readonly child: ChildProcess
  /** What it printed so far. */
  output(): string
  /** Its exit status, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
  stop(signal?: NodeJS.Signals): Promise<number | NodeJS.Signals>
}

export interface Pony {
  readonly dir: string
  readonly environment: Readonly<Record<string, string>>
  /** Runs `python3 -m pony.<module>` to its end. Rejects, with `code` and `stderr`, unless it exits with 0. */
  command(module: string, ...args: string[]): Promise<{ stdout: string; stderr: string }>
  /** Starts `python3 -m pony.<module>` and waits until it says that it is ready. */
  start(module: 'web' | 'worker', environment?: Readonly<Record<string, string>>): Promise<PonyProcess>
  file(path: string): Promise<string>
  remove(): Promise<void>
}

const run = promisify(execFile)
const python = '/usr/bin/python3'

export async function createPony(options: PonyOptions = {}): Promise<Pony> {
  const dir = options.dir ?? (await mkdtemp('/tmp/slipway-pony-'))
  const started = new Set<PonyProcess>()
  const environment = {
    PATH: '/usr/bin:/bin',
    PYTHONDONTWRITEBYTECODE: '1',
    SLIPWAY_SHARED: join(dir, 'shared'),
    SLIPWAY_RELEASE_DIR: dir,
    PONY_CLUB_LINK: 'https://example.org/club',
    PONY_ORGANISER_EMAIL: 'organiser@example.org',
    PONY_ADMIN_PASSWORD: 'allons-y',
    ...options.environment,
  }
  return {
    dir,
    environment,
    command: (module, ...args) => run(python, ['-m', `pony.${module}`, ...args], { cwd: ponyDir, env: environment }),
    async start(module, more = {}) {
      const child = spawn(python, ['-m', `pony.${module}`], {
        cwd: ponyDir,
        env: { ...environment, ...more },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      const ended = new Promise<number | NodeJS.Signals>((resolve, reject) => {
        child.once('error', reject)
        child.once('exit', (code, signal) => resolve(code ?? signal ?? 0))
      })
      const ready = new Promise<void>((resolve) => {
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding('utf8').on('data', (text: string) => {
            output += text
            if (stream === child.stdout) resolve()
          })
        }
      })
      const process: PonyProcess = {
        pid: child.pid as number,
        child,
        output: () => output,
        ended,
        stop: (signal = 'SIGTERM') => {
          child.kill(signal)
          return ended
        },
      }
      started.add(process)
      void ended.then(() => started.delete(process))
      const failed = ended.then((status) => {
        throw new Error(`pony.${module} ended with ${status} before it was ready: ${output}`)
      })
      failed.catch(() => undefined)
      await Promise.race([ready, failed])
      return process
    },
    file: (path) => readFile(join(dir, path), 'utf8'),
    async remove() {
      await Promise.all([...started].map((process) => process.stop('SIGKILL')))
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
}

export interface Answer {
  status: number
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: string
}

export interface Ask {
  method?: string
  path?: string
  headers?: Readonly<Record<string, string>>
  body?: string
  agent?: Agent
}

/** One HTTP request to a unix socket or a loopback port, never sent twice. */
export function ask(to: { socketPath: string } | { port: number; host?: string }, question: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', path = '/', headers = {}, body, agent } = question
    const sent = request({ host: '127.0.0.1', ...to, method, path, headers, agent: agent ?? false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.once('error', reject)
      response.once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }))
    })
    sent.once('error', reject)
    sent.end(body)
  })
}
