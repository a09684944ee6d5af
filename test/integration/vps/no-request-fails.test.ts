/** The site behind nginx: no request fails in a deploy, and what maintenance shows whom. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startLoad } from '../../faults/load.ts'
import { ask, createProject, type Project, told } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject({ nginx: true })
  await project.run(async (staging) => {
    await staging.initApp()
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
}, 90_000)
afterAll(() => project.stop())

test('deploys, a rollback and a broken deploy behind nginx fail no request', async () => {
  const load = startLoad({
    address: '127.0.0.1',
    port: project.httpPort as number,
    host: 'staging.pony.example.org',
    connections: 8,
    reads: ['/', '/up', '/riders.json'],
    write: (mark) => ({
      path: '/brevets/200/riders',
      type: 'application/json',
      body: JSON.stringify({ name: 'Rider', email: `${mark}@example.org`, key: mark }),
    }),
  })
  await load.reached(100)
  const ids: string[] = []
  for (const change of ['one', 'two', 'three']) {
    project.edit('app/pony/pages.py', (text) => `${text}\n# ${change}\n`)
    ids.push((await project.run((staging) => staging.deploy())).value.id)
    await load.reached(load.report.requests + 50)
  }
  project.edit('app/pony/web.py', (text) => text.replace('def main()', 'raise SystemExit("broken")\n\n\ndef main()'))
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({ code: 'unhealthy' })
  await load.reached(load.report.requests + 50)
  project.edit('app/pony/web.py', (text) => text.replace('raise SystemExit("broken")\n\n\n', ''))
  const { value: back } = await project.run((staging) => staging.rollback())
  await load.reached(load.report.requests + 50)
  const report = await load.stop()

  expect(report.failed).toEqual([])
  expect(report.uncertain).toEqual([])
  expect(back.id).toBe(ids[1])
  // Each version was seen, and the broken one never.
  for (const id of ids) expect(report.releases[`ponyr2/${id}`]).toBeGreaterThan(0)
  expect(Object.keys(report.releases)).toHaveLength(4)
}, 120_000)

test('the front door leads to this release, in maintenance to a page, and back', async () => {
  const { value: domains } = await project.run((staging) => staging.domains.list())
  expect(domains).toMatchObject([{ domain: 'staging.pony.example.org', ok: true }])
  const front = () => ask(project.httpPort as number, '/up')
  await project.run((staging) =>
    staging.maintenance.during(async () => {
      expect(await staging.maintenance.status()).toBe(true)
      const closed = await front()
      expect(closed.status).toBe(503)
      expect(closed.headers['retry-after']).toBe('30')
      expect(closed.body).toContain('Back soon')
    }),
  )
  expect((await front()).status).toBe(200)
}, 30_000)

test('a name that another site has, and a file that nginx refuses, are refused; the site stays as it was', async () => {
  await expect(
    project.run(async (production) => production.initApp(), { deployment: 'production' }),
  ).rejects.toMatchObject({ code: 'no-release' })
  const file = '.slipway/pony/sites/staging/nginx.conf'
  const before = project.read(file)
  await project.run(async (staging) => staging.initApp())
  expect(project.read(file)).toBe(before)

  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  project.configure((text) =>
    text
      .replace('[production]\ntarget = vps\n', '[production]\ntarget = vps\nrelease = r1\n')
      .replace('domain = pony.example.org', 'domain = staging.pony.example.org'),
  )
  await expect(
    project.run(async (production) => production.initApp(), { deployment: 'production' }),
  ).rejects.toMatchObject({ detail: expect.stringContaining('conflicting server name') })
  expect(existsSync(join(project.home, '.slipway/pony/sites/production/nginx.conf'))).toBe(false)
  project.configure(() => plain)

  mkdirSync(join(project.dir, 'templates'))
  writeFileSync(join(project.dir, 'templates/nginx-site.conf.eta'), 'server { listen nonsense; }\n')
  await expect(project.run(async (staging) => staging.initApp())).rejects.toMatchObject({
    detail: expect.stringMatching(/nonsense/),
  })
  rmSync(join(project.dir, 'templates'), { recursive: true })
  expect(project.read(file)).toBe(before)
  expect((await ask(project.httpPort as number, '/up')).status).toBe(200)
}, 30_000)

test('a domain is asked for from here by its real name, too', async () => {
  const { events } = await project.run((staging) => staging.domains.verify(), { sandbox: true })
  expect(told(events).join('\n')).toMatch(
    new RegExp(`http://staging\\.pony\\.example\\.org:${project.httpPort}/up answered 200 from ponyr2/`),
  )
  // A reload of nginx is a signal: the other name is there a moment later.
  const answers = (name: string) =>
    expect.poll(async () => (await ask(project.httpPort as number, '/up', name)).status).toBe(200)
  // A name that leads to no host, though the host itself would answer to it.
  project.configure((text) => text.replace('domain = staging.pony.example.org', 'domain = nowhere.invalid'))
  await project.run(async (staging) => staging.initApp())
  await answers('nowhere.invalid')
  await expect(project.run((staging) => staging.domains.verify())).rejects.toMatchObject({
    code: 'domain-outside',
    message: expect.stringContaining('nowhere.invalid'),
    state: 'On pony-host itself it is answered as it should be.',
    next: expect.stringContaining('Let DNS lead nowhere.invalid to pony-host'),
  })
  project.configure((text) => text.replace('domain = nowhere.invalid', 'domain = staging.pony.example.org'))
  await project.run(async (staging) => staging.initApp())
  await answers('staging.pony.example.org')
}, 30_000)

test('a domain that is answered here by something else than on the host is told with what answers', async () => {
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  const release = (await ask(project.httpPort as number, '/up')).release
  let answer: { status: number; release?: string; body: string } = { status: 200, body: 'well' }
  // In front of the host, as a cache or another server would be: its own door is at another address.
  const front = createServer((_, response) => {
    response.writeHead(answer.status, answer.release === undefined ? {} : { 'x-release': answer.release })
    response.end(answer.body)
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  const { port } = front.address() as AddressInfo
  try {
    const body = 'riders'
    project.configure((text) =>
      text
        .replace('provider = nginx\n', `provider = nginx\nlisten = 127.0.0.3:${port}\n`)
        .replace('health_deadline = 15s\n', `health_deadline = 15s\nhealth_body = ${body}\n`),
    )
    await project.run(async (staging) => staging.initApp())
    const verify = () => project.run((staging) => staging.domains.verify(), { sandbox: true })
    const right = { status: 200, release, body: `${body} and more` }
    const said = async (each: typeof answer) => {
      answer = each
      const reason = await verify().then(
        () => undefined,
        (error) => error,
      )
      if (reason?.code === 'domain') return `not there yet: ${reason.message}`
      expect(reason).toMatchObject({
        code: 'domain-outside',
        state: 'On pony-host itself it is answered as it should be.',
        next: expect.stringContaining('a cache or another server in front'),
      })
      return reason.message
    }
    const url = `http://staging.pony.example.org:${port}/up`
    const not = `${url} is not answered as staging answers: /up`
    // A reload of nginx is a signal: it listens there a moment later.
    await expect
      .poll(() => said({ ...right, release: 'ponyr1/1' }), { timeout: 20_000 })
      .toBe(`${not} was answered by ponyr1/1, not ${release}`)
    const before = 'ponyr2/20200101-000000-aaaaaaa'
    expect(await said({ ...right, release: before })).toBe(`${not} was answered by ${before}, not ${release}`)
    expect(await said({ ...right, body: 'parked' })).toBe(`${not} answered without "${body}": parked`)
    expect(await said({ ...right, status: 404 })).toContain(`${not} answered 404, not 200`)
    answer = right
    expect(told((await verify()).events).join('\n')).toContain(`${url} answered 200 from ${release}`)
  } finally {
    front.close()
    project.configure(() => plain)
    await project.run(async (staging) => staging.initApp())
    await expect.poll(async () => (await ask(project.httpPort as number, '/up')).status).toBe(200)
  }
}, 60_000)

const status = async (path = '/') => (await ask(project.httpPort as number, path)).status
const setting = (line: string) =>
  project.configure((text) => text.replace(/\[staging\]\n(maintenance_\w+ = .*\n)*/, `[staging]\n${line}`))

test('the addresses that are configured get the app, everybody else the page; no request is needed to change that', async () => {
  expect(await status()).toBe(200)
  await project.run((staging) => staging.maintenance.on())
  expect(await status()).toBe(503)
  setting('maintenance_allow = 203.0.113.7, 2001:db8::/32, 127.0.0.0/8\n')
  await project.run((staging) => staging.maintenance.on())
  await expect.poll(() => status()).toBe(200)
  expect((await project.run((staging) => staging.maintenance.status())).value).toBe(true)
  setting('maintenance_allow = 203.0.113.7\n')
  await project.run((staging) => staging.maintenance.on())
  await expect.poll(() => status()).toBe(503)
  setting('')
  await project.run((staging) => staging.maintenance.on())
  expect(project.read('.slipway/pony/sites/staging/nginx.conf')).not.toContain('203.0.113.7')
  await project.run((staging) => staging.maintenance.off())
  await expect.poll(() => status()).toBe(200)
}, 60_000)

test("the app's own variable is there from maintenance on to off, over a deploy, and no request fails", async () => {
  setting('maintenance_variable = MAINTENANCE_MODE=back at noon\n')
  const environment = () =>
    project.run(async (staging) => {
      const [server] = await staging.server.status()
      return readFileSync(`/proc/${server?.pid}/environ`, 'utf8')
        .split('\0')
        .find((each) => each.startsWith('MAINTENANCE_MODE='))
    })
  // What is installed knows of the variable: bin/start reads it.
  await project.run((staging) => staging.deploy())
  expect((await environment()).value).toBeUndefined()
  const { events } = await project.run((staging) => staging.maintenance.on({ message: 'soon' }))
  expect(told(events).join('\n')).toContain('no message is shown')
  expect((await environment()).value).toBe('MAINTENANCE_MODE=back at noon')
  expect(await status('/up')).toBe(200)
  await project.run((staging) => staging.deploy())
  expect((await environment()).value).toBe('MAINTENANCE_MODE=back at noon')
  const { value } = await project.run((staging) => staging.status())
  expect(value.maintenance).toBe(true)
  await project.run((staging) => staging.maintenance.off())
  expect((await environment()).value).toBeUndefined()
  await project.run((staging) => staging.maintenance.during(async () => undefined))
  expect((await environment()).value).toBeUndefined()
  expect((await project.run((staging) => staging.maintenance.status())).value).toBe(false)
}, 120_000)

test('hooks run before and after a restore, and one before that fails leaves everything as it was', async () => {
  project.configure((text) =>
    text.replace(
      '[app.logs]',
      '[app.hooks]\nbefore_restore = echo before >>"$SLIPWAY_SHARED/hooks"\nafter_restore = echo after >>"$SLIPWAY_SHARED/hooks"\n\n[app.logs]',
    ),
  )
  const { value: backup } = await project.run((staging) => staging.database.backup())
  await project.run((staging) => staging.database.restore(backup.id))
  const hooks = () => readFileSync(join(project.release, 'shared/hooks'), 'utf8')
  expect(hooks()).toBe('before\nafter\n')
  const count = (await project.run((staging) => staging.database.backups())).value.length
  project.configure((text) => text.replace(/^before_restore = .*$/m, 'before_restore = echo no index >&2; exit 3'))
  await expect(project.run((staging) => staging.database.restore(backup.id))).rejects.toMatchObject({
    code: 'data-hook',
    state: 'Nothing was changed.',
    detail: expect.stringContaining('no index'),
  })
  expect((await project.run((staging) => staging.database.backups())).value).toHaveLength(count)
  project.configure((text) =>
    text.replace(/^before_restore = .*\n/m, '').replace(/^after_restore = .*$/m, 'after_restore = exit 4'),
  )
  await expect(project.run((staging) => staging.database.restore(backup.id))).rejects.toMatchObject({
    code: 'data-hook',
    state: 'The data is in place, and the app runs with it.',
  })
  expect(hooks()).toBe('before\nafter\n')
  expect(await status('/up')).toBe(200)
}, 90_000)
