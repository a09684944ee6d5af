import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import type { SlipwayError } from '../../../src/events/index.ts'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { jobs, keepBusy, makeWorld, until, type World, workedOff } from './world.ts'

// Python starts slowly on a machine that is busy with others, and a hundred thousand requests take their time.
vi.setConfig({ testTimeout: process.env['SLIPWAY_TEST_REQUESTS'] ? 1_800_000 : 300_000, hookTimeout: 300_000 })

/** How long the job in a worker's hand takes. The whole 30 s with SLIPWAY_TEST_LONG. */
const seconds = process.env['SLIPWAY_TEST_LONG'] ? 30 : 6
/** In `npm test` the promotion alone; the rest of its life with SLIPWAY_TEST_LONG. */
const itLong = it.skipIf(!process.env['SLIPWAY_TEST_LONG'])
const wanted = Number(process.env['SLIPWAY_TEST_REQUESTS'] ?? 240)

const proving = process.env['SLIPWAY_TEST_REQUESTS'] !== undefined
/** Few connections by default: more would measure the machine that the other tests run on. */
const traffic = { writes: 0.05, connections: proving ? 32 : 8 }

/** The tests follow one production through its life, each from where the last one left it. */
let world: World
const before: LoadReport[] = []
/** Long jobs, one of which was in a worker's hand when the workers were drained. */
const inHand: string[] = []
const keys = (report: LoadReport) => report.acknowledged

beforeAll(async () => {
  world = await makeWorld()
  await world.run((deployment) => deployment.deploy(), 'production', 'r1')
  world.goOn()
  await world.run((deployment) => deployment.deploy())
})
afterAll(() => world?.remove())

const databases = () => world.sql("SELECT datname FROM pg_database WHERE datname LIKE 'rides%' ORDER BY 1").split('\n')

/** Every acknowledged entry is there once, and its job was run once, whichever release did it. */
async function proveAll(reports: readonly LoadReport[], more: readonly string[]): Promise<void> {
  const acknowledged = [...reports.flatMap(keys), ...more]
  const found = world.query('production', 'SELECT key FROM entries_entry')
  for (const report of reports) expect(audit(report, found)).toEqual({ missing: [], twice: [] })
  await workedOff(world, 'production', acknowledged)
  expect(jobs(world, 'production', acknowledged)).toEqual({ lost: [], twice: [], unfinished: [] })
}

it('shows what becomes of the database and changes nothing with --plan', async () => {
  const mark = world.events.length
  await world.both((from, to) => promote(from, to), { planOnly: true })
  const text = world.events.slice(mark).flatMap((event) => (event.type === 'result' ? [event.text] : []))
  expect(text.join('\n')).toContain('rename rides on its server to …_slipway_fenced')
  expect(text.join('\n')).toMatch(/data: rides [\d.]+ MB/)
  expect(databases()).toEqual(['rides', 'rides_staging'])
})

itLong('goes back by itself when the host’s script is killed after the copy, with every write', async () => {
  const load = world.load('production', traffic)
  await load.reached(wanted / 3)
  const promotion = world
    .both((from, to) => promote(from, to))
    .then(
      () => 'done',
      (error: { message: string }) => error.message,
    )
  const changes = `${world.home}/.slipway/rides/changes`
  await until(() => existsSync(changes) && readdirSync(changes).length > 0, 'the change has a folder')
  const folder = `${changes}/${readdirSync(changes)[0]}`
  writeFileSync(`${folder}/pause.new`, 'copy-servers after')
  renameSync(`${folder}/pause.new`, `${folder}/pause`)
  await until(() => existsSync(`${folder}/paused`), 'the copy is made')
  expect(databases()).toEqual(['rides', 'rides_slipway_fenced', 'rides_staging'])
  for (const pid of scriptsOf(folder)) process.kill(pid, 'SIGKILL')
  expect(await promotion).not.toBe('done')
  await load.reached(load.report.requests + wanted / 3)
  const client = await load.stop()
  expect(client.failed).toEqual([])
  expect(databases()).toEqual(['rides', 'rides_staging'])
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr1\//)
  expect((await world.ask('staging', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
  before.push(client)
  await proveAll(before, inHand)
})

it('promotes it with a job in hand: no request fails, no write and no job is lost or there twice', async () => {
  await world.enter('staging', 'of-staging')
  const load = world.load('production', traffic)
  await load.reached(wanted / 3)
  const { value: report, keys: long } = await keepBusy(world, seconds, () =>
    world.both((from, to) => promote(from, to)),
  )
  inHand.push(...long)
  await load.reached(Math.max(wanted, load.report.requests + wanted / 3))
  const client = await load.stop()
  before.push(client)
  expect(client.failed).toEqual([])
  // Half a second where nothing else runs; beside other tests an answer alone may take seconds.
  expect(client.longestMs).toBeLessThan((report?.windowMs ?? 0) + (proving ? 500 : 5000))
  expect(report?.predictedMs).toBeGreaterThan(0)
  await proveAll(before, inHand)
  expect(world.query('production', "SELECT count(*) FROM entries_entry WHERE key = 'of-staging'")).toEqual(['0'])
  expect(world.query('production', "SELECT to_regclass('notes_note')")).toEqual(['notes_note'])
  if (process.env['SLIPWAY_TEST_REQUESTS'])
    console.log(JSON.stringify({ ...measured(client, report), longJobs: inHand.length }))
})

it('keeps the old database, and leaves nothing half made', () => {
  expect(databases()).toEqual(['rides', expect.stringMatching(/^rides_before_\d{14,17}$/), 'rides_staging'])
})

itLong('is not gone back from where a migration can not be reversed, and leaves a backup of the data', async () => {
  world.sql('ALTER TABLE notes_note RENAME TO notes_of_somebody', 'rides')
  const refused = await world.both((from, to) => demote(from, to)).catch((error: SlipwayError) => error)
  world.sql('ALTER TABLE notes_of_somebody RENAME TO notes_note', 'rides')
  expect(refused).toMatchObject({ code: 'demote-refused', state: expect.stringContaining('production is as it was.') })
  const dump = execFileSync('pg_restore', ['--file=-', '--data-only'], { input: world.backedUp('main') }).toString()
  for (const mark of before.flatMap(keys)) expect(dump).toContain(mark)
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
  expect(databases()).toEqual(['rides', expect.stringMatching(/^rides_before_/), 'rides_staging'])
})

/** While requests come; then all that was ever acknowledged is there. */
async function underLoad(work: () => Promise<unknown>): Promise<void> {
  const load = world.load('production', traffic)
  const { client } = await around(load, wanted / 3, work)
  before.push(client)
  expect(client.failed).toEqual([])
  await proveAll(before, inHand)
}

itLong('is gone back from with all that was written since, the schema taken back on the copy', async () => {
  await underLoad(() => world.both((from, to) => demote(from, to)))
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr1\//)
  expect(world.query('production', "SELECT to_regclass('notes_note')")).toEqual([])
})

itLong('is promoted again right after that, with all of it', async () => {
  await underLoad(() => world.both((from, to) => promote(from, to)))
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
  expect(world.query('production', "SELECT to_regclass('notes_note')")).toEqual(['notes_note'])
  expect(world.roles()).toEqual({ production: 'ridesr2', former: 'ridesr1' })
})

/** The host's script at work in a change's folder. */
function scriptsOf(folder: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0')
      return words.includes(`${folder}/window.py`) && words.includes('forward') ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

function measured(client: LoadReport, report: Awaited<ReturnType<typeof promote>>) {
  return {
    requests: client.requests,
    failed: client.failed.length,
    acknowledged: client.acknowledged.length,
    seconds: Math.round(client.durationMs / 1000),
    longestMs: Math.round(client.longestMs),
    windowMs: report?.windowMs,
    predictedMs: report?.predictedMs,
    releases: client.releases,
    times: report?.times,
  }
}
