/** Deploys by git push: to the platform's own git, over smart HTTP, with the build's output from the remote. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunEvent } from '../../../src/events/index.ts'
import { herokuDeployment } from '../../../src/targets/heroku/index.ts'
import { api, interruptBuild, makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await setStage()
  await makeApps(stage.heroku)
  stage.staging = stage.deployment('staging', { deployBy: 'git' })
}, 60_000)
afterAll(() => stage.close())

const output = (events: readonly RunEvent[]): string =>
  events.map((event) => (event.type === 'command.output' ? event.text : '')).join('')
const builds = (): Promise<{ id: string; status: string }[]> => api(stage.heroku, 'GET', '/apps/pony-staging/builds')
const version = async () => (await stage.get('pony-staging', '/up')).version

/** The command lines and URLs of all git processes below this one, as long as `work` takes. */
async function watchingGit<T>(work: Promise<T>): Promise<string> {
  let seen = ''
  let over = false
  const done = work.finally(() => {
    over = true
  })
  while (!over) {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const line = readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' ')
        if (line.startsWith('git') || line.includes('git-remote')) seen += `${line}\n`
      } catch {
        // It has ended.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await done
  return seen
}

test('it pushes the commit, shows what the remote says, and waits for release phase, dynos and health', async () => {
  const commit = stage.commit({
    'version.txt': 'pushed',
    'bin/post_compile': '#!/usr/bin/env bash\nsleep 0.5\necho built\n',
  })
  let events: RunEvent[] = []
  const seen = await watchingGit(
    stage
      .run(() => stage.staging.deploy())
      .then((done) => {
        events = done.events
        expect(done.value).toMatchObject({ state: 'live', current: true, commit: commit.slice(0, 8) })
      }),
  )
  expect(seen).toContain(`git -c credential.helper=`)
  expect(seen).toContain(`/_git/pony-staging.git +${commit}:refs/heads/main`)
  expect(seen + JSON.stringify(events)).not.toContain(stage.heroku.token)
  expect(output(events)).toMatch(/-----> Building on[\s\S]*built[\s\S]*Released v\d+/)
  expect(output(events)).toContain('applied 0001_pledges')
  expect(await version()).toBe('pushed')
  // No tarball was uploaded for it.
  expect(stage.heroku.seen.filter((call) => call.template === '/sources')).toEqual([])
}, 60_000)

test('a commit that is there already is built from a tarball, and an older one is pushed like any other', async () => {
  const older = execFileSync('git', ['-C', stage.dir, 'rev-parse', 'HEAD~1'], { encoding: 'utf8' }).trim()
  const again = await stage.run(() => stage.staging.deploy())
  expect(again.events).toContainEqual(expect.objectContaining({ text: expect.stringContaining('this commit already') }))
  expect(again.value.current).toBe(true)
  await stage.run(() => stage.staging.deploy({ ref: older }))
  expect(await version()).toBe('1')
}, 60_000)

test('a build that fails refuses the push, with what the remote said; the next one is pushed again', async () => {
  stage.commit({ 'version.txt': 'mended' })
  stage.heroku.faults.on.failBuild = true
  await expect(stage.run(() => stage.staging.deploy())).rejects.toMatchObject({
    code: 'heroku-build-failed',
    detail: expect.stringContaining('configured to fail'),
    state: expect.stringContaining('Nothing was released'),
  })
  stage.heroku.faults.on.failBuild = false
  expect(await version()).toBe('1')
  await stage.run(() => stage.staging.deploy())
  expect(await version()).toBe('mended')
}, 60_000)

test('a connection that is lost while it builds loses nothing: the build is followed to its end', async () => {
  stage.commit({ 'version.txt': 'cut' })
  const before = (await builds()).length
  stage.heroku.faults.on.cutPushesAfter = 120
  const { events } = await stage.run(() => stage.staging.deploy())
  expect(events).toContainEqual(
    expect.objectContaining({ text: expect.stringContaining('connection to git was lost') }),
  )
  expect(output(events)).toContain('Released v')
  expect(await builds()).toHaveLength(before + 1)
  expect(await version()).toBe('cut')
}, 60_000)

test('Ctrl-C ends git, and cancels the build that it began', () => interruptBuild(stage), 60_000)

test('what git refuses is a sentence with what to do', async () => {
  const count = (await builds()).length
  const env = { ...stage.heroku.env, HOME: stage.dir, PATH: process.env['PATH'] }
  const as = (changes: Record<string, string>, app = 'pony-staging') =>
    herokuDeployment({ ...stage.staging.config, herokuApp: app }, { config: stage.config, env: { ...env, ...changes } })
  // The platform's git may refuse what its API takes.
  stage.heroku.faults.add('GET', /info\/refs$/, { kind: 'status', status: 403, id: 'forbidden', message: 'no' })
  await expect(stage.run(() => as({}).deploy())).rejects.toMatchObject({
    code: 'heroku-git-access',
    next: expect.stringContaining('access:add'),
  })
  stage.heroku.faults.add('GET', /info\/refs$/, { kind: 'status', status: 401, id: 'unauthorized', message: 'no' }, 3)
  await expect(stage.run(() => as({}).deploy())).rejects.toMatchObject({
    code: 'heroku-git-token',
    next: expect.stringContaining('heroku_login'),
  })
  await expect(stage.run(() => as({ HEROKU_GIT_URL: 'http://127.0.0.1:9' }).deploy())).rejects.toMatchObject({
    code: 'heroku-push-failed',
    detail: expect.stringContaining('127.0.0.1'),
  })
  await expect(stage.run(() => as({ PATH: '/nowhere' }).deploy())).rejects.toMatchObject({ code: 'no-git' })
  writeFileSync(join(stage.dir, 'dirt.txt'), 'x')
  await expect(stage.run(() => stage.staging.deploy())).rejects.toMatchObject({ code: 'dirty-tree', exitCode: 2 })
  await expect(stage.run(() => stage.staging.deploy({ ref: 'nowhere' }))).rejects.toMatchObject({ code: 'no-ref' })
  const shallow = join(stage.dir, '../shallow')
  execFileSync('git', ['clone', '-q', '--depth', '1', `file://${stage.dir}`, shallow])
  const cloned = herokuDeployment(stage.staging.config, { config: { ...stage.config, dir: shallow }, env })
  await expect(stage.run(() => cloned.deploy())).rejects.toMatchObject({
    code: 'shallow-clone',
    next: expect.stringContaining('git fetch --unshallow'),
  })
  const folder = stage.deployment('staging', { app: { ...stage.config.app, source: 'migrations' } })
  await expect(stage.run(() => folder.deploy({ ref: 'HEAD' }))).rejects.toMatchObject({
    code: 'git-folder',
    exitCode: 2,
  })
  stage.staging = stage.deployment('staging', { app: stage.config.app })
  expect(await builds()).toHaveLength(count)
}, 60_000)

test('a dry run says what it would push', async () => {
  const before = (await builds()).length
  const { events } = await stage.run(
    async () => stage.staging.deploy({ ref: 'HEAD' }).catch((error: { code: string }) => error.code),
    { dryRun: true },
  )
  expect(events).toContainEqual(
    expect.objectContaining({ type: 'held-back', display: expect.stringMatching(/^git push .*pony-staging\.git \+/) }),
  )
  expect(await builds()).toHaveLength(before)
}, 60_000)
