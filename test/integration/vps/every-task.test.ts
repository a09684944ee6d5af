/**
 * Every task of this repository's own task file, driven through the command in the sandbox, from an empty host to a
 * promotion and back. The last test holds the list of what was driven to what `tasks --list` names.
 */
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Built, buildSlipway, repository } from '../../built.ts'

let built: Built
let dir: string
let commit: string
let httpPort: number
let home: string
const driven = new Set<string>()

interface Finished {
  status: number | null
  out: string
  err: string
}

function command(bin: string, args: readonly string[], input = ''): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [bin, ...args], {
      cwd: dir,
      env: { PATH: process.env['PATH'], HOME: join(dir, 'home'), XDG_CACHE_HOME: join(dir, 'cache') },
    })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    child.on('close', (status) => resolve({ status, out, err }))
    child.stdin.end(input)
  })
}

/** Runs tasks against the sandbox; every word that names one counts as driven. */
async function tasks(...args: string[]): Promise<Finished> {
  const end = args.indexOf('--')
  for (const word of end < 0 ? args : args.slice(0, end)) {
    if (!word.startsWith('-')) driven.add(word.split(':', 1)[0] as string)
  }
  return command(built.tasks, ['--sandbox', ...args])
}

/** The same, and it has to succeed: resolves with its stdout. */
async function done(...args: string[]): Promise<string> {
  const { status, out, err } = await tasks(...args)
  expect({ status, err: status === 0 ? '' : err }, args.join(' ')).toEqual({ status: 0, err: '' })
  expect(out + err, args.join(' ')).not.toMatch(/\bundefined\b|\bNaN\b|\[object /)
  return out
}

function visit(domain: string, path = '/'): Promise<{ status: number; release?: string; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port: httpPort, path, headers: { host: domain }, agent: false },
      (got) => {
        let text = ''
        got.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        got.on('end', () =>
          resolve({ status: got.statusCode ?? 0, release: got.headers['x-release'] as string | undefined, text }),
        )
      },
    )
    sent.on('error', reject)
    sent.end()
  })
}
const staging = 'staging.pony.example.org'
const production = 'pony.example.org'

beforeAll(async () => {
  built = await buildSlipway()
  dir = mkdtempSync(join(tmpdir(), 'se-'))
  for (const part of ['tasks.ts', 'config', 'examples/pony']) {
    cpSync(join(repository, part), join(dir, part), {
      recursive: true,
      filter: (path) => !path.includes('__pycache__') && !path.endsWith('/var'),
    })
  }
  writeFileSync(join(dir, '.gitignore'), '.env\n.slipway\nhome\ncache\nfetched\n')
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: dir }).toString()
  git('init', '-q')
  git('add', '.')
  git('commit', '-qm', 'one')
  commit = git('rev-parse', '--short=10', 'HEAD').trim()
  writeFileSync(join(dir, '.env'), 'PONY_ADMIN_PASSWORD=quite-secret-password\n', { mode: 0o600 })
  expect(await command(built.slipway, ['sandbox', 'up'])).toMatchObject({ status: 0 })
  const facts = JSON.parse((await command(built.slipway, ['sandbox', 'status', '--json'])).out)
  httpPort = facts.httpPort
  home = facts.home
}, 120_000)

afterAll(async () => {
  await command(built.slipway, ['sandbox', 'reset']).catch(() => {})
  await command(built.slipway, ['sandbox', 'down']).catch(() => {})
  rmSync(dir, { recursive: true, force: true })
  built.remove()
}, 60_000)

const minutes = (count: number) => count * 60_000

test('an empty host becomes a running staging', { timeout: minutes(2) }, async () => {
  expect(await done('setup_host:release=staging')).toMatch(/nginx/)
  await done('init_staging_app')
  await done('init_staging')
  await done('start_app:release=staging', 'start_staging_supervisor')
  expect(await visit(staging)).toMatchObject({ status: 200, release: expect.stringMatching(/^pony2026r2\//) })
  expect(await done('ps')).toMatch(/app-[ab] +running[\s\S]*mailer-1 +running/)
  expect(await done('status:release=staging')).toMatch(/healthy: \/up answered 200/)
  expect(await done('open:release=staging')).toContain(staging)

  await done(`attach_domain:release=staging,domain=${staging}`)
  await done('verify_domain:release=staging')
  expect(await done('domains:release=staging')).toMatch(new RegExp(`^${staging} → .*  ok$`, 'm'))
  const early = await tasks('init_production_app')
  expect(early).toMatchObject({ status: 1, err: expect.stringContaining('tasks promote_staging_to_production') })
})

test('the tasks may be done one by one, and a deploy brings a change', { timeout: minutes(2) }, async () => {
  const before = (await visit(staging)).release
  const page = join(dir, 'examples/pony/pony/pages.py')
  writeFileSync(page, readFileSync(page, 'utf8').replace('Long rides, self-supported', 'Longer rides, self-supported'))
  await done('rsync_code', 'install_app')
  await done('restart_app:release=staging', 'restart_staging_supervisor')
  const middle = await visit(staging)
  expect(middle.text).toContain('Longer rides, self-supported')
  expect(middle.release).not.toBe(before)
  await done()
  await done('deploy_staging')
  await done('deploy:release=staging')
  expect((await visit(staging)).release).not.toBe(middle.release)
  expect((await done('versions:release=staging')).trim().split('\n').length).toBe(6)
})

test('a one-off command gives its output as it is, and its status', { timeout: minutes(1) }, async () => {
  const { status, out, err } = await tasks(
    'run:release=staging',
    '--',
    'sh',
    '-c',
    'printf a; echo b; echo c >&2; exit 7',
  )
  expect({ status, out }).toEqual({ status: 7, out: 'ab\n' })
  expect(err).toMatch(/^c$/m)
  expect(await tasks('-q', 'run:release=staging', '--', 'printf', '{"a":1}')).toEqual({
    status: 0,
    out: '{"a":1}',
    err: '',
  })
})

test('logs are lines on stdout', { timeout: minutes(1) }, async () => {
  expect(await done('tail_app_log:release=staging,lines=5')).toMatch(/listens on/)
  expect(await done('tail_staging_celery_log:lines=5')).toMatch(/ready/)
  expect(await done('tail_staging_supervisor_log:lines=5')).toMatch(/RUNNING/)
  expect(await done('logs:release=staging,source=mailer,grep=ready')).toMatch(/ready/)
})

test('versions: back, forth, and pruned', { timeout: minutes(2) }, async () => {
  const now = (await visit(staging)).release
  await done('rollback:release=staging')
  expect((await visit(staging)).release).not.toBe(now)
  await done('prune:release=staging,keep=1')
  const left = readdirSync(join(home, 'webapps/pony2026r2/versions'))
  expect(left.length).toBeLessThan(5)
  expect(await done('unlock:release=staging')).toBe('')
})

test('data: migrated, backed up, verified, restored, fetched, begun anew', { timeout: minutes(3) }, async () => {
  await done('migrate:release=staging')
  const id = (await done('backup_db:release=staging')).trim()
  expect(await done('backups:release=staging')).toContain(id)
  await done(`verify_backup:release=staging,backup=${id}`)
  await done(`restore_db:release=staging,backup=${id}`, '--yes')
  const fetched = (await done('fetch_db:release=staging,to=fetched')).trim().split('\n')
  for (const path of fetched) expect(existsSync(join(dir, path)) || existsSync(path), path).toBe(true)
  await done(`restore_db:release=staging,backup=${id}`, '--yes')
  expect(await done('prune_replaced:release=staging', '--yes')).toMatch(/^\S+\/backups\/replaced-staging-\S+$/m)
  await done('init_staging_db:force', '--yes')
  expect(await visit(staging)).toMatchObject({ status: 200 })
})

test('settings, schedule, number of workers, maintenance', { timeout: minutes(2) }, async () => {
  await done('set_settings:release=staging', '--', 'pony.title=Another title')
  expect(await done('settings:release=staging,values')).toContain('pony.title=Another title')
  expect(await done('diff_settings:release=staging')).toMatch(/pony\.title/)
  await done('push_settings:release=staging')
  expect(await done('diff_settings:release=staging')).toBe('')
  await done('push_schedule:release=staging')
  await done('schedule:release=staging')
  await done('scale:release=staging,worker=mailer,to=2')
  expect(await done('ps:release=staging')).toMatch(/mailer-2 +running/)
  await done('maintenance_on:release=staging')
  expect(await visit(staging)).toMatchObject({ status: 503 })
  await done('maintenance_off:release=staging')
  expect(await visit(staging)).toMatchObject({ status: 200 })
  expect(await tasks('reload_app:release=staging')).toMatchObject({
    status: 2,
    err: expect.stringContaining('Set [app] reload'),
  })
  await done('stop_staging_supervisor')
  await done('start_staging_supervisor')
})

test("the database's own shell takes what is piped into it", { timeout: minutes(1) }, async () => {
  driven.add('db_shell')
  const piped = await command(built.tasks, ['--sandbox', '-q', 'db_shell:release=staging'], 'select 40 + 2;\n')
  expect(piped).toEqual({ status: 0, out: '42\n', err: '' })
})

test('staging becomes production; then it is refused as staging, and a new one is begun', {
  timeout: minutes(4),
}, async () => {
  expect(await done('promote_staging_to_production', '--plan')).toMatch(/staging/)
  const promoted = await tasks('promote_staging_to_production', '--yes')
  expect({ status: promoted.status, err: promoted.status === 0 ? '' : promoted.err }).toEqual({ status: 0, err: '' })
  expect(promoted.err).not.toContain("can't be asked")
  expect(promoted.err).toMatch(new RegExp(`http://${production}:${httpPort}/up answered 200 from pony2026r2/`))
  expect(await visit(production)).toMatchObject({ status: 200, release: expect.stringMatching(/^pony2026r2\//) })

  const before = readdirSync(join(home, 'webapps/pony2026r2/versions'))
  const refused = await tasks('deploy_staging')
  expect(refused.status).not.toBe(0)
  expect(refused.err).toContain('production')
  expect(refused.err).toContain('new_staging_release')
  expect(readdirSync(join(home, 'webapps/pony2026r2/versions'))).toEqual(before)

  await done('new_staging_release:2026r3')
  await done('init_staging_app', 'init_staging')
  await done('start_app:release=staging', 'start_staging_supervisor')
  await done('clone_production_db_to_staging', '--yes')
  expect(await visit(staging)).toMatchObject({ status: 200, release: expect.stringMatching(/^pony2026r3\//) })
})

/** Lines of the host's crontab that name a release of production's. */
const scheduled = (): string[] =>
  readFileSync(join(home, '../crontab'), 'utf8')
    .split('# pony production: end')[0]
    ?.split('# pony production: written')[1]
    ?.split('\n')
    .filter((line) => line.includes('/webapps/')) ?? []

/** What cron would do with the line of `nightly`; resolves with the release in which it ran. */
function runNightly(): string {
  const line = scheduled().find((each) => each.endsWith('# nightly')) as string
  const words = line.replace(/^(\S+ ){5}/, '')
  execFileSync('/bin/sh', ['-c', words], { env: { PATH: '/usr/bin:/bin', HOME: home } })
  return readFileSync(join(home, 'nightly'), 'utf8').trim().split('\n').at(-1) as string
}

test('production has its own', { timeout: minutes(2) }, async () => {
  const adopted = await tasks('adopt_production:from=~/webapps/pony2013r1')
  expect(adopted.status).not.toBe(0)
  expect(adopted.err).toContain('knows pony2026r2 as production already')

  await done('stop_production_supervisor')
  await done('start_production_supervisor', 'restart_production_supervisor')
  expect(await done('tail_production_celery_log:lines=5')).toMatch(/ready/)
  expect(await done('tail_production_supervisor_log:lines=5')).toMatch(/RUNNING/)
  await done('release_to_production:maintenance')
  expect(await visit(production)).toMatchObject({ status: 200 })

  const ini = join(dir, 'config/deploy.ini')
  const configure = (change: (text: string) => string) => writeFileSync(ini, change(readFileSync(ini, 'utf8')))
  configure((text) => text.replace('spools = mail\n', 'spools = mail\nsmoke = echo the front page is empty; exit 1\n'))
  const before = await visit(production)
  const failed = await tasks('release_to_production')
  expect(failed.status).toBe(1)
  expect(failed.err).toMatch(/did not pass its smoke test on /)
  expect(failed.err).toContain('the front page is empty')
  expect(failed.err).toContain(`${before.release?.split('/')[1]} is live again.`)
  expect(await visit(production)).toMatchObject({ status: 200, release: before.release })

  configure(
    (text) => `${text.replace(/^smoke = .*\n/m, '')}
[app.schedule]
nightly = 15 3 * * * echo "$SLIPWAY_RELEASE" >> "$HOME/nightly"
`,
  )
  await done('push_schedule:release=production')
  expect(await done('schedule:release=production')).toMatch(/^15 3 \* \* \* {2}nightly: echo/m)
  expect(runNightly()).toBe('pony2026r2')
})

test('a second promotion, and back', { timeout: minutes(4) }, async () => {
  await done('promote_staging_to_production', '--yes')
  expect(await visit(production)).toMatchObject({ release: expect.stringMatching(/^pony2026r3\//) })
  // What is scheduled goes with the role.
  expect(scheduled().length).toBeGreaterThan(1)
  expect(scheduled().filter((line) => !line.includes('/pony2026r3/'))).toEqual([])
  expect(runNightly()).toBe('pony2026r3')
  expect(await done('demote:close=true', '--plan')).toContain(`have ${production} answer 503 with Retry-After`)
  await done('demote', '--yes')
  expect(await visit(production)).toMatchObject({ release: expect.stringMatching(/^pony2026r2\//) })
  expect(scheduled().filter((line) => !line.includes('/pony2026r2/'))).toEqual([])
  expect(runNightly()).toBe('pony2026r2')
  expect((await done('promotions')).trim()).not.toBe('')
  await done('prune_promotions:keep=0', '--yes')
  expect(await visit(production)).toMatchObject({ status: 200 })
})

test('each change left one line, with its commit where it has one', { timeout: minutes(1) }, async () => {
  await done('stop_app:release=production')
  const lines = (await done('audit:release=production,lines=200')).trim().split('\n').reverse()
  const what = lines.map((line) => /(?:staging|production): (.*)$/.exec(line)?.[1] ?? line)
  for (const expected of [
    `install of ${commit}`,
    `deploy of ${commit}`,
    'init the app',
    'start the app',
    'start the workers',
    'restart the app',
    'restart the workers',
    'prune',
    'migrate',
    'backup',
    'restore',
    'init the database',
    'set pony.title',
    'push',
    'maintenance on',
    'maintenance off',
    'stop the workers',
    'scale',
    `promote pony2026r2 of ${commit}`,
    'copy of production',
    'demote',
    'stop the app',
  ]) {
    expect(
      what.some((each) => each.includes(expected)),
      `${expected} in\n${lines.join('\n')}`,
    ).toBe(true)
  }
  expect(what).toContainEqual(expect.stringMatching(new RegExp(`^rollback to \\S+ of ${commit}$`)))
})

test('what only Heroku has says so, before anything connects', { timeout: minutes(1) }, async () => {
  const only = (await listed()).filter((task) => task.group === 'heroku')
  for (const { name, params } of only) {
    const given = params.filter((param) => param.required).map((param) => `${param.name}=${param.choices?.[0] ?? 'x'}`)
    const { status, err } = await tasks(given.length > 0 ? `${name}:${given.join(',')}` : name)
    expect(err, name).toContain("runs on hosts of one's own")
    expect(status, name).toBe(2)
  }
})

test('that was every task there is', async () => {
  const names = (await listed()).map((task) => task.name)
  expect(names.length).toBeGreaterThan(50)
  expect(names.filter((name) => !driven.has(name))).toEqual([])
})

interface Listed {
  name: string
  group?: string
  params: { name: string; required: boolean; choices?: string[] }[]
}
const listed = async (): Promise<Listed[]> => JSON.parse((await command(built.tasks, ['--list', '--json'])).out).tasks
