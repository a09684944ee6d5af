import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { HerokuConfig } from '../../../src/config/types.ts'
import { currentRun, type RunOptions, SlipwayError } from '../../../src/events/index.ts'
import { Secret } from '../../../src/shell/secret.ts'
import { herokuContext } from '../../../src/targets/heroku/context.ts'
import type { InitAppOptions } from '../../../src/targets/heroku/deployment.ts'
import { init } from '../../../src/targets/heroku/init.ts'
import { gitRemote, herokuApps, herokuLogin, runLocally } from '../../../src/targets/heroku/operator.ts'
import { storeFor } from '../../../src/targets/heroku/store.ts'
import { api, type Stage, setStage } from './stage.ts'

let stage: Stage
let env: Record<string, string | undefined>
beforeAll(async () => {
  stage = await setStage({ apps: { initDb: 'python3 populate.py' } })
  env = { ...stage.heroku.env, HOME: stage.dir, SLIPWAY_STATE_HOME: stage.dir, PATH: process.env['PATH'] }
  writeFileSync(
    join(stage.dir, 'config/staging.env'),
    'SECRET_KEY={{ generate:SECRET_KEY }}\nMODE=staging\nCACHE={{ REDIS_URL | suffix:?ssl_cert_reqs=none }}\n',
  )
}, 30_000)
afterAll(() => stage.close())

const wanted: Partial<HerokuConfig> = {
  region: 'eu',
  stack: 'heroku-24',
  buildpacks: ['heroku/nodejs', 'heroku/python'],
  features: ['log-runtime-metrics'],
  addons: {
    'heroku-postgresql': 'essential-0',
    'heroku-redis': 'mini',
    bucketeer: 'hobbyist bucket-name=media.example.org',
    papertrail: 'choklad',
  },
  settings: 'staging.env',
  domain: 'staging.pony.example.org',
}
const contextOf = (changes: Partial<HerokuConfig> = {}) => {
  const deployment = stage.deployment('staging', changes)
  return { deployment, context: herokuContext(deployment.config, { config: stage.config, env }) }
}
const initialize = async (
  changes: Partial<HerokuConfig> = {},
  options: InitAppOptions = {},
  run: RunOptions = {},
): Promise<string[]> => {
  const { deployment, context } = contextOf(changes)
  return (
    await stage.run(
      () =>
        init(context, { deploy: () => deployment.deploy(), populate: () => deployment.database.init(), ...options }),
      run,
    )
  ).value
}

describe('an app from nothing', () => {
  test('is shown before it is made', async () => {
    const lines = await initialize(wanted, {}, { planOnly: true })
    expect(lines[0]).toBe('create the app pony-staging')
    expect(lines).toContain('create the add-on heroku-postgresql:essential-0')
    expect(lines.at(-1)).toBe('automatic certificates')
    const without = await initialize(wanted, { withoutCertificate: true }, { planOnly: true })
    expect(without).toEqual(lines.slice(0, -1))
    expect(stage.heroku.state.apps.size).toBe(0)
  }, 30_000)

  test('is created, provisioned, configured, deployed, populated and coupled', async () => {
    const lines = await initialize(wanted)
    expect(lines).toEqual([
      'create the app pony-staging',
      'buildpacks none → heroku/nodejs, heroku/python',
      'feature log-runtime-metrics on',
      'create the add-on heroku-postgresql:essential-0',
      'create the add-on heroku-redis:mini',
      'create the add-on bucketeer:hobbyist',
      'create the add-on papertrail:choklad',
      'settings CACHE, MODE, SECRET_KEY',
      'create the pipeline pony',
      'pony-staging is staging in the pipeline pony',
      'first deploy',
      'fill the database',
      'domain staging.pony.example.org',
      'automatic certificates',
    ])
    expect((await stage.get('pony-staging', '/pledges')).body).toEqual(['Ada', 'Brita'])
    expect(stage.heroku.state.apps.get('pony-staging')?.region).toBe('eu')
    const config = await api(stage.heroku, 'GET', '/apps/pony-staging/config-vars')
    expect(config).toMatchObject({ MODE: 'staging', BUCKETEER_BUCKET_NAME: 'media.example.org' })
    // Derived from a variable that came with an add-on of the same run.
    expect(config.CACHE).toBe(`${config.REDIS_URL}?ssl_cert_reqs=none`)
  }, 60_000)

  test('is left alone when nothing differs', async () => {
    const from = stage.heroku.seen.length
    expect(await initialize(wanted)).toEqual([])
    expect(stage.heroku.seen.slice(from).filter((call) => call.method !== 'GET')).toEqual([])
  }, 30_000)

  test('has its add-ons upgraded, replaced and destroyed where they differ', async () => {
    const addons = {
      'heroku-postgresql': 'standard-0',
      'heroku-redis': 'mini',
      bucketeer: 'hobbyist bucket-name=other.example.org',
    }
    const lines = await initialize({ ...wanted, addons }, { destroyUndeclared: true })
    expect(lines[0]).toMatch(/^postgresql-\S+: plan heroku-postgresql:essential-0 → heroku-postgresql:standard-0$/)
    expect(lines[1]).toMatch(/^replace bucketeer-\S+ \(bucket-name=other.example.org\): what it holds is lost$/)
    expect(lines[2]).toMatch(/^destroy papertrail-\S+ \(papertrail:choklad\), which nobody declares$/)
    expect(await api(stage.heroku, 'GET', '/apps/pony-staging/config-vars')).toMatchObject({
      BUCKETEER_BUCKET_NAME: 'other.example.org',
    })
  }, 30_000)

  test('whose plan is gone, or whose add-on never comes, is told with what there is', async () => {
    await expect(
      initialize({
        ...wanted,
        addons: { 'heroku-postgresql': 'standard-0', 'heroku-redis': 'mini', memcachier: 'gone' },
      }),
    ).rejects.toMatchObject({ code: 'heroku-plan-gone', next: expect.stringContaining('There are') })
    stage.heroku.faults.on.stuckProvisioning = true
    env['SLIPWAY_PROVISION_SECONDS'] = '0.5'
    await expect(
      initialize({ ...wanted, addons: { 'heroku-postgresql': 'standard-0', 'heroku-redis': 'mini', sentry: 'f1' } }),
    ).rejects.toMatchObject({ code: 'heroku-addon-late', state: expect.stringContaining('was created') })
    stage.heroku.faults.on.stuckProvisioning = false
    stage.heroku.faults.on.failProvisioning = true
    await expect(
      initialize({ ...wanted, addons: { 'heroku-postgresql': 'standard-0', newrelic: 'wayne' } }),
    ).rejects.toMatchObject({ code: 'heroku-addon-failed' })
    stage.heroku.faults.on.failProvisioning = false
    delete env['SLIPWAY_PROVISION_SECONDS']
  }, 30_000)

  test('whose database could not be filled has it filled by the next run, though the code is there', async () => {
    const addons = { 'heroku-postgresql': 'essential-0' }
    const second = { herokuApp: 'pony-second', pipeline: undefined, domain: undefined, settings: undefined, addons }
    const failing = { populate: () => Promise.reject(new SlipwayError('no-riders', 'the riders are not there')) }
    await expect(initialize(second, failing)).rejects.toMatchObject({
      code: 'no-riders',
      state: expect.stringMatching(/^Made so far: create the app pony-second; .*; first deploy\. The journal says so/),
    })
    // Looking changes nothing: it stays to be done.
    expect(await initialize(second, {}, { planOnly: true })).toEqual(['fill the database'])
    const halfway = {
      populate: async () => {
        await stage.post('pony-second', 'Ada')
        throw new SlipwayError('no-riders', 'the other riders are not there')
      },
    }
    await expect(initialize(second, halfway)).rejects.toMatchObject({ code: 'no-riders' })
    // What is there now may be a part: it is neither taken for all of it, nor added to.
    await expect(initialize(second)).rejects.toMatchObject({
      code: 'half-filled',
      message: expect.stringContaining('pony-second::DATABASE may be filled in part'),
      next: expect.stringMatching(/`tasks reset_db:release=staging`.*`tasks init_staging_app`/),
    })
    // Who says that it is all there, has it taken as it is.
    expect(await initialize(second, { deploy: undefined })).toEqual([])
    expect(await initialize(second)).toEqual([])
    await stage.heroku.sql('pony-second', 'DELETE FROM pledges')
    expect(await initialize(second)).toEqual(['fill the database'])
    expect((await stage.get('pony-second', '/pledges')).body).toEqual(['Ada', 'Brita'])
    expect(await initialize(second)).toEqual([])
  }, 60_000)

  test('whose making died on another machine is gone on with once its lock is broken', async () => {
    const addons = { 'heroku-postgresql': 'essential-0' }
    const second = { herokuApp: 'pony-second', pipeline: undefined, domain: undefined, settings: undefined, addons }
    const { context } = contextOf(second)
    const by = { run: 'dead', user: 'ben', machine: 'elsewhere', command: 'init' }
    const locks = ['pony-second.init']
    await stage.run(async () => {
      const store = await storeFor(context)
      expect(store.kind).toBe('postgres')
      await store.lock(['staging', ...locks], by)
      const at = new Date().toISOString()
      await store.begin({ entry: 'begin', at, id: 'died', kind: 'init', title: '', by, facts: {}, steps: [], locks })
    })
    await expect(initialize(second)).rejects.toMatchObject({
      code: 'locked',
      next: expect.stringContaining('tasks unlock:release=staging'),
    })
    await stage.run(async () => (await storeFor(context)).breakLock('staging', by))
    expect(await initialize(second)).toEqual([])
    const { value } = await stage.run(async () => (await storeFor(context)).list())
    expect(value.find((each) => each.id === 'died')).toMatchObject({ result: 'done' })
  }, 60_000)

  test('whose first deploy died goes on with its build, unless there is other code by now', async () => {
    const addons = { 'heroku-postgresql': 'essential-0' }
    const second = { herokuApp: 'pony-second', pipeline: undefined, domain: undefined, settings: undefined, addons }
    const { context } = contextOf(second)
    const died = (id: string) =>
      stage.run(async () => {
        const store = await storeFor(context)
        const by = { run: id, user: 'ben', machine: 'elsewhere', command: 'init' }
        const at = new Date().toISOString()
        const step = 'first deploy'
        const begin = { kind: 'init', title: '', by, facts: {}, steps: [step], locks: ['pony-second.init', 'staging'] }
        await store.lock(begin.locks, by)
        const journal = await store.begin({ entry: 'begin', at, id, ...begin })
        await stage.heroku.sql('pony-second', `UPDATE slipway.locks SET run = '${currentRun().id}'`)
        await journal.append({ entry: 'intent', at, step, direction: 'do' })
        await stage.heroku.sql('pony-second', 'DELETE FROM slipway.locks')
      })
    const { builds } = stage.heroku.state.apps.get('pony-second')!
    const before = builds.length
    await died('same-code')
    expect(await initialize(second)).toEqual(['first deploy'])
    expect(builds).toHaveLength(before)
    stage.commit({ 'version.txt': 'mended' })
    await died('other-code')
    expect(await initialize(second)).toEqual(['first deploy'])
    expect(builds).toHaveLength(before + 1)
    expect((await stage.get('pony-second', '/up')).version).toBe('mended')
  }, 60_000)

  test('makes anew what it had made, where that is gone by the next run', async () => {
    const third = { herokuApp: 'pony-third', pipeline: undefined, domain: undefined, settings: undefined }
    const addons = { 'heroku-redis': 'mini' }
    await expect(
      initialize({ ...third, addons: { ...addons, memcachier: 'gone' } }, { deploy: undefined }),
    ).rejects.toMatchObject({ code: 'heroku-plan-gone' })
    const [redis] = await api(stage.heroku, 'GET', '/apps/pony-third/addons')
    await api(stage.heroku, 'DELETE', `/apps/pony-third/addons/${redis.id}`)
    expect(await initialize({ ...third, addons: { ...addons, memcachier: 'dev' } }, { deploy: undefined })).toEqual([
      'create the add-on heroku-redis:mini',
      'create the add-on memcachier:dev',
    ])
    stage.deployment('staging', { herokuApp: 'pony-staging', pipeline: 'pony', ...wanted })
  }, 60_000)

  test('is made in the team that is named, and does not pass to another by itself', async () => {
    const teamed: Partial<HerokuConfig> = {
      ...{ herokuApp: 'pony-teamed', team: 'pony-team', pipeline: undefined, domain: undefined, settings: undefined },
      ...{ addons: {}, buildpacks: [], features: [] },
    }
    const once = { deploy: undefined }
    expect(await initialize(teamed, once)).toEqual(['create the app pony-teamed'])
    const [made] = stage.heroku.seen.filter((call) => call.template === '/teams/apps')
    expect(made?.request).toEqual({ name: 'pony-teamed', region: 'eu', stack: 'heroku-24', team: 'pony-team' })
    expect(await api(stage.heroku, 'GET', '/apps/pony-teamed')).toMatchObject({ team: { name: 'pony-team' } })
    expect(await initialize(teamed, once)).toEqual([])
    await expect(initialize({ ...teamed, team: 'other-team' }, once)).rejects.toMatchObject({
      code: 'heroku-other-team',
      message: expect.stringContaining('belongs to the team pony-team, and config/deploy.ini says team = other-team'),
      next: expect.stringContaining('heroku apps:transfer other-team --app pony-teamed'),
    })
    const before = stage.heroku.state.apps.size
    await expect(
      initialize({ ...teamed, herokuApp: 'pony-elsewhere', team: 'other-team' }, once),
    ).rejects.toMatchObject({
      code: 'heroku-no-team',
      message: expect.stringContaining('You do not have access to the team other-team.'),
      state: expect.stringContaining('changed nothing'),
      next: expect.stringContaining('`heroku members:add YOU@… --role member --team TEAM`'),
    })
    expect(stage.heroku.state.apps.size).toBe(before)
    stage.deployment('staging', { herokuApp: 'pony-staging', pipeline: 'pony', team: undefined, ...wanted })
  }, 60_000)

  test('can not change its region', async () => {
    await expect(initialize({ ...wanted, region: 'us' })).rejects.toMatchObject({
      code: 'heroku-region-fixed',
      next: expect.stringContaining('region = eu'),
    })
  })

  test('takes what app.json and heroku.yml say, below the configuration', async () => {
    const { fromAppJson, fromHerokuYml } = await import('../../../src/targets/heroku/manifest.ts')
    expect(
      fromAppJson(
        '{"stack":"heroku-24","addons":["heroku-redis",{"plan":"bucketeer:micro","as":"MEDIA","options":{"bucket-name":"b"}}],"buildpacks":[{"url":"heroku/python"}],"env":{"A":"1","S":{"generator":"secret"},"O":{"required":false}}}',
      ),
    ).toEqual({
      stack: 'heroku-24',
      buildpacks: ['heroku/python'],
      addons: [
        { service: 'heroku-redis', options: {} },
        { service: 'bucketeer', plan: 'micro', options: { 'bucket-name': 'b' }, as: 'MEDIA' },
      ],
      env: { A: { value: '1' }, S: { generate: true } },
    })
    expect(
      fromHerokuYml(
        'setup:\n  addons:\n    - plan: heroku-postgresql:essential-0\n      as: DATABASE\n  config:\n    MODE: "on"\nbuild:\n  docker:\n    web: Dockerfile\n',
      ),
    ).toEqual({
      stack: 'container',
      buildpacks: [],
      addons: [{ service: 'heroku-postgresql', plan: 'essential-0', options: {}, as: 'DATABASE' }],
      env: { MODE: { value: 'on' } },
    })
  })
})

describe('domains', () => {
  test('of another app are refused by name', async () => {
    await api(stage.heroku, 'POST', '/apps', { name: 'other' })
    await api(stage.heroku, 'POST', '/apps/other/domains', { hostname: 'taken.example.org', sni_endpoint: null })
    await expect(
      stage.run(() => contextOf(wanted).deployment.domains.attach('taken.example.org')),
    ).rejects.toMatchObject({ code: 'heroku-domain-taken' })
  })
  test('have certificates from files where they are given', async () => {
    const [certificate, key] = [join(stage.dir, 'c.pem'), join(stage.dir, 'k.pem')]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-subj',
        '/CN=*.example.org',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'ignore' },
    )
    const changes = { ...wanted, addons: {} }
    const configured = (one: string, other: string) =>
      initialize({ ...changes, certificate: { certificate: one, key: other } })
    await expect(configured('nowhere.pem', 'k.pem')).rejects.toMatchObject({ code: 'no-certificate', exitCode: 2 })
    // The wrong way round.
    await expect(configured('k.pem', 'c.pem')).rejects.toMatchObject({
      code: 'no-certificate',
      message: expect.stringContaining('holds no PEM certificate'),
    })
    // As config/deploy.ini has it: relative to the project, or to the home.
    expect(await configured('c.pem', '~/k.pem')).toEqual(['certificate of staging.pony.example.org from c.pem'])
    expect(await configured(certificate, key)).toEqual([])
    expect(
      stage.heroku.state.apps.get('pony-staging')!.domains.find((each) => each.kind === 'custom')!.sniEndpoint,
    ).toBe('pony-staging-cert-1')
  }, 30_000)
})

describe('an operator', () => {
  test('logs in with a token that is tried first', async () => {
    const home = { ...env, HOME: join(stage.dir, 'home'), HEROKU_API_KEY: undefined, XDG_CONFIG_HOME: undefined }
    await expect(stage.run(() => herokuLogin(home, new Secret('wrong')))).rejects.toMatchObject({
      code: 'heroku-unauthorized',
    })
    expect((await stage.run(() => herokuLogin(home, new Secret(stage.heroku.token)))).value).toBe('ada@example.com')
  })
  test('lists apps, and those of a team', async () => {
    const { context } = contextOf(wanted)
    expect((await stage.run(() => herokuApps(context))).value.map((app) => app.name).sort()).toEqual([
      'other',
      'pony-second',
      'pony-staging',
      'pony-teamed',
      'pony-third',
    ])
    const ofTeam = (team: string) => stage.run(() => herokuApps(context, team))
    expect((await ofTeam('pony-team')).value.map((app) => app.name)).toEqual(['pony-teamed'])
    await expect(ofTeam('other-team')).rejects.toMatchObject({
      code: 'heroku-no-team',
      message: expect.stringContaining("Couldn't find that team."),
    })
  })
  test('has a git remote for each deployment', async () => {
    const { context } = contextOf(wanted)
    expect((await stage.run(() => gitRemote(context))).value).toBe(true)
    expect(execFileSync('git', ['-C', stage.dir, 'remote', 'get-url', 'staging'], { encoding: 'utf8' }).trim()).toBe(
      `${stage.heroku.url}/_git/pony-staging.git`,
    )
    // Without an address of one's own, it is the platform's.
    const plain = herokuContext(stage.staging.config, {
      config: stage.config,
      env: { ...env, HEROKU_GIT_URL: undefined },
    })
    expect((await stage.run(() => gitRemote(plain))).value).toBe(true)
    expect(execFileSync('git', ['-C', stage.dir, 'remote', 'get-url', 'staging'], { encoding: 'utf8' }).trim()).toBe(
      'https://git.heroku.com/pony-staging.git',
    )
    await stage.run(() => gitRemote(context))
    expect((await stage.run(() => gitRemote(context))).value).toBe(false)
  })
  test('runs the Procfile here with the settings of a deployment', async () => {
    writeFileSync(join(stage.dir, 'Procfile'), 'web: echo "mode $MODE on $PORT"; sleep 30\nonce: sleep 0.2; exit 4\n')
    const { value, events } = await stage.run(() => runLocally(contextOf(wanted).context))
    expect(value).toBe(4)
    expect(events.some((event) => event.type === 'log.line' && event.text === 'mode staging on 5000')).toBe(true)
  }, 30_000)
})
