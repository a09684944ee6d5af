/** Databases that are locked, damaged or without room: what is said is true, and the app goes on. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { statusText } from '../../../src/targets/status-text.ts'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
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

/** Makes a table of four kilobytes a row and as many rows as another one has, all in one transaction. */
const widen = (rows: string) =>
  `sqlite3 "$SLIPWAY_SHARED/extra/extra.sqlite" "CREATE TABLE wide AS SELECT randomblob(4000) FROM ${rows}"`

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

asRoot(
  'a full disk in a migration is told as that: its transaction is taken back, and the app runs on',
  async () => {
    const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
    const current = readlinkSync(join(project.release, 'current'))
    project.configure((text) => text.replace(/^migrate = .*$/m, `$& && ${widen('blob')}`))
    await onSmallDisk(join(shared('ponyr2'), 'extra'), 1800, async () => {
      await expect(project.run((staging) => staging.database.migrate())).rejects.toMatchObject({
        code: 'migrate-failed',
        message: expect.stringMatching(/^migrate: .* failed on pony-host \(the disk is full\)$/),
        state: expect.stringMatching(/^The app goes on/),
        next: expect.stringContaining('tasks migrate:release=staging'),
      })
      await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
        code: 'install-failed',
        message: expect.stringMatching(/migrate: .* \(the disk is full\)$/),
        state: expect.stringContaining('The running app is untouched'),
      })
      expect(sql("SELECT (SELECT count(*) FROM blob) || ' ' || group_concat(name) FROM sqlite_master")).toBe(
        '256 blob,by_data',
      )
      expect((await up()).status).toBe(200)
    })
    expect(readlinkSync(join(project.release, 'current'))).toBe(current)
    await project.run((staging) => staging.database.migrate())
    expect(sql('SELECT count(*) FROM wide')).toBe('256')
    project.configure(() => plain)
    fill('ponyr2', 1)
  },
  60_000,
)

asRoot(
  'a full disk in init_db is told as that: what was there is in the backups, and with room it can begin again',
  async () => {
    const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
    project.configure((text) => text.replace(/^init_db = .*$/m, `$& && ${widen('generate_series(1, 500)')}`))
    mkdirSync(backups(), { recursive: true })
    const sets = () => readdirSync(backups()).filter((name) => name.startsWith('before-init-staging-'))
    const before = sets()
    await onSmallDisk(join(shared('ponyr2'), 'extra'), 1200, async () => {
      await expect(project.run((staging) => staging.database.init({ force: true }))).rejects.toMatchObject({
        code: 'init-failed',
        message: expect.stringMatching(/on pony-host \(the disk is full\)$/),
        state: expect.stringContaining('is in the backups'),
        next: expect.stringContaining('tasks init_staging_db:force'),
      })
      expect((await up()).status).toBe(200)
    })
    const [kept] = sets().filter((name) => !before.includes(name))
    const count = execFileSync('/usr/bin/sqlite3', [
      join(backups(), kept as string, 'extra.sqlite'),
      'SELECT count(*) FROM blob',
    ])
    expect(count.toString().trim()).toBe('256')
    await project.run((staging) => staging.database.init({ force: true }))
    expect(sql('SELECT count(*) FROM wide')).toBe('500')
    expect((await up()).status).toBe(200)
    project.configure(() => plain)
    fill('ponyr2', 1)
  },
  60_000,
)

test('a lock that another run holds stops whatever changes data, a version or a setting, and the app runs on', async () => {
  const { vpsStore } = await import('../../../src/targets/vps/store/index.ts')
  const store = (staging: VpsDeployment) => vpsStore(staging.hosts.first(), 'pony')
  const { value: backup } = await project.run((staging) => staging.database.backup())
  const config = loadConfig(project.dir)
  const production = () => createVpsDeployment(config, config.deployments['production'] as VpsConfig)
  const clone = (staging: VpsDeployment) => production().database.copyTo(staging)
  await project.run((staging) => staging.deploy())
  const [rows, settings] = [sql('SELECT count(*) FROM blob'), project.read('webapps/ponyr2/settings/active')]
  const folders = () => [readdirSync(backups()).sort(), readdirSync(join(project.release, 'versions'))]
  const [before, there] = [await up(), folders()]
  const held = async (name: string, operations: ((staging: VpsDeployment) => Promise<unknown>)[]) => {
    const ada = { run: 'other', user: 'ada', machine: 'desk', command: 'tasks deploy' }
    await project.run((staging) => store(staging).lock([name], ada))
    for (const operation of operations) {
      await expect(project.run(operation), String(operation)).rejects.toMatchObject({
        code: 'locked',
        message: expect.stringContaining(`${name} is locked by ada on desk`),
      })
    }
    // Who only looks needs none.
    await project.run((staging) => staging.database.verify(backup.id))
    if (name === 'staging') {
      const screen = statusText((await project.run((staging) => staging.status())).value)
      expect(screen).toMatch(
        /^version .*\napp .*app-[ab] (running|starting).*; healthy: .*\nworkers .*\ndatabases .*extra \d.*\ndomains +staging\.pony\.example\.org.*\nmaintenance +off\ndisk +\d+ % used.*\nlock .*ada/m,
      )
    }
    const by = { run: 'test', user: 'u', machine: 'm', command: 'unlock' }
    await project.run((staging) => store(staging).breakLock(name, by))
  }
  await held('staging', [
    (staging) => staging.upload(),
    (staging) => staging.install(),
    (staging) => staging.rollback(),
    (staging) => staging.prune({ keep: 1 }),
    (staging) => staging.database.restore(backup.id),
    (staging) => staging.database.init({ force: true }),
    (staging) => staging.database.fetch('locked'),
    clone,
    (staging) => staging.settings.set({ 'pony.title': 'Locked' }),
    (staging) => staging.server.stop(),
    (staging) => staging.workers.scale({ mailer: 2 }),
    (staging) => staging.maintenance.on(),
    (staging) => staging.schedule.push(),
  ])
  await held('production', [clone])
  expect(await up()).toMatchObject({ status: 200, release: before.release })
  expect(sql('SELECT count(*) FROM blob')).toBe(rows)
  expect(project.read('webapps/ponyr2/settings/active')).toBe(settings)
  expect(folders()).toEqual(there)
  await project.run((staging) => staging.database.restore(backup.id))
}, 60_000)

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
