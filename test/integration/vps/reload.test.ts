/** An app server that reloads by itself, as gunicorn does: deploys and settings are taken up by the same process. */
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunEvent } from '../../../src/events/index.ts'
import { cutAway } from '../../servers/cut.ts'
import { cutAt, unlock } from './cut-at.ts'
import { ask, createProject, type Project } from './host.ts'
import { preforkFile, processesOf } from './life.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  copyFileSync(preforkFile, join(project.dir, 'app/prefork.py'))
  writeFileSync(join(project.dir, 'app/banner.py'), "text = 'one'\n")
  project.configure((text) =>
    text.replace('server = exec python3 -m pony.web', 'server = exec python3 prefork.py').replace(/^mailer.*\n/gm, ''),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
}, 60_000)
afterAll(() => project.stop())

const front = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const master = async () => (await project.run((staging) => staging.server.status())).value[0]?.pid
const banner = (text: string) => writeFileSync(join(project.dir, 'app/banner.py'), text)

test('without a word about how, a reload is refused', async () => {
  await expect(project.run((staging) => staging.reload())).rejects.toMatchObject({ code: 'no-reload', exitCode: 2 })
})

test('a reload is taken up by the same process, which answers its health check', async () => {
  project.configure((text) => text.replace('[app]\n', '[app]\nreload = HUP\n'))
  const [pid, before] = [await master(), await front()]
  await project.run((staging) => staging.reload())
  expect(await master()).toBe(pid)
  await expect.poll(async () => (await front()).headers['x-worker']).not.toBe(before.headers['x-worker'])
}, 30_000)

test('the line is lost in a reload: the app runs on, it is said, and reloading again is right', async () => {
  const { line, sshConfigFile } = await cutAway(project.sshConfigFile, project.dir)
  try {
    const at = (event: RunEvent) => event.type === 'step.started' && /^reload app-/.test(event.title)
    const { error, cut } = await cutAt(project, { line, sshConfigFile }, at, (staging) => staging.reload(), {
      back: true,
    })
    expect(cut).toBe(true)
    expect(error).toMatchObject({
      code: expect.stringMatching(/^connection-lost/),
      state: 'The app server has been told to reload, or has not. The app runs on.',
      next: expect.stringContaining('tasks status:release=staging'),
    })
  } finally {
    line.close()
  }
  expect((await front()).status).toBe(200)
  await unlock(project)
  await project.run((staging) => staging.reload())
}, 60_000)

test('a deploy by reload serves the new version from the same process, and records it as live', async () => {
  project.configure((text) => text.replace('reload = HUP', 'reload = HUP\nrestart = reload'))
  const pid = await master()
  banner("text = 'two'\n")
  const { value: version } = await project.run((staging) => staging.deploy())
  expect(await front()).toMatchObject({ body: 'two', release: `ponyr2/${version.id}` })
  expect(await master()).toBe(pid)
  expect(Object.keys(processesOf(project.release))).toEqual(['app-a'])
  const { value: versions } = await project.run((staging) => staging.versions())
  expect(versions.map((each) => each.state)).toEqual(['live', 'retired'])
  expect((await project.run((staging) => staging.status())).value).toMatchObject({ healthy: true, warnings: [] })
}, 60_000)

test('code that the reload does not survive: the version before is started again, and it is said that requests failed', async () => {
  const before = await front()
  banner('text = no such name\n')
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'unhealthy',
    message: expect.stringContaining('it ended upon SIGHUP'),
    detail: expect.stringContaining('a worker did not boot'),
    state: expect.stringMatching(/was started again with .*requests failed meanwhile; .* is marked as failed/),
  })
  expect(await front()).toMatchObject({ body: 'two', release: before.release })
  banner("text = 'three'\n")
  await project.run((staging) => staging.deploy())
  expect(await front()).toMatchObject({ body: 'three' })
}, 60_000)

test('where nothing runs there is nothing to reload', async () => {
  await project.run((staging) => staging.server.stop())
  await expect(project.run((staging) => staging.reload())).rejects.toMatchObject({ code: 'not-running' })
  await project.run((staging) => staging.deploy())
  expect(await front()).toMatchObject({ status: 200 })
}, 60_000)

test("gunicorn's own reload: a deploy under load fails no request, and the master stays the same process", async () => {
  const wsgi = (text: string) =>
    writeFileSync(
      join(project.dir, 'app/wsgi.py'),
      `import os\nversion = os.path.basename(os.path.dirname(os.path.realpath(__file__)))\nhere = os.environ['SLIPWAY_RELEASE'] + '/' + version\n\ndef application(environ, start):\n    start('200 OK', [('X-Release', here), ('X-Worker', str(os.getpid()))])\n    return [b'${text}']\n`,
    )
  wsgi('four')
  project.configure((text) =>
    text.replace(
      'server = exec python3 prefork.py',
      'server = exec gunicorn --workers 2 --chdir "$SLIPWAY_RELEASE_DIR/current" --bind "unix:$SLIPWAY_SOCKET" wsgi:application',
    ),
  )
  await project.run(async (staging) => {
    await staging.server.stop()
    await staging.deploy()
  })
  expect(await front()).toMatchObject({ body: 'four' })
  const pid = await master()
  wsgi('five')
  let loading = true
  const answers: number[] = []
  const load = (async () => {
    while (loading) answers.push((await front().catch(() => ({ status: 0 }))).status)
  })()
  const { value: version } = await project.run((staging) => staging.deploy())
  loading = false
  await load
  expect(await front()).toMatchObject({ body: 'five', release: `ponyr2/${version.id}` })
  expect(await master()).toBe(pid)
  expect(answers.length).toBeGreaterThan(10)
  expect(answers.filter((status) => status !== 200)).toEqual([])
  await project.run((staging) => staging.reload())
  expect(await master()).toBe(pid)
}, 90_000)
