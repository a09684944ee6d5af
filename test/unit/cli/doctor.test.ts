import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findingsText } from '../../../src/cli/doctor/finding.ts'
import { projectFindings, secretFindings } from '../../../src/cli/doctor/here.ts'
import { clockFinding, needsOf, shareFinding } from '../../../src/cli/doctor/there.ts'
import { parseConfig } from '../../../src/config/index.ts'
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
    writeFileSync(join(dir, '.env'), 'SESSION_KEY=x\n\nexport OLD_KEY=y\n')
    chmodSync(join(dir, '.env'), 0o644)
    mkdirSync(join(dir, '.git'))
    const findings = secretFindings(dir, { secretCommands: { VAULTED: 'pass show it' } })
    expect(findings.map(({ state, text }) => `${state}: ${text}`)).toEqual([
      'ok: found: SESSION_KEY, VAULTED',
      'failure: config/deploy.ini:2 needs the secret API_KEY, which is nowhere to be found',
      'warning: .env can be read by other users of this machine',
      'failure: .env is not ignored by git',
      'warning: .env:3: nothing in config/ refers to OLD_KEY',
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
