import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { makeWorld, until, type World } from './world.ts'

// A real PostgreSQL on a machine that is busy with others.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

/** One production through its life: each test goes on from where the last one left it. */
let world: World
const reports: LoadReport[] = []

beforeAll(async () => {
  world = await makeWorld({
    // Without its workers: what becomes of jobs is another test's.
    ini: (text) =>
      text.replace(/\[app\.workers\][^[]*/, '').replace('[production]\n', '[production]\ndatabase = handover\n'),
  })
  await world.run((deployment) => deployment.deploy(), 'production', 'r1')
  world.goOn()
  await world.run((deployment) => deployment.deploy())
})
afterAll(() => world?.remove())

const databases = () => world.sql("SELECT datname FROM pg_database WHERE datname LIKE 'rides%' ORDER BY 1").split('\n')
const identity = () => world.sql("SELECT oid FROM pg_database WHERE datname = 'rides'")
const hasNotes = () => world.query('production', "SELECT to_regclass('notes_note')")

async function underLoad(work: () => Promise<unknown>): Promise<void> {
  const load = world.load('production', { connections: 4 })
  reports.push((await around(load, 40, work)).client)
  expect(reports.at(-1)?.failed).toEqual([])
  const found = world.query('production', 'SELECT key FROM entries_entry')
  for (const report of reports) expect(audit(report, found)).toEqual({ missing: [], twice: [] })
}

it('puts the database back as it was where a handover fails after it was migrated', async () => {
  const before = identity()
  await underLoad(async () => {
    const promotion = world.both((from, to) => promote(from, to)).catch((error: Error) => error)
    const changes = `${world.home}/.slipway/rides/changes`
    await until(() => existsSync(changes) && readdirSync(changes).length > 0, 'the change has a folder')
    const folder = `${changes}/${readdirSync(changes)[0]}`
    writeFileSync(`${folder}/pause.new`, 'migrate after')
    renameSync(`${folder}/pause.new`, `${folder}/pause`)
    await until(() => existsSync(`${folder}/paused`), 'it is migrated')
    expect(hasNotes()).toEqual(['notes_note'])
    expect(identity()).toBe(before)
    writeFileSync(`${folder}/go-back`, '')
    renameSync(`${folder}/paused`, `${folder}/was-paused`)
    expect(await promotion).toMatchObject({ undone: true })
  })
  expect(hasNotes()).toEqual([])
  expect(databases()).toEqual(['rides', 'rides_staging'])
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr1\//)
})

it('goes back while a program that nobody knows keeps coming into the database', async () => {
  const url = /^DATABASE_URL=(.*)$/m.exec(readFileSync(`${world.dir}/.env`, 'utf8'))?.[1] as string
  const loop = 'while :; do psql -X -w -q "$DATABASE_URL" -c "SELECT pg_sleep(60)"; done'
  const stranger = spawn('/bin/sh', ['-c', loop], {
    detached: true,
    stdio: 'ignore',
    env: { ...process.env, DATABASE_URL: url, PGAPPNAME: 'stranger' },
  })
  try {
    await underLoad(async () => {
      await expect(world.both((from, to) => promote(from, to))).rejects.toMatchObject({
        undone: true,
        message: expect.stringMatching(/others are in rides again: .*stranger/),
      })
    })
  } finally {
    process.kill(-(stranger.pid as number), 'SIGKILL')
  }
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr1\//)
})

it('hands the database over to the new release, migrated where it is, and back again', async () => {
  const before = identity()
  await underLoad(() => world.both((from, to) => promote(from, to)))
  expect(identity()).toBe(before)
  expect(hasNotes()).toEqual(['notes_note'])
  expect(databases()).toEqual(['rides', 'rides_staging'])
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
  await underLoad(() => world.both((from, to) => demote(from, to)))
  expect(identity()).toBe(before)
  expect(hasNotes()).toEqual([])
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr1\//)
})

it('takes no empty database for what production uses', async () => {
  world.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public', 'rides')
  await expect(world.both((from, to) => promote(from, to))).rejects.toMatchObject({ code: 'database-empty' })
})
