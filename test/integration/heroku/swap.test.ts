import { afterAll, beforeAll, expect, test } from 'vitest'
import { promoteHeroku } from '../../../src/targets/heroku/index.ts'
import { api, colours, failSwap, type Stage, setStage, setSwap } from './stage.ts'

let stage: Stage
let setup: Parameters<typeof promoteHeroku>[2]['setup']
beforeAll(async () => {
  stage = await setStage()
  setup = await setSwap(stage, async () => {
    const production = '/apps/pony-production'
    await api(stage.heroku, 'POST', `${production}/domains`, { hostname: 'pony.example.org', sni_endpoint: null })
    await api(stage.heroku, 'PATCH', `${production}/formation`, { updates: [{ type: 'worker', quantity: 2 }] })
  })
}, 90_000)
afterAll(() => stage.close())

const swap = (options: Partial<Parameters<typeof promoteHeroku>[2]> = {}) =>
  promoteHeroku(stage.staging, stage.production, { setup, ...options })
const picture = async () => {
  const attached = (app: string) =>
    stage.heroku.state.attachments.find((each) => each.app.name === app && each.name === 'DATABASE')!.addon.app.name
  const app = (name: string) => stage.heroku.state.apps.get(name)!
  return {
    databases: [attached('pony-staging'), attached('pony-production')],
    domain: [...stage.heroku.state.apps.values()]
      .filter((each) => each.domains.some((domain) => domain.hostname === 'pony.example.org'))
      .map((each) => each.name),
    stages: stage.heroku.state.couplings.map((each) => `${each.app.name}:${each.stage}`).sort(),
    maintenance: [app('pony-staging').maintenance, app('pony-production').maintenance],
    workers: [
      app('pony-staging').formation.get('worker')?.quantity,
      app('pony-production').formation.get('worker')?.quantity,
    ],
  }
}

test('an exchange says that it is not atomic, and that failing takes every step back', async () => {
  const before = await picture()
  const { events } = await stage.run(() => swap(), { planOnly: true })
  const text = events.flatMap((event) => (event.type === 'result' ? [event.text] : [])).join('\n')
  expect(text).toContain('Not atomic on Heroku')
  expect(text).toContain('pony.example.org: from pony-production to pony-staging')
  await failSwap(stage, () => swap())
  expect(await picture()).toEqual(before)
  expect((await stage.get('pony-production', '/pledges')).body).toEqual(['Ada'])
  // The migration that was done on production's data is gone with the backup that was put back.
  expect(await colours(stage, 'pony-production')).toBe('0')
}, 120_000)

test("an exchange that was interrupted is gone on with, and makes the staging app production, with production's data and domain", async () => {
  const controller = new AbortController()
  const interrupted = stage.run(() => swap(), {}, { signal: controller.signal })
  const production = stage.heroku.state.apps.get('pony-production')!
  while (production.domains.some((each) => each.hostname === 'pony.example.org'))
    await new Promise((resolve) => setTimeout(resolve, 5))
  controller.abort()
  await expect(interrupted).rejects.toMatchObject({ state: expect.stringContaining('unfinished') })
  await expect(stage.run(() => stage.staging.deploy())).rejects.toMatchObject({
    code: expect.stringMatching(/unfinished-change|role-disagrees/),
  })
  await stage.run(() => swap({ resume: true }))
  expect(await picture()).toEqual({
    databases: ['pony-production', 'pony-staging'],
    domain: ['pony-staging'],
    stages: ['pony-production:staging', 'pony-staging:production'],
    maintenance: [false, true],
    workers: [2, 0],
  })
  expect(await stage.get('pony-staging', '/pledges')).toMatchObject({ body: ['Ada'], version: '2' })
  expect(await colours(stage, 'pony-staging')).toBe('1')
}, 120_000)

test('afterwards a configuration that still says the opposite is refused', async () => {
  await expect(stage.run(() => stage.staging.deploy())).rejects.toMatchObject({
    code: 'role-disagrees',
    next: expect.stringContaining('app ='),
  })
}, 30_000)
