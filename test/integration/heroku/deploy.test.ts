import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { api, interruptBuild, makeApps, type Stage, setStage } from './stage.ts'

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

describe('what goes wrong in a deploy', () => {
  const version = async () => (await stage.get('pony-staging', '/up')).version
  const releases = async (): Promise<{ version: number; status: string; current: boolean }[]> =>
    api(stage.heroku, 'GET', '/apps/pony-staging/releases')

  test('a failing release phase never goes live', async () => {
    stage.commit({ 'version.txt': 'r' })
    stage.heroku.faults.on.failRelease = true
    await expect(stage.run(() => stage.staging.deploy())).rejects.toMatchObject({
      code: 'heroku-release-failed',
      state: expect.stringMatching(/never went live; v\d+ runs on/),
      detail: expect.stringContaining('configured to fail'),
    })
    stage.heroku.faults.on.failRelease = false
    expect(await version()).toBe('1a')
  }, 60_000)

  test('a crashing or unhealthy version is taken back', async () => {
    stage.heroku.faults.on.crashDynos.add('web')
    const failing = stage.run(() => stage.staging.deploy())
    while (!stage.heroku.state.apps.get('pony-staging')!.dynos.some((dyno) => dyno.state === 'crashed'))
      await new Promise((resolve) => setTimeout(resolve, 5))
    stage.heroku.faults.on.crashDynos.clear()
    await expect(failing).rejects.toMatchObject({
      code: 'heroku-crashed',
      state: expect.stringContaining('the app is back at'),
    })
    expect(await version()).toBe('1a')
    const staging = stage.deployment('staging', {
      app: { ...stage.config.app, health: { path: '/nowhere', status: 200, deadlineMs: 300 } },
    })
    await expect(stage.run(() => staging.deploy())).rejects.toMatchObject({
      code: 'unhealthy',
      state: expect.stringContaining('the app is back at'),
    })
    expect(await version()).toBe('1a')
  }, 60_000)

  test('output that is cut goes on where it stopped, and hooks that nothing runs there are told of', async () => {
    stage.commit({ 'version.txt': 'cut' })
    stage.heroku.faults.on.cutStreamsAfter = 60
    const hooks = { before_install: ['make'], after_switch: ['./told'], after_clone: ['./scrubbed'] }
    const staging = stage.deployment('staging', { app: { ...stage.config.app, hooks } })
    const { events } = await stage.run(() => staging.deploy())
    const warnings = events.flatMap((event) => (event.type === 'warning' ? [event.text] : []))
    expect(warnings).toEqual([expect.stringContaining('[app.hooks] before_install, after_switch: not run on Heroku')])
    const shown = text(events.filter((event) => event.type === 'command.output'))
    expect(shown.match(/-----> Building on/g)).toHaveLength(1)
    expect(shown.match(/Released v\d+/g)).toHaveLength(1)
    expect(await version()).toBe('cut')
  }, 60_000)

  test('lost replies start neither a second build nor a second release', async () => {
    const builds = async () => (await api(stage.heroku, 'GET', '/apps/pony-staging/builds')).length
    const [b, r] = [await builds(), (await releases()).length]
    stage.heroku.faults.add('POST', /\/builds$/, { kind: 'lose-reply' })
    await stage.run(() => stage.staging.deploy())
    expect(await builds()).toBe(b + 1)
    expect(await releases()).toHaveLength(r + 1)
  }, 60_000)

  test('Ctrl-C cancels the build', () => interruptBuild(stage), 60_000)

  test("a branch that is not the deployment's, a dirty tree and an unknown ref are refused before anything is uploaded", async () => {
    const from = stage.heroku.seen.filter((call) => call.path === '/sources').length
    const release = stage.deployment('staging', { branch: 'release', app: stage.config.app })
    await expect(stage.run(() => release.deploy())).rejects.toMatchObject({ code: 'wrong-branch', exitCode: 2 })
    const main = stage.deployment('staging', { branch: 'main' })
    const { writeFileSync } = await import('node:fs')
    writeFileSync(`${stage.dir}/dirt.txt`, 'x')
    await expect(stage.run(() => main.deploy())).rejects.toMatchObject({ code: 'dirty-tree', detail: '?? dirt.txt' })
    await expect(stage.run(() => main.deploy({ ref: 'nowhere' }))).rejects.toMatchObject({ code: 'no-ref' })
    const gated = stage.deployment('staging', { branch: undefined, app: { ...stage.config.app, gate: 'exit 1' } })
    await expect(stage.run(() => gated.deploy({ ref: 'main' }))).rejects.toMatchObject({ code: 'gate' })
    stage.staging = stage.deployment('staging', { app: stage.config.app })
    expect(stage.heroku.seen.filter((call) => call.path === '/sources')).toHaveLength(from)
    stage.commit({})
  }, 60_000)

  test('a fresh install purges the build cache; the app restarts once in a deploy of several tasks', async () => {
    const { events } = await stage.run(async () => {
      await stage.staging.upload({ ref: 'main' })
      await stage.staging.install({ fresh: true })
      await stage.staging.server.restart()
      await stage.staging.workers.restart()
    })
    expect(text(events)).toContain('No cache: starting from scratch')
    expect(
      stage.heroku.seen.filter((call) => call.method === 'DELETE' && call.template === '/apps/:app/formations/:type'),
    ).toEqual([])
  }, 60_000)
})
