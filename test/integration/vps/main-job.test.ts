import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project, told } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
}, 30_000)
afterAll(() => project.stop())

/** What the site's web server would get. */
const get = (path: string) => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), path)

test('from nothing to a running app: upload, install, init, start, workers; then a deploy with a change', async () => {
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
  })
  const current = readlinkSync(join(project.release, 'current'))
  expect(current).toMatch(/^versions\/\d{8}-\d{6}-[0-9a-f]{7}$/)
  expect(statSync(join(project.release, current, 'pony/private_credentials.py')).mode & 0o777).toBe(0o400)
  expect(statSync(join(project.release, 'settings/staging.ini')).mode & 0o777).toBe(0o600)
  expect(project.read('webapps/ponyr2/settings/active')).toMatch(
    /^\[pony\]\ntitle = staging of ponyr2\nkey = [0-9a-f]{64}\n$/,
  )
  expect(JSON.parse(project.read('.slipway/pony/roles.json'))).toEqual({ staging: 'ponyr2' })
  expect(existsSync(join(project.release, 'shared/db/pony.sqlite'))).toBe(true)

  await project.run(async (staging) => {
    await staging.server.start()
    await staging.workers.start()
  })
  const first = await get('/up')
  expect(first).toMatchObject({ status: 200, release: `ponyr2/${current.slice(9)}` })

  project.edit('app/pony/pages.py', (text) => `${text}\n# a change\n`)
  const { value: version } = await project.run((staging) => staging.deploy())
  expect(version).toMatchObject({ state: 'live', wasLive: true, current: true })
  const second = await get('/up')
  expect(second).toMatchObject({ status: 200, release: `ponyr2/${version.id}` })

  // What did not change is the same file on disk.
  const [before, after] = [join(project.release, current), join(project.release, 'versions', version.id)]
  expect(statSync(join(after, 'pony/web.py')).ino).toBe(statSync(join(before, 'pony/web.py')).ino)
  expect(statSync(join(after, 'pony/pages.py')).ino).not.toBe(statSync(join(before, 'pony/pages.py')).ino)

  const { value: status } = await project.run((staging) => staging.status())
  expect(status).toMatchObject({
    release: 'ponyr2',
    role: 'staging',
    healthy: true,
    maintenance: false,
    version: { id: version.id, state: 'live' },
    server: [{ state: 'running', version: version.id }],
    // It waits for work already; supervisord calls it that once its startsecs are over.
    workers: [{ name: 'mailer-1', state: expect.stringMatching(/^(running|starting)$/) }],
    warnings: [],
  })
  expect(status.databases).toMatchObject([
    { name: 'main', ok: true },
    { name: 'queue', ok: true },
  ])
  const { value: versions } = await project.run((staging) => staging.versions())
  expect(versions.map(({ id, state, wasLive }) => ({ id, state, wasLive }))).toEqual([
    { id: version.id, state: 'live', wasLive: true },
    { id: current.slice(9), state: 'retired', wasLive: true },
  ])
}, 60_000)

test('starting what runs says so and changes nothing', async () => {
  const before = await get('/up')
  const { events } = await project.run((staging) => staging.server.start())
  expect(told(events).join()).toContain('the app runs already')
  expect(await get('/up')).toMatchObject({ status: 200, release: before.release })
})

test('the generated value stays the same over deploys, and the secret is in no file of the release', async () => {
  const before = project.read('webapps/ponyr2/settings/active')
  await project.run((staging) => staging.install())
  expect(project.read('webapps/ponyr2/settings/active')).toBe(before)
  const files = readdirSync(project.release, { recursive: true, withFileTypes: true })
  for (const file of files.filter((each) => each.isFile() && !/\.(py|sqlite)/.test(each.name))) {
    const path = join(file.parentPath, file.name)
    if (lstatSync(path).size < 1e6)
      expect(project.read(path.slice(project.home.length + 1))).not.toContain('quite-secret')
  }
}, 30_000)

test('an app that does not become healthy leaves the old one serving, and says so', async () => {
  const before = await get('/up')
  project.edit('app/pony/web.py', (text) =>
    text.replace('def main()', 'raise SystemExit("broken on purpose")\n\n\ndef main()'),
  )
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'unhealthy',
    detail: expect.stringContaining('broken on purpose'),
    state: expect.stringContaining('still serves, and is the current one again'),
  })
  expect(await get('/up')).toMatchObject({ status: 200, release: before.release })
  expect(`ponyr2/${readlinkSync(join(project.release, 'current')).slice(9)}`).toBe(before.release)
  const { value: versions } = await project.run((staging) => staging.versions())
  expect(versions[0]).toMatchObject({ state: 'failed', wasLive: false, current: false })
  project.edit('app/pony/web.py', (text) => text.replace(/^raise.*\n\n\n/m, ''))
}, 60_000)

test('an install command that fails leaves the running app untouched and nothing behind', async () => {
  const before = await get('/up')
  project.configure((text) =>
    text.replace('drain = 10s', 'drain = 10s\ninstall = echo preparing\n  echo no such package >&2; exit 3'),
  )
  const folders = readdirSync(join(project.release, 'versions'))
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'install-failed',
    message: expect.stringContaining('exit 3'),
    detail: expect.stringContaining('no such package'),
    state: expect.stringContaining('The running app is untouched'),
  })
  expect(await get('/up')).toMatchObject({ status: 200, release: before.release })
  expect(readdirSync(join(project.release, 'versions'))).toEqual(folders)
  project.configure((text) => text.replace(/install = echo.*\n.*\n/, ''))
}, 60_000)

test('rollback goes to the version that was live before, never to a failed one or one that is not whole', async () => {
  const { value: versions } = await project.run((staging) => staging.versions())
  const live = versions.filter((version) => version.wasLive)
  // What a prune leaves that was cut short: the record of a version whose folder is gone.
  const record = (id: string) => join(project.release, `.slipway/versions/${id}.json`)
  const gone = { ...JSON.parse(readFileSync(record(live[1]!.id), 'utf8')), liveAt: new Date().toISOString() }
  gone.id = gone.id.replace(/.$/, (last: string) => (last === '0' ? '1' : '0'))
  writeFileSync(record(gone.id), `${JSON.stringify(gone)}\n`)
  const { value: version } = await project.run((staging) => staging.rollback())
  await expect(project.run((staging) => staging.rollback({ to: gone.id }))).rejects.toMatchObject({
    code: 'version-gone',
  })
  rmSync(record(gone.id))
  expect(version.id).toBe(live[1]?.id)
  expect((await get('/up')).release).toBe(`ponyr2/${version.id}`)
  await expect(project.run((staging) => staging.rollback({ to: versions[0]?.id }))).rejects.toMatchObject({
    code: 'never-live',
  })
}, 60_000)

test('stopping the workers leaves the app; stopping the app ends the daemon too; nothing is left', async () => {
  await project.run((staging) => staging.workers.stop())
  expect((await get('/up')).status).toBe(200)
  await project.run((staging) => staging.server.stop())
  await expect(get('/up')).rejects.toThrow(/ECONNREFUSED|ENOENT/)
  const { value } = await project.run((staging) => staging.supervisor.status())
  expect(value).toMatchObject([{ name: 'supervisord', state: 'stopped' }])
}, 60_000)

test('a release that the host knows as production is not deployed to as staging', async () => {
  writeFileSync(join(project.home, '.slipway/pony/roles.json'), '{"production":"ponyr2"}\n')
  const versions = readdirSync(join(project.release, 'versions'))
  for (const change of ['upload', 'install', 'deploy'] as const) {
    await expect(project.run(async (staging) => staging[change]())).rejects.toMatchObject({
      code: 'wrong-role',
      next: expect.stringContaining('tasks new_staging_release:r3'),
    })
  }
  expect(readdirSync(join(project.release, 'versions'))).toEqual(versions)
}, 30_000)

test('every change left a line in the audit log of the host, failures too, and no lock is left', async () => {
  const lines = project.read('.slipway/pony/audit.log').trim().split('\n')
  for (const what of ['install', 'start the app', 'start the workers', 'deploy', 'rollback to', 'stop the workers']) {
    expect(lines.some((line) => line.includes(`"what":"${what}`))).toBe(true)
  }
  expect(lines.some((line) => line.includes('"what":"deploy"') && line.includes('"outcome":"failed"'))).toBe(true)
  expect(readdirSync(join(project.home, '.slipway/pony/locks')).filter((name) => !name.startsWith('.'))).toEqual([])
})
