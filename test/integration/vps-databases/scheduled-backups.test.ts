/** Backups that the host makes by itself: the crontab's own line, in cron's bare environment, on real servers. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { type Mariadb, startMariadb } from '../../servers/mariadb.ts'
import { type Postgres, startPostgres } from '../../servers/postgres.ts'
import { createProject, type Project } from '../vps/host.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const password = "night's-password-of-a-test"
let postgres: Postgres
let mariadb: Mariadb
let project: Project

beforeAll(async () => {
  ;[postgres, mariadb, project] = await Promise.all([startPostgres(), startMariadb(), createProject()])
  const literal = password.replaceAll("'", "''")
  postgres.sql(`CREATE ROLE app LOGIN CREATEDB PASSWORD '${literal}'`)
  postgres.sql('CREATE DATABASE pony OWNER app')
  postgres.sql('SET ROLE app; CREATE TABLE club (id int); INSERT INTO club VALUES (1), (2), (3)', 'pony')
  mariadb.sql(`CREATE USER app@'%' IDENTIFIED BY '${literal}'; GRANT ALL ON \`pony%\`.* TO app@'%'`)
  mariadb.sql('CREATE DATABASE pony_log')
  mariadb.sql('CREATE TABLE event (id int); INSERT INTO event VALUES (1), (2)', 'pony_log')
  const word = encodeURIComponent(password)
  project.edit(
    '.env',
    (text) =>
      `${text}DATABASE_URL=postgres://app:${word}@${postgres.address}:${postgres.port}/pony\nLOG_URL=mysql://app:${word}@${mariadb.address}:${mariadb.port}/pony_log\n`,
  )
  project.configure((text) =>
    text
      .replace('main = sqlite db/pony.sqlite\n', 'main = postgres secret:DATABASE_URL\nlog = mysql secret:LOG_URL\n')
      .replace(/^(init_db|migrate|migrations) = .*\n( {2}reverse.*\n)?/gm, '')
      .replace('[staging]\n', '[staging]\nbackups = 30 2 * * *\nkeep_backups = 2\n')
      .replace(
        '[app.logs]',
        `[app.hooks]\nafter_backup = echo "$SLIPWAY_BACKUP" >>"$SLIPWAY_SHARED/sent"\n\n[app.logs]`,
      ),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
  })
  execFileSync('/usr/bin/sqlite3', [queue(), 'CREATE TABLE job (id); INSERT INTO job VALUES (1)'])
  writeFileSync(crontabFile(), 'MAILTO=someone\n5 4 * * * theirs # 100%\n')
  await project.run((staging) => staging.schedule.push())
})
afterAll(async () => {
  await Promise.all([project?.stop(), postgres?.stop(), mariadb?.stop()])
})

const queue = () => join(project.release, 'shared/db/queue.sqlite')
const crontabFile = () => join(project.home, '../crontab')
const backups = () => join(project.home, '.slipway/pony/backups')
const log = () => readFileSync(join(project.release, 'logs/backup.out'), 'utf8')
const list = async () => (await project.run((staging) => staging.database.backups())).value

/** What cron does with the line: its environment, its shell, `\%` as a percent sign. Resolves with the exit status. */
function night(): number | null {
  const line = readFileSync(crontabFile(), 'utf8')
    .split('\n')
    .find((each) => each.startsWith('30 2 * * * ')) as string
  const command = line.slice('30 2 * * * '.length).replaceAll('\\%', '%')
  const env = { HOME: project.home, LOGNAME: 'pony', SHELL: '/bin/sh', PATH: '/usr/bin:/bin' }
  return spawnSync('/bin/sh', ['-c', command], { cwd: project.home, env }).status
}

it('has a line in the crontab, which leaves the others alone, and pushing it again changes nothing', async () => {
  expect(readFileSync(crontabFile(), 'utf8')).toMatch(/^MAILTO=someone\n5 4 \* \* \* theirs # 100%\n# pony staging/)
  const { value } = await project.run((staging) => staging.schedule.list())
  expect(value).toEqual([{ name: 'backups', when: '30 2 * * *', command: `${project.release}/bin/backup` }])
  const { value: changed } = await project.run((staging) => staging.schedule.push())
  expect(changed).toBe(false)
  const script = readFileSync(join(project.release, 'bin/backup'), 'utf8')
  expect(script).not.toContain(password)
  expect(statSync(join(project.release, '.slipway/credentials/main.pgpass')).mode & 0o777).toBe(0o600)
})

it('backs up every database, is listed, verified and restored like any other, and is handed to the hook', async () => {
  expect(night()).toBe(0)
  const [backup, ...others] = await list()
  expect(others).toEqual([])
  expect(backup).toMatchObject({ databases: ['main', 'log', 'queue'], verified: true, scheduled: true })
  const id = backup?.id as string
  expect(readFileSync(join(project.release, 'shared/sent'), 'utf8')).toBe(`${join(backups(), id)}\n`)
  expect(log()).toContain(`: ${id}\n`)
  await project.run((staging) => staging.database.verify(id))
  postgres.sql('DELETE FROM club', 'pony')
  mariadb.sql('DELETE FROM event', 'pony_log')
  execFileSync('/usr/bin/sqlite3', [queue(), 'DELETE FROM job'])
  await project.run((staging) => staging.database.restore(id))
  expect(postgres.sql('SELECT count(*) FROM club', 'pony')).toBe('3')
  expect(mariadb.sql('SELECT count(*) FROM event', 'pony_log')).toBe('2')
  expect(execFileSync('/usr/bin/sqlite3', [queue(), 'SELECT count(*) FROM job']).toString()).toBe('1\n')
})

it('is fetched to this machine, of every kind of server, and each copy fills an empty database here', async () => {
  const { value: paths, events } = await project.run((staging) => staging.database.fetch('copies'))
  expect(readdirSync(join(project.dir, 'copies')).sort()).toEqual(paths.map((path) => basename(path)).sort())
  expect(JSON.stringify(events)).not.toContain(password)
  const of = (name: string) => paths.find((path) => basename(path).startsWith(`staging-${name}-`)) as string
  expect(paths).toHaveLength(3)
  postgres.sql('CREATE DATABASE here')
  const server = ['-h', postgres.socket, '-p', String(postgres.port), '-U', postgres.superuser]
  execFileSync('pg_restore', [...server, '--exit-on-error', '--no-owner', '-d', 'here', of('main')])
  expect(postgres.sql('SELECT count(*) FROM club', 'here')).toBe('3')
  mariadb.sql('CREATE DATABASE here')
  mariadb.sql(gunzipSync(readFileSync(of('log'))).toString(), 'here')
  expect(mariadb.sql('SELECT count(*) FROM event', 'here')).toBe('2')
  expect(execFileSync('/usr/bin/sqlite3', [of('queue'), 'SELECT count(*) FROM job']).toString()).toBe('1\n')
  // It was taken for this alone.
  const { id } = (await list())[0] as { id: string }
  rmSync(join(backups(), id), { recursive: true })
})

it('keeps the newest two of its own and the newest two of the others', async () => {
  for (const id of ['20200101-000000-aaaa', '20200102-000000-aaaa', '20200103-000000-aaaa']) {
    const folder = join(backups(), `staging-${id}`)
    mkdirSync(folder)
    const manifest = { id: `staging-${id}`, at: '2020', deployment: 'staging', databases: {}, verified: true }
    writeFileSync(join(folder, 'manifest.json'), `${JSON.stringify(manifest)}\n`)
  }
  const before = await list()
  expect(night()).toBe(0)
  expect(night()).toBe(0)
  const now = await list()
  expect(now.filter((each) => each.scheduled)).toHaveLength(2)
  expect(now.some((each) => each.id === before.find((one) => one.scheduled)?.id)).toBe(false)
  // One was taken before the restore.
  const others = before.filter((each) => !each.scheduled)
  expect(others).toHaveLength(4)
  expect(now.filter((each) => !each.scheduled)).toEqual(others.slice(0, 2))
})

it('that fails says so in status until one goes well, and leaves the backups as they are', async () => {
  const before = await list()
  mariadb.sql('RENAME TABLE event TO hidden', 'pony_log')
  mariadb.sql('DROP DATABASE pony_log')
  expect(night()).not.toBe(0)
  expect(log()).toMatch(/failed: copy log\n$/)
  expect(await list()).toEqual(before)
  expect(readdirSync(backups()).filter((name) => name.includes('.new'))).toEqual([])
  const { value: status } = await project.run((staging) => staging.status())
  expect(status.warnings.join('\n')).toMatch(
    /the host's own backup of \S+ failed: copy log: slipway: no database pony_log/,
  )
  expect(status.databases).toMatchObject([
    { name: 'main', ok: true, bytes: expect.any(Number) },
    { name: 'log', ok: false, detail: 'there is no pony_log on its server' },
    { name: 'queue', ok: true },
  ])
  mariadb.sql('CREATE DATABASE pony_log')
  mariadb.sql('CREATE TABLE event (id int)', 'pony_log')
  expect(night()).toBe(0)
  const { value: after } = await project.run((staging) => staging.status())
  expect(after.warnings.join('\n')).not.toContain('backup')
  expect(after.databases).toMatchObject([{ ok: true }, { ok: true }, { ok: true }])
})

it('leaves a backup that the hook could not send, and is not made in another role, nor twice at once', async () => {
  rmSync(join(project.release, 'shared/sent'))
  mkdirSync(join(project.release, 'shared/sent'))
  const before = (await list())[0]?.id
  expect(night()).not.toBe(0)
  expect(log()).toMatch(/failed: after backup: echo/)
  const [newest] = await list()
  expect(newest?.id).not.toBe(before)
  await project.run((staging) => staging.database.verify(newest?.id))
  await expect(project.run((staging) => staging.database.backup())).rejects.toMatchObject({
    code: 'after-backup',
    state: expect.stringMatching(/^The backup staging-\S+ is there, and whole\.$/),
  })
  const holder = join(backups(), '.staging.lock')
  const busy = spawnSync('flock', [holder, '/bin/sh', join(project.release, 'bin/backup')], { env: { HOME: '/' } })
  expect(busy.status).toBe(75)
  const roles = join(project.home, '.slipway/pony/roles.json')
  const kept = readFileSync(roles, 'utf8')
  const count = (await list()).length
  writeFileSync(roles, '{"staging":"ponyr3"}\n')
  expect(night()).toBe(0)
  writeFileSync(roles, kept)
  expect(await list()).toHaveLength(count)
})

it('whose newest copy is cut short is found out by a test restore, and an unreachable server is named in status', async () => {
  const [newest] = await list()
  const file = join(backups(), newest?.id as string, 'queue.sqlite')
  truncateSync(file, 100)
  await expect(project.run((staging) => staging.database.verify(newest?.id))).rejects.toMatchObject({
    code: 'bad-backup',
  })
  expect(existsSync(file)).toBe(true)
  await mariadb.stop()
  const { value: status } = await project.run((staging) => staging.status())
  expect(status.databases[1]).toMatchObject({
    name: 'log',
    ok: false,
    detail: expect.stringContaining('does not answer'),
  })
  expect(status.databases[0]).toMatchObject({ name: 'main', ok: true })
})
