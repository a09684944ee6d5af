import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  createBus,
  createRun,
  type Prompter,
  type RunEvent,
  type RunOptions,
  withRun,
} from '../../../src/events/index.ts'
import { Secret } from '../../../src/shell/secret.ts'
import { type HerokuClient, herokuClient } from '../../../src/targets/heroku/client.ts'
import * as resource from '../../../src/targets/heroku/resources.ts'
import { keepToken } from '../../../src/targets/heroku/token.ts'
import { api, type Stage, setStage } from './stage.ts'

let stage: Stage
let env: Record<string, string | undefined>
beforeAll(async () => {
  stage = await setStage()
  env = { ...stage.heroku.env, HOME: stage.dir }
  for (let n = 0; n < 7; n += 1) await api(stage.heroku, 'POST', '/apps', { name: `app-${n}` })
}, 30_000)
afterAll(() => stage.close())
beforeEach(() => {
  stage.heroku.faults.rules.length = 0
  stage.heroku.remaining = 4500
})

async function within<T>(
  fn: (client: HerokuClient) => Promise<T>,
  options: { env?: NodeJS.ProcessEnv; run?: RunOptions; prompter?: Prompter; signal?: AbortSignal } = {},
): Promise<{ value: T; events: RunEvent[] }> {
  const events: RunEvent[] = []
  const bus = createBus()
  bus.on((event) => events.push(event))
  const run = createRun({ bus, options: options.run, prompter: options.prompter, signal: options.signal })
  return { value: await withRun(run, () => fn(herokuClient(options.env ?? env))), events }
}
const calls = (method: string, path: RegExp): number =>
  stage.heroku.seen.filter((call) => call.method === method && path.test(call.path)).length

describe('reads', () => {
  test('follow every page', async () => {
    const { value } = await within((client) => client.list('/apps', resource.app, { range: 'name ..; max=2' }))
    expect(value.map((app) => app.name)).toEqual(['app-0', 'app-1', 'app-2', 'app-3', 'app-4', 'app-5', 'app-6'])
  })
  test('are tried again when the platform is down for a moment, or hangs up', async () => {
    stage.heroku.faults.add('GET', /^\/apps\/app-0$/, {
      kind: 'status',
      status: 503,
      id: 'unavailable',
      message: 'try later',
    })
    stage.heroku.faults.add('GET', /^\/apps\/app-0$/, { kind: 'refuse' })
    expect((await within((client) => client.get('/apps/app-0', resource.app))).value.name).toBe('app-0')
  }, 20_000)
  test('wait out the rate limit and say so', async () => {
    stage.heroku.faults.add('GET', /^\/apps\/app-1$/, { kind: 'rate-limit' })
    const { value, events } = await within((client) => client.get('/apps/app-1', resource.app))
    expect(value.name).toBe('app-1')
    expect(events.some((event) => event.type === 'note' && /rate limit/.test(event.text))).toBe(true)
  }, 20_000)
  test('slow down when few calls are left', async () => {
    stage.heroku.remaining = 5
    const begun = performance.now()
    await within(async (client) => {
      await client.get('/apps/app-1', resource.app)
      await client.get('/apps/app-1', resource.app)
    })
    expect(performance.now() - begun).toBeGreaterThan(700)
  })
  test('end at their deadline, and at an abort', async () => {
    stage.heroku.faults.add('GET', /^\/apps\/app-2$/, { kind: 'delay', ms: 5000 }, 9)
    await expect(within((client) => client.get('/apps/app-2', resource.app, { deadlineMs: 50 }))).rejects.toMatchObject(
      { code: 'heroku-unreachable' },
    )
    const controller = new AbortController()
    const aborted = within((client) => client.get('/apps/app-2', resource.app), { signal: controller.signal })
    setImmediate(() => controller.abort())
    await expect(aborted).rejects.toMatchObject({ exitCode: 130 })
  }, 20_000)
})

describe('writes', () => {
  test('whose reply is lost are read again and not sent twice', async () => {
    stage.heroku.faults.add('PATCH', /^\/apps\/app-3$/, { kind: 'lose-reply' })
    const before = calls('PATCH', /^\/apps\/app-3$/)
    const { value, events } = await within((client) =>
      client.write('PATCH', '/apps/app-3', resource.app, {
        body: { maintenance: true },
        reread: async () => {
          const now = await client.get('/apps/app-3', resource.app)
          return now.maintenance ? now : undefined
        },
      }),
    )
    expect(value.maintenance).toBe(true)
    expect(calls('PATCH', /^\/apps\/app-3$/) - before).toBe(1)
    expect(events.some((event) => event.type === 'note' && /had taken effect/.test(event.text))).toBe(true)
  })
  test('that never arrived are sent again once that is known', async () => {
    stage.heroku.faults.add('PATCH', /^\/apps\/app-4$/, { kind: 'refuse' })
    const { value } = await within((client) =>
      client.write('PATCH', '/apps/app-4', resource.app, {
        body: { maintenance: true },
        reread: async () => undefined,
      }),
    )
    expect(value.maintenance).toBe(true)
  }, 20_000)
  test('that nobody can read again end as of unknown outcome', async () => {
    stage.heroku.faults.add('PATCH', /^\/apps\/app-5$/, { kind: 'lose-reply' })
    await expect(
      within((client) => client.write('PATCH', '/apps/app-5', resource.app, { body: { maintenance: true } })),
    ).rejects.toMatchObject({
      code: 'heroku-outcome-unknown',
      name: 'OutcomeUnknownError',
    })
  })
  test('that are interrupted end as interrupted, and say that their effect is not known', async () => {
    stage.heroku.faults.add('PATCH', /^\/apps\/app-5$/, { kind: 'delay', ms: 300 })
    const controller = new AbortController()
    const writing = within(
      (client) =>
        client.write('PATCH', '/apps/app-5', resource.app, {
          body: { maintenance: true },
          reread: async () => undefined,
        }),
      { signal: controller.signal },
    )
    while (stage.heroku.faults.rules.some((rule) => rule.times > 0))
      await new Promise((resolve) => setTimeout(resolve, 5))
    controller.abort()
    await expect(writing).rejects.toMatchObject({
      code: 'aborted',
      exitCode: 130,
      state: expect.stringContaining('may or may not have done it'),
    })
  }, 20_000)
  test('are held back in a dry run, and looking at their result ends the task there', async () => {
    const before = calls('PATCH', /^\/apps\/app-6$/)
    const { events } = await within(
      async (client) =>
        client.write('PATCH', '/apps/app-6', resource.app, { body: { maintenance: true } }).then(() => undefined),
      { run: { dryRun: true } },
    )
    expect(events).toMatchObject([{ type: 'held-back', display: 'PATCH /apps/app-6' }])
    expect(calls('PATCH', /^\/apps\/app-6$/)).toBe(before)
    await expect(
      within(async (client) => (await client.write('PATCH', '/apps/app-6', resource.app, { body: {} })).name, {
        run: { dryRun: true },
      }),
    ).rejects.toMatchObject({ code: 'depends-on-stub' })
  })
})

describe('who asks', () => {
  const whoAmI = (changed: Record<string, string | undefined>, prompter?: Prompter) =>
    within((client) => client.get('/account', resource.account), { env: { ...env, ...changed }, prompter })

  test('without a token gets a sentence', async () => {
    await expect(whoAmI({ HEROKU_API_KEY: undefined })).rejects.toMatchObject({
      code: 'heroku-no-token',
      next: expect.stringContaining('heroku_login'),
    })
  })
  test('with a wrong token gets another, and the token is in neither', async () => {
    const error = await whoAmI({ HEROKU_API_KEY: 'HRKU-wrong-secret' }).catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'heroku-unauthorized' })
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain('wrong-secret')
  })
  test('sends the ids of the calls before, and a refusal names its own', async () => {
    const error = await within(async (client) => {
      await client.get('/account', resource.account)
      await client.get('/apps/nowhere', resource.app)
    }).catch((e: unknown) => e)
    expect(error).toMatchObject({
      detail: expect.stringMatching(/^GET \/apps\/nowhere → 404 .* \(request [0-9a-f-]{36}\)$/),
    })
    expect(stage.heroku.seen.at(-1)?.headers['request-id']).toMatch(/^[0-9a-f-]{36}$/)
  })
  test('may keep the token, readable by nobody else', async () => {
    const home = { ...env, HOME: join(stage.dir, 'home1'), HEROKU_API_KEY: undefined, XDG_CONFIG_HOME: undefined }
    const file = await keepToken(home, new Secret(stage.heroku.token))
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect((await whoAmI(home)).value.email).toBe('ada@example.com')
    chmodSync(file, 0o644)
    await expect(whoAmI(home)).rejects.toMatchObject({ code: 'heroku-token-readable' })
  })
  test('may have it in netrc', async () => {
    mkdirSync(join(stage.dir, 'home2'))
    writeFileSync(
      join(stage.dir, 'home2/.netrc'),
      `machine git.heroku.com\n  login x\n  password no\nmachine api.heroku.com\n  login ada@example.com\n  password ${stage.heroku.token}\n`,
    )
    expect((await whoAmI({ HOME: join(stage.dir, 'home2'), HEROKU_API_KEY: undefined })).value.email).toBe(
      'ada@example.com',
    )
  })
  test('with two factors is asked for the code once', async () => {
    stage.heroku.state.account.twoFactor = true
    const asked: string[] = []
    const prompter: Prompter = {
      interactive: true,
      confirm: async () => true,
      confirmTyped: async () => true,
      text: async () => '',
      password: async (message) => (asked.push(message) ? '123456' : ''),
    }
    const write = (client: HerokuClient) =>
      client.write('PATCH', '/apps/app-6', resource.app, { body: { maintenance: false } })
    await within(
      async (client) => {
        await write(client)
        await write(client)
      },
      { prompter },
    )
    expect(asked).toEqual(['Heroku two-factor code'])
    await expect(within(write)).rejects.toMatchObject({ code: 'heroku-two-factor' })
    stage.heroku.state.account.twoFactor = false
  })
})

describe('each refusal has its own sentence', () => {
  test.each([
    ['heroku-app-not-found', 'GET', '/apps/nowhere', undefined],
    ['heroku-no-access', 'GET', '/apps/foreign', undefined],
    ['heroku-name-taken', 'POST', '/apps', { name: 'www' }],
    ['heroku-region', 'POST', '/apps', { name: 'mars-app', region: 'mars' }],
    ['heroku-stack', 'POST', '/apps', { name: 'old-app', stack: 'cedar-14' }],
    ['heroku-plan-gone', 'POST', '/apps/app-0/addons', { plan: 'heroku-postgresql:hobby-dev' }],
    ['heroku-no-team', 'POST', '/teams/apps', { name: 'team-app', team: 'strangers' }],
  ])('%s', async (code, method, path, body) => {
    stage.heroku.state.foreignApps.add('foreign')
    await expect(
      within((client) =>
        method === 'GET'
          ? client.get(path, resource.anything)
          : client.write('POST', path, resource.anything, { body }),
      ),
    ).rejects.toMatchObject({ code, next: expect.any(String) })
  })
})
