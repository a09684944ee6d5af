/** SQLite and media from production's host to staging's, through this machine: a lost line and full disks on the way. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { createRun, type RunEvent, withRun } from '../../../src/events/index.ts'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { type Cut, cutEachAway } from '../../servers/cut.ts'
import { type Sshd, startSshd } from '../../servers/sshd.ts'
import { ask, createProject, type Project } from './host.ts'
import { onSmallDisk } from './small-disk.ts'

let project: Project
let other: Sshd
/** Of each host; both can be cut. */
let lines: Record<string, Cut> = {}
let cuttable: string

beforeAll(async () => {
  other = await startSshd({ address: '127.0.0.12' })
  project = await createProject({
    sshd: {
      extraClientConfig: `Host other-host
  HostName ${other.address}
  Port ${other.port}
  User ${other.user}
  IdentityFile ${other.clientKeyFile}
  UserKnownHostsFile ${other.knownHostsFile}
`,
    },
  })
  project.configure((text) =>
    text
      .replace('[app.databases]\n', '[app.databases]\nextra = sqlite extra/extra.sqlite\n')
      .replace('[staging]\n', '[app.shared]\nmedia = directory\n\n[staging]\n')
      .replace(
        '[production]\ntarget = vps\nhosts = pony-host\n',
        '[production]\ntarget = vps\nrelease = r1\nhosts = other-host\n',
      ),
  )
  for (const deployment of ['staging', 'production']) {
    await project.run(
      async (each) => {
        await each.upload()
        await each.install()
        await each.database.init()
        if (deployment === 'staging') await each.server.start()
      },
      { deployment },
    )
  }
  sql('production', "INSERT INTO settings VALUES ('from', 'production')")
  sql('staging', "INSERT INTO settings VALUES ('from', 'staging')")
  mkdirSync(join(shared('production'), 'extra'), { recursive: true })
  // Long enough on its way that the cut comes in the middle of it.
  execFileSync('/usr/bin/sqlite3', [
    join(shared('production'), 'extra/extra.sqlite'),
    'CREATE TABLE blob (data); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 24) INSERT INTO blob SELECT randomblob(1000000) FROM n',
  ])
  writeFileSync(join(shared('production'), 'media/photo.jpg'), Buffer.alloc(600_000, 'p'))
  writeFileSync(join(shared('staging'), 'media/old.jpg'), 'an old one')

  ;({ lines, sshConfigFile: cuttable } = await cutEachAway(project.sshConfigFile, project.dir, { 'other-host': other }))
}, 120_000)
afterAll(async () => {
  for (const line of Object.values(lines)) line.close()
  await project?.stop()
  await other?.stop()
})

type Name = 'staging' | 'production'
const shared = (of: Name) =>
  of === 'staging' ? join(project.release, 'shared') : join(other.home, 'webapps/ponyr1/shared')
const sql = (of: Name, text: string) =>
  execFileSync('/usr/bin/sqlite3', [join(shared(of), 'db/pony.sqlite'), text])
    .toString()
    .trim()
const from = () => sql('staging', "SELECT value FROM settings WHERE name = 'from'")
const up = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const backups = () => join(project.home, '.slipway/pony/backups')
const halves = () => (existsSync(backups()) ? readdirSync(backups()) : []).filter((name) => /^clone-|\.new$/.test(name))
const configured = (name: Name): VpsDeployment => {
  const config = loadConfig(project.dir)
  return createVpsDeployment(config, config.deployments[name] as VpsConfig)
}
const clone = () => project.run((staging) => configured('production').database.copyTo(staging))

async function unlock(): Promise<void> {
  const { vpsStore } = await import('../../../src/targets/vps/store/index.ts')
  const by = { run: 'test', user: 'u', machine: 'm', command: 'unlock' }
  for (const name of ['staging', 'production'] as const) {
    await project.run(() => vpsStore(configured(name).hosts.first(), 'pony').breakLock(name, by))
  }
}

test.each(['pony-host', 'other-host'] as const)(
  'the line to %s is cut while a database is carried: staging runs on with its own data, and it is said',
  async (name) => {
    const ended = new AbortController()
    const run = createRun({ options: { projectDir: project.dir, sshConfigFile: cuttable }, signal: ended.signal })
    let carrying = false
    let cut = false
    run.bus.on((event: RunEvent) => {
      // It is back as soon as the loss is noticed: what was under way is lost all the same.
      if (event.type === 'host.lost') lines[name]?.mend()
      if (event.type === 'step.started') carrying = /^carry extra from /.test(event.title)
      if (!carrying || cut || event.type !== 'progress') return
      cut = true
      lines[name]?.cut()
    })
    let error: unknown
    try {
      await withRun(run, () => configured('production').database.copyTo(configured('staging')))
    } catch (reason) {
      error = reason
    } finally {
      ended.abort()
      await withRun(run, () => run.finish()).catch(() => {})
      lines[name]?.mend()
    }
    expect({ cut, error: cut ? undefined : error }).toEqual({ cut: true, error: undefined })
    expect(error).toMatchObject({
      code: 'connection-lost',
      state: expect.stringContaining('staging runs on with its own data'),
      next: expect.stringContaining('clone_production_db_to_staging'),
    })
    expect(from()).toBe('staging')
    expect((await up()).status).toBe(200)
    expect(existsSync(join(shared('staging'), 'extra/extra.sqlite'))).toBe(false)
    await unlock()
  },
  60_000,
)

const asRoot = test.runIf(process.getuid?.() === 0)

asRoot(
  'a full disk on the receiving host stops the carrying: nothing half is left, and staging has its own data',
  async () => {
    await onSmallDisk(backups(), 2000, async () => {
      await expect(clone()).rejects.toMatchObject({
        code: 'carry-failed',
        host: 'pony-host',
        detail: expect.stringContaining('No space left on device'),
        state: 'staging runs on with its own data, which is as it was.',
      })
      expect(halves()).toEqual([])
    })
    expect(from()).toBe('staging')
    expect((await up()).status).toBe(200)
  },
  60_000,
)

asRoot(
  'a full disk for the media: it is said that the databases have come and the media have not; then all comes',
  async () => {
    await onSmallDisk(join(shared('staging'), 'media.new'), 100, async () => {
      await expect(clone()).rejects.toMatchObject({
        code: 'carry-failed',
        host: 'pony-host',
        detail: expect.stringMatching(/No space left on device|Wrote only/),
        state: 'The databases of staging are those of production, and it runs; of the media not all may have come.',
      })
    })
    expect(from()).toBe('production')
    expect(readdirSync(join(shared('staging'), 'media'))).toEqual(['old.jpg'])
    expect((await up()).status).toBe(200)
    sql('staging', "UPDATE settings SET value = 'staging' WHERE name = 'from'")
    mkdirSync(join(backups(), 'clone-staging--production-left-by-a-lost-line'))
    await clone()
    expect(from()).toBe('production')
    expect(readFileSync(join(shared('staging'), 'media/photo.jpg'))).toHaveLength(600_000)
    expect(readdirSync(join(shared('staging'), 'media'))).toEqual(['photo.jpg'])
    expect((await up()).status).toBe(200)
    expect(halves()).toEqual([])
  },
  60_000,
)
