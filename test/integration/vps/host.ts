/** A real sshd and a project of pony for a test of a VPS deployment. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { createRun, type Prompter, type RunEvent, type RunOptions, withRun } from '../../../src/events/index.ts'
import { removeSandbox, startSandbox } from '../../../src/sandbox/index.ts'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { ponyDir } from '../../servers/pony.ts'
import { type SshdOptions, startSshd } from '../../servers/sshd.ts'

export const baseConfig = `[app]
name = pony
source = app
server = exec python3 -m pony.web
init_db = python3 -m pony.initialize_db
migrate = python3 -m pony.migrate
migrations = list: python3 -m pony.migrate --list
  reverse: python3 -m pony.migrate --reverse-to
drain = 10s
health_deadline = 15s
spools = mail

[app.workers]
mailer = exec python3 -m pony.worker
mailer.drain = 10s

[app.databases]
main = sqlite db/pony.sqlite
queue = sqlite db/queue.sqlite queue

[app.init_answers]
PONY_CLUB_LINK = https://example.org/
PONY_ORGANISER_EMAIL = a@example.org
PONY_ADMIN_PASSWORD = secret:PONY_ADMIN_PASSWORD

[app.modes]
pony/private_credentials.py = 400

[app.logs]
app = logs/pony.log
mailer = logs/mailer.log

[staging]
target = vps
hosts = pony-host
release = r2
settings = staging.ini
domain = staging.pony.example.org

[production]
target = vps
hosts = pony-host
settings = staging.ini
domain = pony.example.org
`

export interface Project {
  dir: string
  sshConfigFile: string
  /** nginx's port, where there is one. */
  httpPort?: number
  home: string
  /** The release folder of staging. */
  release: string
  configure(change: (text: string) => string): void
  /** Runs `fn` as one run against deployment `name`; resolves with what it told, too. */
  run<T>(
    fn: (deployment: VpsDeployment) => Promise<T>,
    options?: RunOptions & { deployment?: string; prompter?: Prompter; signal?: AbortSignal },
  ): Promise<{ value: T; events: RunEvent[] }>
  read(path: string): string
  edit(path: string, change: (text: string) => string): void
  stop(): Promise<void>
}

export interface ProjectOptions {
  /** With nginx before the app: the whole sandbox. */
  nginx?: boolean
  /** A host that is there already. */
  server?: Server
  sshd?: SshdOptions
}

export async function createProject(options: ProjectOptions = {}): Promise<Project> {
  const dir = mkdtempSync(join(tmpdir(), 'sv-'))
  mkdirSync(join(dir, 'config'))
  cpSync(ponyDir, join(dir, 'app'), { recursive: true, filter: (path) => !path.includes('__pycache__') })
  writeFileSync(join(dir, 'config/deploy.ini'), baseConfig)
  writeFileSync(
    join(dir, 'config/staging.ini'),
    '[pony]\ntitle = {{ deployment }} of {{ release }}\nkey = {{ generate:KEY }}\n',
  )
  writeFileSync(join(dir, '.env'), 'PONY_ADMIN_PASSWORD=quite-secret-password\n')
  const server = options.server ?? (options.nginx ? await sandboxOf(dir) : await sshdOf(options.sshd))
  if (options.nginx) writeFileSync(join(dir, 'config/deploy.ini'), `${baseConfig}\n[domains]\nprovider = nginx\n`)
  return {
    dir,
    sshConfigFile: server.sshConfigFile,
    httpPort: server.httpPort,
    home: server.home,
    release: `${server.home}/webapps/ponyr2`,
    configure(change) {
      const file = join(dir, 'config/deploy.ini')
      writeFileSync(file, change(readFileSync(file, 'utf8')))
    },
    async run(fn, { deployment = 'staging', prompter, signal, ...runOptions } = {}) {
      const config = loadConfig(dir)
      const run = createRun({
        options: { projectDir: dir, sshConfigFile: server.sshConfigFile, ...runOptions },
        prompter,
        signal,
      })
      const events: RunEvent[] = []
      run.bus.on((event) => events.push(event))
      try {
        const value = await withRun(run, () =>
          fn(createVpsDeployment(config, config.deployments[deployment] as VpsConfig)),
        )
        return { value, events }
      } finally {
        await withRun(run, () => run.finish())
      }
    },
    read: (path) => readFileSync(join(server.home, path), 'utf8'),
    edit(path, change) {
      const file = join(dir, path)
      writeFileSync(file, change(readFileSync(file, 'utf8')))
    },
    async stop() {
      await server.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** A release from nothing to an app and workers that run. */
export async function bringUp(staging: VpsDeployment): Promise<void> {
  await staging.upload()
  await staging.install()
  await staging.database.init()
  await staging.server.start()
  await staging.workers.start()
}

export interface Server {
  home: string
  sshConfigFile: string
  httpPort?: number
  stop(): Promise<void>
}

async function sandboxOf(dir: string): Promise<Server> {
  const { home, sshConfigFile, httpPort } = await startSandbox({ dir })
  return { home, sshConfigFile, httpPort, stop: () => removeSandbox({ dir }) }
}

async function sshdOf(options?: SshdOptions): Promise<Server> {
  const { home, sshConfigFile, stop } = await startSshd(options)
  return { home, sshConfigFile, stop }
}

/** What an operator would have seen of warnings and notes. */
export const told = (events: readonly RunEvent[]): string[] =>
  events.flatMap((event) => (event.type === 'warning' || event.type === 'note' ? [event.text] : []))

export interface Answer {
  status: number
  release: string
  headers: Record<string, string | string[] | undefined>
  body: string
}

/** What a visitor of `host` gets from the web server on `port`, or the app on the socket `port`. */
export function ask(port: number | string, path: string, host = 'staging.pony.example.org'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const to = typeof port === 'number' ? { port, host: '127.0.0.1' } : { socketPath: port }
    const asked = request({ ...to, path, headers: { host } }, (answer) => {
      let body = ''
      answer.on('data', (chunk) => {
        body += chunk
      })
      answer.on('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          release: String(answer.headers['x-release']),
          headers: answer.headers,
          body,
        }),
      )
    })
    asked.on('error', reject)
    asked.end()
  })
}
