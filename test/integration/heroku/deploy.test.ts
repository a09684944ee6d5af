import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { api, makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await setStage()
  await makeApps(stage.heroku)
}, 60_000)
afterAll(() => stage.close())

const text = (events: readonly { type: string }[]): string =>
  events.map((event) => ('text' in event ? String(event.text) : '')).join('')

describe('a deploy', () => {
  test('builds what git tracks, runs the release phase, and answers at the new version', async () => {
    const commit = stage.commit({ 'version.txt': '1a' })
    const { value, events } = await stage.run(() => stage.staging.deploy({ ref: 'main' }))
    expect(value).toMatchObject({ state: 'live', current: true, commit: commit.slice(0, 8) })
    expect(text(events)).toContain(`collected static files for ${commit}`)
    expect(text(events)).toContain('applied 0001_pledges')
    expect(await stage.get('pony-staging', '/up')).toEqual({ status: 200, body: { version: '1a' }, version: '1a' })
  }, 60_000)

  test('that fails in the build releases nothing, and says what the build said', async () => {
    const before = (await api(stage.heroku, 'GET', '/apps/pony-staging/releases')).length
    stage.heroku.faults.on.failBuild = true
    const failed = stage.run(() => stage.staging.deploy())
    await expect(failed).rejects.toMatchObject({
      code: 'heroku-build-failed',
      detail: expect.stringContaining('configured to fail'),
    })
    stage.heroku.faults.on.failBuild = false
    expect(await api(stage.heroku, 'GET', '/apps/pony-staging/releases')).toHaveLength(before)
    expect((await stage.get('pony-staging', '/up')).version).toBe('1a')
  }, 60_000)
})
