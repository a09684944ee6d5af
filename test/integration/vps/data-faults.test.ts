/** Databases that are locked, damaged or without room: what is said is true, and the app goes on. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project, told } from './host.ts'
import { onSmallDisk } from './small-disk.ts'

let project: Project
beforeAll(async () => {
  project = await createProject({ sshd: { environment: { SLIPWAY_SQLITE_WAIT: '1' } } })
  project.configure((text) =>
    text
      .replace('[app.databases]\n', '[app.databases]\nextra = sqlite extra/extra.sqlite\n')
      .replace('[production]\ntarget = vps\n', '[production]\ntarget = vps\nrelease = r1\n')
      .replace('[staging]\n', '[app.shared]\nmedia = directory\n\n[staging]\n'),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
  await project.run(
    async (production) => {
      await production.upload()
      await production.install()
      await production.database.init()
    },
    { deployment: 'production' },
  )
  fill('ponyr2', 1)
  fill('ponyr1', 2)
}, 90_000)
afterAll(() => project.stop())

const shared = (release: string) => join(project.home, 'webapps', release, 'shared')
const extra = (release = 'ponyr2') => join(shared(release), 'extra/extra.sqlite')
const sql = (text: string, release?: string) =>
  execFileSync('/usr/bin/sqlite3', [extra(release), text])
    .toString()
    .trim()
const up = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')
const backups = () => join(project.home, '.slipway/pony/backups')
const list = async () => (await project.run((staging) => staging.database.backups())).value
const unfinished = () => readdirSync(backups()).filter((name) => /new|clone/.test(name))

/** Some megabytes. */
function fill(release: string, megabytes: number): void {
  mkdirSync(join(shared(release), 'extra'), { recursive: true })
  rmSync(extra(release), { force: true })
  sql(
    `CREATE TABLE blob (id INTEGER PRIMARY KEY, data); CREATE INDEX by_data ON blob (substr(data, 1, 8));
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${megabytes * 256})
     INSERT INTO blob SELECT i, randomblob(4000) FROM n`,
    release,
  )
}

test('a database that is locked is not backed up, nor restored over; when it is let go, both are possible', async () => {
  const holder = spawn('/usr/bin/python3', [
    '-c',
    'import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\ndb.execute("BEGIN EXCLUSIVE")\nprint("held", flush=True)\nsys.stdin.read()',
    extra(),
  ])
  const before = await list()
  try {
    await once(holder.stdout, 'data')
    await expect(project.run((staging) => staging.database.backup())).rejects.toMatchObject({
      code: 'database-locked',
      state: `${extra()} is as it was.`,
      next: expect.stringContaining('fuser -v'),
    })
    expect((await up()).status).toBe(200)
    expect(await list()).toEqual(before)
    expect(unfinished()).toEqual([])
  } finally {
    holder.stdin.end()
    await once(holder, 'exit')
  }
  const { value: backup } = await project.run((staging) => staging.database.backup())
  await project.run((staging) => staging.database.restore(backup.id))
  expect((await up()).status).toBe(200)
}, 60_000)

test('a damaged database is not backed up as if it were whole, and a restore over it keeps the file', async () => {
  const { value: backup } = await project.run((staging) => staging.database.backup())
  const bytes = readFileSync(extra())
  bytes.fill(0xa5, 4096 * 3, 4096 * 60)
  writeFileSync(extra(), bytes)
  await expect(project.run((staging) => staging.database.backup())).rejects.toMatchObject({
    code: 'database-damaged',
    message: expect.stringContaining(extra()),
    next: expect.stringContaining('tasks restore_db'),
  })
  expect((await up()).status).toBe(200)
  const { events } = await project.run((staging) => staging.database.restore(backup.id))
  expect(told(events).join('\n')).toMatch(/no backup of it can be taken; the file is kept as it is/)
  expect(sql('SELECT count(*) FROM blob')).toBe('256')
  const kept = readdirSync(backups()).filter((name) => name.startsWith('replaced-staging'))
  const files = kept.map((name) => join(backups(), name, 'extra.sqlite')).filter((file) => existsSync(file))
  expect(files.some((file) => readFileSync(file).equals(bytes))).toBe(true)
  expect((await up()).status).toBe(200)
}, 60_000)

test('a file that is no database at all is said to be damaged, too', async () => {
  const aside = `${extra()}.aside`
  copyFileSync(extra(), aside)
  writeFileSync(extra(), 'this is no database, and long enough to be read as one'.repeat(100))
  await expect(project.run((staging) => staging.database.backup())).rejects.toMatchObject({ code: 'database-damaged' })
  copyFileSync(aside, extra())
  rmSync(aside)
}, 30_000)

const asRoot = test.runIf(process.getuid?.() === 0)

asRoot(
  'a full disk stops a backup, and no half of one is left',
  async () => {
    await onSmallDisk(backups(), 400, async () => {
      await expect(project.run((staging) => staging.database.backup())).rejects.toMatchObject({
        code: 'database-disk-full',
        state: `${extra()} is as it was.`,
        detail: expect.stringContaining('No space left on device'),
      })
      expect(readdirSync(backups())).toEqual([])
      expect((await up()).status).toBe(200)
    })
  },
  30_000,
)

asRoot(
  'a full disk stops a restore before anything is replaced, and the app runs on',
  async () => {
    const { value: backup } = await project.run((staging) => staging.database.backup())
    const rows = sql('SELECT count(*) FROM blob')
    await onSmallDisk(join(shared('ponyr2'), 'extra'), 1800, async () => {
      await expect(project.run((staging) => staging.database.restore(backup.id))).rejects.toMatchObject({
        code: 'database-disk-full',
        state: 'extra and main and queue are as they were.',
      })
      expect(sql('SELECT count(*) FROM blob')).toBe(rows)
      expect(readdirSync(join(shared('ponyr2'), 'extra'))).toEqual(['extra.sqlite'])
      expect((await up()).status).toBe(200)
    })
  },
  60_000,
)

asRoot(
  'a full disk stops a clone, and staging runs on with its own data',
  async () => {
    const clone = () =>
      project.run(async (staging) => {
        const { createVpsDeployment } = await import('../../../src/targets/vps/create.ts')
        const { loadConfig } = await import('../../../src/config/load.ts')
        const config = loadConfig(project.dir)
        await createVpsDeployment(config, config.deployments['production'] as never).database.copyTo(staging)
      })
    const rows = sql('SELECT count(*) FROM blob')
    await onSmallDisk(join(shared('ponyr2'), 'extra'), 2400, async () => {
      await expect(clone()).rejects.toMatchObject({
        code: 'database-disk-full',
        state: 'extra and main are as they were.',
      })
      expect(sql('SELECT count(*) FROM blob')).toBe(rows)
      expect((await up()).status).toBe(200)
      expect(unfinished()).toEqual([])
    })
    await onSmallDisk(backups(), 1300, async () => {
      await expect(clone()).rejects.toMatchObject({ code: 'database-disk-full' })
      expect(sql('SELECT count(*) FROM blob')).toBe(rows)
      expect((await up()).status).toBe(200)
    })
    await clone()
    expect(sql('SELECT count(*) FROM blob')).toBe('512')
    fill('ponyr2', 1)
  },
  90_000,
)

asRoot(
  'a full disk here stops a fetch: the backup is on the host, and nothing half is here',
  async () => {
    const folder = join(project.dir, 'small')
    await onSmallDisk(folder, 300, async () => {
      const error = await project
        .run((staging) => staging.database.fetch('small'))
        .then(
          () => new Error('it did not fail'),
          (reason) => reason,
        )
      expect(error).toMatchObject({
        code: 'fetch-failed',
        state: expect.stringMatching(/^The backup staging-\S+ is on pony-host, and whole; extra of it is not here\.$/),
        next: expect.stringContaining('Make room'),
      })
      expect(readdirSync(folder)).toEqual([])
    })
    const { value: paths } = await project.run((staging) => staging.database.fetch('small'))
    expect(paths).toHaveLength(3)
  },
  60_000,
)

test('a setting that its file can not hold byte for byte is refused, and the file is as it was', async () => {
  const file = 'webapps/ponyr2/settings/active'
  const before = project.read(file)
  for (const value of [' padded ', '{\n  "indented": 1\n}', 'a\n\nb']) {
    await expect(project.run((staging) => staging.settings.set({ 'pony.note': value }))).rejects.toMatchObject({
      code: 'setting-not-exact',
      exitCode: 2,
      state: 'Nothing was changed.',
    })
  }
  expect(project.read(file)).toBe(before)
  await project.run((staging) => staging.settings.set({ 'pony.note': '{"a": [1,\n2]}' }))
  expect((await project.run((staging) => staging.settings.get())).value['pony.note']).toBe('{"a": [1,\n2]}')
}, 30_000)
