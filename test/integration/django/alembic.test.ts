import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { makeWorld, type World } from './world.ts'

// Python starts slowly on a machine that is busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let world: World
let first: string

beforeAll(async () => {
  world = await makeWorld({ app: 'alembic' })
})
afterAll(() => world?.remove())

const applied = (id: string) => readFileSync(`${world.home}/webapps/ridesr2/.slipway/versions/${id}.migrations`, 'utf8')
const columns = () =>
  world.query('staging', "SELECT column_name FROM information_schema.columns WHERE table_name = 'riders' ORDER BY 1")

it('migrates with Alembic between install and switch, and keeps the revision with the version', async () => {
  first = (await world.run((deployment) => deployment.deploy())).id
  expect(applied(first)).toBe('1a\n')
  world.query('staging', "INSERT INTO riders (name) VALUES ('one')")
  world.goOn()
  const second = await world.run((deployment) => deployment.deploy())
  expect(applied(second.id)).toBe('2b\n')
  expect(applied(first)).toBe('1a\n')
  expect(columns()).toContain('club')
  expect(await world.ask('staging', '/up')).toMatchObject({ status: 200, body: '1 riders\n' })
})

it('goes back to that revision with the code', async () => {
  const back = await world.run((deployment) => deployment.rollback({ migrate: true }))
  expect(back.id).toBe(first)
  expect(columns()).toEqual(['id', 'name'])
  const answer = await world.ask('staging', '/up')
  expect(answer.headers['x-release']).toBe(`ridesr2/${first}`)
  expect(answer.body).toBe('1 riders\n')
  expect(world.query('staging', 'SELECT version_num FROM alembic_version')).toEqual(['1a'])
})
