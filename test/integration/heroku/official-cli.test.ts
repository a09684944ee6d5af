/**
 * The official command line against the emulator: clients that were not written here work. It is large (400 MB), so
 * it is run where SLIPWAY_HEROKU_CLI names its executable: `npm install heroku` in a folder of your own.
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { checkReplies } from './schema.ts'
import { makeApps, type Stage, setStage } from './stage.ts'

const cli = process.env['SLIPWAY_HEROKU_CLI']
if (!cli) console.log('skipped: SLIPWAY_HEROKU_CLI does not name the official command line')

let stage: Stage
beforeAll(async () => {
  if (!cli) return
  stage = await setStage()
  await makeApps(stage.heroku)
  await stage.run(() => stage.staging.deploy())
  mkdirSync(join(stage.dir, 'cli-home'))
  writeFileSync(
    join(stage.dir, 'heroku.yml'),
    'setup:\n  addons:\n    - plan: memcachier:dev\n  config:\n    FROM_YML: "yes"\nbuild:\n  docker:\n    web: Dockerfile\n',
  )
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(stage.dir, 'key')])
}, 120_000)
afterAll(() => stage?.close())

const environment = () => {
  return {
    PATH: process.env['PATH'],
    ...stage.heroku.env,
    HOME: join(stage.dir, 'cli-home'),
    // It takes a bare host, and the port of the other API.
    HEROKU_DATA_HOST: '127.0.0.1',
    // Its statistics stay on loopback.
    HEROKU_ANALYTICS_URL: `${stage.heroku.url}/_analytics`,
    HEROKU_DISABLE_TELEMETRY: '1',
    DISABLE_TELEMETRY: 'true',
    HEROKU_SKIP_NEW_VERSION_CHECK: '1',
    HEROKU_SSL_VERIFY: 'disable',
    NODE_EXTRA_CA_CERTS: stage.heroku.env['HEROKU_CA_FILE'],
    CI: '1',
    NO_COLOR: '1',
  }
}

function heroku(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const options = { cwd: stage.dir, env: environment(), timeout: 100_000, maxBuffer: 10 << 20 }
  return new Promise((resolve) => {
    const child = execFile(cli as string, args, options, (error, out, err) => {
      resolve({ code: error ? Number((error as { code?: number }).code ?? 1) : 0, out, err })
    })
    child.stdin?.end()
  })
}

describe.skipIf(!cli)('the official command line', () => {
  const works = async (args: string[], expected: RegExp): Promise<void> => {
    const { code, out, err } = await heroku(...args)
    expect({ code, text: out + err }).toEqual({ code: 0, text: expect.stringMatching(expected) })
  }
  test.each<[string[], RegExp]>([
    [['apps'], /pony-staging/],
    [['apps:info', '--app', 'pony-staging'], /Stack/],
    [['ps', '--app', 'pony-staging'], /web\.1: up/],
    [['ps:scale', 'worker=2', '--app', 'pony-staging'], /worker at 2/],
    [['ps:scale', 'worker+1', '--app', 'pony-staging'], /worker at 3/],
    [['config:set', 'A=b', '--app', 'pony-staging'], /Setting A/],
    [['config', '--app', 'pony-staging'], /A:\s+b/],
    [['releases', '--app', 'pony-staging'], /Set A config vars/],
    [['addons', '--app', 'pony-staging'], /heroku-postgresql/],
    [['domains:add', 'cli.example.org', '--app', 'pony-staging'], /herokudns/],
    [['logs', '-n', '5', '--app', 'pony-staging'], /\[(web|api|worker|heroku|router)/],
    [
      ['run', '--exit-code', '--no-tty', '--app', 'pony-staging', '--', 'echo', 'hello from a dyno'],
      /hello from a dyno/,
    ],
    [['maintenance:on', '--app', 'pony-staging'], /maintenance mode/],
    [['maintenance:off', '--app', 'pony-staging'], /maintenance mode/],
    [['pipelines:promote', '--app', 'pony-staging'], /succeeded/i],
    [['pg:info', '--app', 'pony-staging'], /essential-0/],
    [['pg:backups:capture', '--app', 'pony-staging'], /Backing up DATABASE|b001/],
    [['pg:backups', '--app', 'pony-staging'], /b001/],
    [['rollback', '--app', 'pony-staging'], /Rolling back/],
    [['create', '--stack', 'heroku-24', 'pony-cli', '--no-remote'], /pony-cli/],
    [['apps:rename', 'pony-renamed', '--app', 'pony-cli'], /pony-renamed/],
    [['apps:destroy', '--app', 'pony-renamed', '--confirm', 'pony-renamed'], /Destroying/],
    [['addons:create', 'heroku-redis:mini', '--app', 'pony-staging'], /Creating heroku-redis:mini/],
    [['addons:destroy', 'heroku-redis', '--app', 'pony-staging', '--confirm', 'pony-staging'], /Destroying/],
    [['labs:enable', 'log-runtime-metrics', '--app', 'pony-staging'], /Enabling log-runtime-metrics/],
    [
      ['buildpacks:add', 'https://github.com/heroku/heroku-buildpack-python', '--app', 'pony-staging'],
      /Buildpack added/,
    ],
    [['ps:restart', '--app', 'pony-staging'], /Restarting/],
    [['releases:info', '--app', 'pony-staging'], /Rollback to|Release v/],
    [['run:detached', '--app', 'pony-staging', '--', 'echo', 'hi'], /Running echo hi/],
    [['config:unset', 'A', '--app', 'pony-staging'], /Unsetting A/],
    [['pg:credentials', '--app', 'pony-staging'], /default/],
    [
      ['pg:backups:schedule', 'DATABASE', '--at', '02:00 America/New_York', '--app', 'pony-staging'],
      /Scheduling automatic daily backups/,
    ],
    [['pg:backups:schedules', '--app', 'pony-staging'], /2:00.*America.New_York/],
    [
      ['pg:copy', 'pony-production::DATABASE', 'DATABASE', '--app', 'pony-staging', '--confirm', 'DATABASE'],
      /Starting copy of|Copying/,
    ],
    [['apps:create', '--manifest', '--no-remote', '--stack=container', 'pony-box'], /pony-box/],
    [['config:add', 'SECRET_KEY=thisisverysecret', '--app', 'pony-box'], /Setting SECRET_KEY/],
    [['addons', '--app', 'pony-box'], /memcachier-\S+\)\s+dev/],
    [
      ['addons:create', 'bucketeer:hobbyist', '-a', 'pony-box', '--', '--bucket-name', 'media.example.org'],
      /Creating bucketeer:hobbyist/,
    ],
    [['config:get', 'BUCKETEER_BUCKET_NAME', '-a', 'pony-box'], /media\.example\.org/],
    [['addons:destroy', '-a', 'pony-box', 'BUCKETEER', '--confirm', 'pony-box'], /Destroying/],
    [['addons:add', 'scheduler:standard', '-a', 'pony-box'], /Creating scheduler:standard/],
    [['addons:open', 'scheduler', '--show-url', '-a', 'pony-box'], /https:\/\/addons-sso/],
    [['create', 'pony-teamed', '--team', 'pony-team', '--no-remote'], /pony-teamed/],
    [['apps', '--team', 'pony-team'], /pony-teamed/],
    [['keys:add', 'key.pub'], /Uploading key\.pub SSH key/],
    [['git:remote', '--remote', 'staging', '--app', 'pony-staging'], /set git remote staging/],
    [['authorizations:create'], /Token:\s+HRKU-/],
    [['restart', '--app', 'pony-staging'], /Restarting/],
    [['pg:reset', '--app', 'pony-staging', '--confirm', 'pony-staging'], /Resetting/],
    [['pg:backups:restore', 'b001', '--app', 'pony-staging', '--confirm', 'pony-staging'], /Restoring/],
  ])('%j', works, 110_000)

  test('makes another database the DATABASE of an app', async () => {
    const args = ['heroku-postgresql:essential-0', '--app', 'pony-staging', '--as', 'OTHER', '--wait']
    await works(['addons:create', ...args], /OTHER_URL/)
    await works(['pg:wait', '--app', 'pony-staging'], /^/)
    await works(['pg:promote', 'OTHER', '--app', 'pony-staging'], /Promoting/)
    const { value } = await stage.run(() => stage.staging.settings.get())
    expect(value['DATABASE_URL']).toBe(value['OTHER_URL'])
  }, 220_000)

  test("is answered what the platform's schema says", () => {
    expect(checkReplies(stage.heroku).complaints).toEqual([])
  })

  test('follows the log', async () => {
    const child = spawn(cli as string, ['logs', '-t', '--app', 'pony-staging'], { cwd: stage.dir, env: environment() })
    let shown = ''
    child.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()))
    await vi.waitFor(() => expect(shown).toMatch(/app\[web\.1\]: version \S+ listens on/), { timeout: 60_000 })
    await stage.get('pony-staging', '/up')
    child.kill()
  }, 70_000)
})
