import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { audit } from '../../faults/load.ts'
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

it('leaves the data of a production where it is, and begins with a database of another name', async () => {
  const fresh =
    '\n[production.databases]\nmain = postgres secret:FRESH_URL\n\n[production.environment]\nDATABASE_URL = secret:FRESH_URL\n'
  world.configure((text) => text.replace('release = r2', 'release = r3'))
  await world.run((deployment) => deployment.deploy())
  const promoted = () => world.both((from, to) => promote(from, to, { data: 'fresh' }))
  await expect(promoted()).rejects.toMatchObject({
    code: 'database-not-empty',
    next: expect.stringContaining('Name an empty one in [production.databases]'),
  })
  world.sql('CREATE DATABASE rides_anew OWNER rides')
  appendFileSync(join(world.dir, '.env'), `FRESH_URL=${anew()}\n`)
  world.configure((text) => `${text.replace('release = r2', 'release = r3')}${fresh}`)
  const load = world.load('production', { connections: 4, writes: 0.5 })
  await load.reached(40)
  expect((await promoted())?.result).toBe('done')
  await load.reached(load.report.requests + 40)
  const client = await load.stop()
  expect(client.failed).toEqual([])
  const keys = (database: string) => world.sql('SELECT key FROM entries_entry', database).split('\n').filter(Boolean)
  const [left, begun] = [keys('rides'), keys('rides_anew')]
  expect([left.includes('first'), begun.includes('first')]).toEqual([true, false])
  expect(audit(client, [...left, ...begun])).toEqual({ missing: [], twice: [] })
  expect([left.length > 1, begun.length > 0]).toEqual([true, true])
  expect((await world.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr3\//)
})

it('makes the tables of the first production on MariaDB, too', async () => {
  const other = await makeWorld({
    app: 'mysql',
    ini: (text) => text.replace('migrate = ', 'init_db = python3 schema.py up\nmigrate = '),
  })
  try {
    await other.run((deployment) => deployment.deploy())
    expect((await other.both((from, to) => promote(from, to)))?.result).toBe('done')
    await other.enter('production', 'first')
    expect(other.query('production', 'SELECT `key` FROM entries')).toEqual(['first'])
    expect((await other.ask('production', '/up')).headers['x-release']).toMatch(/^ridesr2\//)
  } finally {
    await other.remove()
  }
})

/** Production's address, of another database. */
const anew = () =>
  (/^DATABASE_URL=(.*)$/m.exec(readFileSync(join(world.dir, '.env'), 'utf8'))?.[1] ?? '').replace(
    /rides$/,
    'rides_anew',
  )
