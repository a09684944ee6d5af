/**
 * A Django project on PostgreSQL, with Celery workers on redis, on a real host: a sandbox (sshd, nginx) and servers of
 * its own. Each deployment has its own database and its own broker.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../../../src/config/index.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { createRun, type RunEvent, type RunOptions, withRun } from '../../../src/events/index.ts'
import { removeSandbox, type Sandbox, startSandbox, stopSandbox } from '../../../src/sandbox/index.ts'
import type { VpsContext } from '../../../src/targets/vps/context.ts'
import { createVpsDeployment, vpsContext } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { render } from '../../../src/targets/vps/templates.ts'
import { type Load, type LoadOptions, startLoad } from '../../faults/load.ts'
import { type Mariadb, startMariadb } from '../../servers/mariadb.ts'
import { type Answer, ask } from '../../servers/pony.ts'
import { type Postgres, startPostgres } from '../../servers/postgres.ts'
import { type Redis, startRedis } from '../../servers/redis.ts'
import { type Sshd, startSshd } from '../../servers/sshd.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url))
export const password = 'django-password-of-a-test'
const brokers = { production: 0, staging: 1 }

export interface WorldOptions {
  /** The project: Django with Celery unless given; one with Alembic and no workers; one on MariaDB. */
  app?: 'django' | 'alembic' | 'mysql'
  /** The whole of deploy.ini, changed. */
  ini?: (text: string) => string
  /** Workers run on a host of their own, `rides-worker`. */
  workersApart?: boolean
  /** With workers apart: the role `database` has a host of its own as well, `rides-database`. */
  databaseApart?: boolean
}

export interface World {
  readonly app: string
  readonly domain: string
  readonly dir: string
  readonly sandbox: Sandbox
  readonly home: string
  /** The home on the workers' host, where they have one. */
  readonly workersHome?: string
  readonly workersSshd?: Sshd
  /** The home on the host with the role `database`, where it has one of its own. */
  readonly databaseHome?: string
  readonly redis: Redis
  /** As the database server's administrator; rows as lines. */
  sql(text: string, database?: string): string
  /** Everything that was told, of all runs. */
  readonly events: RunEvent[]
  /** Against one deployment, in a run of its own; production may be given the release that it begins with. */
  run<T>(fn: (deployment: VpsDeployment) => Promise<T>, name?: 'staging' | 'production', release?: string): Promise<T>
  /** With both, as a promotion has them. */
  both<T>(fn: (from: VpsContext, to: VpsContext) => Promise<T>, options?: RunOptions): Promise<T>
  /** The code that comes next: a new column, and a new app with a table of its own. */
  goOn(): void
  configure(change: (text: string) => string): void
  ask(name: 'staging' | 'production', path: string): Promise<Answer>
  /** Stores an entry and queues its job. Rejects unless that is acknowledged. */
  enter(name: 'staging' | 'production', key: string, seconds?: number): Promise<void>
  load(name?: 'staging' | 'production', more?: Partial<LoadOptions>): Load
  /** Rows of a query on a deployment's database. */
  query(name: 'staging' | 'production', sql: string): string[]
  roles(): Record<string, string>
  /** Jobs that wait in a deployment's broker. */
  queued(name: 'staging' | 'production'): number
  /** What the newest backup of production holds of a database. */
  backedUp(database: string): Buffer
  /** Keeps what is in the databases, and can put it back, as often as one likes; nothing may be connected meanwhile. */
  keepServers(): { again(): void }
  remove(): Promise<void>
}

const domainOf = (name: string) => (name === 'production' ? 'rides.example.org' : 'staging.rides.example.org')

const django = `migrate = python3 manage.py migrate --noinput
migrations = django

[app.workers]
jobs = exec python3 -m celery -A rides worker --concurrency=2 --loglevel=INFO --without-gossip --without-mingle
jobs.drain = 60s
`
const alembic = `migrate = python3 -m alembic upgrade head
migrations = alembic
`

const mysql = `migrate = python3 schema.py up
migrations =
  list: python3 schema.py list
  reverse: python3 schema.py down
`

const configuration = (app: string) => `[app]
name = rides
source = app
server = exec python3 serve.py
listen = socket
health = /up
health_deadline = 60s
drain = 20s
${{ django, alembic, mysql }[app] ?? ''}
[app.databases]
main = ${app === 'mysql' ? 'mysql' : 'postgres'} secret:DATABASE_URL

[app.environment]
SECRET_KEY = secret:SECRET_KEY
DATABASE_URL = secret:DATABASE_URL
REDIS_URL = secret:REDIS_URL

[staging]
target = vps
hosts = rides-host
release = r2
domain = staging.rides.example.org

[staging.databases]
main = ${app === 'mysql' ? 'mysql' : 'postgres'} secret:STAGING_DATABASE_URL

[staging.environment]
DATABASE_URL = secret:STAGING_DATABASE_URL
REDIS_URL = secret:STAGING_REDIS_URL

[production]
target = vps
hosts = rides-host
domain = rides.example.org

[domains]
provider = nginx
`

/** With hosts of their own for the roles `worker` and, if told, `database`. */
function apart(text: string, others: readonly string[]): string {
  const roles = ['web = rides-host', ...others.map((name) => `${name.replace('rides-', '')} = ${name}`)]
  return text
    .replaceAll('hosts = rides-host', `hosts = ${['rides-host', ...others].join(', ')}`)
    .concat(...['staging', 'production'].map((name) => `\n[${name}.roles]\n${roles.join('\n')}\n`))
}

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const app = options.app ?? 'django'
  const dir = mkdtempSync('/tmp/sdj-')
  const undo: (() => Promise<unknown> | unknown)[] = [() => rmSync(dir, { recursive: true, force: true })]
  const remove = async () => {
    for (const each of undo.splice(0).reverse()) await each()
  }
  try {
    const server = await (app === 'mysql' ? mariadbServer() : postgresServer())
    undo.push(() => server.stop())
    const redis = await startRedis()
    undo.push(() => redis.stop())
    mkdirSync(join(dir, 'config'))
    cpSync(fixture(`${app}-app`), join(dir, 'app'), { recursive: true })
    if (app === 'mysql') cpSync(fixture('django-app/serve.py'), join(dir, 'app/serve.py'))
    const others = options.workersApart ? ['rides-worker', ...(options.databaseApart ? ['rides-database'] : [])] : []
    const given = others.length > 0 ? apart(configuration(app), others) : configuration(app)
    const ini = options.ini?.(given) ?? given
    writeFileSync(join(dir, 'config/deploy.ini'), ini)
    const { url } = server
    writeFileSync(
      join(dir, '.env'),
      [
        'SECRET_KEY=quite-a-secret-key-of-django',
        `DATABASE_URL=${url('rides')}`,
        `STAGING_DATABASE_URL=${url('rides_staging')}`,
        `REDIS_URL=${redis.url(brokers.production)}`,
        `STAGING_REDIS_URL=${redis.url(brokers.staging)}`,
        '',
      ].join('\n'),
    )
    const sandbox = await startSandbox({ dir })
    undo.push(async () => {
      await stopSandbox({ dir })
      await removeSandbox({ dir })
    })
    await writeSites(dir, sandbox)
    if (others.length === 0) return { ...worldOf(dir, app, ini, sandbox, server, redis), remove }
    const sshds: Sshd[] = []
    for (const _ of others) {
      const sshd = await startSshd()
      undo.push(() => sshd.stop())
      sshds.push(sshd)
    }
    const own = sshds.map((sshd, index) =>
      readFileSync(sshd.sshConfigFile, 'utf8').replace(/^Host .*$/m, `Host ${others[index]}`),
    )
    const sshConfigFile = join(dir, 'ssh_config')
    writeFileSync(sshConfigFile, `${own.join('\n')}\n${readFileSync(sandbox.sshConfigFile, 'utf8')}`)
    const world = worldOf(dir, app, ini, { ...sandbox, sshConfigFile }, server, redis)
    const [workers, database] = sshds as [Sshd, Sshd?]
    return {
      ...world,
      workersHome: workers.home,
      workersSshd: workers,
      ...(database ? { databaseHome: database.home } : {}),
      remove,
    }
  } catch (error) {
    await remove()
    throw error
  }
}

interface Server {
  url(database: string): string
  sql(text: string, database?: string): string
  /** Names of databases, by a pattern of LIKE. */
  databases(pattern: string): string[]
  drop(database: string): void
  /** A database as another one is, which nobody is connected to. */
  copy(from: string, to: string): void
  stop(): Promise<void>
}

/** With the user `rides`, who may make databases, and a database for each deployment. */
async function postgresServer(): Promise<Server> {
  const postgres: Postgres = await startPostgres({ settings: ['max_connections = 120'] })
  postgres.sql(`CREATE ROLE rides LOGIN CREATEDB PASSWORD '${password}'`)
  for (const name of ['rides', 'rides_staging']) postgres.sql(`CREATE DATABASE ${name} OWNER rides`)
  return {
    url: (name) => `postgresql://rides:${password}@${postgres.address}:${postgres.port}/${name}`,
    sql: postgres.sql,
    databases: (pattern) =>
      postgres.sql(`SELECT datname FROM pg_database WHERE datname LIKE '${pattern}'`).split('\n').filter(Boolean),
    drop: (name) => void postgres.sql(`DROP DATABASE ${name} WITH (FORCE)`),
    copy: (from, to) => void postgres.sql(`CREATE DATABASE ${to} TEMPLATE ${from} OWNER rides`),
    stop: () => postgres.stop(),
  }
}

async function mariadbServer(): Promise<Server> {
  const mariadb: Mariadb = await startMariadb()
  mariadb.sql(`CREATE USER rides@'127.0.0.1' IDENTIFIED BY '${password}'`)
  mariadb.sql("GRANT ALL ON `rides%`.* TO rides@'127.0.0.1'; GRANT PROCESS ON *.* TO rides@'127.0.0.1'")
  for (const name of ['rides', 'rides_staging']) mariadb.sql(`CREATE DATABASE ${name}`)
  return {
    url: (name) => `mysql://rides:${password}@${mariadb.address}:${mariadb.port}/${name}`,
    sql: mariadb.sql,
    databases: (pattern) => mariadb.sql(`SHOW DATABASES LIKE '${pattern}'`).split('\n').filter(Boolean),
    drop: (name) => void mariadb.sql(`DROP DATABASE ${name}`),
    copy(from, to) {
      const tables = mariadb.sql('SHOW TABLES', from).split('\n').filter(Boolean)
      const each = tables.map(
        (name) =>
          `CREATE TABLE ${to}.${name} LIKE ${from}.${name}; INSERT INTO ${to}.${name} SELECT * FROM ${from}.${name};`,
      )
      mariadb.sql(`CREATE DATABASE ${to}; ${each.join(' ')}`)
    },
    stop: () => mariadb.stop(),
  }
}

function worldOf(
  dir: string,
  app: string,
  ini: string,
  sandbox: Sandbox,
  server: Server,
  redis: Redis,
): Omit<World, 'remove'> {
  const events: RunEvent[] = []
  async function inRun<T>(work: () => Promise<T>, given: RunOptions = {}): Promise<T> {
    const run = createRun({
      options: { sshConfigFile: sandbox.sshConfigFile, projectDir: dir, yes: true, ...given },
    })
    run.bus.on((event) => events.push(event))
    try {
      return await withRun(run, work)
    } finally {
      await withRun(run, () => run.finish())
    }
  }
  const deploymentOf = (name: string, release?: string) => {
    const config = loadConfig(dir)
    const found = config.deployments[name] as VpsConfig
    return { config, deployment: release === undefined ? found : { ...found, release } }
  }
  const contextOf = (name: string) => {
    const { config, deployment } = deploymentOf(name)
    return vpsContext(config, deployment)
  }
  const request = (name: string, question: { method?: string; path: string; body?: string }) =>
    ask(
      { port: sandbox.httpPort, host: '127.0.0.1' },
      { ...question, headers: { host: domainOf(name), 'content-type': 'application/json' } },
    )
  return {
    app: 'rides',
    domain: domainOf('production'),
    dir,
    sandbox,
    home: sandbox.home,
    redis,
    sql: server.sql,
    events,
    run: (fn, name = 'staging', release) =>
      inRun(() => {
        const { config, deployment } = deploymentOf(name, release)
        return fn(createVpsDeployment(config, deployment))
      }),
    both: (fn, given) => inRun(() => fn(contextOf('staging'), contextOf('production')), given),
    goOn: () => cpSync(fixture(`${app}-later`), join(dir, 'app'), { recursive: true }),
    configure(change) {
      writeFileSync(join(dir, 'config/deploy.ini'), change(ini))
    },
    ask: (name, path) => request(name, { path }),
    async enter(name, key, seconds = 0) {
      const answer = await request(name, { method: 'POST', path: '/entries', body: JSON.stringify({ key, seconds }) })
      if (answer.status !== 201) throw new Error(`answered ${answer.status}: ${answer.body}`)
    },
    load: (name = 'production', more = {}) =>
      startLoad({
        address: '127.0.0.1',
        port: sandbox.httpPort,
        host: domainOf(name),
        reads: ['/up', '/'],
        // Two Celery processes on a busy machine run this many jobs.
        writesPerSecond: 5,
        write: (mark) => ({ path: '/entries', type: 'application/json', body: JSON.stringify({ key: mark }) }),
        ...more,
      }),
    query: (name, sql) =>
      server
        .sql(sql, name === 'production' ? 'rides' : 'rides_staging')
        .split('\n')
        .filter(Boolean),
    roles: () =>
      JSON.parse(readFileSync(`${sandbox.home}/.slipway/rides/roles.json`, 'utf8')) as Record<string, string>,
    queued: (name) => Number(redis.ask(brokers[name], 'LLEN', 'celery')),
    backedUp(database) {
      const backups = `${sandbox.home}/.slipway/rides/backups`
      const newest = readdirSync(backups)
        .filter((name) => name.startsWith('production-'))
        .sort()
        .at(-1)
      const [file] = readdirSync(`${backups}/${newest}`).filter((name) => name.startsWith(`${database}.`))
      return readFileSync(`${backups}/${newest}/${file}`)
    },
    keepServers() {
      const names = ['rides', 'rides_staging']
      for (const name of names) server.copy(name, `kept_${name}`)
      return {
        again() {
          for (const name of server.databases('rides%')) server.drop(name)
          for (const name of names) server.copy(`kept_${name}`, name)
          redis.ask(0, 'FLUSHALL')
        },
      }
    },
  }
}

async function writeSites(dir: string, sandbox: Sandbox): Promise<void> {
  for (const deployment of ['production', 'staging']) {
    const siteDir = `${sandbox.home}/.slipway/rides/sites/${deployment}`
    mkdirSync(siteDir, { recursive: true })
    const conf = await render(dir, 'nginx-site.conf', {
      app: 'rides',
      deployment,
      domains: [domainOf(deployment)],
      listen: [`127.0.0.1:${sandbox.httpPort}`],
      siteDir,
      gateToken: 'open-sesame',
    })
    writeFileSync(`${siteDir}/nginx.conf`, conf)
  }
  process.kill(sandbox.nginx.pid, 'SIGHUP')
}

/** Waits for a condition, for two minutes at most: the machine may be busy with others. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 120_000
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`)
    await delay(50)
  }
}

/** Jobs of acknowledged entries that were lost, that ran twice, and that were begun and not finished. */
export function jobs(world: World, name: 'staging' | 'production', acknowledged: readonly string[]) {
  const rows = world.query(name, 'SELECT key, count(*), count(finished) FROM entries_run GROUP BY key')
  const runs = new Map(rows.map((row) => row.split('|')).map(([key, begun, done]) => [key, [begun, done]]))
  return {
    lost: acknowledged.filter((key) => !runs.has(key)),
    twice: [...runs].filter(([, [begun]]) => begun !== '1').map(([key]) => key),
    unfinished: [...runs].filter(([, [begun, done]]) => begun !== done).map(([key]) => key),
  }
}

/** Waits until all these jobs have been run, and finished. */
export async function workedOff(
  world: World,
  name: 'staging' | 'production',
  acknowledged: readonly string[],
): Promise<void> {
  const isDone = () => {
    const { lost, unfinished } = jobs(world, name, acknowledged)
    return lost.length + unfinished.length === 0
  }
  await until(isDone, 'all jobs are run').catch(() => {})
}

/** Always has one job of so many seconds in a worker's hand, while `work` is done. Resolves with the jobs' keys, too. */
export async function keepBusy<T>(
  world: World,
  seconds: number,
  work: () => Promise<T>,
): Promise<{ value: T; keys: string[] }> {
  const keys: string[] = []
  let ended = false
  const begin = async () => {
    const key = `long-${Date.now()}`
    await world.enter('production', key, seconds)
    keys.push(key)
    return key
  }
  const state = (key: string) => jobs(world, 'production', [key])
  const first = await begin()
  await until(() => state(first).lost.length === 0, 'the job is begun')
  const filling = (async () => {
    for (let key = first; !ended; ) {
      // In the window the database has no name for a moment.
      const isDone = () => {
        try {
          const { lost, unfinished } = state(key)
          return !lost.includes(key) && !unfinished.includes(key)
        } catch {
          return false
        }
      }
      await until(() => ended || isDone(), 'the job is finished')
      if (!ended) key = await begin()
    }
  })()
  try {
    return { value: await work(), keys }
  } finally {
    ended = true
    await filling
  }
}
