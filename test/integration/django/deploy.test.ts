import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { jobs, makeWorld, password, until, type World, workedOff } from './world.ts'

// Python starts slowly on a machine that is busy with others.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

/** How long the job in a worker's hand takes. The whole 30 s with SLIPWAY_TEST_LONG. */
const seconds = process.env['SLIPWAY_TEST_LONG'] ? 30 : 6

let world: World
let first: string

beforeAll(async () => {
  world = await makeWorld()
})
afterAll(() => world?.remove())

const migrationsOf = (id: string) =>
  readFileSync(`${world.home}/webapps/ridesr2/.slipway/versions/${id}.migrations`, 'utf8').split('\n').filter(Boolean)

it('deploys the project: migrated between install and switch, served by Django, its workers on the broker', async () => {
  first = (await world.run((deployment) => deployment.deploy())).id
  const answer = await world.ask('staging', '/up')
  expect(answer).toMatchObject({ status: 200, body: 'ok\n' })
  expect(answer.headers['x-release']).toBe(`ridesr2/${first}`)
  expect(migrationsOf(first)).toEqual(['entries.0001_initial'])
  await world.enter('staging', 'one')
  await until(() => jobs(world, 'staging', ['one']).lost.length === 0, 'the job is run')
  expect(JSON.stringify(world.events)).not.toContain(password)
})

it('deploys the next version with its migrations while a job is in hand, which is finished, once', async () => {
  world.goOn()
  await world.enter('staging', 'in-hand', seconds)
  await world.enter('staging', 'behind-it')
  await until(() => jobs(world, 'staging', ['in-hand']).lost.length === 0, 'the job is begun')
  const load = world.load('staging', { connections: 8, writes: 0.1 })
  await load.reached(50)
  const second = await world.run((deployment) => deployment.deploy())
  // The worker was waited for: the deploy has ended, and so has the job.
  expect(jobs(world, 'staging', ['in-hand'])).toMatchObject({ lost: [], twice: [], unfinished: [] })
  await load.reached(load.report.requests + 50)
  const client = await load.stop()
  expect(client.failed).toEqual([])
  expect(migrationsOf(second.id)).toEqual(['entries.0001_initial', 'entries.0002_entry_club', 'notes.0001_initial'])
  expect(migrationsOf(first)).toEqual(['entries.0001_initial'])
  const all = ['one', 'in-hand', 'behind-it', ...client.acknowledged]
  await workedOff(world, 'staging', all)
  expect(jobs(world, 'staging', all)).toEqual({ lost: [], twice: [], unfinished: [] })
  // The job in hand was finished by the version that had begun it.
  expect(world.query('staging', "SELECT release FROM entries_run WHERE key = 'in-hand'")).toEqual([`ridesr2/${first}`])
})

it('goes back with the schema, app by app, with the code that knows the migrations', async () => {
  expect(world.query('staging', "SELECT to_regclass('notes_note')")).toEqual(['notes_note'])
  const entries = world.query('staging', 'SELECT count(*) FROM entries_entry')
  const back = await world.run((deployment) => deployment.rollback({ migrate: true }))
  expect(back.id).toBe(first)
  expect((await world.ask('staging', '/up')).headers['x-release']).toBe(`ridesr2/${first}`)
  expect(world.query('staging', "SELECT to_regclass('notes_note')")).toEqual([])
  expect(world.query('staging', "SELECT app || '.' || name FROM django_migrations ORDER BY id")).toEqual([
    'entries.0001_initial',
  ])
  expect(world.query('staging', 'SELECT count(*) FROM entries_entry')).toEqual(entries)
  const notes = world.events.flatMap((event) => (event.type === 'note' ? [event.text] : []))
  expect(notes).toContain('takes the schema back: python3 manage.py migrate --noinput notes zero')
  expect(notes).toContain('takes the schema back: python3 manage.py migrate --noinput entries 0001_initial')
  // A backup was taken first.
  const backups = `${world.home}/.slipway/rides/backups`
  expect(existsSync(backups) && readdirSync(backups).length).toBeGreaterThan(0)
  await world.enter('staging', 'after')
  await until(() => jobs(world, 'staging', ['after']).lost.length === 0, 'the workers are back')
})

it('goes back by the times that Django keeps, where no list was kept with the version', async () => {
  await world.run((deployment) => deployment.deploy())
  expect(world.query('staging', "SELECT to_regclass('notes_note')")).toEqual(['notes_note'])
  rmSync(`${world.home}/webapps/ridesr2/.slipway/versions/${first}.migrations`)
  await world.run((deployment) => deployment.rollback({ to: first, migrate: true }))
  expect(world.query('staging', "SELECT app || '.' || name FROM django_migrations")).toEqual(['entries.0001_initial'])
})

it('says so when a job took longer than its worker is given, and was killed', async () => {
  world.configure((text) => text.replace('jobs.drain = 60s', 'jobs.drain = 1s'))
  await world.run((deployment) => deployment.deploy())
  await world.enter('staging', 'too-long', 60)
  await until(() => jobs(world, 'staging', ['too-long']).lost.length === 0, 'the job is begun')
  const mark = world.events.length
  await world.run((deployment) => deployment.workers.restart())
  const warnings = world.events.slice(mark).flatMap((event) => (event.type === 'warning' ? [event.text] : []))
  expect(warnings.join('\n')).toMatch(/jobs-1 \(pid \d+\) did not finish within 1 s and was killed/)
  await world.enter('staging', 'next')
  await until(() => jobs(world, 'staging', ['next']).lost.length === 0, 'the workers are back')
})
