/**
 * What the faults happen to: the example app behind nginx on sockets, the same with reads that go on, the same on ports,
 * or a project with its database on a server, copied or handed over, with its workers here or on another host. Each is a
 * real host with production and staging on it, made once, and put back as it was for each case.
 */
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { stopSandbox } from '../../src/sandbox/index.ts'
import {
  jobs as jobsOf,
  makeWorld as makeRides,
  type World as Rides,
  type WorldOptions as RidesOptions,
  workedOff,
} from '../integration/django/world.ts'
import { ask } from '../servers/pony.ts'
import { freePort } from '../servers/ports.ts'
import type { GroundName } from './cases.ts'
import { type Kept, keep, keepOther, startReleasesOf } from './keep.ts'
import type { Load, LoadOptions } from './load.ts'
import { mailsLost, makeWorld, marksIn, type World } from './world.ts'

export interface Ground
  extends Pick<World, 'app' | 'domain' | 'dir' | 'home' | 'sandbox' | 'events' | 'run' | 'roles'> {
  /** Of all its hosts. */
  homes: string[]
  /** The processes by which connections come in, of all its hosts. */
  sshds(): number[]
  /** The releases that production and staging begin with. */
  releases: { production: string; staging: string }
  load(options: Partial<LoadOptions>): Load
  /** Marks of the load's writes in the database of the release that is production. */
  marks(): string[]
  /** What is wrong with the jobs of acknowledged writes. */
  jobs(acknowledged: readonly string[]): Promise<string | undefined>
  /** The migrations that were applied to the database of the release that is production. */
  schema(): string[]
  /** What the crontabs of its hosts hold. */
  crontab(): string
  /** How the names of its workers' programs begin, where it has any. */
  workers?: string
  /** Requests may be refused: the stated loss of apps on ports. */
  refuses: boolean
  /** As it was at first, answering; on a disk of so many megabytes, if told. */
  again(diskMegabytes?: number): Promise<void>
  remove(): Promise<void>
}

export async function makeGround(name: GroundName): Promise<Ground> {
  if (name === 'sockets' || name === 'reads' || name === 'ports') return pony(name)
  return rides({
    ...(name === 'mysql' ? { app: 'mysql' } : {}),
    ...(name === 'elsewhere' ? { workersApart: true } : {}),
    ini(text) {
      const handed = text.replace(
        '[production]\n',
        `[production]\n${name === 'handover' ? 'database = handover\n' : ''}`,
      )
      // What becomes of the jobs of workers on the same host is told in test/integration/django.
      return name === 'elsewhere' ? handed : handed.replace(/\[app\.workers\][^[]*/, '')
    },
  })
}

async function pony(name: 'sockets' | 'reads' | 'ports'): Promise<Ground> {
  const port = name === 'ports' ? await freePort() : 0
  const options = {
    sockets: {},
    reads: { initApps: true, app: 'read_only = PONY_READ_ONLY' },
    ports: { initApps: true, ini: (text: string) => text.replace('listen = socket', `listen = port ${port}`) },
  }
  const world = await makeWorld(options[name])
  const { kept, remove } = await keeping(world, () =>
    startReleasesOf(world.home, world.sandbox.sshConfigFile, 'localhost'),
  )
  const production = () => world.roles()['production'] as string
  return {
    ...world,
    homes: [world.home],
    sshds: () => [world.sandbox.sshd.pid],
    releases: { production: 'pony2026r1', staging: 'pony2026r2' },
    workers: 'mailer',
    refuses: name === 'ports',
    load: (options) =>
      world.load({
        ...options,
        ...(name === 'ports'
          ? { allow: (status, headers) => status === 502 || (status === 503 && headers['retry-after'] !== undefined) }
          : {}),
      }),
    marks: () => marksIn(world, production()),
    async jobs(acknowledged) {
      const { lost, twice } = await mailsLost(world, production(), [], acknowledged)
      return told(lost, twice)
    },
    schema: () => world.query(production(), 'pony', 'SELECT name FROM migrations ORDER BY name'),
    crontab: () => textOf(`${world.sandbox.root}/crontab`),
    async again(diskMegabytes) {
      await kept.again(diskMegabytes)
      await answering(world)
    },
    remove,
  }
}

async function rides(options: RidesOptions): Promise<Ground> {
  const world = await makeRides(options)
  try {
    await world.run((deployment) => deployment.deploy(), 'production', 'r1')
    world.goOn()
    await world.run((deployment) => deployment.deploy())
    return await keptRides(world, options)
  } catch (error) {
    await world.remove()
    throw error
  }
}

async function keptRides(world: Rides, options: RidesOptions): Promise<Ground> {
  const { sshConfigFile } = world.sandbox
  await stopSandbox(world)
  const workers = world.workersSshd && (await keepOther(world.workersSshd))
  const servers = world.keepServers()
  const { kept, remove } = await keeping(world, async () => {
    await workers?.again()
    servers.again()
    await startReleasesOf(world.home, sshConfigFile, 'rides-host')
    if (world.workersHome) await startReleasesOf(world.workersHome, sshConfigFile, 'rides-worker')
  })
  return {
    ...world,
    run: (work, given) => world.both(work, given),
    homes: [world.home, ...(world.workersHome ? [world.workersHome] : [])],
    sshds: () => [world.sandbox.sshd.pid, ...(world.workersSshd ? [world.workersSshd.process.pid] : [])],
    releases: { production: 'ridesr1', staging: 'ridesr2' },
    ...(world.workersHome ? { workers: 'jobs' } : {}),
    refuses: false,
    load: (more) => world.load('production', more),
    marks: () =>
      world.query(
        'production',
        options.app === 'mysql' ? 'SELECT `key` FROM entries' : 'SELECT key FROM entries_entry',
      ),
    async jobs(acknowledged) {
      if (!world.workersHome) return undefined
      await workedOff(world, 'production', acknowledged)
      const { lost, twice } = jobsOf(world, 'production', acknowledged)
      return told(lost, twice)
    },
    schema: () =>
      world.query(
        'production',
        options.app === 'mysql'
          ? 'SELECT name FROM applied ORDER BY id'
          : 'SELECT app, name FROM django_migrations ORDER BY 1, 2',
      ),
    crontab: () =>
      [world.sandbox.root, ...(world.workersSshd ? [world.workersSshd.dir] : [])]
        .map((root) => textOf(`${root}/crontab`))
        .join(''),
    async again() {
      await kept.again()
      await answering(world)
    },
    async remove() {
      await workers?.discard()
      await remove()
    },
  }
}

const textOf = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8') : '')

function told(lost: readonly string[], twice: readonly (string | undefined)[]): string | undefined {
  if (lost.length > 0) return `${lost.length} jobs are lost: ${lost.slice(0, 3)}`
  return twice.length > 0 ? `${twice.length} jobs ran twice: ${twice.slice(0, 3)}` : undefined
}

async function keeping(
  world: Pick<World, 'dir' | 'sandbox'> & { remove(): Promise<void> },
  start: () => Promise<void>,
): Promise<{ kept: Kept; remove(): Promise<void> }> {
  const kept = await keep(world, start)
  const remove = async () => {
    await kept.discard()
    await world.remove()
  }
  return { kept, remove }
}

/** Both sites, so that the load meets no app that is still starting. */
async function answering({ sandbox, domain }: Pick<World | Rides, 'sandbox' | 'domain'>): Promise<void> {
  const end = Date.now() + 60_000
  for (const name of [domain, `staging.${domain}`]) {
    while ((await statusOf(sandbox.httpPort, name)) !== 200) {
      if (Date.now() > end) throw new Error(`${name} does not answer again`)
      await delay(20)
    }
  }
}

/** What a site answers to the question whether it is up; 0: nothing. */
export async function statusOf(port: number, host: string): Promise<number> {
  return ask({ port }, { path: '/up', headers: { host } }).then(
    ({ status }) => status,
    () => 0,
  )
}
