import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findingsText } from '../../../src/cli/doctor/finding.ts'
import { projectFindings, secretFindings } from '../../../src/cli/doctor/here.ts'
import { listening, sharing, statusFindings } from '../../../src/cli/doctor/running.ts'
import {
  clockFinding,
  configFindings,
  fromStep,
  homeFindings,
  needsOf,
  shareFinding,
  toolVersions,
  unopened,
} from '../../../src/cli/doctor/there.ts'
import { parseConfig } from '../../../src/config/index.ts'
import { SlipwayError } from '../../../src/events/index.ts'
import { unpainted } from '../../../src/output/index.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-doctor-'))
  mkdirSync(join(dir, 'config'))
})
afterEach(() => rmSync(dir, { recursive: true }))

describe('doctor', () => {
  it('names secrets that are needed and missing, and set and never read, with their places', () => {
    writeFileSync(
      join(dir, 'config/deploy.ini'),
      '[app.environment]\nKEY = secret:API_KEY\n; X = secret:IN_A_COMMENT\n',
    )
    writeFileSync(
      join(dir, 'config/staging.ini'),
      '[app]\nkey = {{ secret:SESSION_KEY }}\nother = {{ secret:VAULTED }}\n',
    )
    writeFileSync(join(dir, 'tasks.ts'), "// secret('NOT_THIS')\nconst key = app.secret('TASK_KEY')\n")
    writeFileSync(join(dir, '.env'), 'SESSION_KEY=x\n\nexport OLD_KEY=y\n')
    chmodSync(join(dir, '.env'), 0o644)
    mkdirSync(join(dir, '.git'))
    const findings = secretFindings(dir, { secretCommands: { VAULTED: 'pass show it' } })
    expect(findings.map(({ state, text }) => `${state}: ${text}`)).toEqual([
      'ok: found: SESSION_KEY, VAULTED',
      'failure: tasks.ts:2 needs the secret TASK_KEY, which is nowhere to be found',
      'failure: config/deploy.ini:2 needs the secret API_KEY, which is nowhere to be found',
      'warning: .env can be read by other users of this machine',
      'failure: .env is not ignored by git',
      'warning: .env:3: nothing in config/ or the task file refers to OLD_KEY',
    ])
    expect(findings.filter(({ state, fix }) => state !== 'ok' && !fix)).toEqual([])
  })

  it('lists every mistake of the configuration, and a missing task file', async () => {
    writeFileSync(join(dir, 'config/deploy.ini'), '[app]\nname = pony\nservr = x\n[staging]\ntarget = vsp\n')
    const { findings } = await projectFindings(dir)
    const text = findingsText(findings, unpainted)
    expect(text).toContain('✗ there is no task file in')
    expect(text).toContain('config/deploy.ini:3: [app] has no key servr (did you mean server?)')
    expect(text).toContain('config/deploy.ini:5: [staging] target = "vsp" is not one of vps, heroku')
    expect(text).toContain('2 to put right')
  })

  it('knows what a host has to have', () => {
    const text =
      '[app]\nname = a\nserver = exec node server.js\n[app.databases]\nmain = postgres a\n[s]\ntarget = vps\nhosts = h\nrelease = r1\n[domains]\nprovider = nginx\n'
    const { config, mistakes } = parseConfig(text, '/p', () => true)
    expect(mistakes).toEqual([])
    const deployment = config!.deployments['s']!
    expect(needsOf(deployment.target === 'vps' ? [deployment] : [], config!).map(({ command }) => command)).toEqual([
      'rsync',
      'supervisord',
      'node',
      'pg_dump',
      'nginx',
    ])
  })

  it('goes to a host step by step', () => {
    const key = join(dir, 'id_ed25519')
    writeFileSync(key, 'x', { mode: 0o644 })
    const way = { user: 'deploy', hostName: 'web1.example.org', port: 2222, identityFiles: [key, join(dir, 'none')] }
    expect(configFindings('web1', { ...way, proxyJump: ['gate'] })).toEqual([
      {
        area: 'web1',
        state: 'ok',
        text: 'ssh configuration: deploy@web1.example.org, port 2222, through gate',
      },
      {
        area: 'web1',
        state: 'failure',
        text: `the key ${key} can be read by others: ssh refuses it`,
        fix: `chmod 600 ${key}`,
      },
    ])
    expect(unopened({ code: 'ENOTFOUND', message: 'getaddrinfo' }, 'web1', 22)[0]).toBe('there is no such name')
    expect(unopened({ code: 'ECONNREFUSED', message: 'connect' }, 'web1', 22)[0]).toBe('nothing listens there')
    expect(unopened({ message: 'no answer in 10 s' }, 'web1', 22)[0]).toBe('no answer in 10 s')
    expect(fromStep('web1', new SlipwayError('auth-failed', 'not accepted')).text).toBe('signing in: not accepted')
    expect(fromStep('web1', new SlipwayError('host-key-unknown', 'not known')).text).toBe('host key: not known')
  })

  it('reads versions, and what a home folder keeps from working', () => {
    expect([
      ...toolVersions('rsync rsync  version 3.2.7  protocol\nnginx nginx version: nginx/1.22.1\nnode \n'),
    ]).toEqual([
      ['rsync', '3.2.7'],
      ['nginx', '1.22.1'],
      ['node', undefined],
    ])
    expect(homeFindings('h', '755', true)).toEqual([])
    expect(homeFindings('h', '700', false)).toEqual([])
    expect(homeFindings('h', '700', true)[0]?.fix).toBe('chmod o+x ~')
    expect(homeFindings('h', '775', true)[0]?.fix).toBe('chmod go-w ~')
    expect(homeFindings('h', '', true)).toEqual([])
  })

  it('knows a port that listens, and one that two deployments have', () => {
    const table =
      '  sl  local_address rem_address   st\n   0: 0100007F:1F41 00000000:0000 0A 00000000\n   1: 0100007F:1F42 0100007F:1F41 01 00000000\n'
    expect([listening(table, 8001), listening(table, 8002), listening('', 8001)]).toEqual([true, false, false])
    const text =
      '[app]\nname = a\nserver = exec x\nlisten = port 8001\n[s]\ntarget = vps\nhosts = h\nrelease = r1\n[p]\ntarget = vps\nhosts = h\n[o]\ntarget = vps\nhosts = other\n'
    const { config, mistakes } = parseConfig(text, '/p', () => true)
    expect(mistakes).toEqual([])
    expect(sharing(config!, config!.deployments['s']!, 8001)).toEqual(['p'])
    expect(sharing(config!, config!.deployments['o']!, 8001)).toEqual([])
  })

  it('says what a status tells, with what to do', () => {
    const status = {
      ...{ name: 'staging', target: 'vps', release: 'ponyr1', role: 'staging', maintenance: true, healthy: false },
      server: [{ name: 'app-a', state: 'running' }],
      workers: [{ name: 'mailer', state: 'failed' }],
      ...{ databases: [], domains: [], warnings: ['two of them run'], health: '/up answered 500' },
    } as const
    const findings = statusFindings(status as never)
    expect(findings.map(({ state, text }) => `${state}: ${text}`)).toEqual([
      'warning: ponyr1 has no version',
      'ok: supervisor: app-a running',
      'failure: its health check fails: /up answered 500',
      'warning: supervisor: mailer failed',
      'warning: in maintenance: visitors get 503',
      'warning: two of them run',
    ])
    expect(findings.slice(2, 5).every(({ fix }) => fix)).toBe(true)
  })

  it('judges clocks and disks', () => {
    expect(clockFinding('h', 1000, 1010).state).toBe('ok')
    expect(clockFinding('h', 1000, 1100)).toMatchObject({
      state: 'warning',
      text: "its clock is 100 s behind this machine's",
    })
    expect(shareFinding('h', 'disk', '/dev/vda1 100 40 60 40% /')).toMatchObject({
      state: 'ok',
      text: 'disk: 40 % used',
    })
    expect(shareFinding('h', 'disk', '/dev/vda1 100 100 0 100% /').state).toBe('failure')
    expect(shareFinding('h', 'inodes', 'overlay 0 0 0 - /').state).toBe('ok')
  })
})
