/** Data that moves with the code: schemas taken back, production cloned, backups that are damaged. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project, told } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
}, 60_000)
afterAll(() => project.stop())

const sql = (release: string, database: string, text: string) =>
  execFileSync('/usr/bin/sqlite3', [join(project.home, 'webapps', release, 'shared/db', `${database}.sqlite`), text])
    .toString()
    .trim()
const up = () => ask(join(project.home, '.slipway/pony/sites/staging/current.sock'), '/up')

test('rollback with migrate takes back what the newer version applied, with its own code, after a backup', async () => {
  const before = await up()
  project.edit('app/pony/migrations.py', (text) =>
    text.replace(
      '\n)\n\n\nclass Irreversible',
      '\n    Migration("0004_clubs", ("CREATE TABLE clubs (name TEXT)",), ("DROP TABLE clubs",)),\n)\n\n\nclass Irreversible',
    ),
  )
  await project.run((staging) => staging.deploy())
  expect(sql('ponyr2', 'pony', 'SELECT name FROM migrations ORDER BY name DESC LIMIT 1')).toBe('0004_clubs')
  // What it is like while the schema is taken back.
  project.configure((text) =>
    text.replace(
      'reverse: python3',
      `reverse: { ls "$HOME/.slipway/pony/sites/staging"; echo "$SLIPWAY_VERSION"; } >"$SLIPWAY_SHARED/during"; python3`,
    ),
  )
  const { value: versions } = await project.run((staging) => staging.versions())
  const { value: backupsBefore } = await project.run((staging) => staging.database.backups())
  const { events } = await project.run((staging) => staging.rollback({ migrate: true }))
  expect(told(events).join('\n')).toMatch(
    /^takes the schema back: .*python3 -m pony\.migrate --reverse-to 0003_rider_keys_and_outbox$/m,
  )
  const during = readFileSync(join(project.release, 'shared/during'), 'utf8').split('\n')
  expect(during).toContain('maintenance.on')
  expect(during).toContain(versions.find((version) => version.current)?.id)
  expect(sql('ponyr2', 'pony', "SELECT count(*) FROM sqlite_master WHERE name = 'clubs'")).toBe('0')
  expect(await up()).toMatchObject({ status: 200, release: before.release })
  const { value: backups } = await project.run((staging) => staging.database.backups())
  expect(backups).toHaveLength(backupsBefore.length + 1)
  expect(await project.run((staging) => staging.maintenance.status())).toMatchObject({ value: false })
}, 60_000)

test('a schema that can not be taken back: the version that runs goes on with its workers, and its backup is named', async () => {
  const before = await up()
  const { value: version } = await project.run(async (staging) => {
    const deployed = await staging.deploy()
    await staging.workers.start()
    return deployed
  })
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  project.configure((text) => text.replace(/reverse: .*/, 'reverse: echo no way back >&2; exit 3;'))
  await expect(project.run((staging) => staging.rollback({ migrate: true }))).rejects.toMatchObject({
    code: 'reversal-failed',
    detail: expect.stringContaining('no way back'),
    state: expect.stringContaining(`The app goes on with ${version.id}`),
    next: expect.stringMatching(/tasks restore_db:release=staging,backup=staging-/),
  })
  expect((await up()).release).toBe(`ponyr2/${version.id}`)
  const { value: status } = await project.run((staging) => staging.status())
  expect(status).toMatchObject({
    maintenance: false,
    version: { id: version.id },
    workers: [{ state: expect.stringMatching(/^(running|starting)$/) }],
  })
  project.configure(() => plain)
  await project.run(async (staging) => {
    await staging.rollback({ migrate: true })
    await staging.workers.stop()
  })
  expect((await up()).release).toBe(before.release)
}, 60_000)

test('a clone of production brings data and media into staging, and leaves the queues where they are', async () => {
  project.configure((text) => `${text}\n[app.shared]\nmedia = directory\n`)
  project.configure((text) =>
    text.replace('[production]\ntarget = vps\n', '[production]\ntarget = vps\nrelease = r1\n'),
  )
  await project.run(
    async (production) => {
      await production.upload()
      await production.install()
      await production.database.init()
    },
    { deployment: 'production' },
  )
  sql('ponyr1', 'pony', "INSERT INTO settings VALUES ('from', 'production')")
  sql('ponyr1', 'queue', 'CREATE TABLE of_production (x)')
  mkdirSync(join(project.home, 'webapps/ponyr1/shared/media'), { recursive: true })
  writeFileSync(join(project.home, 'webapps/ponyr1/shared/media/photo.jpg'), 'a photo')
  sql('ponyr2', 'pony', "INSERT INTO settings VALUES ('from', 'staging')")
  project.configure((text) =>
    text.replace('[staging]\ntarget = vps\n', '[staging]\ntarget = vps\nclone_on_deploy = production\n'),
  )
  // Its hooks are staging's: one before that fails leaves staging's data alone, one after has the new data.
  const hooks = join(project.home, 'webapps/ponyr2/shared/hooks')
  const setHooks = (before: string, after: string) =>
    project.configure(
      (text) =>
        `${text.replace(/\n\[app.hooks\][\s\S]*$/, '')}\n[app.hooks]\nbefore_clone = ${before}\nafter_clone = ${after}\n`,
    )
  const from = `python3 -c "import os, sqlite3; print(*sqlite3.connect(os.environ['SLIPWAY_SHARED'] + '/db/pony.sqlite').execute('SELECT value FROM settings WHERE name = ?', ('from',)).fetchone())" >>"$SLIPWAY_SHARED/hooks"`
  setHooks('echo not now >&2; exit 3', from)
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'data-hook',
    message: expect.stringContaining('before clone'),
    detail: 'not now',
    state: expect.stringMatching(
      /^The version \S+ is installed, and the current one: a restart takes it up\. Of the data: Nothing was changed\.$/,
    ),
  })
  expect(sql('ponyr2', 'pony', "SELECT value FROM settings WHERE name = 'from'")).toBe('staging')
  expect(existsSync(hooks)).toBe(false)
  setHooks(from, `${from}; exit 4`)
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'data-hook',
    message: expect.stringContaining('after clone'),
    state: expect.stringMatching(/The data is in place, and the app runs with it\.$/),
  })
  expect(project.read('webapps/ponyr2/shared/hooks')).toBe('staging\nproduction\n')
  rmSync(hooks)
  sql('ponyr2', 'pony', "UPDATE settings SET value = 'staging' WHERE name = 'from'")
  setHooks(from, from)
  // It is scrubbed before anyone can use it, and where that fails staging has its own.
  const scrub = join(project.dir, 'config/scrub.sql')
  project.configure((text) => text.replace('[staging]\n', '[staging]\nscrub = config/scrub.sql\n'))
  writeFileSync(scrub, "UPDATE settings SET value = 'nobody' WHERE name = 'secret'; UPDATE nowhere SET x = 1;\n")
  sql('ponyr1', 'pony', "INSERT INTO settings VALUES ('secret', 'of a person')")
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({
    code: 'database-scrub',
    state: expect.stringContaining('as it was'),
  })
  expect(sql('ponyr2', 'pony', "SELECT value FROM settings WHERE name = 'from'")).toBe('staging')
  writeFileSync(scrub, "UPDATE settings SET value = 'nobody' WHERE name = 'secret';\n")
  rmSync(hooks)
  await project.run((staging) => staging.deploy())
  expect(sql('ponyr2', 'pony', "SELECT value FROM settings WHERE name = 'secret'")).toBe('nobody')
  expect(sql('ponyr1', 'pony', "SELECT value FROM settings WHERE name = 'secret'")).toBe('of a person')
  expect(project.read('webapps/ponyr2/shared/hooks')).toBe('staging\nproduction\n')
  setHooks('true', 'true')
  expect(sql('ponyr2', 'pony', "SELECT value FROM settings WHERE name = 'from'")).toBe('production')
  expect(sql('ponyr2', 'queue', "SELECT count(*) FROM sqlite_master WHERE name = 'of_production'")).toBe('0')
  expect(project.read('webapps/ponyr2/shared/media/photo.jpg')).toBe('a photo')
  expect((await up()).status).toBe(200)
}, 90_000)

test('production is restored only when its name is typed', async () => {
  const { value: backup } = await project.run((production) => production.database.backup(), {
    deployment: 'production',
  })
  const prompter = (typed: string) => ({
    interactive: true,
    confirm: async () => true,
    confirmTyped: async (_: string, expected: string) => typed === expected,
    text: async () => typed,
    password: async () => typed,
  })
  const restore = (typed: string) =>
    project.run((production) => production.database.restore(backup.id), {
      deployment: 'production',
      prompter: prompter(typed),
    })
  sql('ponyr1', 'pony', "INSERT INTO settings VALUES ('later', 'x')")
  await expect(restore('staging')).rejects.toMatchObject({ code: 'not-confirmed', exitCode: 2 })
  expect(sql('ponyr1', 'pony', "SELECT count(*) FROM settings WHERE name = 'later'")).toBe('1')
  const backups = async () =>
    (await project.run((production) => production.database.backups(), { deployment: 'production' })).value
  const before = await backups()
  await restore('production')
  // What was there was backed up first.
  const [taken] = (await backups()).filter(({ id }) => !before.some((each) => each.id === id))
  const file = join(project.home, '.slipway/pony/backups', taken?.id as string, 'main.sqlite')
  const later = execFileSync('/usr/bin/sqlite3', [file, "SELECT value FROM settings WHERE name = 'later'"])
  expect(later.toString()).toBe('x\n')
  expect(sql('ponyr1', 'pony', "SELECT count(*) FROM settings WHERE name = 'later'")).toBe('0')
}, 60_000)

test('a truncated backup is found out, and is not restored', async () => {
  const { value: backup } = await project.run((staging) => staging.database.backup())
  const file = join(project.home, '.slipway/pony/backups', backup.id, 'main.sqlite')
  truncateSync(file, 8192)
  await expect(project.run((staging) => staging.database.verify(backup.id))).rejects.toMatchObject({
    code: 'bad-backup',
  })
  const rows = sql('ponyr2', 'pony', 'SELECT count(*) FROM settings')
  await expect(project.run((staging) => staging.database.restore(backup.id))).rejects.toMatchObject({
    code: 'database-dump-damaged',
    state: 'main and queue are as they were.',
  })
  expect(sql('ponyr2', 'pony', 'SELECT count(*) FROM settings')).toBe(rows)
  expect((await up()).status).toBe(200)
}, 60_000)

test('a fetched database is on this machine, and opens', async () => {
  const { value: paths } = await project.run((staging) => staging.database.fetch('copies'))
  expect(readdirSync(join(project.dir, 'copies'))).toHaveLength(2)
  const main = paths.find((path) => path.includes('main')) as string
  expect(execFileSync('/usr/bin/sqlite3', [main, 'PRAGMA integrity_check']).toString().trim()).toBe('ok')
}, 30_000)

test('what was replaced goes by the operator’s word, but for the newest, and not while its replacement is damaged', async () => {
  const folder = join(project.home, '.slipway/pony/backups')
  const kept = () => readdirSync(folder).filter((name) => name.startsWith('replaced-'))
  const of = (name: string) => kept().filter((each) => each.startsWith(`replaced-${name}-`))
  const prune = (options: Parameters<Project['run']>[1] = {}, keep?: number) =>
    project.run((staging) => staging.pruneReplaced(keep === undefined ? {} : { keep }), options)
  const { value: backup } = await project.run((staging) => staging.database.backup())
  await project.run((staging) => staging.database.restore(backup.id))
  await project.run((staging) => staging.database.restore(backup.id))
  sql('ponyr2', 'pony', "INSERT INTO settings VALUES ('newest', 'kept')")
  await project.run((staging) => staging.database.restore(backup.id))
  const [all, productions] = [kept(), of('production')]
  expect(of('staging').length).toBeGreaterThan(3)
  expect(productions).toHaveLength(1)

  await expect(prune({}, 0)).rejects.toMatchObject({ code: 'bad-value', exitCode: 2 })
  const { value: none, events } = await prune({ dryRun: true })
  const listed = told(events).flatMap((text) => /^to be deleted: (\S+)/.exec(text)?.[1] ?? [])
  expect(none).toEqual([])
  expect(listed).toHaveLength(of('staging').length - 1)
  const prompter = {
    interactive: true,
    confirm: async () => true,
    confirmTyped: async () => false,
    text: async () => '',
    password: async () => '',
  }
  await expect(prune({ prompter })).rejects.toMatchObject({ code: 'declined' })
  expect(kept()).toEqual(all)

  const main = join(project.home, 'webapps/ponyr2/shared/db/pony.sqlite')
  const whole = readFileSync(main)
  await project.run((staging) => staging.server.stop())
  truncateSync(main, 8192)
  await expect(prune({ yes: true })).rejects.toMatchObject({
    code: 'database-damaged',
    state: 'Nothing was deleted: what it replaced may be needed.',
  })
  expect(kept()).toEqual(all)
  writeFileSync(main, whole)
  await project.run((staging) => staging.server.start())

  const { value: deleted } = await prune({ yes: true })
  expect(deleted.sort()).toEqual(listed.sort())
  const [newest, ...more] = of('staging')
  expect(more).toEqual([])
  expect(
    execFileSync('/usr/bin/sqlite3', [
      join(folder, newest as string, 'main.sqlite'),
      "SELECT value FROM settings WHERE name = 'newest'",
    ])
      .toString()
      .trim(),
  ).toBe('kept')
  expect(of('production')).toEqual(productions)
  expect((await prune({ yes: true })).value).toEqual([])
  expect((await up()).status).toBe(200)
}, 90_000)
