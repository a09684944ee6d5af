/**
 * A real host with production and staging of the example app on it: a sandbox (sshd, nginx), two releases under their
 * supervisords, sites behind nginx. What the tests of promotions promote.
 */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../src/config/index.ts'
import type { VpsConfig } from '../../src/config/types.ts'
import {
  type Bus,
  createBus,
  createRun,
  type Prompter,
  type Run,
  type RunEvent,
  type RunOptions,
  withRun,
} from '../../src/events/index.ts'
import { removeSandbox, type Sandbox, startSandbox, stopSandbox } from '../../src/sandbox/index.ts'
import { makePlace, sandboxPlace } from '../../src/sandbox/place.ts'
import type { VpsContext } from '../../src/targets/vps/context.ts'
import { vpsContext } from '../../src/targets/vps/create.ts'
import { initApp } from '../../src/targets/vps/domains.ts'
import { install, inVersion } from '../../src/targets/vps/install.ts'
import { releaseLayout } from '../../src/targets/vps/layout.ts'
import { startServer } from '../../src/targets/vps/server.ts'
import { render } from '../../src/targets/vps/templates.ts'
import { upload } from '../../src/targets/vps/upload.ts'
import { workersOf } from '../../src/targets/vps/workers.ts'
import { mountSmall, unmount } from './inject.ts'
import { type Load, type LoadOptions, startLoad } from './load.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))
export const gateToken = 'open-sesame'

export interface World {
  readonly app: string
  readonly domain: string
  readonly dir: string
  readonly home: string
  readonly sandbox: Sandbox
  /** Everything that was told, of all runs. */
  readonly events: RunEvent[]
  /** In a run of its own, as a command of the tool would be. */
  run<T>(
    work: (from: VpsContext, to: VpsContext) => Promise<T>,
    options?: RunOptions & { signal?: AbortSignal; prompter?: Prompter },
  ): Promise<T>
  /** A release folder on the host. */
  release(name: string): string
  roles(): Record<string, string>
  /** Where the production site points, relative to webapps/. */
  site(deployment?: string): string | undefined
  load(options?: Partial<LoadOptions>): Load
  /** Rows of a query on a release's database. */
  query(release: string, database: 'pony' | 'queue', sql: string): string[]
  remove(): Promise<void>
}

export interface WorldOptions {
  /** Without it there is no production yet. */
  production?: boolean
  staging?: boolean
  /** Megabytes that production's database is filled with. */
  fillMegabytes?: number
  /** The world lies on a file system of its own, of this size. Needs root. */
  diskMegabytes?: number
  /** Another lines for [app] of deploy.ini. */
  app?: string
  /** The whole of deploy.ini, changed. */
  ini?: (text: string) => string
  /** More lines of .env. */
  env?: string
  /** More lines of the app's own settings, for staging and production. */
  settings?: string
  /** Before anything is deployed there. */
  prepare?: (sandbox: Sandbox) => void | Promise<void>
  /** Releases get what init_staging_app makes: a port of their own, and their domain at its provider. */
  initApps?: boolean
}

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const dir = mkdtempSync('/tmp/sw-')
  writeProject(dir, options)
  if (options.diskMegabytes) {
    const place = await sandboxPlace(dir)
    mkdirSync(place.dir, { recursive: true })
    await makePlace(place)
    mountSmall(place.root, options.diskMegabytes)
  }
  const sandbox = await startSandbox({ dir })
  const events: RunEvent[] = []
  const { home } = sandbox

  async function inRun<T>(
    work: () => Promise<T>,
    given: RunOptions & { signal?: AbortSignal; prompter?: Prompter } = {},
  ): Promise<T> {
    const { signal, prompter, ...runOptions } = given
    const bus: Bus = createBus()
    bus.on((event) => events.push(event))
    const run: Run & { finish(): Promise<void> } = createRun({
      bus,
      options: { sshConfigFile: sandbox.sshConfigFile, projectDir: dir, yes: true, ...runOptions },
      ...(signal ? { signal } : {}),
      ...(prompter ? { prompter } : {}),
    })
    try {
      return await withRun(run, work)
    } finally {
      await withRun(run, () => run.finish())
    }
  }

  const contextOf = (name: string, release?: string): VpsContext => {
    const config = loadConfig(dir)
    const deployment = config.deployments[name] as VpsConfig
    return vpsContext(config, release === undefined ? deployment : { ...deployment, release })
  }

  const world: World = {
    app: 'pony',
    domain: 'pony.example.org',
    dir,
    home,
    sandbox,
    events,
    run: (work, given) => inRun(() => work(contextOf('staging'), contextOf('production')), given),
    release: (name) => `${home}/webapps/${name}`,
    roles: () => JSON.parse(readFileSync(`${home}/.slipway/pony/roles.json`, 'utf8')) as Record<string, string>,
    site(deployment = 'production') {
      try {
        return readlinkSync(`${home}/.slipway/pony/sites/${deployment}/current.sock`).replace(`${home}/webapps/`, '')
      } catch {
        return undefined
      }
    },
    load: (more) =>
      startLoad({
        address: '127.0.0.1',
        port: sandbox.httpPort,
        host: 'pony.example.org',
        reads: ['/', '/up', '/brevets/200'],
        write: (mark) => ({
          path: '/brevets/300/riders',
          type: 'application/json',
          body: JSON.stringify({ name: mark, email: `${mark}@example.org` }),
        }),
        ...more,
      }),
    query(release, database, sql) {
      const file = `${home}/webapps/${release}/shared/db/${database}.sqlite`
      const text = execFileSync('sqlite3', [`file:${file}?mode=rw`, sql], { encoding: 'utf8', maxBuffer: 1 << 28 })
      return text.split('\n').filter(Boolean)
    },
    async remove() {
      await stopSandbox({ dir })
      if (options.diskMegabytes) unmount(sandbox.root)
      await removeSandbox({ dir })
      rmSync(dir, { recursive: true, force: true })
    },
  }

  try {
    await options.prepare?.(sandbox)
    if (!options.initApps) await writeSites(world, options.production !== false)
    const bring = async (context: VpsContext, megabytes?: number) => {
      if (options.initApps) await inRun(() => initApp(context))
      await inRun(() => bringUp(world, context, megabytes))
    }
    if (options.production !== false) await bring(contextOf('production', '2026r1'), options.fillMegabytes)
    if (options.staging !== false) await bring(contextOf('staging'))
    return world
  } catch (error) {
    await world.remove()
    throw error
  }
}

function writeProject(dir: string, options: WorldOptions): void {
  mkdirSync(join(dir, 'config'))
  cpSync(join(repository, 'examples/pony'), join(dir, 'examples/pony'), { recursive: true })
  for (const name of ['staging', 'production']) {
    const settings = `[pony]\ntitle = ${name}\norganiser = o@example.org\nsender = s@example.org\nsecret_key = {{ generate:SECRET_KEY }}\n${options.settings ?? ''}`
    writeFileSync(join(dir, `config/${name}.ini`), settings)
  }
  const ini = readFileSync(join(repository, 'config/deploy.ini'), 'utf8')
  const more = ini.replace('health = /up', `health = /up\n${options.app ?? ''}`)
  writeFileSync(join(dir, 'config/deploy.ini'), options.ini ? options.ini(more) : more)
  writeFileSync(join(dir, '.env'), `PONY_ADMIN_PASSWORD=allons-y\n${options.env ?? ''}`)
}

/** The sites, as set-up writes them, loaded by the sandbox's nginx. */
async function writeSites(world: World, production: boolean): Promise<void> {
  for (const [deployment, domain] of [
    ['production', 'pony.example.org'],
    ['staging', 'staging.pony.example.org'],
  ] as const) {
    if (deployment === 'production' && !production) continue
    const siteDir = `${world.home}/.slipway/pony/sites/${deployment}`
    mkdirSync(siteDir, { recursive: true })
    const conf = await render(world.dir, 'nginx-site.conf', {
      app: 'pony',
      deployment,
      domains: [domain],
      listen: [`127.0.0.1:${world.sandbox.httpPort}`],
      siteDir,
      gateToken,
    })
    writeFileSync(`${siteDir}/nginx.conf`, conf)
  }
  process.kill(world.sandbox.nginx.pid, 'SIGHUP')
}

/** Upload, install, databases, server, workers. */
async function bringUp(world: World, context: VpsContext, fillMegabytes = 0): Promise<void> {
  await upload(context)
  const version = await install(context)
  const host = context.home()
  const release = releaseLayout('~/webapps', world.home, `pony${context.deployment.release ?? ''}`)
  await host
    .env({
      PONY_CLUB_LINK: 'https://example.org/',
      PONY_ORGANISER_EMAIL: 'a@example.org',
      PONY_ADMIN_PASSWORD: 'allons-y',
    })
    .run(inVersion(release, version.id, 'python3 -m pony.initialize_db'))
  if (fillMegabytes > 0) fill(`${release.shared}/db/pony.sqlite`, fillMegabytes)
  await startServer(context)
  await workersOf(context).start()
}

function fill(file: string, megabytes: number): void {
  const sql = `CREATE TABLE ballast (id INTEGER PRIMARY KEY, text BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${megabytes * 10})
    INSERT INTO ballast SELECT i, randomblob(100000) FROM n;
    PRAGMA wal_checkpoint(TRUNCATE);`
  execFileSync('sqlite3', [file, sql])
}

/** Marks of the load's writes in a release's database. */
export function marksIn(world: World, release: string): string[] {
  return world.query(release, 'pony', "SELECT name FROM riders WHERE name LIKE 'w-%'")
}

/**
 * What became of the mails that acknowledged registrations called for: each is in the queue or on its way there, once,
 * and none was sent twice, counting what the releases before had sent.
 */
export async function mailsLost(
  world: World,
  release: string,
  earlier: readonly string[],
  acknowledged: readonly string[],
): Promise<{ lost: string[]; twice: string[] }> {
  const queued = world.query(release, 'queue', 'SELECT recipient FROM mails')
  // Read after the queue: what was moved meanwhile is in both, and is put once more without effect.
  const waiting = world.query(release, 'pony', 'SELECT recipient FROM outbox')
  const known = new Set([...queued, ...waiting])
  const lines = sentLines(`${world.release(release)}/shared/mail`)
  const before = earlier.flatMap((name) => {
    const shared = `${world.release(name)}/shared`
    return readdirSync(shared).flatMap((each) =>
      each.startsWith('mail.fenced-') ? sentLines(`${shared}/${each}`) : [],
    )
  })
  const counts = new Map<string, number>()
  for (const line of lines) counts.set(line, (counts.get(line) ?? 0) + 1)
  // What an earlier release sent was carried over as sent, so its lines are here too.
  const missed = before.filter((line) => !counts.has(line))
  return {
    lost: [...acknowledged.map((mark) => `${mark}@example.org`).filter((mail) => !known.has(mail)), ...missed],
    twice: [...counts].filter(([, count]) => count > 1).map(([line]) => line),
  }
}

function sentLines(folder: string): string[] {
  const log = `${folder}/sent.log`
  return existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : []
}
