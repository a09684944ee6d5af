import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { makeWorld, type World } from './world.ts'

// A real PostgreSQL on a machine that is busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

/** Staging alone, and an empty database for production. Each test goes on from where the last one left it. */
let world: World
const good = 'init_db = python3 manage.py migrate --noinput\n'

beforeAll(async () => {
  world = await makeWorld({
    ini: (text) =>
      text.replace(/\[app\.workers\][^[]*/, '').replace('migrations = django\n', `migrations = django\n${good}`),
  })
  await world.run((deployment) => deployment.deploy())
})
afterAll(() => world?.remove())

const tables = () => world.query('production', "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")

it('refuses a database that has tables already: they are not ours', async () => {
  world.sql('CREATE TABLE theirs (id int)', 'rides')
  await expect(world.both((from, to) => promote(from, to))).rejects.toMatchObject({
    code: 'database-not-empty',
    message: expect.stringContaining('has 1 tables'),
    next: expect.stringContaining('adopt_production'),
  })
  expect(tables()).toEqual(['theirs'])
  world.sql('DROP TABLE theirs', 'rides')
})

it('leaves the database empty again where making its tables fails halfway', async () => {
  world.configure((text) => text.replace(good, `${good.trim()} && exit 7\n`))
  await expect(world.both((from, to) => promote(from, to))).rejects.toMatchObject({ undone: true })
  expect(tables()).toEqual([])
  expect(world.sql("SELECT datname FROM pg_database WHERE datname LIKE 'rides%' ORDER BY 1").split('\n')).toEqual([
    'rides',
    'rides_staging',
  ])
  world.configure((text) => text)
})

it('makes the tables of the first production', async () => {
  const result = await world.both((from, to) => promote(from, to))
  expect(result?.result).toBe('done')
  expect(tables()).toContain('entries_entry')
  await world.enter('production', 'first')
  expect(world.query('production', 'SELECT key FROM entries_entry')).toEqual(['first'])
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
})
