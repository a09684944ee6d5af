/** What the emulator answers is what the platform's published schema says, where the schema is at hand. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checkReplies, schemaAtHand } from './schema.ts'
import { makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  if (!schemaAtHand) return
  stage = await setStage()
  await makeApps(stage.heroku)
  await stage.run(() => stage.staging.deploy())
}, 90_000)
afterAll(() => stage?.close())

test.skipIf(!schemaAtHand)(
  'every reply validates, but for the address of the routers',
  async () => {
    await stage.run(async () => {
      await stage.staging.status()
      await stage.staging.settings.set({ A: 'b' })
      await stage.staging.workers.scale({ worker: 1 })
      await stage.staging.run(['true'])
      await stage.staging.domains.attach('pony.example.org')
      await stage.staging.rollback({ to: 'v4' }).catch(() => undefined)
      for await (const _ of stage.staging.logs({ lines: 1 })) break
    })
    const { promoteHeroku } = await import('../../../src/targets/heroku/index.ts')
    await stage.run(() =>
      promoteHeroku(stage.staging, stage.production, {
        setup: { config: stage.config, env: { ...stage.heroku.env, HOME: stage.dir, PATH: process.env['PATH'] } },
      }),
    )
    const { api } = await import('./stage.ts')
    for (const path of [
      '/account',
      '/account/rate-limits',
      '/apps',
      '/stacks',
      '/regions',
      '/teams',
      '/addon-services',
      '/addon-services/heroku-postgresql/plans',
      '/pipelines',
      '/addons',
      '/addon-attachments',
      '/apps/pony-staging/available-dyno-sizes',
      '/apps/pony-staging/features',
      '/apps/pony-staging/collaborators',
      '/apps/pony-staging/buildpack-installations',
      '/apps/pony-staging/builds',
      '/apps/pony-staging/sni-endpoints',
    ])
      await api(stage.heroku, 'GET', path)
    const { complaints, checked } = checkReplies(stage.heroku)
    expect(complaints).toEqual([])
    expect(checked.length).toBeGreaterThan(35)
  },
  120_000,
)
