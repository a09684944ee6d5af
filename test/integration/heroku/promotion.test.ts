import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { promoteHeroku } from '../../../src/targets/heroku/index.ts'
import { api, makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
let setup: Parameters<typeof promoteHeroku>[2]['setup']
beforeAll(async () => {
  stage = await setStage()
  setup = { config: stage.config, env: { ...stage.heroku.env, HOME: stage.dir, PATH: process.env['PATH'] } }
  await makeApps(stage.heroku)
  await stage.run(() => stage.production.deploy())
  await api(stage.heroku, 'PATCH', '/apps/pony-production/formation', { updates: [{ type: 'worker', quantity: 2 }] })
  await stage.post('pony-production', 'Ada')
}, 60_000)
afterAll(() => stage.close())

const promote = (options: Partial<Parameters<typeof promoteHeroku>[2]> = {}) =>
  promoteHeroku(stage.staging, stage.production, { setup, ...options })
const live = async (app: string): Promise<{ id: string; version: number; slug: { id: string } }> =>
  (await api(stage.heroku, 'GET', `/apps/${app}/releases`)).find((each: { current: boolean }) => each.current)
const stageVersion = async (version: string, files: Record<string, string> = {}): Promise<void> => {
  stage.commit({ 'version.txt': version, ...files })
  await stage.run(() => stage.staging.deploy())
}

const testLong = test.skipIf(!process.env['SLIPWAY_TEST_LONG'])

describe('a promotion by the pipeline', () => {
  test('shows its steps with real values, and changes nothing, when only the plan is wanted', async () => {
    await stageVersion('2')
    const before = await live('pony-production')
    const { events } = await stage.run(() => promote(), { planOnly: true })
    const lines = events.flatMap((event) => (event.type === 'result' ? [event.text] : [])).join('\n')
    expect(lines).toContain('back up pony-production::DATABASE')
    expect(lines).toContain(`undo: pony-production: back to v${before.version}`)
    expect((await live('pony-production')).id).toBe(before.id)
  }, 60_000)

  test('moves the very release that staging runs, after a backup, and fails no request', async () => {
    let failed = 0
    let served = 0
    let written = 0
    let going = true
    const load = Array.from({ length: 4 }, async (_, n) => {
      while (going) {
        const { status } = await stage.get('pony-production', '/pledges').catch(() => ({ status: 0 }))
        const posted = await stage.post('pony-production', `w${n}-${written}`).catch(() => 0)
        served += 2
        failed += Number(status !== 200) + Number(posted !== 201)
        written += Number(posted === 201)
      }
    })
    const before = written
    await stage.run(() => promote())
    going = false
    await Promise.all(load)
    const [staging, production] = await Promise.all([live('pony-staging'), live('pony-production')])
    expect(production.slug.id).toBe(staging.slug.id)
    expect((await stage.get('pony-production', '/up')).version).toBe('2')
    expect({ failed, served: served > 20 }).toEqual({ failed: 0, served: true })
    expect(before).toBe(0)
    const names = (await stage.get('pony-production', '/pledges')).body as string[]
    expect(names.filter((name) => name.startsWith('w'))).toHaveLength(written)
    const backups = (await stage.run(() => stage.production.database.backups())).value
    expect(backups[0]).toMatchObject({ id: 'b001', databases: ['DATABASE'] })
    const sent = stage.heroku.seen.findLast((call) => call.path === '/pipeline-promotions')?.request
    expect(sent).toMatchObject({ source: { release: { id: staging.id } } })
  }, 60_000)

  test('is told to the configured webhook: who, what and where; also that one failed', async () => {
    const told: string[] = []
    const server = createServer((request, response) => {
      let text = ''
      request.on('data', (chunk) => {
        text += chunk
      })
      request.on('end', () => {
        told.push((JSON.parse(text) as { text: string }).text)
        response.end()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stage.config.notifications.push({
      name: 'team',
      kind: 'generic',
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
      message: '{{event}} of {{app}} ({{release}}): {{head}} {{url}} {{detail}}',
      on: ['promote', 'failure'],
    })
    try {
      await stageVersion('2b')
      await stage.run(() => promote())
      const { version } = await live('pony-production')
      const port = stage.heroku.state.apps.get('pony-production')?.port
      expect(told).toEqual([`promote of pony-production (production): v${version} http://127.0.0.1:${port}/`])
      stage.heroku.faults.add('POST', /^\/pipeline-promotions$/, {
        kind: 'status',
        status: 422,
        id: 'invalid_params',
        message: 'The pipeline is closed today.',
      })
      await stageVersion('2c')
      await expect(stage.run(() => promote())).rejects.toMatchObject({ code: 'step-failed', undone: true })
      expect(told[1]).toMatch(/^failure of pony-production \(production\): .*promote: /)
    } finally {
      stage.config.notifications.length = 0
      await new Promise((resolve) => server.close(resolve))
    }
  }, 60_000)

  test('of what is live already is refused', async () => {
    await stage.run(() => promote())
    await expect(stage.run(() => promote())).rejects.toMatchObject({ code: 'already-live' })
  })

  test('whose health check fails goes back to what production ran', async () => {
    await stageVersion('3')
    const before = await live('pony-production')
    stage.production = stage.deployment('production', {
      app: { ...stage.config.app, health: { path: '/up', status: 200, body: '"version": "2"', deadlineMs: 500 } },
    })
    await expect(stage.run(() => promote())).rejects.toMatchObject({
      code: 'step-failed',
      undone: true,
      message: expect.stringContaining('without'),
    })
    stage.production = stage.deployment('production', { app: stage.config.app })
    const after = await live('pony-production')
    expect(after.slug.id).toBe(before.slug.id)
    expect((await stage.get('pony-production', '/up')).version).toBe('2c')
  }, 60_000)

  test('whose release phase fails never goes live', async () => {
    stage.heroku.faults.on.failRelease = true
    await expect(stage.run(() => promote())).rejects.toMatchObject({
      undone: true,
      message: expect.stringContaining('release phase'),
    })
    stage.heroku.faults.on.failRelease = false
    expect((await stage.get('pony-production', '/up')).version).toBe('2c')
  }, 60_000)

  test('takes effect once when the reply to it is lost', async () => {
    stage.heroku.faults.add('POST', /^\/pipeline-promotions$/, { kind: 'lose-reply' })
    const calls = (): number =>
      stage.heroku.seen.filter((call) => call.method === 'POST' && call.path === '/pipeline-promotions').length
    const before = calls()
    await stage.run(() => promote())
    expect(calls() - before).toBe(1)
    expect((await stage.get('pony-production', '/up')).version).toBe('3')
  }, 60_000)

  test('that is interrupted leaves a journal that locks, and can be taken back or resumed from another run', async () => {
    await stageVersion('4')
    const interrupted = async (): Promise<void> => {
      stage.heroku.faults.on.promotionDelayMs = 1000
      const controller = new AbortController()
      const promoting = stage.run(() => promote(), {}, { signal: controller.signal })
      // Asked for, and known to the journal by its id: its end is asked for then.
      const isAwaited = () =>
        stage.heroku.state.promotions.some(
          ({ id, targets }) =>
            targets.some((target) => target.status === 'pending') &&
            stage.heroku.seen.some(
              (call) => call.method === 'GET' && call.path.startsWith(`/pipeline-promotions/${id}`),
            ),
        )
      while (!isAwaited()) await new Promise((resolve) => setTimeout(resolve, 10))
      controller.abort()
      await expect(promoting).rejects.toMatchObject({ code: 'aborted', state: expect.stringContaining('unfinished') })
      stage.heroku.faults.on.promotionDelayMs = 0
    }
    await interrupted()
    await stage.run(() => promote({ undo: true }))
    expect((await stage.get('pony-production', '/up')).version).toBe('3')
    expect((await stage.run(() => stage.production.status())).value.unfinished).toBeUndefined()
    await interrupted()
    const sent = stage.heroku.state.promotions.length
    await expect(stage.run(() => stage.production.deploy())).rejects.toMatchObject({ code: 'unfinished-change' })
    expect((await stage.run(() => stage.production.status())).value.unfinished).toContain('unfinished change')
    // The promotion that was sent is the one that is waited for.
    await stage.run(() => promote({ resume: true }))
    expect(stage.heroku.state.promotions).toHaveLength(sent)
    expect((await stage.get('pony-production', '/up')).version).toBe('4')
  }, 60_000)

  testLong(
    'that is interrupted as it is sent has its id kept, and one that is done again is not taken for one that failed',
    async () => {
      const { faults, state } = stage.heroku
      await stageVersion('4b')
      let letGo = (): void => undefined
      const until = new Promise<void>((resolve) => {
        letGo = resolve
      })
      const path = /^\/pipeline-promotions$/
      faults.add('POST', path, { kind: 'hold', until })
      faults.on.failRelease = true
      const controller = new AbortController()
      const promoting = stage.run(() => promote(), {}, { signal: controller.signal })
      const isHeld = () => faults.rules.every((rule) => rule.times === 0)
      while (!isHeld()) await new Promise((resolve) => setTimeout(resolve, 10))
      controller.abort()
      letGo()
      await expect(promoting).rejects.toMatchObject({ code: 'aborted', state: expect.stringContaining('unfinished') })
      const outcome = `entry->>'entry' = 'outcome' AND entry->>'step' = 'promote'
  AND journal IN (SELECT id FROM slipway.journals WHERE result IS NULL)`
      expect(
        await stage.heroku.sql(
          'pony-production',
          `SELECT entry->'data'->>'promotion' FROM slipway.entries WHERE ${outcome}`,
        ),
      ).toBe(state.promotions.at(-1)!.id)
      while (state.promotions.at(-1)!.targets[0]!.status === 'pending')
        await new Promise((resolve) => setTimeout(resolve, 10))
      faults.on.failRelease = false
      // As if it had been killed before that: it is sent again, and its reply is lost while the platform is at it.
      await stage.heroku.sql('pony-production', `DELETE FROM slipway.entries WHERE ${outcome}`)
      faults.add('POST', path, { kind: 'lose-reply' })
      faults.on.promotionDelayMs = 2000
      await stage.run(() => promote({ resume: true }))
      faults.on.promotionDelayMs = 0
      expect((await stage.get('pony-production', '/up')).version).toBe('4b')
    },
    60_000,
  )

  test('keeps its table out of what the app sees, and lets one run at a time', async () => {
    await stageVersion('5')
    const outcomes = await Promise.allSettled([stage.run(() => promote()), stage.run(() => promote())])
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected')
    expect(failed).toHaveLength(1)
    expect(['locked', 'unfinished-change', 'heroku-busy', 'facts-changed', 'already-live']).toContain(
      (failed[0] as PromiseRejectedResult).reason.code,
    )
    expect(await stage.heroku.sql('pony-production', 'SELECT count(*) FROM slipway.locks')).toBe('0')
  }, 60_000)

  test('says which is missing: a pipeline, a stack, a source that is up', async () => {
    await stageVersion('6')
    const couplings = stage.heroku.state.couplings
    stage.heroku.state.couplings = couplings.filter((each) => each.app.name !== 'pony-staging')
    await expect(stage.run(() => promote())).rejects.toMatchObject({
      code: 'heroku-no-pipeline',
      next: expect.stringContaining('pipeline ='),
    })
    stage.heroku.state.couplings = couplings
    const app = stage.heroku.state.apps.get('pony-production')!
    app.stack = 'heroku-22'
    app.buildStack = 'heroku-22'
    await expect(stage.run(() => promote())).rejects.toMatchObject({ code: 'heroku-stacks-differ' })
    app.buildStack = 'container'
    await expect(stage.run(() => promote())).rejects.toMatchObject({ code: 'heroku-container' })
    app.stack = 'heroku-24'
    app.buildStack = 'heroku-24'
    stage.heroku.faults.on.crashDynos.add('web')
    await api(stage.heroku, 'DELETE', '/apps/pony-staging/dynos')
    const staging = stage.heroku.state.apps.get('pony-staging')!
    while (!staging.dynos.some((dyno) => dyno.state === 'crashed'))
      await new Promise((resolve) => setTimeout(resolve, 10))
    await expect(stage.run(() => promote())).rejects.toMatchObject({ code: 'heroku-source-unready' })
    stage.heroku.faults.on.crashDynos.clear()
  }, 60_000)
})
