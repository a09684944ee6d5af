import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { host, local } from '../../../src/hosts/index.ts'
import type { DatabaseAddress } from '../../../src/targets/vps/database/engine.ts'
import { fencedName, keptName, scratchName } from '../../../src/targets/vps/database/engine.ts'
import { passwordFile, postgres } from '../../../src/targets/vps/database/postgres.ts'
import { type Postgres, startPostgres } from '../../servers/postgres.ts'
import { startSshd } from '../../servers/sshd.ts'
import { done, failing, inRun } from './run.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const password = 'pa:ss\\wo"rd $x\'y'
let server: Postgres
let dir: string
let at: DatabaseAddress

beforeAll(async () => {
  server = await startPostgres()
  dir = mkdtempSync('/tmp/slipway-databases-')
  server.sql(`CREATE ROLE pony LOGIN CREATEDB PASSWORD '${password.replaceAll("'", "''")}'`)
  server.sql('CREATE ROLE reporter')
  server.sql("CREATE ROLE poor LOGIN PASSWORD 'poor'")
})

afterAll(async () => {
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

let number = 0

beforeEach(async () => {
  const database = `pony${++number}`
  const credentials = join(dir, 'pgpass')
  at = { kind: 'postgres', database, host: server.address, port: server.port, user: 'pony', credentials }
  await done(() => local().write(credentials, passwordFile(at, password), { mode: 0o600 }))
  server.sql(`CREATE DATABASE ${database} OWNER pony`)
  server.sql(
    `SET ROLE pony;
     CREATE TABLE club (id serial PRIMARY KEY, name text NOT NULL, born timestamptz DEFAULT now(), price float8);
     CREATE TABLE "Odd (name)" (id int, note text);
     CREATE TABLE empty (id int);
     CREATE SCHEMA shop;
     CREATE TABLE shop."order" (id int PRIMARY KEY, club int REFERENCES club);
     CREATE VIEW names AS SELECT name FROM club;
     INSERT INTO club (name, price) SELECT 'pony ' || i || E'\\nline\\ttab \\\\. ', i / 3.0 FROM generate_series(1, 1000) i;
     INSERT INTO "Odd (name)" VALUES (1, 'a'), (2, E'\\\\.'), (3, NULL);
     INSERT INTO shop."order" SELECT i, i FROM generate_series(1, 10) i;
     GRANT SELECT ON club TO reporter;`,
    database,
  )
})

const rows = { 'public.club': 1000, 'public."Odd (name)"': 3, 'public.empty': 0, 'shop."order"': 10 }
const count = (database: string, table = 'club') => Number(server.sql(`SELECT count(*) FROM ${table}`, database))
const names = () => server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'pony%' ORDER BY 1").split('\n')

/** A client that inserts as fast as it can, in transactions of two rows, until it is ended or refused. */
function writer(database: string): { child: ChildProcess; ended: Promise<void>; said(): string } {
  const child = spawn('/bin/sh', [
    '-c',
    `yes "BEGIN; INSERT INTO club (name) VALUES ('w'); INSERT INTO club (name) VALUES ('w'); COMMIT;" |
     PGPASSFILE=${at.credentials} psql -X -q -w -v ON_ERROR_STOP=1 -h ${at.host} -p ${at.port} -U pony -d ${database}`,
  ])
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  return { child, said: () => said, ended: new Promise((resolve) => child.once('close', () => resolve())) }
}

async function until(check: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!check()) {
    if (Date.now() > deadline) throw new Error('it did not come true')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('looking', () => {
  it('tells size, sessions, tables and rights of a database', async () => {
    const facts = await done(() => postgres.inspect(local(), at))
    expect(facts).toMatchObject({ exists: true, accepts: true, canCreate: true, tables: 4, sessions: [] })
    expect(facts.bytes).toBeGreaterThan(5_000_000)
    expect(facts.version).toMatch(/^\d+/)
  })

  it('tells of one that does not exist', async () => {
    const facts = await done(() => postgres.inspect(local(), { ...at, database: 'nowhere' }))
    expect(facts).toMatchObject({ exists: false, bytes: 0, tables: 0 })
  })

  it('knows the same database by another way to it, and no other', async () => {
    const overSocket = { kind: 'postgres' as const, database: at.database, host: server.socket, port: server.port }
    const [one, other] = await done(() =>
      Promise.all([
        postgres.inspect(local(), at),
        postgres.inspect(local(), { ...overSocket, user: server.superuser }),
      ]),
    )
    expect(one.identity).toBe(other.identity)
    expect((await done(() => postgres.inspect(local(), { ...at, database: 'postgres' }))).identity).not.toBe(
      one.identity,
    )
  })

  it('counts rows by table', async () => {
    expect(await done(() => postgres.counts(local(), at))).toEqual(rows)
  })

  it('has checksums that do not depend on the order of rows, and on every value', async () => {
    const before = await done(() => postgres.checksums(local(), at))
    server.sql('UPDATE club SET name = name WHERE id < 500', at.database)
    expect(await done(() => postgres.checksums(local(), at))).toEqual(before)
    server.sql("UPDATE club SET name = name || ' ' WHERE id = 7", at.database)
    const after = await done(() => postgres.checksums(local(), at))
    expect(after['public.club']).not.toBe(before['public.club'])
    expect(after['shop."order"']).toBe(before['shop."order"'])
  })

  it('reads what Django and alembic recorded as applied', async () => {
    expect(await done(() => postgres.migrations(local(), at))).toEqual({ django: [], alembic: [] })
    server.sql(
      `CREATE TABLE django_migrations (id serial, app text, name text, applied timestamptz);
       INSERT INTO django_migrations (app, name, applied) VALUES ('club', '0001_initial', '2026-01-02T03:04:05Z'), ('auth', '0001', '2026-01-02T03:04:06Z');
       CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('ab12');
       GRANT SELECT ON ALL TABLES IN SCHEMA public TO pony`,
      at.database,
    )
    const found = await done(() => postgres.migrations(local(), at))
    expect(found.django.map((each) => `${each.app} ${each.name}`)).toEqual(['club 0001_initial', 'auth 0001'])
    expect(new Date(found.django[0]!.applied).toISOString()).toBe('2026-01-02T03:04:05.000Z')
    expect(found.alembic).toEqual(['ab12'])
  })
})

describe('a dump', () => {
  it('has every row, is private, and can be restored beside', async () => {
    const file = join(dir, 'a dump.pgdump')
    const dump = await done(() => postgres.dump(local(), at, file))
    expect(dump.counts).toEqual(rows)
    expect(dump.bytes).toBe(statSync(file).size)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(dump.sha256).toBe(execFileSync('sha256sum', [file], { encoding: 'utf8' }).split(' ')[0])
    const name = scratchName(at.database, 'one')
    expect(await done(() => postgres.restoreInto(local(), at, file, name))).toEqual(rows)
    const same = await done(() =>
      Promise.all([postgres.checksums(local(), at), postgres.checksums(local(), { ...at, database: name })]),
    )
    expect(same[1]).toEqual(same[0])
    expect(server.sql("SELECT has_table_privilege('reporter', 'club', 'SELECT')", name)).toBe('t')
    expect(Number(server.sql("SELECT nextval('club_id_seq')", name))).toBe(1001)
  })

  it('is one moment of a database that is written to all the while', async () => {
    const writing = writer(at.database)
    try {
      await until(() => count(at.database) > 1200)
      const dump = await done(() => postgres.dump(local(), at, join(dir, 'busy.pgdump')))
      const before = count(at.database)
      await until(() => count(at.database) > before)
      // Two rows a transaction: half of one would be odd.
      expect(dump.counts['public.club']! % 2).toBe(0)
      expect(dump.counts['public.club']).toBeGreaterThan(1200)
      expect(writing.said()).toBe('')
    } finally {
      writing.child.kill()
      process.kill(writing.child.pid!, 0)
      await endSessions(at.database)
      await writing.ended
    }
  })

  it('that was cut short is noticed at every length, though pg_restore lists it', async () => {
    const file = join(dir, 'whole.pgdump')
    await done(() => postgres.dump(local(), at, file))
    const whole = readFileSync(file)
    for (const share of [0.2, 0.7, 0.999]) {
      const cut = join(dir, 'cut.pgdump')
      writeFileSync(cut, whole.subarray(0, Math.floor(whole.length * share)))
      const error = await failing(() => postgres.verifyDump(local(), cut))
      expect(error.code).toBe('database-dump-damaged')
      const restoring = await failing(() => postgres.restoreInto(local(), at, cut, scratchName(at.database, 'cut')))
      expect(restoring.code).toBe('database-dump-damaged')
    }
    expect(names()).not.toContain(scratchName(at.database, 'cut'))
  })

  it('replaces the file of an earlier one only when it is whole', async () => {
    const file = join(dir, 'kept.pgdump')
    writeFileSync(file, 'the earlier one')
    const error = await failing(() => postgres.dump(local(), { ...at, database: 'nowhere' }, file))
    expect(error.code).toBe('database-missing')
    expect(readFileSync(file, 'utf8')).toBe('the earlier one')
    expect(existsSync(`${file}.new`)).toBe(false)
  })

  it('that was interrupted leaves nothing behind', async () => {
    server.sql('INSERT INTO club (name) SELECT repeat(md5(i::text), 40) FROM generate_series(1, 150000) i', at.database)
    const file = join(dir, 'stopped.pgdump')
    const abort = new AbortController()
    const dumping = inRun(() => postgres.dump(local(), at, file), { signal: abort.signal })
    dumping.catch(() => {})
    await until(() => existsSync(`${file}.new`) && statSync(`${file}.new`).size > 1000)
    abort.abort()
    await expect(dumping).rejects.toMatchObject({ code: 'aborted' })
    await until(() => !existsSync(`${file}.new`))
    expect(existsSync(file)).toBe(false)
    await until(() => server.sql(`SELECT count(*) FROM pg_stat_activity WHERE datname = '${at.database}'`) === '0')
  })
})

async function endSessions(database: string): Promise<void> {
  await done(() => postgres.endSessions(local(), { ...at, database }))
}

describe('a copy', () => {
  it('is made while the original is written to, and compared with its moment', async () => {
    const writing = writer(at.database)
    try {
      await until(() => count(at.database) > 1200)
      const name = scratchName(at.database, 'copy')
      const copied = await done(() => postgres.copy({ host: local(), at }, { host: local(), at }, name))
      expect(copied['public.club']! % 2).toBe(0)
      expect(count(name)).toBe(copied['public.club'])
      expect(server.sql("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'club'", name)).toBe('pony')
    } finally {
      writing.child.kill()
      await endSessions(at.database)
      await writing.ended
    }
  })

  it('of a fenced database is made of its files', async () => {
    server.sql(
      `ALTER DATABASE ${at.database} SET search_path TO shop, public; GRANT CONNECT ON DATABASE ${at.database} TO reporter`,
    )
    const fenced = await done(() => postgres.fence(local(), at))
    const name = scratchName(at.database, 'fast')
    const from = { host: local(), at: { ...at, database: fenced } }
    expect(await done(() => postgres.copy(from, { host: local(), at }, name))).toEqual(rows)
    expect(server.sql('SHOW search_path', name)).toBe('shop, public')
    expect(server.sql(`SELECT has_database_privilege('reporter', '${name}', 'CONNECT')`)).toBe('t')
    expect(server.sql(`SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '${name}'`)).toBe('pony')
  })

  it('goes between hosts through this machine, with progress, and nothing of it on a disk here', async () => {
    const sshd = await startSshd()
    const other = await startPostgres()
    try {
      server.sql('INSERT INTO club (name) SELECT md5(i::text) FROM generate_series(1, 50000) i', at.database)
      const to: DatabaseAddress = {
        kind: 'postgres',
        database: 'elsewhere',
        host: other.socket,
        port: other.port,
        user: other.superuser,
      }
      other.sql('CREATE ROLE pony')
      other.sql('CREATE ROLE reporter')
      const name = scratchName('elsewhere', 'over')
      const { value, events } = await inRun(
        () => postgres.copy({ host: local(), at }, { host: host('pony-host'), at: to }, name),
        { options: { sshConfigFile: sshd.sshConfigFile } },
      )
      expect(value['public.club']).toBe(51_000)
      expect(Number(other.sql('SELECT count(*) FROM club', name))).toBe(51_000)
      const progress = events.filter((event) => event.type === 'progress')
      expect(progress.at(-1)!.done).toBeGreaterThan(1_000_000)
      expect(other.sql("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'club'", name)).toBe('pony')

      // The other way round, the reader on the far host; a role that is missing there is named.
      const back = scratchName(at.database, 'back')
      const here = { ...at, host: server.socket, user: server.superuser }
      const { value: returned } = await inRun(
        () =>
          postgres.copy({ host: host('pony-host'), at: { ...to, database: name } }, { host: local(), at: here }, back),
        { options: { sshConfigFile: sshd.sshConfigFile } },
      )
      expect(returned['public.club']).toBe(51_000)
      other.sql(`DROP OWNED BY reporter`, name)
      other.sql('DROP ROLE reporter')
      const failed = inRun(
        () =>
          postgres.copy({ host: local(), at }, { host: host('pony-host'), at: to }, scratchName('elsewhere', 'two')),
        { options: { sshConfigFile: sshd.sshConfigFile } },
      )
      await expect(failed).rejects.toMatchObject({ code: 'database-role-missing' })
      expect(other.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'elsewhere%two'")).toBe('0')
    } finally {
      await other.stop()
      await sshd.stop()
    }
  })

  it('that was interrupted drops what it had made', async () => {
    server.sql('INSERT INTO club (name) SELECT repeat(md5(i::text), 20) FROM generate_series(1, 150000) i', at.database)
    const name = scratchName(at.database, 'killed')
    const abort = new AbortController()
    const copying = inRun(() => postgres.copy({ host: local(), at }, { host: local(), at }, name), {
      signal: abort.signal,
    })
    copying.catch(() => {})
    await until(() => names().includes(name))
    abort.abort()
    await expect(copying).rejects.toMatchObject({ code: 'aborted' })
    await until(() => !names().includes(name))
    expect(count(at.database)).toBe(151_000)
  })

  it('whose programs were all killed is found, and can be dropped', async () => {
    server.sql('INSERT INTO club (name) SELECT repeat(md5(i::text), 20) FROM generate_series(1, 150000) i', at.database)
    const name = scratchName(at.database, 'dead')
    const copying = spawn('/bin/sh', ['-c', postgres.commands.copy(at, at, name).render()], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: dir },
    })
    const gone = new Promise((resolve) => copying.once('exit', resolve))
    await until(() => names().includes(name))
    process.kill(-copying.pid!, 'SIGKILL')
    await gone
    expect(await done(() => postgres.beside(local(), at))).toEqual([{ name, what: 'unfinished' }])
    await done(() => postgres.drop(local(), at, name))
    expect(names()).not.toContain(name)
    expect(count(at.database)).toBe(151_000)
  })

  it('whose dropping was cut short in the server can be dropped again', async () => {
    const name = scratchName(at.database, 'halfgone')
    await done(() => postgres.createEmpty(local(), at, name))
    // What PostgreSQL notes of a DROP that was ended after its first half.
    server.sql(`UPDATE pg_database SET datconnlimit = -2 WHERE datname = '${name}'`)
    await done(() => postgres.drop(local(), at, name))
    expect(names()).not.toContain(name)
  })

  it('is dropped where the server is cleaning it up, and somebody is in it', async () => {
    const name = scratchName(at.database, 'vacuumed')
    await done(() => postgres.copy({ host: local(), at }, { host: local(), at }, name))
    try {
      server.sql("ALTER SYSTEM SET autovacuum_naptime = '1s'")
      server.sql('SELECT pg_reload_conf()')
      // It has work here for minutes.
      const slowly =
        'autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1'
      server.sql(
        `CREATE TABLE dirt WITH (${slowly}) AS SELECT repeat('x', 500) FROM generate_series(1, 50000); DELETE FROM dirt`,
        name,
      )
      const inside = (what: string) =>
        server.sql(`SELECT count(*) FROM pg_stat_activity WHERE datname = '${name}' AND backend_type = '${what}'`) !==
        '0'
      const somebody = spawn('psql', ['-X', '-w', '-h', at.host!, '-p', String(at.port), '-U', 'pony', '-d', name], {
        env: { ...process.env, PGPASSFILE: at.credentials },
        stdio: ['pipe', 'ignore', 'ignore'],
      })
      const gone = new Promise((resolve) => somebody.once('exit', resolve))
      await until(() => inside('client backend') && inside('autovacuum worker'))
      await done(() => postgres.drop(local(), at, name))
      expect(names()).not.toContain(name)
      somebody.stdin.end('SELECT 1;')
      await gone
    } finally {
      server.sql('ALTER SYSTEM RESET autovacuum_naptime')
      server.sql('SELECT pg_reload_conf()')
    }
  })
})

describe('putting another database in place', () => {
  it('keeps the one that was there under a dated name, and ends the sessions in it', async () => {
    const name = scratchName(at.database, 'next')
    await done(() => postgres.copy({ host: local(), at }, { host: local(), at }, name))
    server.sql("INSERT INTO club (name) VALUES ('only in the copy')", name)
    const writing = writer(at.database)
    await until(() => count(at.database) > 1000)
    const kept = keptName(at.database, new Date('2026-11-27T10:15:00Z'))
    await done(() => postgres.swap(local(), at, name, kept))
    await writing.ended
    expect(writing.said()).toMatch(/terminating connection/)
    expect(count(at.database)).toBe(1001)
    expect(count(kept)).toBeGreaterThan(1001)
    expect(await done(() => postgres.beside(local(), at))).toEqual([{ name: kept, what: 'kept' }])
  })

  it('leaves all as it was where it cannot be done', async () => {
    const error = await failing(() => postgres.swap(local(), at, 'nowhere', keptName(at.database, new Date())))
    expect(error.code).toBe('database-missing')
    const name = scratchName(at.database, 'taken')
    await done(() => postgres.createEmpty(local(), at, name))
    const taken = await failing(() => postgres.swap(local(), at, name, 'postgres'))
    expect(taken.code).toBe('database-exists')
    expect(count(at.database)).toBe(1000)
    expect((await done(() => postgres.inspect(local(), at))).accepts).toBe(true)
  })

  it('says so where the sessions of others cannot be ended, and lets everyone in again', async () => {
    const session = spawn('/bin/sh', [
      '-c',
      `exec psql -X -q -h ${server.socket} -p ${server.port} -U ${server.superuser} -d ${at.database}`,
    ])
    const closed = new Promise((resolve) => session.once('close', resolve))
    session.stdin.write('SELECT 1;\n')
    await until(() => server.sql(`SELECT count(*) FROM pg_stat_activity WHERE datname = '${at.database}'`) === '1')
    const error = await failing(() => postgres.fence(local(), at))
    session.stdin.end()
    await closed
    expect(error.code).toBe('database-in-use')
    expect(error.detail).toContain('superuser')
    expect((await done(() => postgres.inspect(local(), at))).accepts).toBe(true)
    expect(count(at.database)).toBe(1000)
  })
})

describe('a fence', () => {
  it('keeps every writer out, and can be taken away; both can be repeated', async () => {
    const writing = writer(at.database)
    await until(() => count(at.database) > 1000)
    const fenced = await done(() => postgres.fence(local(), at))
    await writing.ended
    expect(fenced).toBe(fencedName(at.database))
    const before = count(fenced)
    const again = writer(at.database)
    await again.ended
    expect(again.said()).toContain('does not exist')
    expect(count(fenced)).toBe(before)
    await done(() => postgres.fence(local(), at))
    await done(() => postgres.unfence(local(), at))
    await done(() => postgres.unfence(local(), at))
    expect(count(at.database)).toBe(before)
  })

  it('is taken away only once one whose client was killed has come to its end', async () => {
    const key = Number(/pg_advisory_lock\((\d+)\)/.exec(postgres.commands.fence(at).render())?.[1])
    // Stands for a renaming that goes on in the server.
    const other = server.session()
    const said = new Promise((resolve) => other.stdout.once('data', resolve))
    other.stdin.write(`SELECT pg_advisory_lock(${key});\n`)
    await said
    let over = false
    const unfencing = done(() => postgres.unfence(local(), at)).then(() => {
      over = true
    })
    await until(() => server.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") === '1')
    expect(over).toBe(false)
    other.stdin.end()
    await unfencing
    expect(over).toBe(true)
  })

  it('is whole even when the client that asked for it is killed', async () => {
    const child = spawn('/bin/sh', ['-c', postgres.commands.fence(at).render()], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: dir },
    })
    const gone = new Promise((resolve) => child.once('exit', resolve))
    await until(
      () =>
        server.sql(
          `SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%ALLOW_CONNECTIONS%' AND pid <> pg_backend_pid()`,
        ) !== '0' || names().includes(fencedName(at.database)),
    )
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch {
      // It was faster.
    }
    await gone
    await until(() => server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'slipway'") === '0')
    const fenced = (await done(() => postgres.beside(local(), at))).some(({ what }) => what === 'fenced')
    const database = fenced ? fencedName(at.database) : at.database
    expect((await done(() => postgres.inspect(local(), { ...at, database }))).accepts).toBe(true)
    expect(count(database)).toBe(1000)
  })
})

describe('what can be wrong', () => {
  const cases: [string, (at: DatabaseAddress) => DatabaseAddress, string][] = [
    ['a wrong password', (good) => ({ ...good, user: 'poor' }), 'database-password'],
    ['no password', ({ credentials: _, ...good }) => good, 'database-password'],
    ['a server that does not listen', (good) => ({ ...good, port: 1 }), 'database-unreachable'],
    ['a socket that is not there', (good) => ({ ...good, host: '/nowhere' }), 'database-unreachable'],
    ['no such database', (good) => ({ ...good, database: 'nowhere' }), 'database-missing'],
  ]
  it.each(cases)('%s', async (_name, wrong, code) => {
    const bad = wrong(at)
    if (bad.user === 'poor') writeFileSync(at.credentials!, '*:*:*:*:not this\n')
    const error = await failing(() => postgres.dump(local(), bad, join(dir, 'never')))
    expect(error.code).toBe(code)
    expect(error.next).toBeTruthy()
    expect(error.state).toBe(`${bad.database} is as it was, and goes on.`)
    expect(existsSync(join(dir, 'never'))).toBe(false)
  })

  it('no right to create databases, no right to read a table', async () => {
    writeFileSync(at.credentials!, '*:*:*:poor:poor\n')
    const poor = { ...at, user: 'poor' }
    const create = await failing(() => postgres.createEmpty(local(), poor, scratchName(at.database, 'x')))
    expect(create.code).toBe('database-cannot-create')
    expect(create.next).toContain('CREATEDB')
    const dump = await failing(() => postgres.dump(local(), poor, join(dir, 'never')))
    expect(dump.code).toBe('database-denied')
  })

  it('no client on the host', async () => {
    const error = await failing(() => postgres.counts(local().env({ PATH: '/nowhere' }), at))
    expect(error.code).toBe('database-tools-missing')
    expect(error.next).toContain('postgresql-client')
  })

  it('an extension that the server lacks', async () => {
    const sql = join(dir, 'extension.sql')
    writeFileSync(sql, 'CREATE EXTENSION postgis_of_nowhere;')
    const error = await failing(() => postgres.runSql(local(), at, readFileSync(sql, 'utf8')))
    expect(error.code).toBe('database-extension-missing')
  })

  it('a name that is taken, and what was not made by this tool', async () => {
    const error = await failing(() => postgres.createEmpty(local(), at, at.database))
    expect(error.code).toBe('database-exists')
    const drop = await failing(() => postgres.drop(local(), at, at.database))
    expect(drop.code).toBe('database-not-ours')
    expect(count(at.database)).toBe(1000)
  })

  it.runIf(process.getuid?.() === 0)('a full disk', async () => {
    const small = join(dir, 'small')
    execFileSync('mkdir', [small])
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', small])
    try {
      server.sql('INSERT INTO club (name) SELECT md5(random()::text) FROM generate_series(1, 50000) i', at.database)
      const error = await failing(() => postgres.dump(local(), at, join(small, 'dump')))
      expect(error.code).toBe('database-disk-full')
      expect(existsSync(join(small, 'dump.new'))).toBe(false)
    } finally {
      execFileSync('umount', [small])
    }
  })
})

describe('SQL', () => {
  it('is run whole or not at all', async () => {
    const error = await failing(() =>
      postgres.runSql(local(), at, 'DELETE FROM empty; DELETE FROM "Odd (name)"; SELEC 1;'),
    )
    expect(error.detail).toContain('syntax error')
    expect(count(at.database, '"Odd (name)"')).toBe(3)
    await done(() => postgres.runSql(local(), at, 'DELETE FROM "Odd (name)";'))
    expect(count(at.database, '"Odd (name)"')).toBe(0)
  })

  it('has a shell that takes what is piped into it, and whose command line holds no password', () => {
    const said = execFileSync('/bin/sh', ['-c', postgres.shell(at).render()], { input: 'SELECT 40 + 2;\n' }).toString()
    expect(said).toMatch(/\b42\b/)
    expect(postgres.shell(at).render()).not.toContain('pa:ss')
  })

  it('holds changes back in a dry run', async () => {
    await expect(inRun(() => postgres.fence(local(), at), { options: { dryRun: true } })).rejects.toMatchObject({
      code: 'depends-on-stub',
    })
    expect(count(at.database)).toBe(1000)
  })
})
