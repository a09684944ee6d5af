import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { loadConfig, parseConfig } from '../../../src/config/load.ts'
import type { Config } from '../../../src/config/types.ts'

const folder = mkdtempSync(join(tmpdir(), 'slipway-config-'))
afterAll(() => rmSync(folder, { recursive: true }))

const minimal = `
[app]
name = pony
server = exec pony

[staging]
target = vps
hosts = deploy@a.example.org
release = 2026r2
`
const mistakes = (text: string, exists?: (path: string) => boolean) => parseConfig(text, '/p', exists).mistakes
const good = (text: string): Config => {
  const { config, mistakes } = parseConfig(text, '/p')
  expect(mistakes).toEqual([])
  return config as Config
}

test('what is not said has its default', () => {
  const { app, deployments } = good(minimal)
  expect(app).toMatchObject({
    name: 'pony',
    source: '.',
    root: '~/webapps',
    drainSeconds: 30,
    keepVersions: 5,
    listen: { kind: 'socket' },
  })
  expect(app.health).toEqual({ path: '/up', status: 200, body: undefined, deadlineMs: 30_000 })
  expect(deployments['staging']).toMatchObject({
    target: 'vps',
    hosts: ['deploy@a.example.org'],
    release: '2026r2',
    services: 'supervisor',
  })
})

test("a deployment's section and tables hold over [app]'s", () => {
  const config = good(`${minimal}drain = 5s
[app.environment]
TZ = UTC
LEVEL = debug
[staging.environment]
LEVEL = info
[app.workers]
mailer = exec mail
mailer.processes = 2
[staging.workers]
mailer.processes = 1
mailer.drain = 2m
mailer.health = pony ping
`)
  expect(config.app.drainSeconds).toBe(30)
  const staging = config.deployments['staging']!.app
  expect(staging.drainSeconds).toBe(5)
  expect(staging.environment).toEqual({ TZ: 'UTC', LEVEL: 'info' })
  expect(staging.workers).toEqual({
    mailer: { command: 'exec mail', processes: 1, stopSeconds: 120, health: 'pony ping' },
  })
  expect(config.app.workers['mailer']?.processes).toBe(2)
})

test('any number of deployments, on both targets', () => {
  const config = good(`${minimal}
[qa]
target = heroku
app = pony-qa
buildpacks = heroku/nodejs, heroku/python
[qa.addons]
heroku-postgresql = essential-0
`)
  expect(Object.keys(config.deployments)).toEqual(['staging', 'qa'])
  expect(config.deployments['qa']).toMatchObject({
    target: 'heroku',
    herokuApp: 'pony-qa',
    buildpacks: ['heroku/nodejs', 'heroku/python'],
    addons: { 'heroku-postgresql': 'essential-0' },
    strategy: 'pipeline',
  })
})

test('backups and maintenance of a host have forms of their own, and each mistake its line', () => {
  const keys = (text: string) => minimal.replace('target = vps\n', `target = vps\n${text}`)
  expect(
    good(
      keys(
        'backups = 30  2 * * *\nkeep_backups = 3\nmaintenance_allow = 203.0.113.7, 2001:db8::/32\nmaintenance_variable = CLOSED=back at noon\n',
      ),
    ).deployments['staging'],
  ).toMatchObject({
    backups: '30 2 * * *',
    keepBackups: 3,
    maintenanceAllow: ['203.0.113.7', '2001:db8::/32'],
    maintenanceVariable: { name: 'CLOSED', value: 'back at noon' },
  })
  expect(good(keys('maintenance_variable = CLOSED\n')).deployments['staging']).toMatchObject({
    keepBackups: 14,
    maintenanceVariable: { name: 'CLOSED', value: '1' },
  })
  const found = mistakes(
    `${keys('backups = nightly\nkeep_backups = 0\nmaintenance_allow = office.example.org, 10.0.0.0/40\nmaintenance_variable = 1=2\n')}
[domains]
provider = nginx
emial = a@example.org
version = 3
`,
  )
  expect(found.map((each) => each.replace(/^[^ ]+ /, ''))).toEqual([
    '[staging] backups = "nightly" is not "MINUTE HOUR DAY MONTH WEEKDAY" or "@daily"',
    '[staging] keep_backups 0 is not between 1 and 9007199254740991',
    '[staging] maintenance_allow = "office.example.org" is neither an address nor a network such as 192.0.2.0/24',
    '[staging] maintenance_variable = "1=2" is neither NAME nor NAME=VALUE',
    '[domains] has no key emial (did you mean email?)',
    '[domains] version = "3" is not one of 1, 2',
  ])
})

test('databases, schedules, modes and migrations have forms of their own', () => {
  const { app } = good(`${minimal}
[app.databases]
main = sqlite shared/db/pony.sqlite
jobs = postgres jobs host=db1 port=5433 user=pony queue
[app.schedule]
expire = 15 3 * * * python3 -m pony.expire
[app.modes]
pony/private.py = 0400
`)
  expect(app.databases).toEqual({
    main: { kind: 'sqlite', path: 'db/pony.sqlite', role: 'data' },
    jobs: { kind: 'postgres', database: 'jobs', host: 'db1', port: 5433, user: 'pony', role: 'queue' },
  })
  expect(app.schedule).toEqual({ expire: { when: '15 3 * * *', command: 'python3 -m pony.expire' } })
  expect(app.modes).toEqual({ 'pony/private.py': 0o400 })
})

test('every mistake is listed at once, with its line and what was probably meant', () => {
  const text = `[app]
name = pony
sever = exec pony
listen = sokcet
drain = soon

[app.databases]
main = sqlite ../pony.sqlite
other = orcale x

[app.hooks]
before_instal = x

[staging]
target = vps
relase = 2026r2
settings = staging.ini
clone_on_deploy = prodction

[production]
target = vps
hosts = a

[stagng.roles]
web = a

[domains]
provider = apache
`
  expect(mistakes(text, () => false)).toEqual([
    'config/deploy.ini:1: [app] needs server, e.g. server = exec python3 -m pony.web',
    'config/deploy.ini:3: [app] has no key sever (did you mean server?)',
    'config/deploy.ini:4: [app] listen = "sokcet" is neither "socket" nor "port NUMBER"',
    'config/deploy.ini:5: [app] drain = "soon" is not a duration such as 30s, 2m or 1h',
    'config/deploy.ini:8: [app.databases] main = "../pony.sqlite" must not leave its folder with ".."',
    'config/deploy.ini:9: [app.databases] other = "orcale" is not one of sqlite, postgres, mysql; write e.g. "sqlite db/app.sqlite"',
    'config/deploy.ini:12: there is no hook before_instal (did you mean before_install?)',
    'config/deploy.ini:14: [staging] needs hosts, e.g. hosts = deploy@pony.example.org',
    'config/deploy.ini:16: [staging] has no key relase (did you mean release?)',
    'config/deploy.ini:17: [staging] settings = staging.ini, but there is no config/staging.ini',
    'config/deploy.ini:18: [staging] clone_on_deploy = prodction: there is no deployment prodction (did you mean production?)',
    'config/deploy.ini:24: there is no section [stagng.roles] (did you mean staging.roles?)',
    'config/deploy.ini:28: [domains] provider = "apache" is not one of nginx, opalstack, uberspace, webfaction, none',
  ])
})

test('a section whose target is misspelt is no deployment, and its line is named', () => {
  expect(mistakes('[app]\nname = pony\nserver = x\n[staging]\ntargt = vps\nhosts = a\nrelease = r2\n')).toContain(
    'config/deploy.ini:4: [staging] is not known; a deployment needs `target = vps` or `target = heroku` (line 5 says targt)',
  )
})

test('of a certificate and its key, neither is there without the other', () => {
  const heroku = '[app]\nname = pony\n\n[staging]\ntarget = heroku\napp = pony-staging\n'
  expect(mistakes(`${heroku}certificate = pony.pem\n`)).toEqual([
    'config/deploy.ini:7: [staging] has certificate, and needs certificate_key with it',
  ])
  expect(mistakes(`${heroku}certificate_key = key.pem\n`)).toEqual([
    'config/deploy.ini:7: [staging] has certificate_key, and needs certificate with it',
  ])
  expect(mistakes(`${heroku}certificate = pony.pem\ncertificate_key = key.pem\n`)).toEqual([])
})

test('a file that is missing is a mistake of use', () => {
  expect(() => loadConfig(folder)).toThrow(expect.objectContaining({ code: 'no-config', exitCode: 2 }))
})

test('a wrong file is refused with all its mistakes', () => {
  mkdirSync(join(folder, 'bad/config'), { recursive: true })
  writeFileSync(join(folder, 'bad/config/deploy.ini'), '[app]\nname = a b\n')
  expect(() => loadConfig(join(folder, 'bad'))).toThrow(
    expect.objectContaining({ code: 'config', exitCode: 2, message: 'config/deploy.ini has 3 mistakes' }),
  )
})

test("this repository's own configuration is right", () => {
  const config = loadConfig(join(import.meta.dirname, '../../..'))
  expect(config.deployments['staging']).toMatchObject({ target: 'vps', release: '2026r2', settings: 'staging.ini' })
  expect(config.app.databases['queue']).toEqual({ kind: 'sqlite', path: 'db/queue.sqlite', role: 'queue' })
})
