import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import type { SlipwayError } from '../../../src/events/index.ts'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { makeWorld, password, type World } from './world.ts'

// A real MariaDB on a machine that is busy with others.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

/** One production through its life: each test goes on from where the last one left it. */
let world: World
const reports: LoadReport[] = []

beforeAll(async () => {
  world = await makeWorld({ app: 'mysql' })
  await world.run((deployment) => deployment.deploy(), 'production', 'r1')
  world.goOn()
  await world.run((deployment) => deployment.deploy())
})
afterAll(() => world?.remove())

const databases = () => world.sql("SHOW DATABASES LIKE 'rides%'").split('\n')

async function underLoad(work: () => Promise<unknown>): Promise<void> {
  const load = world.load('production', { connections: 4, reads: ['/up'] })
  reports.push((await around(load, 40, work)).client)
  const found = world.query('production', 'SELECT `key` FROM entries')
  expect(reports.at(-1)?.failed).toEqual([])
  for (const report of reports) expect(audit(report, found)).toEqual({ missing: [], twice: [] })
}

it('promotes an app on MariaDB: no request fails, and no write is missing or there twice', async () => {
  await underLoad(() => world.both((from, to) => promote(from, to)))
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
  expect(world.query('production', 'SELECT name FROM applied ORDER BY id')).toEqual(['0001_entries', '0002_club'])
  expect(databases()).toEqual(['rides', expect.stringMatching(/^rides_before_\d{14,17}$/), 'rides_staging'])
  expect(JSON.stringify(world.events)).not.toContain(password)
})

it('is not gone back from where a migration can not be reversed, and leaves a backup of the data', async () => {
  world.sql('ALTER TABLE entries DROP COLUMN club', 'rides')
  const refused = await world.both((from, to) => demote(from, to)).catch((error: SlipwayError) => error)
  expect(refused).toMatchObject({ code: 'demote-refused', state: expect.stringContaining('production is as it was.') })
  const dump = gunzipSync(world.backedUp('main')).toString()
  for (const mark of reports[0]?.acknowledged ?? []) expect(dump).toContain(mark)
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
  world.sql('ALTER TABLE entries ADD COLUMN club VARCHAR(50) NULL', 'rides')
})

it.skipIf(!process.env['SLIPWAY_TEST_LONG'])(
  'goes back with all that was written since, the schema taken back on the copy',
  async () => {
    await underLoad(() => world.both((from, to) => demote(from, to)))
    expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr1\//)
    expect(world.query('production', 'SELECT name FROM applied')).toEqual(['0001_entries'])
  },
)
