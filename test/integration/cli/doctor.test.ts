/** `slipway doctor` against real hosts and real database servers: every host, every database, with fixes and exit status. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { doctorCommand } from '../../../src/cli/doctor/doctor.ts'
import type { Finding } from '../../../src/cli/doctor/finding.ts'
import { repository } from '../../built.ts'
import { type Mariadb, startMariadb } from '../../servers/mariadb.ts'
import { type Postgres, startPostgres } from '../../servers/postgres.ts'
import { clientConfig, freePort, type Sshd, startSshd } from '../hosts/sshd.ts'
import { makeProject, type Project } from './project.ts'

let postgres: Postgres
let mariadb: Mariadb
let sshd: Sshd
let project: Project
const password = 'a-quite-secret-password'

beforeAll(async () => {
  ;[postgres, mariadb, sshd] = await Promise.all([startPostgres(), startMariadb(), startSshd()])
  postgres.sql(`CREATE ROLE pony LOGIN CREATEDB PASSWORD '${password}'; CREATE DATABASE pony OWNER pony`)
  mariadb.sql(`CREATE DATABASE pony; CREATE USER pony@'127.0.0.1' IDENTIFIED BY '${password}'`)
  mariadb.sql("GRANT ALL ON `pony%`.* TO pony@'127.0.0.1'")
  const dead = await freePort()
  project = makeProject({
    'tasks.ts': 'export {}\n',
    '.env': `MAIN_URL=postgres://pony:${password}@127.0.0.1:${postgres.port}/pony\nOTHER_URL=mysql://pony:${password}@127.0.0.1:${mariadb.port}/pony\n`,
    'config/deploy.ini': `[app]
name = pony
server = exec server
listen = port ${dead}
[app.databases]
main = postgres secret:MAIN_URL
other = mysql secret:OTHER_URL
wrong = postgres postgres://pony:wrong@127.0.0.1:${postgres.port}/pony
gone = postgres postgres://pony:x@127.0.0.1:${dead}/pony
[staging]
target = vps
hosts = one, two
release = r1
[production]
target = vps
hosts = three
`,
  })
  project.write('ssh_config', `${clientConfig('one two', sshd)}\n${clientConfig('three', { ...sshd, port: dead })}\n`)
}, 120_000)
afterAll(async () => {
  project.remove()
  await Promise.all([postgres.stop(), mariadb.stop(), sshd.stop()])
})

async function doctor(options: { json?: boolean } = {}) {
  let out = ''
  const status = await doctorCommand(
    { ...options, sshConfig: join(project.dir, 'ssh_config') },
    {
      out: (text) => {
        out += text
      },
      err() {},
      cwd: project.dir,
      env: {},
      stdin: {},
      stdout: {},
      stderr: {},
      onBrokenPipe() {},
    },
  )
  return { status, out }
}

describe('doctor', () => {
  test('looks at every host and asks every database, before anything is deployed', async () => {
    const { status, out } = await doctor({ json: true })
    expect(status).toBe(1)
    const report = JSON.parse(out) as { ok: boolean; findings: Finding[] }
    const schema = JSON.parse(readFileSync(join(repository, 'schemas/doctor.schema.json'), 'utf8'))
    expect(new Ajv2020({ strict: false }).compile(schema)(report)).toBe(true)
    expect(report.ok).toBe(false)
    const said = (area: string) =>
      report.findings.filter((each) => each.area === area).map(({ state, text }) => `${state}: ${text}`)
    for (const host of ['one', 'two']) {
      expect(said(host)).toContainEqual(expect.stringMatching(/^ok: host key known, signed in as /))
      expect(said(host)).toContainEqual(expect.stringMatching(/^ok: pg_dump \d/))
      expect(said(host)).toContainEqual(expect.stringMatching(/^ok: mysqldump \d/))
    }
    expect(said('three')).toEqual([
      expect.stringMatching(/^ok: ssh configuration: /),
      expect.stringMatching(/^failure: .* nothing listens there$/),
    ])
    expect(said('staging')).toEqual([
      'warning: ponyr1 has no version',
      'warning: supervisor: the app server does not run',
      expect.stringMatching(/^ok: port \d+ on one is free$/),
      expect.stringMatching(/^ok: port \d+ on two is free$/),
      expect.stringMatching(/^ok: database main: pony lets us in: \d+.*, 0 tables$/),
      expect.stringMatching(/^ok: database other: pony lets us in: \d+.*, 0 tables$/),
      expect.stringMatching(/^failure: look at pony: the server does not let us in: /),
      expect.stringMatching(/^failure: look at pony: the server does not answer: /),
    ])
    expect(said('production')).toEqual([])
    expect(report.findings.filter(({ state, fix }) => state !== 'ok' && !fix)).toEqual([])
    expect(out).not.toContain(password)
  }, 60_000)

  test('says it for people, each with what to do', async () => {
    const { out } = await doctor()
    expect(out).toMatch(/^three\n {2}✓ ssh configuration: .*\n {2}✗ .* nothing listens there\n {6}→ /m)
    expect(out).toMatch(/\d to put right, \d+ to look at\n$/)
    expect(out).not.toMatch(/\bundefined\b|\[object/)
  }, 60_000)
})
