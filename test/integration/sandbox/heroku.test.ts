/** `slipway sandbox up --heroku`: the built commands, as users rehearse with them. */
import { cpSync, existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeSandbox } from '../../../src/sandbox/index.ts'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { type Finished, makeProject, type Project } from '../cli/project.ts'

const section = (name: string): string =>
  `[${name}]\ntarget = heroku\napp = pony-${name}\npipeline = pony\n[${name}.addons]\nheroku-postgresql = essential-0\n`

let built: Built
let project: Project
beforeAll(async () => {
  built = await buildSlipway()
  // Only what is packed: the emulator must not need the repository.
  rmSync(join(built.root, 'test'), { recursive: true, force: true })
  project = makeProject({
    'tasks.ts': readFileSync(join(repository, 'tasks.ts'), 'utf8'),
    'config/deploy.ini': `[app]\nname = pony\nsource = app\ninit_db = python3 populate.py\n${section('staging')}${section('production')}`,
    'app/version.txt': '1',
  })
  cpSync(join(repository, 'test/emulators/heroku/fixture-app'), join(project.dir, 'app'), { recursive: true })
}, 120_000)
afterAll(async () => {
  if (project) await removeSandbox({ dir: project.dir })
  project?.remove()
  built?.remove()
})

const slipway = (...args: string[]): Promise<Finished> => project.run(built.slipway, ['sandbox', ...args])
const tasks = (...args: string[]): Promise<Finished> => project.run(built.tasks, ['--sandbox', ...args])
const facts = async (): Promise<{ up: boolean; url: string; environment: Record<string, string> }> =>
  JSON.parse((await slipway('status', '--heroku', '--json')).out)

test('a rehearsal never reaches the platform: without an emulator it is refused', async () => {
  expect(await slipway('status', '--heroku')).toMatchObject({ status: 1, out: expect.stringContaining('is down') })
  expect(await tasks('deploy_staging')).toMatchObject({ status: 1, err: expect.stringContaining('slipway sandbox up') })
}, 60_000)

test('it says at once what it misses on this machine, and starts nothing', async () => {
  const { status, err } = await project.run(built.slipway, ['sandbox', 'up', '--heroku'], { env: { PATH: '/nowhere' } })
  expect(status).toBe(1)
  expect(err).toContain('the Heroku emulator needs what is not installed: openssl, tar, git')
  expect(err).toContain('sudo apt-get install --no-install-recommends openssl tar git')
  expect((await slipway('status', '--heroku')).out).toContain('is down')
}, 30_000)

test('it prints the environment that a client needs, and goes on when the command has ended', async () => {
  const { status, out } = await slipway('up', '--heroku')
  expect(status).toBe(0)
  const { url, environment } = await facts()
  expect(out).toContain(`export HEROKU_API_URL=${url}`)
  const account = await fetch(`${url}/account`, {
    headers: { Authorization: `Bearer ${environment['HEROKU_API_KEY']}` },
  })
  expect(await account.json()).toMatchObject({ email: 'ada@example.com' })
  expect((await slipway('up', '--heroku')).out).toContain('was up already')
}, 60_000)

test('the same task file is rehearsed there: from nothing to a promotion', async () => {
  for (const args of [['--yes', 'init_staging'], ['--yes', 'init_production_app'], ['deploy:release=production']]) {
    const { status, err } = await tasks(...args)
    expect({ args, status, err: status === 0 ? '' : err }).toEqual({ args, status: 0, err: '' })
  }
  project.write('app/version.txt', '2')
  expect(await tasks('deploy_staging')).toMatchObject({ status: 0 })
  expect(await tasks('--yes', 'promote_staging_to_production')).toMatchObject({ status: 0 })
  const { out } = await tasks('open:release=production')
  const answer = await fetch(new URL('/up', out.trim()))
  expect(await answer.json()).toEqual({ version: '2' })
  // Locks, journals and audit lines of the time before there was a database are the rehearsal's.
  expect(existsSync(join(dirname(project.dir), '.slipway'))).toBe(false)
}, 240_000)

test('faults are switched on and off in the running emulator, and a task meets them', async () => {
  const on = await slipway('up', '--heroku', '--fault', 'failing-build', '--fault', 'lost-replies')
  expect(on).toMatchObject({ status: 0, out: expect.stringContaining('From now on: failing-build, lost-replies.') })
  const failed = await tasks('deploy_staging')
  expect(failed.status).toBe(1)
  expect(failed.err).toContain('the build failed')
  expect(failed.err).toContain('compile step: configured to fail')
  expect(await slipway('up', '--heroku', '--fault', 'none')).toMatchObject({
    status: 0,
    out: expect.stringContaining('Nothing goes wrong on purpose any more.'),
  })
  expect(await tasks('deploy_staging')).toMatchObject({ status: 0 })
  expect(await slipway('up', '--heroku', '--fault', 'failing-bild')).toMatchObject({
    status: 2,
    err: expect.stringContaining('there is no fault failing-bild'),
  })
  expect(await slipway('status', '--heroku', '--fault', 'quota')).toMatchObject({
    status: 2,
    err: expect.stringContaining('--fault goes with up --heroku'),
  })
}, 120_000)

test('down ends it with everything that it started', async () => {
  const { url } = await facts()
  const page = (await tasks('open:release=production')).out.trim()
  expect((await slipway('down')).out).toContain('is down')
  await expect(fetch(url)).rejects.toThrow()
  await expect(fetch(page)).rejects.toThrow()
  expect(await facts()).toEqual({ v: 1, up: false })
}, 60_000)
