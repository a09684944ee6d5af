/** What the table of docs/heroku.md promises beside the daily round: schedules, notifications, logs, gates, terminals. */
import { createServer } from 'node:http'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { NotificationConfig } from '../../../src/config/types.ts'
import { noPrompter } from '../../../src/events/index.ts'
import { api, fixtureApp, makeApps, type Stage, setStage } from './stage.ts'

const dns = vi.hoisted(() => ({ cname: {} as Record<string, string[]>, a: {} as Record<string, string[]> }))
vi.mock('node:dns/promises', () => ({
  resolveCname: async (name: string) => dns.cname[name] ?? Promise.reject(new Error('ENODATA')),
  resolve4: async (name: string) => dns.a[name] ?? Promise.reject(new Error('ENODATA')),
}))

let stage: Stage
beforeAll(async () => {
  stage = await setStage()
  await makeApps(stage.heroku)
  stage.commit({
    Procfile:
      'web: exec python3 web.py\nworker: exec python3 worker.py\nclock: exec sleep 600\nrelease: python3 migrate.py\n',
  })
  await stage.run(() => stage.staging.deploy())
}, 90_000)
afterAll(() => stage.close())

const app = () => stage.heroku.state.apps.get('pony-staging')!
const notes = (events: readonly { type: string }[]): string =>
  events.flatMap((event) => ('text' in event ? [`${event.type}: ${String(event.text)}`] : [])).join('\n')

describe('scheduled commands', () => {
  const scheduled = { nightly: { when: '0 2 * * *', command: 'python3 report.py' } }

  test('are left to the clock process where the app has one, which is kept running', async () => {
    const staging = stage.deployment('staging', { app: { ...stage.config.app, schedule: scheduled } })
    expect((await stage.run(() => staging.schedule.push())).value).toBe(true)
    expect(app().dynos.filter((dyno) => dyno.type === 'clock' && dyno.state === 'up')).toHaveLength(1)
    expect((await stage.run(() => staging.schedule.push())).value).toBe(false)
    expect((await stage.run(() => staging.schedule.list())).value).toEqual([{ name: 'nightly', ...scheduled.nightly }])
    await api(stage.heroku, 'PATCH', '/apps/pony-staging/formation', { updates: [{ type: 'clock', quantity: 0 }] })
  }, 60_000)

  test('get a clock process with the deploy, where the app has none', async () => {
    stage.commit({
      Procfile: 'web: exec python3 web.py\nworker: exec python3 worker.py\nrelease: python3 migrate.py\n',
    })
    await stage.run(() => stage.deployment('staging', { app: stage.config.app }).deploy())
    const schedule = { boot: { when: '@reboot', command: 'echo "started in $DYNO"' }, ...scheduled }
    const staging = stage.deployment('staging', { app: { ...stage.config.app, schedule } })
    await expect(stage.run(() => staging.schedule.push())).rejects.toMatchObject({
      code: 'heroku-no-clock',
      next: expect.stringContaining('tasks deploy:release=staging'),
    })
    await stage.run(() => staging.deploy({ ref: 'main' }))
    expect((await stage.run(() => staging.schedule.push())).value).toBe(true)
    const line = '[boot] started in clock.1'
    while (!app().logs.some((each) => each.dyno === 'clock.1' && each.text === line))
      await new Promise((resolve) => setTimeout(resolve, 20))
    expect((await stage.run(() => staging.schedule.push())).value).toBe(false)
    // Another schedule goes with the next deploy.
    const later = stage.deployment('staging', { app: { ...stage.config.app, schedule: scheduled } })
    const changed = await stage.run(() => later.schedule.push())
    expect(notes(changed.events)).toContain('the schedule has changed since the deploy')
  }, 60_000)

  test('are named where the scheduler add-on is declared, which is opened, as it has no API', async () => {
    const staging = stage.deployment('staging', {
      app: { ...stage.config.app, schedule: scheduled },
      addons: { 'heroku-postgresql': 'essential-0', scheduler: 'standard' },
    })
    await api(stage.heroku, 'POST', '/apps/pony-staging/addons', { plan: 'scheduler:standard' })
    await stage.run(() => staging.deploy())
    expect(app().formation.has('clock')).toBe(false)
    const { mkdtempSync, readFileSync, writeFileSync } = await import('node:fs')
    const dir = mkdtempSync(`${stage.dir}/../browser-`)
    writeFileSync(
      `${dir}/browser`,
      `#!/bin/sh\nprintf %s "$1" > ${dir}/opened.new && mv ${dir}/opened.new ${dir}/opened\n`,
      {
        mode: 0o755,
      },
    )
    vi.stubEnv('BROWSER', `${dir}/browser`)
    const { value, events } = await stage.run(
      () => staging.schedule.push(),
      {},
      { prompter: { ...noPrompter, interactive: true } },
    )
    vi.unstubAllEnvs()
    expect(value).toBe(false)
    const where = /Heroku Scheduler has no API: enter these by hand at (https?:\/\/\S+)/.exec(notes(events))?.[1]
    expect(where).toBeDefined()
    expect(notes(events)).toContain('nightly: 0 2 * * * (UTC)  python3 report.py')
    const opened = () => {
      try {
        return readFileSync(`${dir}/opened`, 'utf8')
      } catch {
        return undefined
      }
    }
    while (opened() === undefined) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(opened()).toBe(where)
    stage.deployment('staging', { app: stage.config.app, addons: { 'heroku-postgresql': 'essential-0' } })
  }, 60_000)
})

test('a webhook is told of a deploy, a rollback and a failure, with who, what and where', async () => {
  const told: { text: string; event: string }[] = []
  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk) => {
      text += chunk
    })
    request.on('end', () => {
      told.push(JSON.parse(text))
      response.end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const hook: NotificationConfig = {
    name: 'team',
    kind: 'generic',
    url: `http://127.0.0.1:${port}/`,
    message: '{{event}} of {{app}} ({{release}}) by {{user}}: {{head}} {{url}} {{detail}}',
    on: ['deploy', 'rollback', 'failure'],
  }
  stage.config.notifications.push(hook)
  try {
    const staging = stage.deployment('staging', { app: stage.config.app })
    const commit = stage.commit({ 'version.txt': 'told' })
    await stage.run(() => staging.deploy({ ref: 'main' }))
    await stage.run(() => staging.rollback())
    stage.heroku.faults.on.failBuild = true
    await expect(stage.run(() => staging.deploy())).rejects.toMatchObject({ code: 'heroku-build-failed' })
    stage.heroku.faults.on.failBuild = false
    expect(told.map((each) => each.event)).toEqual(['deploy', 'rollback', 'failure'])
    expect(told[0]?.text).toMatch(
      new RegExp(`^deploy of pony-staging \\(staging\\) by \\w+: ${commit.slice(0, 8)} http://127\\.0\\.0\\.1:\\d+/`),
    )
    expect(told[2]?.text).toContain('the build failed')
  } finally {
    stage.config.notifications.length = 0
    await new Promise((resolve) => server.close(resolve))
  }
}, 120_000)

test('of the log, several sources can be asked for at once', async () => {
  await stage.get('pony-staging', '/up')
  await stage.run(() => stage.staging.workers.scale({ worker: 1 }))
  while (!app().logs.some((line) => line.dyno === 'worker.1' && line.text.startsWith('beat')))
    await new Promise((resolve) => setTimeout(resolve, 10))
  const sources = async (source: string): Promise<Set<string>> => {
    const { value } = await stage.run(async () => {
      const found = new Set<string>()
      for await (const line of stage.staging.logs({ source, lines: 1500 }))
        found.add(line.source.split('.')[0] as string)
      return found
    })
    return value
  }
  const all = await sources('web,worker,heroku')
  expect([...all].filter((each) => !each.startsWith('heroku/')).sort()).toEqual(['web', 'worker'])
  expect([...all].some((each) => each.startsWith('heroku/'))).toBe(true)
  expect([...(await sources('web.1, worker'))].sort()).toEqual(['web', 'worker'])
}, 60_000)

test("maintenance is the app's own variable where the configuration names one", async () => {
  const staging = stage.deployment('staging', { maintenanceVariable: 'MAINTENANCE_MODE=on' })
  await stage.run(() => staging.maintenance.on())
  expect(app()).toMatchObject({ maintenance: false, config: { MAINTENANCE_MODE: 'on' } })
  expect((await stage.run(() => staging.maintenance.status())).value).toBe(true)
  await stage.run(() => staging.maintenance.off())
  expect(app().config).not.toHaveProperty('MAINTENANCE_MODE')
  await stage.run(() => staging.maintenance.during(async () => expect(app().config).toHaveProperty('MAINTENANCE_MODE')))
  expect(app().config).not.toHaveProperty('MAINTENANCE_MODE')
  stage.deployment('staging', { maintenanceVariable: undefined })
}, 60_000)

test('a domain is verified by what DNS says: a CNAME, or an apex with the same addresses', async () => {
  await stage.run(() => stage.staging.domains.attach('www.pony.example.org'))
  const [{ pointsAt = '' } = {}] = (await stage.run(() => stage.staging.domains.list())).value.filter(
    (each) => each.domain === 'www.pony.example.org',
  )
  const verify = () => stage.run(() => stage.staging.domains.verify('www.pony.example.org'))
  await expect(verify()).rejects.toMatchObject({ code: 'dns-elsewhere', detail: expect.stringContaining('not in DNS') })
  dns.cname['www.pony.example.org'] = ['elsewhere.example.net']
  await expect(verify()).rejects.toMatchObject({ detail: expect.stringContaining(`CNAME of ${pointsAt}`) })
  dns.cname['www.pony.example.org'] = [`${pointsAt}.`]
  await verify()
  dns.cname = {}
  dns.a = { 'www.pony.example.org': ['192.0.2.1'], [pointsAt]: ['192.0.2.1', '192.0.2.2'] }
  await verify()
  await expect(stage.run(() => stage.staging.domains.verify('other.example.org'))).rejects.toMatchObject({
    code: 'no-domain',
  })
}, 60_000)

test('a deploy waits for nobody: what CI did not pass is refused before anything is uploaded', async () => {
  const commit = stage.commit({ 'version.txt': 'gated' })
  const sources = (): number => stage.heroku.seen.filter((call) => call.path === '/sources').length
  const before = sources()
  const gated = (gate: string) => stage.deployment('staging', { app: { ...stage.config.app, gate } })
  await expect(stage.run(() => gated('exit 1').deploy({ ref: 'main' }))).rejects.toMatchObject({ code: 'gate' })
  expect(sources()).toBe(before)
  await stage.run(() => gated(`test "$SLIPWAY_COMMIT" = ${commit}`).deploy({ ref: 'main' }))
  expect((await stage.get('pony-staging', '/up')).version).toBe('gated')
  stage.deployment('staging', { app: stage.config.app })
}, 60_000)

test('a database that the plan would not hold is not copied', async () => {
  await stage.run(() => stage.production.deploy())
  stage.heroku.faults.on.planBytes = 1e6
  const before = stage.heroku.state.transfers.length
  await expect(stage.run(() => stage.production.database.copyTo(stage.staging))).rejects.toMatchObject({
    code: 'heroku-too-large',
    state: 'Nothing was changed.',
    next: expect.stringContaining('[staging.addons]'),
  })
  stage.heroku.faults.on.planBytes = 1e9
  expect(stage.heroku.state.transfers).toHaveLength(before)
}, 60_000)

test("an app without a domain is opened at the platform's own address", async () => {
  expect((await stage.run(() => stage.staging.url())).value).toBe(`http://127.0.0.1:${app().port}/`)
  const staging = stage.deployment('staging', { domain: 'pony.example.org' })
  expect((await stage.run(() => staging.url())).value).toBe('https://pony.example.org/')
  stage.deployment('staging', { domain: undefined })
}, 30_000)

test('another database of the account becomes DATABASE, and the former one keeps an attachment', async () => {
  const addon = await api(stage.heroku, 'POST', '/apps/pony-staging/addons', { plan: 'heroku-postgresql:essential-0' })
  while ((await api(stage.heroku, 'GET', `/addons/${addon.id}`)).state === 'provisioning')
    await new Promise((resolve) => setTimeout(resolve, 20))
  const attached = (name: string) =>
    stage.heroku.state.attachments.filter((each) => each.app.name === 'pony-staging' && each.addon.name === name)
  const before = stage.heroku.state.attachments.find(
    (each) => each.app.name === 'pony-staging' && each.name === 'DATABASE',
  )!.addon.name
  await stage.run(() => stage.staging.attachDatabase(addon.name))
  expect(attached(addon.name).map((each) => each.name)).toContain('DATABASE')
  expect(attached(before).map((each) => each.name)).toHaveLength(1)
  expect(attached(before)[0]?.name).not.toBe('DATABASE')
}, 60_000)

test('a folder that the repository around it ignores is deployed as a folder', async () => {
  const { cpSync, mkdirSync, writeFileSync } = await import('node:fs')
  mkdirSync(`${stage.dir}/.slipway`, { recursive: true })
  cpSync(fixtureApp, `${stage.dir}/.slipway/app`, { recursive: true })
  writeFileSync(`${stage.dir}/.slipway/app/version.txt`, 'ignored')
  const staging = stage.deployment('staging', { app: { ...stage.config.app, source: '.slipway/app' } })
  await stage.run(() => staging.deploy())
  expect((await stage.get('pony-staging', '/up')).version).toBe('ignored')
  stage.deployment('staging', { app: stage.config.app })
}, 60_000)

test('the example app of this repository is built and runs there', async () => {
  const { cpSync } = await import('node:fs')
  cpSync(`${import.meta.dirname}/../../../examples/pony`, `${stage.dir}/.slipway/pony`, { recursive: true })
  await api(stage.heroku, 'PATCH', '/apps/pony-staging/config-vars', {
    PONY_CLUB_LINK: 'https://example.org',
    PONY_ORGANISER_EMAIL: 'ada@example.org',
    PONY_ADMIN_PASSWORD: 'correct horse',
  })
  const staging = stage.deployment('staging', { app: { ...stage.config.app, source: '.slipway/pony' } })
  await stage.run(() => staging.deploy())
  expect(await stage.get('pony-staging', '/')).toMatchObject({
    status: 200,
    body: expect.stringContaining('Lower Mainland'),
  })
  const registered = await fetch(`http://127.0.0.1:${app().port}/brevets/200/riders`, {
    method: 'POST',
    body: JSON.stringify({ name: 'Ada', email: 'ada@example.org' }),
    headers: { 'Content-Type': 'application/json', Connection: 'close' },
  })
  expect(registered.status).toBe(201)
  expect(JSON.stringify((await stage.get('pony-staging', '/riders.json')).body)).toContain('Ada')
  stage.deployment('staging', { app: stage.config.app })
}, 60_000)
