/**
 * The app on one host, its workers on another, the role `database` on a third, its database on a server that all reach
 * over TCP: promoted, given up, and gone back from.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { AbortedError, currentRun, scoped, withRun } from '../../../src/events/index.ts'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { jobs, makeWorld, until, type World } from './world.ts'

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

/** One production through its life: each test goes on from where the last one left it. */
let world: World
const reports: LoadReport[] = []

beforeAll(async () => {
  world = await makeWorld({ workersApart: true, databaseApart: true })
  await world.run((deployment) => deployment.deploy(), 'production', 'r1')
  world.goOn()
  await world.run((deployment) => deployment.deploy())
})
afterAll(() => world?.remove())

const there = (path: string): string => join(world.workersHome as string, path)
/** What both of the other hosts have on record, which has to be the same. */
function rolesThere(): Record<string, string> {
  const [workers, database] = [world.workersHome, world.databaseHome].map((home) =>
    JSON.parse(readFileSync(`${home}/.slipway/rides/roles.json`, 'utf8')),
  )
  expect(database).toEqual(workers)
  return workers
}
/** Workers on their host, by release. */
const working = (): string[] => {
  const found = readdirSync('/proc').flatMap((pid) => {
    try {
      const mark = /SLIPWAY_PROCESS=([^\0]*):(jobs-\d+)/.exec(readFileSync(`/proc/${pid}/environ`, 'utf8'))
      return mark?.[1]?.startsWith(there('webapps/')) ? [`${mark[1].split('/').pop()} ${mark[2]}`] : []
    } catch {
      return []
    }
  })
  return [...new Set(found)].sort()
}
/** What the crontab of the workers' host would start after a restart of it. */
const boot = (release: string) => spawnSync('/bin/sh', [there(`webapps/${release}/bin/boot`)], { encoding: 'utf8' })

async function underLoad(work: () => Promise<unknown>): Promise<void> {
  const load = world.load('production', { connections: 4, writes: 0.1 })
  reports.push((await around(load, 40, work)).client)
  expect(reports.at(-1)?.failed).toEqual([])
  const acknowledged = reports.flatMap((report) => report.acknowledged)
  const found = world.query('production', 'SELECT key FROM entries_entry')
  for (const report of reports) expect(audit(report, found)).toEqual({ missing: [], twice: [] })
  const state = () => jobs(world, 'production', acknowledged)
  await until(
    () => world.queued('production') === 0 && state().lost.length === 0 && state().unfinished.length === 0,
    'every job is run',
  )
  expect(state()).toEqual({ lost: [], twice: [], unfinished: [] })
}

it('shows which step is done where, and changes nothing with --plan', async () => {
  expect(working()).toEqual(['ridesr1 jobs-1', 'ridesr2 jobs-1'])
  const mark = world.events.length
  await world.both((from, to) => promote(from, to), { planOnly: true })
  const text = world.events.slice(mark).flatMap((event) => (event.type === 'result' ? [event.text] : []))
  const steps = text.filter((line) => /^ +\d+\. /.test(line)).map((line) => line.replace(/^ +\d+\. /, ''))
  const at = (start: string) => steps.findIndex((step) => step.startsWith(start))
  expect(at('rides-worker: let the workers of ridesr1 finish')).toBeGreaterThan(at('try it on the copies'))
  expect(at('rides-worker: let the workers of ridesr1 finish')).toBeLessThan(at('hold requests'))
  expect(at('rides-worker: start the workers of ridesr2')).toBeGreaterThan(at('let the requests that wait go'))
  expect(existsSync(there('.slipway/rides/journals'))).toBe(false)
})

it('is refused while the hosts do not agree, or data lies on the one with the workers', async () => {
  const plan = () => world.both((from, to) => promote(from, to), { planOnly: true })
  const roles = there('.slipway/rides/roles.json')
  const right = readFileSync(roles, 'utf8')
  writeFileSync(roles, right.replace('ridesr1', 'ridesr0'))
  await expect(plan()).rejects.toMatchObject({ code: 'roles-differ', host: 'rides-worker' })
  writeFileSync(roles, right)

  const current = there('webapps/ridesr2/current')
  renameSync(current, `${current}.away`)
  await expect(plan()).rejects.toMatchObject({ code: 'versions-differ', host: 'rides-worker' })
  renameSync(`${current}.away`, current)

  world.configure((text) => text.replace('listen = socket\n', 'listen = socket\nspools = outbox\n'))
  mkdirSync(there('webapps/ridesr1/shared/outbox'), { recursive: true })
  expect(await plan()).toBeUndefined()
  writeFileSync(there('webapps/ridesr1/shared/outbox/letter'), '')
  await expect(plan()).rejects.toMatchObject({ code: 'data-elsewhere', message: expect.stringContaining('outbox') })
  rmSync(there('webapps/ridesr1/shared/outbox'), { recursive: true })

  world.configure((text) => text.replaceAll('web = rides-host', 'web = rides-host, rides-worker'))
  await expect(plan()).rejects.toMatchObject({ code: 'several-hosts' })
  world.configure((text) => text)
})

it('is not gone back from while a host of it is away; then all is as it was on both', async () => {
  const mark = world.events.length
  const controller = new AbortController()
  const first = world
    .both((from, to) => withRun(scoped(currentRun(), { signal: controller.signal }), () => promote(from, to)))
    .catch((error: unknown) => error)
  await until(() => world.events.slice(mark).some((event) => JSON.stringify(event).includes('/trial"')), 'the trial')
  controller.abort(new AbortedError('Ctrl-C'))
  expect(await first).toMatchObject({ exitCode: 130 })
  expect(working()).toEqual(['ridesr1 jobs-1'])
  expect(boot('ridesr2')).toMatchObject({ status: 75, stderr: expect.stringContaining('a change was not finished') })

  const config = readFileSync(join(world.dir, 'ssh_config'), 'utf8')
  const away = join(world.dir, 'ssh_config.away')
  writeFileSync(away, config.replace(/^( *Port ).*$/m, '$19'))
  await expect(
    world.both((from, to) => promote(from, to, { undo: true }), { sshConfigFile: away }),
  ).rejects.toMatchObject({ code: 'needs-all-hosts', host: 'rides-worker', state: 'Nothing was changed by this run.' })

  world.configure((text) => text.replaceAll(', rides-worker', '').replaceAll('rides-worker', 'rides-host'))
  await expect(world.both((from, to) => promote(from, to, { undo: true }))).rejects.toMatchObject({
    code: 'unknown-host',
    message: expect.stringContaining('rides-worker'),
  })
  world.configure((text) => text)

  const result = await world.both((from, to) => promote(from, to, { undo: true }))
  expect(result?.result).toBe('undone')
  expect(working()).toEqual(['ridesr1 jobs-1', 'ridesr2 jobs-1'])
  expect(rolesThere()).toEqual({ production: 'ridesr1', staging: 'ridesr2' })
  expect(readdirSync(there('.slipway/rides/journals'))).toEqual([])
})

it('is promoted: workers drain before requests are held and start last, no job is lost or run twice', async () => {
  await underLoad(async () => {
    const changes = `${world.home}/.slipway/rides/changes`
    const before = new Set(existsSync(changes) ? readdirSync(changes) : [])
    const promotion = world.both((from, to) => promote(from, to))
    const fresh = () => (existsSync(changes) ? readdirSync(changes).find((name) => !before.has(name)) : undefined)
    await until(() => fresh() !== undefined, 'the change has a folder')
    const folder = `${changes}/${fresh()}`
    writeFileSync(`${folder}/pause.new`, 'hold after')
    renameSync(`${folder}/pause.new`, `${folder}/pause`)
    await until(() => existsSync(`${folder}/paused`), 'requests are held')
    expect(working()).toEqual([])
    expect(boot('ridesr1').status).toBe(75)
    renameSync(`${folder}/paused`, `${folder}/was-paused`)
    await promotion
  })
  expect(working()).toEqual(['ridesr2 jobs-1'])
  expect(rolesThere()).toEqual({ production: 'ridesr2', former: 'ridesr1' })
  // What a restart of that host brings back: nothing of the old release, and nothing twice.
  expect(boot('ridesr1').status).toBe(0)
  expect(working()).toEqual(['ridesr2 jobs-1'])
})

it('is gone back from, with what was written since', async () => {
  await underLoad(() => world.both((from, to) => demote(from, to)))
  expect(working()).toEqual(['ridesr1 jobs-1'])
  expect(rolesThere()).toMatchObject({ production: 'ridesr1' })
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr1\//)
})
