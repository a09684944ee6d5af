import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { promoteHeroku } from '../../../src/targets/heroku/index.ts'
import { makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await setStage()
  vi.stubEnv('HOME', stage.dir)
  await makeApps(stage.heroku, undefined, false)
  await stage.run(() => stage.staging.deploy())
}, 60_000)
afterAll(async () => {
  vi.unstubAllEnvs()
  await stage.close()
})

test('apps without Postgres are promoted with the lock on this machine, which is said', async () => {
  const setup = { config: stage.config, env: { ...stage.heroku.env, HOME: stage.dir, PATH: process.env['PATH'] } }
  const { events } = await stage.run(() => promoteHeroku(stage.staging, stage.production, { setup }))
  expect(events.some((event) => event.type === 'warning' && /on this machine only/.test(event.text))).toBe(true)
  expect(await stage.get('pony-production', '/up')).toMatchObject({ status: 200, version: '1' })
  expect(existsSync(join(stage.dir, '.slipway/heroku-pony-production/journals'))).toBe(true)
  await expect(stage.run(() => stage.staging.database.backup())).rejects.toMatchObject({
    code: 'heroku-no-database',
    next: expect.stringContaining('heroku-postgresql'),
  })
}, 60_000)
