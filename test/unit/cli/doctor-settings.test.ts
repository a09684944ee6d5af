/** Doctor names what is set and never read, and what is read and not set, with places and fixes; and what tokens open. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { recordRun } from 'slipway/testing'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Finding } from '../../../src/cli/doctor/finding.ts'
import { accessFindings } from '../../../src/cli/doctor/running.ts'
import { settingFindings, settingKeys } from '../../../src/cli/doctor/settings.ts'
import { gateFinding, tokenFindings } from '../../../src/cli/doctor/tokens.ts'
import { loadConfig } from '../../../src/config/index.ts'
import { SlipwayError } from '../../../src/events/index.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-doctor-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

const write = (files: Readonly<Record<string, string>>) => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), text)
  }
}
const ini = `[app]
name = pony
server = exec server
[staging]
target = vps
hosts = web1
release = r1
settings = staging.ini
[production]
target = vps
hosts = web1
settings = production.ini
`
const settings = { 'config/staging.ini': '[app]\nkey = 1\n', 'config/production.ini': '[app]\nkey = 2\n' }
const said = (findings: readonly Finding[]) => findings.map(({ state, text }) => `${state}: ${text}`)
const found = (files: Readonly<Record<string, string>>, env: NodeJS.ProcessEnv = {}) => {
  write({ ...settings, ...files })
  return settingFindings(dir, loadConfig(dir), env)
}

describe('settings', () => {
  test('that are all read are well', () => {
    expect(said(found({ 'config/deploy.ini': ini }))).toEqual([
      'ok: all that is set is read, and all that is read is set',
    ])
  })

  test.each<[string, string, string, (text: string) => string]>([
    [
      'nginx alone reads listen',
      'config/deploy.ini:15: [domains] listen is set, and never read: only provider = nginx reads it',
      'Set provider = nginx, or remove it.',
      (text) => `${text}[domains]\nprovider = none\nlisten = 80\n`,
    ],
    [
      'no domain to lead',
      'config/deploy.ini:14: [domains] provider is set, and never read: no deployment on hosts has a domain to lead',
      'Give one a domain = …, or remove it.',
      (text) => `${text}[domains]\nprovider = uberspace\n`,
    ],
    [
      'answers to no question',
      'config/deploy.ini:14: [app.init_answers] ADMIN is set, and never read: there is no init_db to answer',
      'Set [app] init_db, or remove it.',
      (text) => `${text}[app.init_answers]\nADMIN = me\n`,
    ],
    [
      'handover of a file',
      'config/deploy.ini:13: [production] database is set, and never read: no database of it is on a server; SQLite is always copied',
      'Remove it.',
      (text) => `${text}database = handover\n`,
    ],
    [
      'a secret command',
      'config/deploy.ini:14: [secret_commands] OLD is set, and never read: nothing in config/ or the task file refers to it',
      'Refer to it as secret:OLD, or remove it.',
      (text) => `${text}[secret_commands]\nOLD = pass show old\n`,
    ],
    [
      'addresses without a site',
      'config/deploy.ini:13: [production] maintenance_allow is set, and never read: only a site of nginx reads it',
      'Set [domains] provider = nginx and a domain, or remove it.',
      (text) => `${text}maintenance_allow = 10.0.0.1\n`,
    ],
    [
      'backups of nothing',
      'config/deploy.ini:13: [production] backups is set, and never read: there is no database to back up',
      'Name it under [app.databases], or remove it.',
      (text) => `${text}backups = @daily\n`,
    ],
  ])('never read: %s', (_, text, fix, change) => {
    expect(found({ 'config/deploy.ini': change(ini) })).toEqual([{ area: 'settings', state: 'warning', text, fix }])
  })

  test('files that nobody reads', () => {
    const findings = found({
      'config/deploy.ini': ini,
      'config/old.ini': '',
      'templates/extra.eta': '',
      'templates/used.eta': '',
      'templates/start.eta': '',
      'tasks.ts': "host.template('templates/used.eta', 'x')\n",
    })
    expect(said(findings)).toEqual([
      "warning: config/old.ini is never read: it is no deployment's settings",
      'warning: templates/extra.eta is never rendered: neither Slipway nor the task file names it',
    ])
    expect(findings.every(({ fix }) => fix)).toBe(true)
  })

  test('variables that are read and not set', () => {
    const text = `// process.env.NOT_THIS\nconst a = process.env.REGION + process.env['ZONE']\nconst b = process.env.HERE\nconst c = process.env.KIND ?? 'x'\n`
    expect(said(found({ 'config/deploy.ini': ini, 'tasks.ts': text }, { HERE: '1' }))).toEqual([
      'warning: tasks.ts:2: process.env.REGION is read, and not set',
      'warning: tasks.ts:2: process.env.ZONE is read, and not set',
    ])
  })

  test('of the app that one deployment has and another lacks', () => {
    const findings = found({
      'config/deploy.ini': ini,
      'config/staging.ini': '[app]\nkey = 1\nmail = x\n',
      'config/production.ini': '[app]\nkey = 2\n[log]\nlevel = info\n',
    })
    expect(said(findings)).toEqual([
      'warning: config/staging.ini:3 sets [app] mail, and config/production.ini does not',
      'warning: config/production.ini:4 sets [log] level, and config/staging.ini does not',
    ])
  })

  test('are known by section and line', () => {
    expect([...settingKeys('A=1\n; B=2\n[s]\nexport A = x\n  more = y\n')]).toEqual([
      ['A', 1],
      ['[s] A', 4],
    ])
  })
})

describe('whom Slipway talks to', () => {
  test.each([
    [200, true, 'ok', 'GitHub shows acme/pony to the token'],
    [401, true, 'failure', 'GitHub does not take GITHUB_TOKEN'],
    [404, false, 'failure', 'GitHub does not show acme/pony without a token'],
    [403, true, 'failure', 'GitHub does not show acme/pony to the token'],
    [502, true, 'warning', 'GitHub answered 502 about acme/pony'],
  ])('a gate of GitHub that answers %d', (status, withToken, state, text) => {
    const finding = gateFinding('gate', 'acme/pony', status, withToken)
    expect(finding).toMatchObject({ state, text })
    expect(finding.state === 'ok' || finding.fix !== undefined).toBe(true)
  })

  test('is asked, and what does not answer is a failure with its fix; an address is not shown', async () => {
    const server = createServer((request, response) => {
      response.statusCode = request.headers.authorization === 'Bearer good' ? 200 : 401
      response.end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const origin = `http://127.0.0.1:${port}`
    write({
      ...settings,
      'config/deploy.ini': `${ini.replace('[staging]', 'gate = github:acme/pony\n[staging]')}[notify.chat]\nurl = ${origin}/secret-path\n[notify.gone]\nurl = http://127.0.0.1:9/x\n[notify.odd]\nurl = nonsense\n`,
    })
    const before = { ...process.env }
    Object.assign(process.env, { GITHUB_API_URL: origin, GITHUB_TOKEN: 'bad' })
    const { result } = await recordRun(() => tokenFindings(loadConfig(dir), new Set()), { projectDir: dir })
    process.env = before
    server.close()
    expect(said(result ?? [])).toEqual([
      'failure: GitHub does not take GITHUB_TOKEN',
      `ok: 127.0.0.1:${port} answers; that it takes messages shows with the first one`,
      expect.stringMatching(/^failure: a request failed: /),
      'failure: its url is no web address',
    ])
    expect(JSON.stringify(result)).not.toContain('secret-path')
    expect(result?.filter(({ state, fix }) => state !== 'ok' && !fix)).toEqual([])
  })
})

describe('a database on a server', () => {
  const facts = {
    exists: true,
    accepts: true,
    bytes: 1,
    sessions: [],
    server: 's',
    identity: 'i',
    version: '15.3',
    canCreate: true,
    tables: 3,
  }
  const about = (more: object) =>
    said(accessFindings('staging', { name: 'main', database: 'pony', facts: { ...facts, ...more } }))

  test('lets us in, is not there, takes no connections, or gives too few rights', () => {
    expect(about({})).toEqual(['ok: database main: pony lets us in: 15.3, 3 tables'])
    expect(about({ exists: false })).toEqual(['warning: database main: pony is not there, on a server that lets us in'])
    expect(about({ accepts: false })).toEqual(['failure: database main: pony takes no connections'])
    expect(about({ canCreate: false })[1]).toContain('its user may not create databases')
  })

  test('that can’t be reached is told with what to do', () => {
    const error = new SlipwayError('database-password', 'the server does not let us in', { next: 'Check it.' })
    expect(accessFindings('staging', { name: 'main', database: 'pony', error })).toEqual([
      { area: 'staging', state: 'failure', text: 'the server does not let us in', fix: 'Check it.' },
    ])
  })
})
