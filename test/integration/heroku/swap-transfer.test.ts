/** An exchange between apps whose databases are of different plans: production's data is copied into the new one. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { promoteHeroku } from '../../../src/targets/heroku/index.ts'
import { api, colours, failSwap, type Stage, setStage, setSwap } from './stage.ts'

let stage: Stage
let setup: Parameters<typeof promoteHeroku>[2]['setup']
beforeAll(async () => {
  stage = await setStage()
  setup = await setSwap(stage, async () => {
    const [addon] = await api(stage.heroku, 'GET', '/apps/pony-staging/addons')
    await api(stage.heroku, 'PATCH', `/apps/pony-staging/addons/${addon.id}`, { plan: 'heroku-postgresql:standard-0' })
  })
}, 90_000)
afterAll(() => stage.close())

const swap = () => promoteHeroku(stage.staging, stage.production, { setup })
const names = async (app: string): Promise<string> =>
  stage.heroku.sql(app, "SELECT string_agg(name, ',' ORDER BY name) FROM pledges")
const attachments = () =>
  stage.heroku.state.attachments.map((each) => `${each.app.name} ${each.name} ${each.addon.name}`).sort()

test('a plan that would not hold the data is refused before anything changes', async () => {
  stage.heroku.faults.on.planBytes = 1e6
  const writes = stage.heroku.seen.filter((call) => call.method !== 'GET').length
  await expect(stage.run(swap)).rejects.toMatchObject({ code: 'heroku-too-large', state: 'Nothing was changed.' })
  stage.heroku.faults.on.planBytes = 1e9
  expect(stage.heroku.seen.filter((call) => call.method !== 'GET')).toHaveLength(writes)
}, 30_000)

test('the plan says that data is copied; what fails after it is taken back, data and all', async () => {
  const before = attachments()
  const { events } = await stage.run(swap, { planOnly: true })
  const text = events.flatMap((event) => (event.type === 'result' ? [event.text] : [])).join('\n')
  expect(text).toMatch(
    /copy postgresql-\S+ \(heroku-postgresql:essential-0\) over postgresql-\S+ \(heroku-postgresql:standard-0\)/,
  )
  expect(text).not.toContain('DATABASE is')
  await failSwap(stage, swap)
  expect(await names('pony-staging')).toBe('Test')
  expect(await names('pony-production')).toBe('Ada')
  expect(attachments()).toEqual(before)
  expect((await stage.get('pony-production', '/pledges')).body).toEqual(['Ada'])
  expect((await stage.get('pony-staging', '/pledges')).body).toEqual(['Test'])
}, 120_000)

test("the staging app becomes production with a copy of production's data, migrated; the former one is as it was", async () => {
  const before = attachments()
  const asked: string[] = []
  let answers = true
  // A visitor who writes all the time: what was answered with success has to be there afterwards.
  const visitor = (async () => {
    for (let n = 0; answers; n += 1) {
      const status = await stage.post('pony-production', `visitor-${n}`).catch(() => 0)
      if (status >= 200 && status < 300) asked.push(`visitor-${n}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  })()
  await stage.run(swap)
  answers = false
  await visitor
  expect(asked.length).toBeGreaterThan(0)
  const there = (await names('pony-staging')).split(',')
  expect(asked.filter((name) => !there.includes(name))).toEqual([])
  expect(there).toContain('Ada')
  expect([await colours(stage, 'pony-staging'), await colours(stage, 'pony-production')]).toEqual(['1', '0'])
  expect(attachments()).toEqual(before)
  expect((await stage.get('pony-staging', '/up')).version).toBe('2')
  expect(stage.heroku.state.apps.get('pony-production')).toMatchObject({ maintenance: true })
  expect(stage.heroku.state.apps.get('pony-production')!.formation.get('web')?.quantity).toBe(1)
  // Nobody's lock, and nothing that looks unfinished, came along.
  expect(await stage.heroku.sql('pony-staging', 'SELECT count(*) FROM slipway.locks')).toBe('0')
  expect(await stage.heroku.sql('pony-staging', 'SELECT count(*) FROM slipway.journals WHERE result IS NULL')).toBe('0')
}, 120_000)

test('once the two `app =` lines are exchanged, deployments go on', async () => {
  const old = stage.deployment('staging', { herokuApp: 'pony-production' })
  const live = stage.deployment('production', { herokuApp: 'pony-staging' })
  stage.commit({ 'version.txt': '3' })
  await stage.run(() => live.deploy())
  expect((await stage.get('pony-staging', '/up')).version).toBe('3')
  await stage.run(() => old.maintenance.off())
  expect((await stage.get('pony-production', '/pledges')).status).toBe(200)
}, 60_000)
