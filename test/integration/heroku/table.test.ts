/**
 * The table of docs/heroku.md, row by row: the tasks that a row names run here against the emulator, and what they did is
 * looked at. The commands are those of the teams' own documents, as they type them.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { splitCalls, splitCore } from '../../../src/cli/split.ts'
import { noPrompter, type Prompter, type RunEvent, type RunOptions } from '../../../src/events/index.ts'
import { collectTasks } from '../../../src/tasks/collect.ts'
import { givenValues } from '../../../src/tasks/values.ts'
import * as taskFile from '../../../tasks.ts'
import { repository } from '../../built.ts'
import { checkReplies } from './schema.ts'
import { api, type Stage, setStage } from './stage.ts'

const dns = vi.hoisted(() => ({ cname: {} as Record<string, string[]> }))
vi.mock('node:dns/promises', () => ({
  resolveCname: async (name: string) => dns.cname[name] ?? Promise.reject(new Error('ENODATA')),
  resolve4: async () => Promise.reject(new Error('ENODATA')),
}))

/** Every `heroku` command of the documents, their add-ons, and what they do beside it; the variables are their own. */
const typed = `
heroku login
heroku keys:add
heroku create --stack cedar
heroku apps:rename my-own-app
heroku addons:add heroku-postgresql:dev
heroku pg:promote <HEROKU_POSTGRESQL_URL>
heroku run 'python -m <APP>.scripts.populate'
heroku restart
heroku logs -t
heroku open
heroku addons:add deployhooks:irc
heroku addons:add papertrail
heroku addons:add sentry
heroku labs:enable log-runtime-metrics
heroku addons:add librato
heroku addons:add newrelic:stark
heroku addons:add mailgun
heroku addons:add scheduler
heroku addons:add pgbackups:auto-month
heroku addons:add scheduler:standard
heroku addons:add pgbackups
heroku addons:open scheduler
heroku config:add PGBACKUPS_AWS_ACCESS_KEY_ID="<access key id>"
heroku git:remote --remote staging --app csis-reconasia-bravo
heroku apps --team csis-ilab
heroku apps:info csis-reconasia-alfa
heroku ps:scale --app csis-reconasia-alfa
heroku config --app csis-reconasia-bravo
heroku config:set SECRET_KEY='thisisverysecret' --app csis-reconasia-bravo
heroku run python manage.py migrate --app csis-reconasia-bravo
heroku addons:create deployhooks:email --recipient=… --app csis-reconasia-bravo
heroku addons:create heroku-postgresql:standard-0 --app csis-reconasia-bravo
heroku pg:backups:schedules --app csis-reconasia-alfa
heroku pg:backups:schedule --at '02:00 America/New_York' --app csis-reconasia-alfa
heroku pg:backups --app csis-reconasia-alfa
heroku pg:backups:restore b016 --app csis-reconasia-alfa
heroku addons:create redistogo:nano --app csis-reconasia-bravo
heroku addons:create memcachier:dev --app csis-reconasia-bravo
heroku addons:create bonsai:sandbox-10 --app csis-reconasia-bravo
heroku run python manage.py rebuild_index --app csis-reconasia-alfa
heroku addons:create papertrail:choklad --app csis-reconasia-bravo
heroku authorizations:create
heroku run --app gyana-beta python manage.py migrate <app> <name>
heroku releases --app gyana-beta
heroku rollback <version> --app gyana-beta
heroku update beta
heroku plugins:install @heroku-cli/plugin-manifest
heroku apps:create --manifest --no-remote --stack=container embassynetwork-production
heroku config:set -a embassynetwork-production SECRET_KEY=$(openssl rand -hex 64)
heroku addons:destroy -a embassynetwork-production BUCKETEER
heroku addons:create -a embassynetwork-production bucketeer:micro --bucket-name media.embassynetwork.com`
  .trim()
  .split('\n')

interface Row {
  byHand: string
  here: string
}
const table: Row[] = readFileSync(join(repository, 'docs/heroku.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (by hand|-)/.test(line))
  .map((line) => {
    const [, byHand = '', here = ''] = line.split(/(?<!\\)\|/)
    return { byHand: byHand.trim(), here: here.trim() }
  })

const known = collectTasks(taskFile, 'tasks.ts', () => false).tasks
const infos = (name: string) => {
  const params = Object.entries(known.get(name)?.definition.params ?? {})
  return params.map(([key, each]) => ({ name: key, kind: each.kind, placeholder: each.placeholder, required: false }))
}

/** The tasks that a cell names. */
const namedIn = (cell: string): string[] => [
  ...new Set(
    [...cell.matchAll(/`([^`]+)`/g)].flatMap(([, text = '']) => {
      const name = /^[a-z_]+/.exec(text)?.[0] ?? ''
      return known.has(name) && /^[a-z_]+(:\S+)?( -- .*)?$/.test(text) ? [name] : []
    }),
  ),
]

let stage: Stage
/** The tasks that ran since a row began. */
let ran: Set<string>
const home = () => ({ HOME: stage.dir, XDG_CONFIG_HOME: join(stage.dir, '.config'), SLIPWAY_STATE_HOME: stage.dir })

interface Setup {
  prompter?: Prompter
  options?: RunOptions
  env?: Record<string, string>
}

/** Runs what a user types after `tasks`, and resolves with all that is shown. */
async function tasks(line: string | string[], { prompter, options, env }: Setup = {}): Promise<string> {
  const { words, rest } = splitCore(typeof line === 'string' ? line.split(' ') : line)
  const find = (name: string) => (known.has(name) ? { name, params: infos(name) } : undefined)
  const calls = splitCalls(words, rest, { find, names: [...known.keys()] })
  const herokuEnvironment = { ...stage.heroku.env, ...home(), ...env }
  const { events } = await stage.run(
    async (run) => {
      run.bus.on((event) => {
        if (event.type === 'task.started') ran.add(event.name)
      })
      for (const { task: name, given } of calls) {
        const task = known.get(name)
        await task?.(givenValues(name, task.definition.params ?? {}, given) as never)
      }
    },
    { sandbox: true, herokuEnvironment, ...options },
    prompter ? { prompter } : {},
  )
  return shown(events)
}
/** What a user sees: not what the tool itself runs here. */
const shown = (events: readonly RunEvent[]): string =>
  events
    .filter((each) => each.type !== 'command.output' || each.host !== 'local')
    .flatMap((each) => ('text' in each ? [String(each.text)] : 'what' in each ? [String(each.what)] : []))
    .join('\n')

/** Says yes, and types what it is asked to type; keeps what that was. */
function typist(...words: string[]): Prompter & { asked: string[] } {
  const asked: string[] = []
  return {
    ...noPrompter,
    interactive: true,
    asked,
    confirm: async () => true,
    confirmTyped: async (_message, expected) => asked.push(expected) > 0,
    text: async () => '',
    password: async () => words.shift() ?? '',
  }
}

const always = { 'heroku-postgresql': 'essential-0' }
type Section = Record<string, string>
let told: { event: string; text: string }[] = []
let hook: ReturnType<typeof createServer>

/** config/deploy.ini, with what a row wants of its own. */
function configure(staging: Section = {}, addons: Section = {}, app: Section = {}): void {
  const section = (name: string, values: Section): string =>
    `[${name}]\n${Object.entries(values)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join('')}\n`
  const address = hook.address() as { port: number }
  writeFileSync(
    join(stage.dir, 'config/deploy.ini'),
    [
      section('app', {
        name: 'pony',
        source: '.',
        init_db: 'python3 populate.py',
        migrate: 'python3 migrate.py',
        migrations: 'list: python3 migrate.py list\n  reverse: python3 migrate.py down',
        smoke: 'test "$(cat version.txt)" != broken',
        ...app,
      }),
      section('app.hooks', { after_restore: 'python3 rebuild_index.py', after_clone: 'python3 rebuild_index.py' }),
      section('app.schedule', { nightly: '0 2 * * * python3 report.py' }),
      section('staging', {
        target: 'heroku',
        app: 'pony-staging',
        pipeline: 'pony',
        region: 'eu',
        settings: 'staging.env',
        ...staging,
      }),
      section('staging.addons', { ...always, 'heroku-redis': 'mini', scheduler: 'standard', ...addons }),
      section('production', { target: 'heroku', app: 'pony-live', pipeline: 'pony', settings: 'production.env' }),
      section('production.addons', always),
      section('notify.team', {
        url: `http://127.0.0.1:${address.port}/`,
        message: '{{user}} deployed {{app}} {{release}} ({{head}}) to {{url}}',
        on: 'deploy, announce',
      }),
    ].join('\n'),
  )
}

beforeAll(async () => {
  stage = await setStage()
  hook = createServer((request, response) => {
    request.setEncoding('utf8')
    let text = ''
    request.on('data', (chunk: string) => {
      text += chunk
    })
    request.on('end', () => {
      told.push(JSON.parse(text))
      response.end()
    })
  })
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
  stage.commit({
    'app.json': '{"env":{"FROM_MANIFEST":"yes"}}',
    'rebuild_index.py':
      'from db import connect\nwith connect() as c, c.cursor() as cursor:\n  cursor.execute("DROP TABLE IF EXISTS search; CREATE TABLE search AS SELECT name FROM pledges")\n',
  })
  writeFileSync(
    join(stage.dir, 'config/staging.env'),
    'MODE=rehearsal\nSECRET_KEY={{ generate:SECRET_KEY }}\nCACHE={{ REDIS_URL | suffix:?ssl_cert_reqs=none }}\n',
  )
  writeFileSync(join(stage.dir, 'config/production.env'), 'MODE=live\n')
  configure()
}, 90_000)
afterAll(async () => {
  await stage?.close()
  await new Promise((resolve) => hook.close(resolve))
})

const app = (name = 'pony-staging') => {
  const found = stage.heroku.state.apps.get(name)
  if (!found) throw new Error(`there is no ${name}`)
  return found
}
const sql = (text: string, name = 'pony-staging') => stage.heroku.sql(name, text)
const calls = (method: string, path: RegExp) =>
  stage.heroku.seen.filter((call) => call.method === method && path.test(call.path))
const version = async (name = 'pony-staging') => (await stage.get(name, '/up')).version
const pledges = async (name = 'pony-staging') => (await stage.get(name, '/pledges')).body
const addonsOf = async (name = 'pony-staging'): Promise<{ name: string; addon_service: { name: string } }[]> =>
  api(stage.heroku, 'GET', `/apps/${name}/addons`)
const variables = (name = 'pony-staging'): Promise<Record<string, string>> =>
  api(stage.heroku, 'GET', `/apps/${name}/config-vars`)
/** What a call to the Redis server of a variable answers, in a one-off dyno. */
const redis = (variable: string, call: string): Promise<string> => {
  const program = `import os, redis; print(redis.from_url(os.environ["${variable}"]).${call})`
  return tasks(['run:release=staging', '--', 'python3', '-c', program])
}
const dynos = (type: string, name = 'pony-staging') =>
  app(name)
    .dynos.filter((each) => each.type === type && each.state === 'up')
    .map((each) => each.id)
const current = async (name = 'pony-staging') =>
  ((await api(stage.heroku, 'GET', `/apps/${name}/releases`)) as { version: number; current: boolean }[]).find(
    (each) => each.current,
  )?.version

/** Rows by a piece of their first cell, in the order in which they are run. */
const rows: [string, () => Promise<void>][] = [
  [
    '`heroku login`',
    async () => {
      const env = { HEROKU_API_KEY: '' }
      await expect(tasks('heroku_login', { prompter: typist('wrong'), env })).rejects.toMatchObject({
        code: 'heroku-unauthorized',
      })
      await tasks('heroku_login', { prompter: typist(stage.heroku.token), env })
      const file = join(stage.dir, '.config/slipway/heroku-token')
      expect(statSync(file).mode & 0o777).toBe(0o600)
      await tasks('heroku_apps', { env })
    },
  ],
  [
    '`heroku authorizations:create`',
    async () => {
      rmSync(join(stage.dir, '.config'), { recursive: true })
      await tasks('heroku_apps')
      await expect(tasks('heroku_apps', { env: { HEROKU_API_KEY: '' } })).rejects.toMatchObject({
        code: 'heroku-no-token',
      })
    },
  ],
  [
    '`heroku create --stack cedar`',
    async () => {
      expect(await tasks('init_staging_app', { options: { planOnly: true } })).toContain('create the app pony-staging')
      expect(stage.heroku.state.apps.size).toBe(0)
      await tasks('init_staging')
      await tasks('init_production_app')
      expect([app().region, app('pony-live').region]).toEqual(['eu', 'us'])
      expect(await pledges()).toEqual(['Ada', 'Brita'])
      expect(await tasks('init_staging_app', { options: { planOnly: true } })).not.toMatch(/create|settings/)
    },
  ],
  [
    '`heroku update beta`',
    async () => {
      await tasks('init_staging_app')
      expect(app().config['FROM_MANIFEST']).toBe('yes')
    },
  ],
  [
    '`apps:create --manifest --stack=container`',
    async () => {
      const file = join(stage.dir, 'heroku.yml')
      writeFileSync(
        file,
        'setup:\n  addons:\n    - plan: memcachier:dev\n  config:\n    FROM_YML: "yes"\nbuild:\n  docker:\n    web: Dockerfile\n',
      )
      configure({ app: 'pony-container', pipeline: 'boxes' })
      await tasks('init_staging_app')
      expect(app('pony-container')).toMatchObject({ buildStack: 'container', config: { FROM_YML: 'yes' } })
      expect((await addonsOf('pony-container')).map((each) => each.addon_service.name)).toContain('memcachier')
      rmSync(file)
      configure()
    },
  ],
  [
    '`addons:create` (heroku-postgresql',
    async () => {
      const wanted = {
        papertrail: 'choklad',
        sentry: 'f1',
        librato: 'development',
        newrelic: 'wayne',
        mailgun: 'starter',
        redistogo: 'nano',
        memcachier: 'dev',
        bonsai: 'sandbox',
        bucketeer: 'micro bucket-name=media.example.org',
      }
      configure({}, { ...wanted, newrelic: 'stark' })
      await expect(tasks('init_staging_app')).rejects.toMatchObject({
        code: 'heroku-plan-gone',
        next: expect.stringContaining('wayne'),
      })
      configure({}, wanted)
      expect(await tasks('init_staging_app')).toContain('stopped on its way')
      expect((await addonsOf()).map((each) => each.addon_service.name).sort()).toEqual(
        ['heroku-postgresql', 'heroku-redis', 'scheduler', ...Object.keys(wanted)].sort(),
      )
      expect(await redis('REDISTOGO_URL', 'ping()')).toContain('True')
    },
  ],
  [
    '`addons:destroy` then',
    async () => {
      configure({}, { bucketeer: 'micro bucket-name=other.example.org' })
      const prompter = typist()
      await tasks('init_staging_app', { prompter, options: { yes: false } })
      expect(prompter.asked).toEqual([expect.stringMatching(/^pony-staging::bucketeer-/)])
      expect(await variables()).toMatchObject({ BUCKETEER_BUCKET_NAME: 'other.example.org' })
    },
  ],
  [
    '`heroku labs:enable log-runtime-metrics`',
    async () => {
      configure({ features: 'log-runtime-metrics' })
      await tasks('init_staging_app')
      const feature = await api(stage.heroku, 'GET', '/apps/pony-staging/features/log-runtime-metrics')
      expect(feature.enabled).toBe(true)
    },
  ],
  [
    'buildpacks in the dashboard',
    async () => {
      configure({ buildpacks: 'heroku/nodejs, heroku/python' })
      await tasks('init_staging_app')
      const installed = await api(stage.heroku, 'GET', '/apps/pony-staging/buildpack-installations')
      expect(installed.map((each: { buildpack: { name: string } }) => each.buildpack.name)).toEqual([
        'heroku/nodejs',
        'heroku/python',
      ])
    },
  ],
  [
    '`heroku config`',
    async () => {
      const text = await tasks('settings:release=staging')
      expect(text.split('\n')).toEqual(expect.arrayContaining(['MODE', 'SECRET_KEY', 'DATABASE_URL']))
      expect(text).not.toContain('rehearsal')
    },
  ],
  [
    '`heroku config:add`',
    async () => {
      const before = (await current()) ?? 0
      await tasks('set_settings:release=staging -- A=b EXTRA=1')
      expect(app().config).toMatchObject({ A: 'b', EXTRA: '1' })
      expect(await current()).toBe(before + 1)
      await tasks('set_settings:release=staging -- A=b')
      expect(await current()).toBe(before + 1)
      expect((await stage.get('pony-staging', '/env?A')).body).toBe('b')
      const json = '{"private_key": "-----BEGIN\\nKEY-----",\n "type": "service_account"}'
      const file = join(stage.dir, 'config/staging.env')
      writeFileSync(file, `${readFileSync(file, 'utf8')}GOOGLE_CREDENTIALS='${json}'\n`)
      expect(await tasks('diff_settings:release=staging')).toContain('add GOOGLE_CREDENTIALS')
      await tasks('push_settings:release=staging')
      expect((await stage.get('pony-staging', '/env?GOOGLE_CREDENTIALS')).body).toBe(json)
    },
  ],
  [
    'SECRET_KEY=$(openssl rand -hex 64)',
    async () => {
      const before = app().config['SECRET_KEY']
      expect(before).toMatch(/^[0-9a-f]{64}$/)
      await tasks('push_settings:release=staging')
      expect(app().config['SECRET_KEY']).toBe(before)
    },
  ],
  [
    'ssl_cert_reqs=none',
    async () => {
      await tasks('set_settings:release=staging -- CACHE=')
      await tasks('push_settings:release=staging')
      const { CACHE, REDIS_URL } = await variables()
      expect(CACHE).toBe(`${REDIS_URL}?ssl_cert_reqs=none`)
      // The platform's own speaks TLS with a certificate that nobody signed.
      expect(await redis('CACHE', 'incr("riders") + 41')).toContain('42')
    },
  ],
  [
    '`heroku run CMD`',
    async () => {
      await expect(tasks('run:release=staging -- python3 nowhere.py')).rejects.toMatchObject({ exitCode: 2 })
      expect(await tasks('run:release=staging -- printenv MODE')).toContain('rehearsal')
    },
  ],
  [
    '.scripts.populate',
    async () => {
      await expect(tasks('init_staging_db')).rejects.toMatchObject({ code: 'has-data' })
      await tasks('init_staging')
      expect(await pledges()).toEqual(['Ada', 'Brita'])
      await sql('DELETE FROM pledges')
      await tasks('init_staging_db:force')
      expect(await pledges()).toEqual(['Ada', 'Brita'])
    },
  ],
  [
    '`heroku run python manage.py migrate`',
    async () => {
      const again = 'DROP TABLE pledges; DELETE FROM schema_migrations'
      await sql(again)
      await tasks('migrate:release=staging')
      expect(await pledges()).toEqual([])
      await sql(again)
      await tasks('run:release=staging -- python3 migrate.py')
      await tasks('run:release=staging -- python3 populate.py')
      expect(await pledges()).toEqual(['Ada', 'Brita'])
    },
  ],
  [
    '`heroku restart`',
    async () => {
      await tasks('start_staging_supervisor')
      const before = [...dynos('web'), ...dynos('worker')]
      await tasks('restart_app:release=staging')
      await tasks('restart_staging_supervisor')
      // Those that were there are given their time to stop, beside the new ones.
      await vi.waitFor(
        () => {
          const after = [...dynos('web'), ...dynos('worker')]
          expect(after.filter((id) => before.includes(id))).toEqual([])
          expect(after).toHaveLength(before.length)
        },
        { timeout: 30_000, interval: 20 },
      )
    },
  ],
  [
    '`heroku ps`, `ps:scale`',
    async () => {
      await tasks('scale:release=staging,worker=worker,to=2')
      expect(dynos('worker')).toHaveLength(2)
      expect(await tasks('ps:release=staging')).toMatch(/web\.1[\s\S]*worker\.2/)
      expect(await tasks('status:release=staging')).toMatch(/worker\.2/)
      await tasks('scale:release=staging,worker=worker,to=1')
      await tasks('resize:release=staging,worker=worker,to=standard-2x')
      expect(app().formation.get('worker')?.size).toBe('Standard-2X')
    },
  ],
  [
    '`heroku apps --team T`',
    async () => {
      await api(stage.heroku, 'POST', '/teams/apps', { name: 'chinapower', team: 'pony-team' })
      expect(await tasks('heroku_apps:team=pony-team')).toBe('chinapower')
      expect((await tasks('heroku_apps')).split('\n')).toContain('pony-staging')
    },
  ],
  [
    '`heroku apps:info`',
    async () => {
      const text = await tasks('status:release=staging')
      for (const part of ['pony-staging', 'web.1', `v${await current()}`]) expect(text).toContain(part)
    },
  ],
  [
    '`heroku logs`',
    async () => {
      await stage.get('pony-staging', '/pledges')
      expect(await tasks('logs:release=staging,lines=200')).toContain('GET /pledges')
      expect(await tasks('tail_app_log:release=staging,lines=200,grep=listens')).toMatch(/^version \S+ listens on \d+/)
    },
  ],
  [
    '`heroku open`',
    async () => {
      expect(await tasks('open:release=staging')).toBe(`http://127.0.0.1:${app().port}/`)
    },
  ],
  [
    '`foreman start`',
    async () => {
      const file = join(stage.dir, 'Procfile')
      const before = readFileSync(file, 'utf8')
      writeFileSync(file, `${before}\nonce: echo "it is $MODE on $PORT" > ran.txt; exit 4\n`)
      await expect(tasks('run_locally:release=staging,port=5600 -- once')).rejects.toMatchObject({ exitCode: 4 })
      expect(readFileSync(join(stage.dir, 'ran.txt'), 'utf8')).toBe('it is rehearsal on 5600\n')
      writeFileSync(file, before)
      rmSync(join(stage.dir, 'ran.txt'))
    },
  ],
  [
    '`heroku maintenance:on`',
    async () => {
      await tasks('maintenance_on:release=staging')
      expect((await stage.get('pony-staging', '/up')).status).toBe(503)
      await tasks('maintenance_off:release=staging')
      expect((await stage.get('pony-staging', '/up')).status).toBe(200)
      configure({ maintenance_variable: 'MAINTENANCE_MODE=on' })
      await tasks('maintenance_on:release=staging')
      expect(app()).toMatchObject({ maintenance: false, config: { MAINTENANCE_MODE: 'on' } })
      await tasks('maintenance_off:release=staging')
      expect(app().config).not.toHaveProperty('MAINTENANCE_MODE')
      configure()
    },
  ],
  [
    '`git push heroku master`',
    async () => {
      stage.commit({ 'version.txt': 'main' })
      await tasks('deploy_staging')
      expect(await version()).toBe('main')
      execFileSync('git', ['-C', stage.dir, 'checkout', '-qb', 'staging'], { stdio: 'ignore' })
      stage.commit({ 'version.txt': 'of the branch' })
      execFileSync('git', ['-C', stage.dir, 'checkout', '-q', 'main'], { stdio: 'ignore' })
      await tasks('deploy_staging:ref=staging')
      expect(await version()).toBe('of the branch')
      configure({ deploy_by: 'git' })
      stage.commit({ 'version.txt': 'pushed' })
      const uploads = calls('POST', /^\/sources$/).length
      await tasks('deploy_staging')
      expect(await version()).toBe('pushed')
      expect(calls('POST', /^\/sources$/)).toHaveLength(uploads)
      configure()
    },
  ],
  [
    '`heroku keys:add`',
    async () => {
      await tasks('rsync_code')
      expect(stage.heroku.seen.filter((call) => call.path.startsWith('/account/keys'))).toEqual([])
    },
  ],
  [
    '`heroku git:remote',
    async () => {
      await tasks('git_remotes')
      const remotes = execFileSync('git', ['-C', stage.dir, 'remote', '-v'], { encoding: 'utf8' })
      expect(remotes).toMatch(/production\t\S+\/pony-live\.git[\s\S]*staging\t\S+\/pony-staging\.git/)
    },
  ],
  [
    '`runtime.txt`',
    async () => {
      const before = calls('DELETE', /build-cache$/).length
      await tasks('install_app:fresh=true')
      expect(calls('DELETE', /build-cache$/)).toHaveLength(before + 1)
    },
  ],
  [
    '`heroku releases`',
    async () => {
      const text = await tasks('versions:release=staging')
      expect(text).toContain(`v${await current()}`)
      expect(text).toContain('v2')
    },
  ],
  [
    '`heroku rollback vN`',
    async () => {
      const before = await current()
      stage.commit({ 'version.txt': 'worse' })
      await tasks('deploy_staging')
      await tasks('set_settings:release=staging -- NEWER=yes')
      expect(await tasks(`rollback:release=staging,to=v${before}`)).toContain('NEWER')
      expect(await version()).toBe('pushed')
      expect(app().config).not.toHaveProperty('NEWER')
    },
  ],
  [
    'django_migrations',
    async () => {
      const before = await current()
      const columns = () =>
        sql("SELECT count(*) FROM information_schema.columns WHERE table_name = 'pledges' AND column_name = 'colour'")
      stage.commit({
        'migrations/0002_colour.sql': 'ALTER TABLE pledges ADD colour text;',
        'migrations/0002_colour.down.sql': 'ALTER TABLE pledges DROP colour;',
      })
      await tasks('deploy_staging')
      expect(await columns()).toBe('1')
      await tasks(`rollback:release=staging,to=v${before},migrate=true`)
      expect(await columns()).toBe('0')
    },
  ],
  [
    '`addons:create deployhooks:email`',
    async () => {
      told = []
      const commit = stage.commit({ 'version.txt': 'told' })
      await tasks('deploy_staging:ref=main')
      expect(told.map((each) => each.text)).toEqual([
        expect.stringMatching(
          new RegExp(`^\\w+ deployed pony-staging staging \\(${commit.slice(0, 8)}\\w*\\) to http:`),
        ),
      ])
    },
  ],
  [
    'deploy when Travis is green',
    async () => {
      const passes = { ok: false }
      const github = createServer((request, response) => {
        const status = request.url?.endsWith('/status')
        const run = { name: 'tests', status: 'completed', conclusion: passes.ok ? 'success' : 'failure' }
        response.setHeader('Content-Type', 'application/json')
        response.end(JSON.stringify(status ? { state: 'pending', total_count: 0 } : { check_runs: [run] }))
      })
      await new Promise<void>((resolve) => github.listen(0, '127.0.0.1', resolve))
      vi.stubEnv('GITHUB_API_URL', `http://127.0.0.1:${(github.address() as { port: number }).port}`)
      configure({}, {}, { gate: 'github:pony/pony' })
      stage.commit({ 'version.txt': 'gated' })
      const uploads = calls('POST', /^\/sources$/).length
      await expect(tasks('deploy_staging:ref=main')).rejects.toMatchObject({ code: 'gate' })
      expect(calls('POST', /^\/sources$/)).toHaveLength(uploads)
      passes.ok = true
      await tasks('deploy_staging:ref=main')
      expect(await version()).toBe('gated')
      vi.unstubAllEnvs()
      configure()
      await new Promise((resolve) => github.close(resolve))
    },
  ],
  [
    '`domains:add`',
    async () => {
      configure({ domain: 'staging.pony.example.org' })
      const text = await tasks('init_staging_app')
      const target = /DNS: staging\.pony\.example\.org CNAME (\S+)/.exec(text)?.[1] ?? ''
      await expect(tasks('verify_domain:release=staging')).rejects.toMatchObject({ code: 'dns-elsewhere' })
      dns.cname['staging.pony.example.org'] = [target]
      await tasks('verify_domain:release=staging')
      expect(app().acm).toBe(true)
    },
  ],
  [
    '`addons:open scheduler`',
    async () => {
      const text = await tasks('push_schedule:release=staging')
      expect(text).toMatch(/enter these by hand at http\S+/)
      expect(text).toContain('nightly: 0 2 * * * (UTC)  python3 report.py')
    },
  ],
  [
    '“Promote to production”',
    async () => {
      await tasks('deploy:release=production')
      stage.commit({ 'version.txt': 'promoted' })
      await tasks('deploy_staging')
      const slug = app().releases.at(-1)?.slug
      await tasks('promote_staging_to_production')
      expect(await version('pony-live')).toBe('promoted')
      expect(app('pony-live').releases.at(-1)?.slug).toBe(slug)
      await tasks('run:release=production -- python3 populate.py')
    },
  ],
  [
    'merge, maintenance, deploy, smoke test',
    async () => {
      stage.commit({ 'version.txt': 'released' })
      await tasks('release_to_production:maintenance')
      expect(await version('pony-live')).toBe('released')
      stage.commit({ 'version.txt': 'broken' })
      await expect(tasks('release_to_production:maintenance')).rejects.toThrow(/smoke/)
      expect(await version('pony-live')).toBe('released')
      expect(app('pony-live').maintenance).toBe(false)
      stage.commit({ 'version.txt': 'released' })
    },
  ],
  [
    '`pg:backups:schedule --at',
    async () => {
      await tasks('schedule_backups:release=production,hour=2,zone=America/New_York')
      expect(stage.heroku.state.schedules).toMatchObject([{ hour: 2, timezone: 'America/New_York' }])
      expect(await tasks('backup_schedules:release=production')).toBe('daily at 2:00 America/New_York')
    },
  ],
  [
    '`heroku pg:backups`',
    async () => {
      const id = (await tasks('backup_db:release=production')).match(/b\d{3}/)?.[0]
      expect(await tasks('backups:release=production')).toContain(id)
      expect(await tasks('verify_backup:release=production')).toMatch(/\d tables/)
      const file = (await tasks('fetch_db:release=production,to=fetched')).match(/\S+\.dump/)?.[0] ?? ''
      expect(execFileSync('pg_restore', ['-f', '-', file], { encoding: 'utf8' })).toContain('Brita')
    },
  ],
  [
    '`pg:backups:restore b016`',
    async () => {
      const id = (await tasks('backup_db:release=production')).match(/b\d{3}/)?.[0]
      await sql('DELETE FROM pledges', 'pony-live')
      const prompter = typist()
      await tasks(`restore_db:release=production,backup=${id}`, { prompter, options: { yes: false } })
      expect(prompter.asked).toEqual(['pony-live::DATABASE'])
      expect(await pledges('pony-live')).toEqual(['Ada', 'Brita'])
      expect(stage.heroku.state.schedules).toMatchObject([{ hour: 2, timezone: 'America/New_York' }])
    },
  ],
  [
    '`heroku run python manage.py rebuild_index`',
    async () => {
      // The restore of the row before made it by itself; by hand, it is a command like any other.
      expect(await sql('SELECT count(*) FROM search', 'pony-live')).toBe('2')
      await sql('DROP TABLE search', 'pony-live')
      await tasks('run:release=production -- python3 rebuild_index.py')
      expect(await sql('SELECT count(*) FROM search', 'pony-live')).toBe('2')
    },
  ],
  [
    '`pgbackups:auto-month`',
    async () => {
      await tasks('schedule_backups:release=production,hour=5')
      expect(await tasks('backup_schedules:release=production')).toBe('daily at 5:00 UTC')
      expect(await tasks('fetch_db:release=production,to=elsewhere')).toContain(join(stage.dir, 'elsewhere'))
    },
  ],
  [
    '`pg:copy`',
    async () => {
      await sql("INSERT INTO pledges (name) VALUES ('Only here')")
      const prompter = typist()
      await tasks('clone_production_db_to_staging', { prompter, options: { yes: false } })
      expect(prompter.asked).toEqual(['pony-staging::DATABASE'])
      expect(await pledges()).toEqual(['Ada', 'Brita'])
      expect([app().maintenance, dynos('worker').length]).toEqual([false, 1])
    },
  ],
  [
    'deploying to staging also clones production',
    async () => {
      await sql("INSERT INTO pledges (name) VALUES ('Only here')")
      configure({ clone_on_deploy: 'production' })
      await tasks('deploy_staging')
      expect(await pledges()).toEqual(['Ada', 'Brita'])
      configure()
    },
  ],
  [
    '`pg:credentials`',
    async () => {
      const text = await tasks('credentials:release=production')
      expect(text).toMatch(/default {2}active/)
      const { password } = new URL((await variables('pony-live'))['DATABASE_URL'] ?? '')
      expect(password).not.toBe('')
      expect(text).not.toContain(password)
    },
  ],
  [
    '`pg:reset`',
    async () => {
      const prompter = typist()
      await tasks('reset_db:release=staging', { prompter, options: { yes: false } })
      expect(prompter.asked).toEqual(['pony-staging::DATABASE'])
      expect(await sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")).toBe('0')
    },
  ],
  [
    '`heroku pg:promote URL`',
    async () => {
      const made = await api(stage.heroku, 'POST', '/apps/pony-staging/addons', {
        plan: 'heroku-postgresql:essential-0',
      })
      await vi.waitFor(
        async () =>
          expect(await api(stage.heroku, 'GET', `/addons/${made.id}`)).toMatchObject({ state: 'provisioned' }),
        { timeout: 30_000 },
      )
      const before = (await variables())['DATABASE_URL']
      await tasks(`attach_db:release=staging,addon=${made.name}`)
      const { DATABASE_URL, ...others } = await variables()
      expect(DATABASE_URL).not.toBe(before)
      expect(Object.values(others)).toContain(before)
    },
  ],
]

test.each(rows)(
  '%s',
  async (key, runRow) => {
    const found = table.filter((each) => each.byHand.includes(key))
    expect(found.map((each) => each.byHand)).toHaveLength(1)
    ran = new Set()
    await runRow()
    expect(ran.size).toBeGreaterThan(0)
    expect(namedIn(found[0]?.here ?? '').filter((name) => !ran.has(name))).toEqual([])
  },
  120_000,
)

test('every row of the table is among those above', () => {
  expect(table.length).toBeGreaterThan(35)
  expect(table.filter(({ byHand }) => !rows.some(([key]) => byHand.includes(key))).map((each) => each.byHand)).toEqual(
    [],
  )
})

/** What of a command its row has to say: the command, and the add-on's service, or what it runs. */
function partsOf(command: string): string[] {
  const words = command
    .replace(/ (-a|--app|--remote) \S+/g, '')
    .split(' ')
    .slice(1)
  const [name = '', ...rest] = words
  const argument = rest.find((word) => !word.startsWith('-')) ?? ''
  if (name.startsWith('addons:')) return [argument.toLowerCase().split(':', 1)[0] as string]
  if (name === 'run') return [/populate|manage\.py \w+/.exec(command)?.[0] ?? 'heroku run']
  if (name.startsWith('config:')) return [/PGBACKUPS_AWS|openssl/.exec(command)?.[0] ?? name]
  if (name === 'pg:backups:schedules') return [':schedules']
  return [[name, ...rest.filter((word) => /^(beta|-t|--team|scheduler|--manifest)$/.test(word))].join(' ').trim()]
}

test("what was answered to all of that is what the platform's schema says", () => {
  expect(checkReplies(stage.heroku).complaints).toEqual([])
})

test('every command of the documents has its row', () => {
  expect(typed.length).toBeGreaterThan(45)
  const missing = typed.filter(
    (command) => !table.some(({ byHand }) => partsOf(command).every((part) => byHand.includes(part))),
  )
  expect(missing).toEqual([])
})
