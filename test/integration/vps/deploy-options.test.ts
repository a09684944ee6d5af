/** What a deploy does beside deploying: hooks, a smoke command, settings that are compared before they are pushed. */
import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project, told } from './host.ts'

let project: Project
/** What is current meanwhile. */
const noted = (name: string) => `echo "${name} $(readlink "$SLIPWAY_RELEASE_DIR/current")" >> "$SLIPWAY_SHARED/hooks"`
const assets = `mkdir -p static && echo "of $SLIPWAY_VERSION" > static/app.css && ${noted('build')}`

beforeAll(async () => {
  project = await createProject()
  project.configure((text) => text.replace('[app]\n', `[app]\ninstall = ${noted('install')}\nbuild = ${assets}\n`))
  project.configure((text) =>
    text.replace(
      '[app.workers]',
      `[app.hooks]
before_install = echo before_install >> "$SLIPWAY_SHARED/hooks"
after_install = echo after_install >> "$SLIPWAY_SHARED/hooks"
before_migrate = echo before_migrate >> "$SLIPWAY_SHARED/hooks"
after_migrate = echo after_migrate >> "$SLIPWAY_SHARED/hooks"
before_switch = echo "before_switch $SLIPWAY_VERSION" >> "$SLIPWAY_SHARED/hooks"
after_switch = echo "after_switch $SLIPWAY_VERSION" >> "$SLIPWAY_SHARED/hooks"
before_restart = echo "before_restart $SLIPWAY_VERSION" >> "$SLIPWAY_SHARED/hooks"
after_restart = echo "after_restart $SLIPWAY_VERSION" >> "$SLIPWAY_SHARED/hooks"
on_failure = echo on_failure >> "$SLIPWAY_SHARED/hooks"

[app.workers]`,
    ),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
}, 90_000)
afterAll(() => project.stop())

function takeHooks(): string[] {
  const file = join(project.release, 'shared/hooks')
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').trim().split('\n')
  rmSync(file)
  return lines
}

test('hooks run in the new version, in the order of what they are about', async () => {
  takeHooks()
  const before = readlinkSync(join(project.release, 'current'))
  const { value: version, events } = await project.run((staging) => staging.deploy())
  expect(told(events).join('\n')).not.toContain('wrote into')
  expect(takeHooks()).toEqual([
    'before_install',
    `install ${before}`,
    `build ${before}`,
    'after_install',
    'before_migrate',
    'after_migrate',
    `before_switch ${version.id}`,
    `after_switch ${version.id}`,
    `before_restart ${version.id}`,
    `after_restart ${version.id}`,
  ])
  await project.run((staging) => staging.database.migrate())
  expect(takeHooks()).toEqual(['before_migrate', 'after_migrate'])
}, 60_000)

test('assets are of each version its own, and where their build fails the version before serves on with its own', async () => {
  const css = () => readFileSync(join(project.release, 'current/static/app.css'), 'utf8')
  const current = readlinkSync(join(project.release, 'current'))
  const id = current.slice('versions/'.length)
  expect(css()).toBe(`of ${id}\n`)
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  project.configure((text) => text.replace(/^build = .*$/m, '$& && echo unexpected brace in app.css >&2 && exit 3'))
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'install-failed',
    message: expect.stringMatching(/^the install of \S+ failed on pony-host: mkdir -p static/),
    detail: expect.stringContaining('unexpected brace in app.css'),
    state: `The running app is untouched, and ${id} is still the current version. The failed version was removed.`,
    next: expect.stringContaining('--keep-failed'),
  })
  project.configure(() => plain)
  // Neither migrated nor switched.
  expect(takeHooks().map((line) => line.split(' ')[0])).toEqual(['before_install', 'install', 'build', 'on_failure'])
  expect(readlinkSync(join(project.release, 'current'))).toBe(current)
  expect(css()).toBe(`of ${id}\n`)
  const answer = await ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
  expect(answer).toMatchObject({ status: 200, release: `ponyr2/${id}` })
}, 60_000)

test('a build that writes into an uploaded file, which the version before has too, is told of with the file', async () => {
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  // As pnpm, uv and cargo link what they have made: nothing that another version has.
  const links = 'echo made > static/one.js && ln static/one.js static/two.js'
  project.configure((text) => text.replace(/^build = .*$/m, `$& && echo "# built" >> pony/pages.py && ${links}`))
  const { events } = await project.run((staging) => staging.deploy())
  expect(told(events).join('\n')).toMatch(/install or build wrote into uploaded files, .*: pony\/pages\.py\. Have them/)
  project.configure(() => plain)
  takeHooks()
}, 60_000)

test('a hook that fails stops the install before the switch, and the one for failures runs', async () => {
  project.configure((text) => text.replace(/^after_migrate = .*$/m, 'after_migrate = echo no such cache >&2; exit 4'))
  const before = readFileSync(join(project.release, 'bin/start'), 'utf8')
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'install-failed',
    message: expect.stringContaining('after migrate'),
    detail: expect.stringContaining('no such cache'),
  })
  expect(takeHooks().map((line) => line.split(' ')[0])).toEqual([
    'before_install',
    'install',
    'build',
    'after_install',
    'before_migrate',
    'on_failure',
  ])
  expect(readFileSync(join(project.release, 'bin/start'), 'utf8')).toBe(before)
  project.configure((text) => text.replace(/^after_migrate = .*$\n/m, ''))
}, 60_000)

test('a deploy that fails its smoke command goes back to the version before, and says so; one that passes stays', async () => {
  const current = async () =>
    (await project.run((staging) => staging.versions())).value.find((each) => each.current)?.id
  project.configure((text) => text.replace('drain = 10s', 'drain = 10s\nsmoke = echo the front page is empty; exit 1'))
  const before = await current()
  await expect(project.run((staging) => staging.deploy({ smoke: true }))).rejects.toMatchObject({
    code: 'smoke-failed',
    detail: expect.stringContaining('the front page is empty'),
    state: `${before} is live again.`,
  })
  expect(await current()).toBe(before)
  project.configure((text) => text.replace(/smoke = .*\n/, 'smoke = test -f pony/web.py\n'))
  const { value: version, events } = await project.run((staging) => staging.deploy({ smoke: true }))
  expect(await current()).toBe(version.id)
  expect(told(events).join()).not.toContain('no smoke command')
}, 90_000)

test('settings are compared by name before they are pushed; what is replaced is kept beside them', async () => {
  const file = join(project.release, 'settings/staging.ini')
  const before = readFileSync(file, 'utf8')
  expect((await project.run((staging) => staging.settings.diff())).value).toEqual([])
  project.edit('config/staging.ini', (text) =>
    `${text}banner = {"text": "50% off; \\"today\\""}\n`.replace(/^title = .*$/m, 'title = Ponies of {{ release }}'),
  )
  expect((await project.run((staging) => staging.settings.diff())).value).toEqual([
    { name: 'pony.title', change: 'change' },
    { name: 'pony.banner', change: 'add' },
  ])
  expect(readFileSync(file, 'utf8')).toBe(before)
  expect((await project.run((staging) => staging.settings.push())).value).toEqual(['pony.title', 'pony.banner'])
  const after = readFileSync(file, 'utf8')
  expect(after).toContain('title = Ponies of ponyr2\n')
  expect(after).toContain('banner = {"text": "50% off; \\"today\\""}\n')
  expect(after.match(/^key = .*$/m)?.[0]).toBe(before.match(/^key = .*$/m)?.[0])
  expect(readFileSync(`${file}.before`, 'utf8')).toBe(before)
  expect((await project.run((staging) => staging.settings.push())).value).toEqual([])
}, 60_000)

test('a release is announced once it is allowed and before anything is changed; its outcome is told after', async () => {
  const told: { event: string; text: string; versions: number }[] = []
  const versions = () => readdirSync(join(project.release, 'versions')).length
  const hook = createServer((request, answer) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      told.push({ ...(JSON.parse(body) as { event: string; text: string }), versions: versions() })
      answer.end()
    })
  })
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
  const { port } = hook.address() as AddressInfo
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  project.configure((text) =>
    text
      .concat(`\n[notify.hook]\nurl = http://127.0.0.1:${port}/\nmessage = {{event}} of {{app}} to {{release}}\n`)
      .concat('on = announce, deploy, failure, rollback\n'),
  )
  try {
    const before = versions()
    await project.run((staging) => staging.deploy({ announce: true }))
    expect(told).toMatchObject([
      { event: 'announce', text: 'announce of pony to staging', versions: before },
      { event: 'deploy', versions: before + 1 },
    ])
    told.length = 0
    await project.run((staging) => staging.rollback())
    expect(told).toMatchObject([{ event: 'rollback', text: 'rollback of pony to staging' }])
    told.length = 0
    project.configure((text) => text.replace('[app]\n', '[app]\ngate = exit 3\n'))
    // Nothing but a commit can pass it, and this tree is none.
    await expect(project.run((staging) => staging.deploy({ announce: true }))).rejects.toMatchObject({ code: 'gate' })
    expect(told.map((each) => each.event)).toEqual(['failure'])
    expect(versions()).toBe(before + 1)
  } finally {
    project.configure(() => plain)
    await new Promise((resolve) => hook.close(resolve))
  }
}, 60_000)
