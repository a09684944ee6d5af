/** This repository's own task file, unchanged, with a config/deploy.ini whose targets are Heroku: the commands as users type them. */
import { execFile } from 'node:child_process'
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'
import { type HerokuEmulator, startHerokuEmulator } from '../../emulators/heroku/emulator.ts'
import { type Finished, makeProject, type Project } from '../cli/project.ts'
import { api, fixtureApp } from './stage.ts'

const ini = `[app]
name = pony
source = app
init_db = python3 populate.py
migrate = python3 migrate.py
smoke = test "$(cat version.txt)" != broken
health = /up

[staging]
target = heroku
app = pony-staging
pipeline = pony
settings = staging.env
domain = staging.pony.example.org

[staging.addons]
heroku-postgresql = essential-0

[production]
target = heroku
app = pony-live
pipeline = pony
settings = production.env

[production.addons]
heroku-postgresql = essential-0
`

let built: Built
let project: Project
let heroku: HerokuEmulator
beforeAll(async () => {
  built = await buildSlipway()
  project = makeProject({
    'tasks.ts': readFileSync(join(repository, 'tasks.ts'), 'utf8'),
    'config/deploy.ini': ini,
    'config/staging.env': 'BANNER=rehearsal\nSECRET_KEY={{ generate:SECRET_KEY }}\n',
    'config/production.env': 'BANNER=for real\n',
    'app/version.txt': '1',
  })
  cpSync(fixtureApp, join(project.dir, 'app'), { recursive: true })
  heroku = await startHerokuEmulator({ dir: join(project.dir, '../heroku') })
}, 120_000)
afterAll(async () => {
  await heroku?.close()
  project?.remove()
  built?.remove()
})

const tasks = (...args: string[]): Promise<Finished> => project.run(built.tasks, args, { env: { ...heroku.env } })
/** Fails with what was printed unless the command succeeded. */
async function well(...args: string[]): Promise<string> {
  const { status, out, err } = await tasks(...args)
  expect({ args, status, ...(status === 0 ? {} : { out, err }) }).toEqual({ args, status: 0 })
  expect(out + err, args.join(' ')).not.toMatch(/\bundefined\b|\bNaN\b|\[object /)
  return out + err
}
const app = (name: string) => heroku.state.apps.get(name)
async function visit(name: string, path: string): Promise<{ version: string | null; body: unknown }> {
  const response = await fetch(`http://127.0.0.1:${app(name)?.port}${path}`, { headers: { Connection: 'close' } })
  return { version: response.headers.get('x-version'), body: await response.json() }
}

const terminal = `
import os, pty, sys
awaited, keys, *command = sys.argv[1:]
pid, fd = pty.fork()
if pid == 0: os.execv(command[0], command)
seen = b''
while True:
    try: chunk = os.read(fd, 4096)
    except OSError: break
    if not chunk: break
    seen += chunk
    if keys and awaited.encode() + b'\\r' in seen:
        os.write(fd, keys.encode())
        keys = ''
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`

/** Runs a command on a pseudo-terminal, and types `keys` once a line ends with `awaited`. */
function onTerminal(command: string[], awaited: string, keys: string): Promise<{ stdout: string; code: number }> {
  return new Promise((resolve) => {
    const env = { PATH: process.env['PATH'], HOME: project.dir, TERM: 'xterm', ...heroku.env }
    execFile(
      '/usr/bin/python3',
      ['-c', terminal, awaited, keys, ...command],
      { cwd: project.dir, env, timeout: 50_000 },
      (error, stdout) => resolve({ stdout, code: typeof error?.code === 'number' ? error.code : error ? -1 : 0 }),
    )
  })
}

test('init_staging shows what it would make, and makes nothing, with --plan', async () => {
  const { out, err } = await tasks('--plan', 'init_staging')
  for (const part of [
    'create the app pony-staging',
    'heroku-postgresql:essential-0',
    'pipeline pony',
    'settings BANNER, SECRET_KEY',
  ])
    expect(out + err).toContain(part)
  expect(heroku.seen.filter((call) => call.method !== 'GET')).toEqual([])
}, 120_000)

/** Kills a command while that call is under way; what the platform has received takes effect all the same. */
async function killedAt(task: string, method: string, path: RegExp): Promise<string> {
  let letGo = (): void => undefined
  const until = new Promise<void>((resolve) => {
    letGo = resolve
  })
  heroku.faults.add(method, path, { kind: 'hold', until })
  const { child, finished } = project.start(built.tasks, ['--yes', task], { env: { ...heroku.env } })
  await vi.waitFor(() => expect(heroku.faults.rules.every((rule) => rule.times === 0)).toBe(true), {
    timeout: 60_000,
    interval: 20,
  })
  child.kill('SIGKILL')
  const { out, err } = await finished
  letGo()
  return out + err
}

test('init_staging makes everything from nothing, up to the first deploy and its data, however often it is killed', async () => {
  const file = join(project.dir, 'app/bin/post_compile')
  const hook = readFileSync(file, 'utf8')
  const goOn = join(project.dir, '../build-may-end')
  writeFileSync(file, `${hook}while [ ! -e ${goOn} ]; do sleep 0.05; done\n`)
  const { child, finished } = project.start(built.tasks, ['--yes', 'init_staging'], { env: { ...heroku.env } })
  await vi.waitFor(() => expect(app('pony-staging')?.builds).toHaveLength(1), { timeout: 60_000, interval: 20 })
  child.kill('SIGKILL')
  await finished
  // Its build runs on, and is the next run's, which is killed as it fills the database.
  const again = killedAt('init_staging', 'POST', /pony-staging\/dynos$/)
  await vi.waitFor(
    () => expect(heroku.seen.some((call) => call.method === 'GET' && call.template === '/apps/:app/builds')).toBe(true),
    { timeout: 60_000, interval: 20 },
  )
  writeFileSync(goOn, '')
  const second = await again
  expect(second).toMatch(/stopped on its way\. It made: create the app pony-staging; .* may have made: first deploy\./)
  expect(second).toContain('going on with the build that is there')
  writeFileSync(file, hook)
  expect(await well('--yes', 'init_staging')).toContain('may have made: fill the database.')
  expect(app('pony-staging')?.builds).toHaveLength(1)
  // Once all is done it is left alone.
  const from = heroku.seen.length
  await well('--yes', 'init_staging')
  expect(heroku.seen.slice(from).filter((call) => call.method !== 'GET')).toEqual([])
  expect(app('pony-staging')?.config).toMatchObject({
    BANNER: 'rehearsal',
    SECRET_KEY: expect.stringMatching(/^.{64}$/),
  })
  expect(await visit('pony-staging', '/pledges')).toEqual({ version: '1', body: ['Ada', 'Brita'] })
  expect(heroku.state.couplings.map((each) => `${each.app.name} ${each.stage}`)).toEqual(['pony-staging staging'])
  const batches = heroku.seen.filter((call) => call.method === 'PATCH' && /config-vars$/.test(call.path))
  expect(batches).toHaveLength(1)
  expect(await well('--plan', 'init_staging_app')).not.toMatch(/create|settings|domain staging|certificate/)
}, 180_000)

test('deploy_staging, and looking at it', async () => {
  project.write('app/version.txt', '2')
  // The platform runs no worker that nobody asked for.
  await well('start_staging_supervisor')
  await well('deploy_staging')
  expect((await visit('pony-staging', '/up')).version).toBe('2')
  expect(await well('status:release=staging')).toMatch(/pony-staging[\s\S]*web\.1[\s\S]*worker\.1/)
  expect(await well('ps:release=staging')).toContain('worker.1')
  expect(await well('logs:release=staging,lines=50')).toContain('version 2 listens on')
  expect(await well('tail_app_log:release=staging')).toContain('listens on')
  expect(await well('tail_staging_celery_log:lines=3')).toContain('beat')
  expect(await well('versions:release=staging')).toMatch(/v\d+/)
  expect(await well('settings:release=staging')).toContain('BANNER')
  expect(await well('domains:release=staging')).toContain('staging.pony.example.org → ')
  expect(await well('open:release=staging')).toContain('https://staging.pony.example.org/')
}, 240_000)

test('status of 5 dynos and 6 add-ons is one round of requests, all under way at once', async () => {
  for (const plan of ['papertrail', 'newrelic', 'memcachier', 'heroku-redis', 'mailgun'])
    await api(heroku, 'POST', '/apps/pony-staging/addons', { plan })
  await well('scale:release=staging,worker=worker,to=4')
  const from = heroku.seen.length
  // Slow enough that a second round would begin after the first one's replies.
  heroku.faults.add('GET', /./, { kind: 'delay', ms: 1500 }, 8)
  const text = await well('status:release=staging')
  heroku.faults.rules.length = 0
  const calls = heroku.seen.slice(from)
  expect(calls).toHaveLength(8)
  expect(Math.max(...calls.map((call) => call.begun))).toBeLessThan(Math.min(...calls.map((call) => call.ended)))
  expect(text.match(/(web|worker)\.\d/g)).toHaveLength(5)
  await well('scale:release=staging,worker=worker,to=1')
  for (const { name } of (await api(heroku, 'GET', '/apps/pony-staging/addons')) as { name: string }[])
    if (!name.startsWith('postgresql')) await api(heroku, 'DELETE', `/apps/pony-staging/addons/${name}`)
}, 120_000)

test('what has nothing to do with Heroku loads nothing of it', async () => {
  /** The files of this package that a command loaded. */
  const loaded = async (...args: string[]): Promise<string[]> => {
    const dir = join(project.dir, `coverage-${args.join('').replaceAll(/\W/g, '')}`)
    const { status } = await project.run(built.tasks, args, { env: { ...heroku.env, NODE_V8_COVERAGE: dir } })
    expect(status).toBe(0)
    return readdirSync(dir)
      .flatMap((file) => JSON.parse(readFileSync(join(dir, file), 'utf8')).result as { url: string }[])
      .filter(({ url }) => url.startsWith('file:') && url.includes('/dist/'))
      .map(({ url }) => readFileSync(fileURLToPath(url), 'utf8'))
  }
  const ofHeroku = (texts: string[]) => texts.filter((text) => text.includes('#region src/targets/heroku/')).length
  const [listed, listedAgain, help] = [await loaded('--list'), await loaded('-l'), await loaded('--help')]
  for (const texts of [listed, listedAgain, help]) {
    expect(texts.length).toBeGreaterThan(0)
    expect(ofHeroku(texts)).toBe(0)
  }
  expect(ofHeroku(await loaded('ps:release=staging'))).toBeGreaterThan(0)
}, 60_000)

test('settings are set, and commands end with their own status', async () => {
  await well('set_settings:release=staging', '--', 'BANNER=new words', 'EXTRA=1')
  expect((await visit('pony-staging', '/env?BANNER')).body).toBe('new words')
  expect(await well('diff_settings:release=staging')).toContain('change BANNER')
  const { status, out } = await tasks('run:release=staging', '--', 'sh', '-c', 'echo "it says $BANNER"; exit 3')
  expect({ status, out }).toMatchObject({ status: 3, out: expect.stringContaining('it says new words') })
  await well('push_settings:release=staging')
}, 120_000)

test('a command gets a terminal where there is one, with its keys and its status', async () => {
  const { stdout, code } = await onTerminal(
    [
      process.execPath,
      built.tasks,
      'run:release=staging',
      '--',
      'sh',
      '-c',
      'tty -s && echo your name; read name; echo "so: $name"; exit 5',
    ],
    'your name',
    'Ada\n',
  )
  expect(stdout).toContain('so: Ada')
  expect(code).toBe(5)
}, 60_000)

test('init_production_app that is killed between its steps says on the next run what it made, and goes on', async () => {
  // There is no database yet: its journal is on this machine.
  expect(await killedAt('init_production_app', 'POST', /pony-live\/addons$/)).toContain('~/.slipway/heroku-pony-live')
  expect(app('pony-live')).toBeDefined()
  // By now there is one, and the journal from before is found.
  await vi.waitFor(async () =>
    expect((await api(heroku, 'GET', '/apps/pony-live/addons'))[0]?.state).toBe('provisioned'),
  )
  const second = await killedAt('init_production_app', 'PATCH', /pony-live\/config-vars$/)
  expect(second).toMatch(/that \S+ on \S+ began at \S+ stopped on its way\. It made: create the app pony-live\./)
  expect(second).toContain('It had begun, and may have made: create the add-on heroku-postgresql:essential-0.')
  // Looking at what is left says so too.
  expect(await well('--plan', 'init_production_app')).toContain('stopped on its way')
  const third = await well('--yes', 'init_production_app')
  expect(third).toContain('may have made: create the add-on heroku-postgresql:essential-0; settings BANNER.')
  expect(app('pony-live')?.config['BANNER']).toBe('for real')
  expect(heroku.state.couplings.map((each) => `${each.app.name} ${each.stage}`)).toContain('pony-live production')
  const made = heroku.seen.filter((call) => call.method === 'POST' && /^\/apps(\/pony-live\/addons)?$/.test(call.path))
  expect(
    made.filter((call) => JSON.stringify(call.request).includes('pony-live') || call.path !== '/apps'),
  ).toHaveLength(2)
  // Its journal has ended: nothing is said any more, and nothing differs.
  const last = await well('--yes', 'init_production_app')
  expect(last).not.toMatch(/stopped on its way|create|settings/)
}, 240_000)

test('promote_staging_to_production: planned, refused where it makes no sense, done', async () => {
  await well('deploy:release=production')
  project.write('app/version.txt', '3')
  await well('deploy_staging')
  expect(await well('--plan', 'promote_staging_to_production')).toContain('the code of pony-staging')
  const fresh = await tasks('--yes', 'promote_staging_to_production:data=fresh')
  expect({ status: fresh.status, err: fresh.err }).toMatchObject({
    status: 2,
    err: expect.stringContaining('reset_db'),
  })
  expect((await visit('pony-live', '/up')).version).toBe('2')
  await well('--yes', 'promote_staging_to_production:close')
  expect((await visit('pony-live', '/up')).version).toBe('3')
  const switched = heroku.seen
    .filter((call) => call.method === 'PATCH' && call.path === '/apps/pony-live')
    .map((call) => (call.request as { maintenance?: boolean }).maintenance)
  expect(switched).toEqual([true, false])
  expect(await well('audit:release=production')).toContain('promote')
}, 240_000)

test('release_to_production: maintenance, deploy, smoke; back where that fails', async () => {
  const from = heroku.seen.length
  project.write('app/version.txt', '4')
  await well('release_to_production:maintenance')
  expect((await visit('pony-live', '/up')).version).toBe('4')
  const switched = heroku.seen
    .slice(from)
    .filter((call) => call.method === 'PATCH' && call.path === '/apps/pony-live')
    .map((call) => (call.request as { maintenance?: boolean }).maintenance)
  expect(switched).toEqual([true, false])
  project.write('app/version.txt', 'broken')
  const { status, err } = await tasks('release_to_production')
  expect({ status, err }).toEqual({
    status: 1,
    err: expect.stringMatching(/smoke exited with status 1[\s\S]*the app is back at v\d+/),
  })
  expect((await visit('pony-live', '/up')).version).toBe('4')
}, 120_000)

// An interrupted restore is in npm test: database.test.ts.
const testLong = test.skipIf(!process.env['SLIPWAY_TEST_LONG'])
testLong(
  'restore_db that is killed while the database is overwritten, its journal with it, is put back and done by the next run',
  async () => {
    const live = () => visit('pony-live', '/pledges')
    const before = (await live()).body
    await well('start_production_supervisor')
    await well('schedule_backups:release=production,hour=2,zone=Europe/Oslo')
    const id = /b\d+/.exec(await well('backup_db:release=production'))?.[0]
    await fetch(`http://127.0.0.1:${app('pony-live')?.port}/pledges`, { method: 'POST', body: 'name=After' })
    const restore = `restore_db:release=production,backup=${id}`
    // The platform begins with it after the run's death.
    await killedAt(restore, 'POST', /\/restores$/)
    expect(app('pony-live')?.maintenance).toBe(true)
    const text = await well('--yes', restore)
    expect(text).toContain('a run did not see the end of overwriting pony-live::DATABASE: its journal is put back')
    expect(text).toContain('taking back first what was left unfinished')
    expect(app('pony-live')?.maintenance).toBe(false)
    expect((await live()).body).toEqual(before)
    expect(await well('ps:release=production')).toContain('worker.1')
    expect(await well('backup_schedules:release=production')).toContain('2:00')
  },
  180_000,
)
