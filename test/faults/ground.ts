/**
 * What the faults happen to: the example app behind nginx on sockets, the same on ports, or a project on PostgreSQL.
 * Each is a real host with production and staging on it.
 */
import { makeWorld as makeRides } from '../integration/django/world.ts'
import { freePort } from '../servers/ports.ts'
import type { Load, LoadOptions } from './load.ts'
import { mailsLost, makeWorld, marksIn, type World } from './world.ts'

export type GroundName = 'sockets' | 'ports' | 'postgres'

export interface Ground
  extends Pick<World, 'app' | 'domain' | 'dir' | 'home' | 'sandbox' | 'run' | 'roles' | 'remove'> {
  load(options: Partial<LoadOptions>): Load
  /** Marks of the load's writes in the database of the release that is production. */
  marks(): string[]
  /** What is wrong with the jobs of acknowledged writes. */
  jobs(acknowledged: readonly string[]): Promise<string | undefined>
  /** Requests may be refused: the stated loss of apps on ports. */
  refuses: boolean
}

export async function makeGround(name: GroundName, diskMegabytes?: number): Promise<Ground> {
  if (name === 'postgres') return postgres()
  const disk = diskMegabytes === undefined ? {} : { diskMegabytes }
  const world = await (name === 'sockets' ? makeWorld(disk) : onPorts(disk))
  const production = () => world.roles()['production'] as string
  return {
    ...world,
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
      return lost.length > 0
        ? `${lost.length} jobs are lost`
        : twice.length > 0
          ? `${twice.length} jobs ran twice`
          : undefined
    },
  }
}

async function onPorts(disk: { diskMegabytes?: number }): Promise<World> {
  const port = await freePort()
  return makeWorld({ ...disk, initApps: true, ini: (text) => text.replace('listen = socket', `listen = port ${port}`) })
}

/** Without workers: what becomes of their jobs is told in test/integration/django. */
async function postgres(): Promise<Ground> {
  const world = await makeRides({ ini: (text) => text.replace(/\[app\.workers\][^[]*/, '') })
  await world.run((deployment) => deployment.deploy(), 'production', 'r1')
  world.goOn()
  await world.run((deployment) => deployment.deploy())
  return {
    ...world,
    refuses: false,
    run: (work, options) => world.both(work, options),
    load: (options) => world.load('production', options),
    marks: () => world.query('production', 'SELECT key FROM entries_entry'),
    jobs: async () => undefined,
  }
}
