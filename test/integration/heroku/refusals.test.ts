/** What an app on Heroku or its configuration can't give is refused with its own code, before anything is changed. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { HerokuConfig } from '../../../src/config/types.ts'
import { SlipwayError } from '../../../src/events/index.ts'
import type { HerokuDeployment } from '../../../src/targets/heroku/deployment.ts'
import { api, makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
let elsewhere: string
beforeAll(async () => {
  stage = await setStage()
  await makeApps(stage.heroku)
  elsewhere = mkdtempSync(join(tmpdir(), 'slipway-no-git-'))
  writeFileSync(join(stage.dir, 'config/app.ini'), '[app]\nkey = 1\n')
}, 60_000)
afterAll(async () => {
  await stage.close()
  rmSync(elsewhere, { recursive: true })
})

async function refused(body: (staging: HerokuDeployment) => unknown, changes: Partial<HerokuConfig> = {}) {
  try {
    await stage.run(async () => await body(stage.deployment('staging', changes)))
  } catch (error) {
    if (error instanceof SlipwayError) return error
    throw error
  }
  throw new Error('it was not refused')
}

const app = (more: object) => ({ app: { ...stage.config.app, ...more } }) as Partial<HerokuConfig>

describe('refused, while nothing is deployed', () => {
  test.each<[string, string, (staging: HerokuDeployment) => unknown, (() => Partial<HerokuConfig>)?]>([
    ['heroku-no-web', 'pony-staging has no web process', (staging) => staging.server.restart()],
    ['no-earlier-version', 'has no earlier code to go back to', (staging) => staging.rollback()],
    ['no-backup', 'has no backup', (staging) => staging.database.verify()],
    ['no-backup', 'has no finished backup b009', (staging) => staging.database.verify('b009')],
    ['bad-setting', '"a-b" can\'t be the name of a variable', (staging) => staging.settings.set({ 'a-b': '1' })],
    [
      'settings-not-env',
      'config/app.ini has sections',
      (staging) => staging.settings.push(),
      () => ({ settings: 'app.ini' }),
    ],
    [
      'no-settings-file',
      'the settings file config/none.env is not there',
      (staging) => staging.settings.push(),
      () => ({ settings: 'none.env' }),
    ],
    [
      'no-feature',
      'Heroku has no feature teleport',
      (staging) => staging.initApp(),
      () => ({ features: ['teleport'] }),
    ],
    ['not-git', 'is not in git', (staging) => staging.deploy({ ref: 'main' }), () => app({ source: elsewhere })],
    ['empty-source', 'there is nothing to deploy', (staging) => staging.deploy(), () => app({ exclude: ['*'] })],
    ['no-command', 'there is no command to run', (staging) => staging.run([])],
  ])('%s: %s', async (code, message, body, changes = () => ({})) => {
    const before = stage.config.deployments['staging']
    try {
      const error = await refused(body, changes())
      expect(error).toMatchObject({ code })
      expect(error.message).toContain(message)
      expect(`${error.message} ${error.state ?? ''} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object/)
    } finally {
      stage.config.deployments['staging'] = before!
    }
  })

  test('an app that is in another pipeline', async () => {
    await api(stage.heroku, 'POST', '/pipelines', { name: 'other' })
    expect(await refused((staging) => staging.initApp(), { pipeline: 'other' })).toMatchObject({
      code: 'heroku-other-pipeline',
      message: 'pony-staging is in another pipeline already',
    })
  })
})
