import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { host, local } from '../../../src/hosts/index.ts'
import type { Command } from '../../../src/shell/index.ts'
import type { DatabaseAddress } from '../../../src/targets/vps/database/engine.ts'
import { fencedName, keptName, scratchName } from '../../../src/targets/vps/database/engine.ts'
import { mysql, passwordFile } from '../../../src/targets/vps/database/mysql.ts'
import { filled } from '../../../src/targets/vps/database/mysql-commands.ts'
import { cutAway } from '../../servers/cut.ts'
import { type Mariadb, startMariadb } from '../../servers/mariadb.ts'
import { startSshd } from '../../servers/sshd.ts'
import { done, failing, inRun } from './run.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const password = 'pa#ss\\wo"rd $x\'y'
let server: Mariadb
let dir: string
let at: DatabaseAddress

beforeAll(async () => {
  server = await startMariadb()
  dir = mkdtempSync('/tmp/slipway-databases-')
  server.sql(
    `CREATE USER pony@'%' IDENTIFIED BY '${password.replaceAll('\\', '\\\\').replaceAll("'", "''")}';
     GRANT ALL ON \`pony%\`.* TO pony@'%'; CREATE USER poor@'%' IDENTIFIED BY 'poor'`,
  )
})

afterAll(async () => {
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
})

let number = 0

beforeEach(async () => {
  const database = `pony${++number}`
  const credentials = join(dir, 'client.cnf')
  at = { kind: 'mysql', database, host: server.address, port: server.port, user: 'pony', credentials }
  await done(() => local().write(credentials, passwordFile(at, password), { mode: 0o600 }))
  server.sql(`CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`)
  await done(() =>
    mysql.runSql(
      local(),
      at,
      `CREATE TABLE club (id int AUTO_INCREMENT PRIMARY KEY, name text NOT NULL, picture blob, price double);
       CREATE TABLE \`Odd (na\`\`me)\` (id int, note text);
       CREATE TABLE empty (id int);
       CREATE TABLE \`order\` (id int PRIMARY KEY, club int, FOREIGN KEY (club) REFERENCES club (id));
       CREATE TABLE log (id int AUTO_INCREMENT PRIMARY KEY, what text);
       CREATE VIEW names AS SELECT name FROM club;
       INSERT INTO club (name, picture, price) SELECT CONCAT('pony (', seq, '), ', '\\n(''),\\t\\\\'), UNHEX('00ff270a5c'), seq / 3 FROM seq_1_to_1000;
       INSERT INTO \`Odd (na\`\`me)\` VALUES (1, 'a'), (2, '-- Dump completed'), (3, NULL);
       INSERT INTO \`order\` SELECT seq, seq FROM seq_1_to_10;`,
    ),
  )
})

const rows = { club: 1000, 'Odd (na`me)': 3, empty: 0, order: 10, log: 0 }
const count = (database: string, table = 'club') => Number(server.sql(`SELECT COUNT(*) FROM \`${table}\``, database))
const isFenced = () =>
  server.sql(`SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '${fencedName(at.database)}'`) !== '0'
const names = () => server.sql("SHOW DATABASES LIKE 'pony%'").split('\n')

/** With a trigger, a routine and an event, which stand in the way of renaming tables. */
async function withMore(): Promise<void> {
  await done(() =>
    mysql.runSql(
      local(),
      at,
      `CREATE TRIGGER logged AFTER INSERT ON \`order\` FOR EACH ROW INSERT INTO log (what) VALUES (NEW.id);
       CREATE PROCEDURE clubs() SELECT COUNT(*) FROM club;
       CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM log;`,
    ),
  )
}

const more = (database: string) =>
  server.sql(
    `SELECT CONCAT('trigger ', trigger_name) FROM information_schema.triggers WHERE trigger_schema = '${database}'
     UNION SELECT CONCAT('routine ', routine_name) FROM information_schema.routines WHERE routine_schema = '${database}'
     UNION SELECT CONCAT('event ', event_name) FROM information_schema.events WHERE event_schema = '${database}'
     UNION SELECT CONCAT('view ', table_name) FROM information_schema.views WHERE table_schema = '${database}' ORDER BY 1`,
  )
const allMore = 'event nightly\nroutine clubs\ntrigger logged\nview names'

/** Beside `withMore`, triggers that go by their order, not by their names, and one that is long. */
async function withOrder(): Promise<void> {
  await withMore()
  await done(() =>
    mysql.runSql(
      local(),
      at,
      `CREATE TRIGGER after_it AFTER INSERT ON \`order\` FOR EACH ROW FOLLOWS logged INSERT INTO log (what) VALUES ('second');
       CREATE TRIGGER priced BEFORE UPDATE ON club FOR EACH ROW SET NEW.name = COALESCE(NEW.name, '${"it''s ä\\\\n ".repeat(10_000)}');
       CREATE VIEW expensive AS SELECT name FROM names WHERE name LIKE '%1%'`,
    ),
  )
}

/** All that is no table, as it is defined. */
const definitions = (database: string) =>
  server
    .sql(
      `SELECT 'trigger', trigger_name, event_object_table, action_timing, event_manipulation, action_order, LEFT(action_statement, 100), MD5(action_statement), definer, sql_mode FROM information_schema.triggers WHERE trigger_schema = '${database}' ORDER BY 2;
       SELECT 'routine', routine_name, routine_definition, definer, sql_mode FROM information_schema.routines WHERE routine_schema = '${database}' ORDER BY 2;
       SELECT 'event', event_name, event_definition, interval_value, status, definer FROM information_schema.events WHERE event_schema = '${database}' ORDER BY 2;
       SELECT 'view', table_name, view_definition, definer, security_type FROM information_schema.views WHERE table_schema = '${database}' ORDER BY 2`,
    )
    .replaceAll(`\`${database}\``, '`here`')

/** Runs a program whose whole group gets `signal` when it is about to call the client for the nth time; returns the number of its calls. */
async function runUntil(command: Command, signal = 'KILL', nth = 0): Promise<number> {
  const bin = mkdtempSync(join(dir, 'bin-'))
  const real = execFileSync('which', ['mariadb'], { encoding: 'utf8' }).trim()
  writeFileSync(
    join(bin, 'mariadb'),
    `#!/bin/sh\necho >>${bin}/calls\n[ "$(wc -l <${bin}/calls)" != ${nth} ] || { kill -${signal} 0; exit 1; }\nexec ${real} "$@"\n`,
    { mode: 0o755 },
  )
  writeFileSync(join(bin, 'calls'), '')
  const child = spawn('/bin/sh', ['-c', command.render()], {
    detached: true,
    stdio: 'ignore',
    env: { ...process.env, TMPDIR: dir, PATH: `${bin}:${process.env['PATH']}` },
  })
  await new Promise((resolve) => child.once('close', resolve))
  return readFileSync(join(bin, 'calls'), 'utf8').length
}

/** Six of the last calls of a program that makes so many. */
const lastCalls = (calls: number, apart = 1) => Array.from({ length: 6 }, (_, back) => calls - back * apart)

/** A client that inserts as fast as it can, in transactions of two rows, until it is ended or refused. */
function writer(database: string): { child: ChildProcess; ended: Promise<void>; said(): string } {
  const child = spawn('/bin/sh', [
    '-c',
    `yes "BEGIN; INSERT INTO club (name) VALUES ('w'); INSERT INTO club (name) VALUES ('w'); COMMIT;" |
     exec mariadb --defaults-extra-file=${at.credentials} -h ${at.host} -P ${at.port} -u pony --database=${database}`,
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

/** A transaction of root's that has a table in use until it is let go. */
async function hold(table: string): Promise<() => Promise<unknown>> {
  const session = spawn('mariadb', ['--no-defaults', '-S', server.socket, '-u', 'root', at.database])
  const closed = new Promise((resolve) => session.once('close', resolve))
  session.stdin.write(`BEGIN; UPDATE ${table} SET id = id; SELECT SLEEP(60);\n`)
  await until(
    () => server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60)'") === '1',
  )
  return () => {
    session.kill('SIGKILL')
    return closed
  }
}

const endSessions = (database: string) => done(() => mysql.endSessions(local(), { ...at, database }))

describe('looking', () => {
  it('tells size, sessions, tables and rights of a database, and of one that is not there', async () => {
    const facts = await done(() => mysql.inspect(local(), at))
    expect(facts).toMatchObject({ exists: true, accepts: true, canCreate: true, tables: 5, sessions: [] })
    expect(facts.bytes).toBeGreaterThan(50_000)
    const none = await done(() => mysql.inspect(local(), { ...at, database: 'pony_nowhere' }))
    expect(none).toMatchObject({ exists: false, bytes: 0, tables: 0 })
    expect(none.identity).not.toBe(facts.identity)
    const root: DatabaseAddress = { kind: 'mysql', database: at.database, host: server.socket, user: 'root' }
    expect((await done(() => mysql.inspect(local(), root))).identity).toBe(facts.identity)
  })

  it('counts rows by table, and has checksums that tell every value', async () => {
    expect(await done(() => mysql.counts(local(), at))).toEqual(rows)
    const before = await done(() => mysql.checksums(local(), at))
    server.sql("UPDATE club SET name = CONCAT(name, ' ') WHERE id = 7", at.database)
    const after = await done(() => mysql.checksums(local(), at))
    expect(after['club']).not.toBe(before['club'])
    expect(after['order']).toBe(before['order'])
    expect(Object.keys(after).sort()).toEqual(Object.keys(rows).sort())
  })

  it('reads what Django and alembic recorded as applied', async () => {
    expect(await done(() => mysql.migrations(local(), at))).toEqual({ django: [], alembic: [] })
    server.sql(
      `CREATE TABLE django_migrations (id int AUTO_INCREMENT PRIMARY KEY, app text, name text, applied datetime(6));
       INSERT INTO django_migrations (app, name, applied) VALUES ('club', '0001_initial', '2026-01-02 03:04:05'), ('auth', '0001', '2026-01-02 03:04:06');
       CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('ab12')`,
      at.database,
    )
    const found = await done(() => mysql.migrations(local(), at))
    expect(found.django.map((each) => `${each.app} ${each.name}`)).toEqual(['club 0001_initial', 'auth 0001'])
    expect(new Date(found.django[0]!.applied).toISOString()).toBe('2026-01-02T03:04:05.000Z')
    expect(found.alembic).toEqual(['ab12'])
  })
})

describe('a dump', () => {
  it('has every row, is private, and can be restored beside with all that belongs to it', async () => {
    await withMore()
    const file = join(dir, 'a dump.sql.gz')
    const dump = await done(() => mysql.dump(local(), at, file))
    expect(dump.counts).toEqual(rows)
    expect(dump.bytes).toBe(statSync(file).size)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(dump.sha256).toBe(execFileSync('sha256sum', [file], { encoding: 'utf8' }).split(' ')[0])
    const name = scratchName(at.database, 'one')
    expect(await done(() => mysql.restoreInto(local(), at, file, name))).toEqual(rows)
    const [one, other] = await done(() =>
      Promise.all([mysql.checksums(local(), at), mysql.checksums(local(), { ...at, database: name })]),
    )
    expect(other).toEqual(one)
    expect(more(name)).toBe(allMore)
    expect(
      server.sql(`SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = '${name}'`),
    ).toBe('utf8mb4_bin')
  })

  it('is counted the same where all rows of a table are in one line, as MySQL writes them', async () => {
    const file = join(dir, 'lines.sql.gz')
    await done(() => mysql.dump(local(), at, file))
    const text = gunzipSync(readFileSync(file)).toString('latin1')
    expect(text).toMatch(/VALUES\n\(/)
    writeFileSync(
      file,
      gzipSync(Buffer.from(text.replaceAll('VALUES\n(', 'VALUES (').replaceAll('),\n(', '),('), 'latin1')),
    )
    expect((await done(() => mysql.verifyDump(local(), file))).counts).toEqual(rows)
  })

  it('is one moment of a database that is written to all the while', async () => {
    const writing = writer(at.database)
    try {
      await until(() => count(at.database) > 1200)
      const dump = await done(() => mysql.dump(local(), at, join(dir, 'busy.sql.gz')))
      const before = count(at.database)
      await until(() => count(at.database) > before)
      expect(dump.counts['club']! % 2).toBe(0)
      expect(dump.counts['club']).toBeGreaterThan(1200)
      expect(writing.said()).toBe('')
    } finally {
      writing.child.kill()
      await endSessions(at.database)
      await writing.ended
    }
  })

  it('that was cut short is noticed, in the compressed file and in its text', async () => {
    const file = join(dir, 'whole.sql.gz')
    await done(() => mysql.dump(local(), at, file))
    const whole = readFileSync(file)
    const text = gunzipSync(whole)
    const cuts = [
      whole.subarray(0, Math.floor(whole.length * 0.6)),
      whole.subarray(0, whole.length - 3),
      gzipSync(text.subarray(0, text.lastIndexOf('-- Dump completed'))),
    ]
    for (const cut of cuts) {
      const short = join(dir, 'cut.sql.gz')
      writeFileSync(short, cut)
      expect((await failing(() => mysql.verifyDump(local(), short))).code).toBe('database-dump-damaged')
      const error = await failing(() => mysql.restoreInto(local(), at, short, scratchName(at.database, 'cut')))
      expect(error.code).toBe('database-dump-damaged')
    }
    expect(names()).not.toContain(scratchName(at.database, 'cut'))
  })

  it('is refused where a table has no transactions', async () => {
    server.sql('CREATE TABLE old (id int) ENGINE=MyISAM', at.database)
    const file = join(dir, 'never.sql.gz')
    const error = await failing(() => mysql.dump(local(), at, file))
    expect(error.code).toBe('database-not-transactional')
    expect(error.message).toContain('old (MyISAM)')
    expect(existsSync(file)).toBe(false)
  })

  it('that was interrupted leaves nothing behind', async () => {
    server.sql('INSERT INTO club (name) SELECT REPEAT(MD5(seq), 60) FROM seq_1_to_60000', at.database)
    const file = join(dir, 'stopped.sql.gz')
    const abort = new AbortController()
    const dumping = inRun(() => mysql.dump(local(), at, file), { signal: abort.signal })
    dumping.catch(() => {})
    await until(() => existsSync(`${file}.new`) && statSync(`${file}.new`).size > 1000)
    abort.abort()
    await expect(dumping).rejects.toMatchObject({ code: 'aborted' })
    await until(() => !existsSync(`${file}.new`))
    expect(existsSync(file)).toBe(false)
  })
})

describe('a copy', () => {
  it('is made while the original is written to, and compared with its moment', async () => {
    const writing = writer(at.database)
    try {
      await until(() => count(at.database) > 1200)
      const name = scratchName(at.database, 'copy')
      const copied = await done(() => mysql.copy({ host: local(), at }, { host: local(), at }, name))
      expect(copied['club']! % 2).toBe(0)
      expect(count(name)).toBe(copied['club'])
    } finally {
      writing.child.kill()
      await endSessions(at.database)
      await writing.ended
    }
  })

  it('goes between hosts through this machine, with progress, and is dropped where it fails', async () => {
    const sshd = await startSshd()
    const other = await startMariadb()
    try {
      await withMore()
      server.sql('INSERT INTO club (name) SELECT MD5(seq) FROM seq_1_to_50000', at.database)
      const to: DatabaseAddress = { kind: 'mysql', database: 'elsewhere', host: other.socket, user: 'root' }
      const name = scratchName('elsewhere', 'over')
      const { value, events } = await inRun(
        () => mysql.copy({ host: local(), at }, { host: host('pony-host'), at: to }, name),
        { options: { sshConfigFile: sshd.sshConfigFile } },
      )
      expect(value['club']).toBe(51_000)
      expect(Number(other.sql('SELECT COUNT(*) FROM club', name))).toBe(51_000)
      expect(events.filter((event) => event.type === 'progress').at(-1)!.done).toBeGreaterThan(500_000)
      const missing = inRun(
        () =>
          mysql.copy(
            { host: host('pony-host'), at: { ...to, database: 'nowhere' } },
            { host: local(), at },
            scratchName(at.database, 'none'),
          ),
        { options: { sshConfigFile: sshd.sshConfigFile } },
      )
      await expect(missing).rejects.toMatchObject({ code: 'database-missing' })
      // A line that is lost for good: whatever has come is dropped by the program over there.
      const { line, sshConfigFile } = await cutAway(sshd.sshConfigFile, dir)
      const run = createRun({ options: { sshConfigFile } })
      run.bus.on((event) => event.type === 'progress' && event.done > 200_000 && line.cut())
      const half = scratchName('elsewhere', 'half')
      const lost = withRun(run, () => mysql.copy({ host: local(), at }, { host: host('pony-host'), at: to }, half))
      await expect(lost).rejects.toMatchObject({ code: expect.stringMatching(/^connection-lost/) })
      await withRun(run, () => run.finish())
      line.close()
      await until(() => !other.sql('SHOW DATABASES').includes(half))
      expect(names()).not.toContain(scratchName(at.database, 'none'))
    } finally {
      await other.stop()
      await sshd.stop()
    }
  })

  it('whose programs were all killed is found, and can be dropped', async () => {
    server.sql('INSERT INTO club (name) SELECT REPEAT(MD5(seq), 20) FROM seq_1_to_60000', at.database)
    const name = scratchName(at.database, 'dead')
    const copying = spawn('/bin/sh', ['-c', mysql.commands.copy(at, at, name).render()], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: dir },
    })
    const gone = new Promise((resolve) => copying.once('exit', resolve))
    await until(() => names().includes(name))
    process.kill(-copying.pid!, 'SIGKILL')
    await gone
    expect(await done(() => mysql.beside(local(), at))).toEqual([{ name, what: 'unfinished' }])
    await done(() => mysql.drop(local(), at, name))
    expect(names()).not.toContain(name)
    expect(count(at.database)).toBe(61_000)
  })
})

describe('putting another database in place', () => {
  it('keeps the one that was there, with all that belongs to it, under a dated name', async () => {
    await withMore()
    const name = scratchName(at.database, 'next')
    await done(() => mysql.copy({ host: local(), at }, { host: local(), at }, name))
    server.sql("INSERT INTO club (name) VALUES ('only in the copy')", name)
    const kept = keptName(at.database, new Date('2026-11-27T10:15:00Z'))
    await done(() => mysql.swap(local(), at, name, kept))
    expect(count(at.database)).toBe(1001)
    expect(count(kept)).toBe(1000)
    expect(more(at.database)).toBe(allMore)
    expect(more(kept)).toBe(allMore)
    expect(await done(() => mysql.beside(local(), at))).toEqual([{ name: kept, what: 'kept' }])
    // Foreign keys, triggers and views hold within the database that has the name now.
    server.sql('INSERT INTO `order` VALUES (500, 500)', at.database)
    expect(count(at.database, 'log')).toBe(1)
    expect(count(kept, 'log')).toBe(0)
    expect(() => server.sql('INSERT INTO `order` VALUES (501, 99999)', at.database)).toThrow(/foreign key/i)
    expect(count(at.database, 'names')).toBe(1001)
  })

  it('goes through while others write, who then write to the new one', async () => {
    const name = scratchName(at.database, 'busy')
    await done(() => mysql.copy({ host: local(), at }, { host: local(), at }, name))
    const writing = writer(at.database)
    await until(() => count(at.database) > 1010)
    const kept = keptName(at.database, new Date('2026-11-27T10:16:00Z'))
    await done(() => mysql.swap(local(), at, name, kept))
    writing.child.kill()
    await writing.ended
    expect(count(kept) % 2).toBe(0)
    expect(count(kept)).toBeGreaterThan(1000)
  })

  it('leaves all as it was where the new one is missing, the name is taken, or a transaction holds on', async () => {
    await withMore()
    const kept = keptName(at.database, new Date())
    expect((await failing(() => mysql.swap(local(), at, scratchName(at.database, 'none'), kept))).code).toBe(
      'database-missing',
    )
    const name = scratchName(at.database, 'taken')
    await done(() => mysql.copy({ host: local(), at }, { host: local(), at }, name))
    const taken = await failing(() => mysql.swap(local(), at, name, at.database))
    expect(taken.code).toBe('database-not-empty')
    expect(count(at.database)).toBe(1000)
    expect(more(at.database)).toBe(allMore)
    // The triggers are off by the time that the tables cannot be moved. Root's sessions can be neither seen nor ended by pony.
    const letGo = await hold('empty')
    const error = await failing(() => mysql.fence(local(), at))
    await letGo()
    expect(error.code).toBe('database-in-use')
    expect(more(at.database)).toBe(allMore)
    expect(count(at.database)).toBe(1000)
    expect(isFenced()).toBe(false)
  })

  it('has all that belongs to both where its script is killed at any moment', async () => {
    await withOrder()
    const before = definitions(at.database)
    const swapping = (kept: string) => mysql.commands.swap(at, scratchName(at.database, 'next'), kept)
    const ready = async () => {
      for (const { name } of await done(() => mysql.beside(local(), at)))
        await done(() => mysql.drop(local(), at, name))
      const next = scratchName(at.database, 'next')
      await done(() => mysql.copy({ host: local(), at }, { host: local(), at }, next))
      return keptName(at.database, new Date('2026-11-27T10:17:00Z'))
    }
    const calls = await runUntil(swapping(await ready()))
    for (const nth of lastCalls(calls, 2)) {
      const kept = await ready()
      await runUntil(swapping(kept), 'KILL', nth)
      // As the host's script does before each step.
      const there = execFileSync('/bin/sh', ['-c', filled(at).render()], { encoding: 'utf8' })
        .trim()
        .split('\n')
      expect(there).toContain(at.database)
      for (const name of [at.database, kept]) {
        if (there.includes(name)) expect(definitions(name), `${name}, call ${nth} of ${calls}`).toBe(before)
      }
    }
  }, 300_000)

  it('refuses what it could not make again', async () => {
    server.sql(
      'CREATE TRIGGER theirs AFTER INSERT ON `order` FOR EACH ROW INSERT INTO log (what) VALUES (1)',
      at.database,
    )
    const error = await failing(() => mysql.fence(local(), at))
    expect(error.code).toBe('database-definer')
    expect(more(at.database)).toBe('trigger theirs\nview names')
  })
})

describe('a fence', () => {
  it('keeps every writer out, and can be taken away; both can be repeated', async () => {
    await withMore()
    const writing = writer(at.database)
    await until(() => count(at.database) > 1000)
    const fenced = await done(() => mysql.fence(local(), at))
    await writing.ended
    expect(fenced).toBe(fencedName(at.database))
    const before = count(fenced)
    expect(before % 2).toBe(0)
    const again = writer(at.database)
    await again.ended
    expect(again.said()).toContain("doesn't exist")
    expect(count(fenced)).toBe(before)
    expect(more(fenced)).toBe(allMore)
    await done(() => mysql.fence(local(), at))
    const name = scratchName(at.database, 'fast')
    const from = { host: local(), at: { ...at, database: fenced } }
    expect((await done(() => mysql.copy(from, { host: local(), at }, name)))['club']).toBe(before)
    await done(() => mysql.unfence(local(), at))
    await done(() => mysql.unfence(local(), at))
    expect(count(at.database)).toBe(before)
    expect(more(at.database)).toBe(allMore)
    expect(names()).not.toContain(fenced)
  })

  it('has all that belongs to it where its script is killed at any moment, and is taken away then', async () => {
    await withOrder()
    const before = definitions(at.database)
    const calls = await runUntil(mysql.commands.fence(at))
    expect(definitions(fencedName(at.database))).toBe(before)
    await done(() => mysql.unfence(local(), at))
    for (const nth of lastCalls(calls)) {
      await runUntil(mysql.commands.fence(at), 'KILL', nth)
      await done(() => mysql.unfence(local(), at))
      expect(definitions(at.database), `call ${nth} of ${calls}`).toBe(before)
      expect(names()).not.toContain(fencedName(at.database))
    }
    expect(await done(() => mysql.counts(local(), at))).toEqual(rows)
  }, 300_000)

  it('has all that belongs to it where taking it away is killed at any moment, and done again', async () => {
    await withOrder()
    const before = definitions(at.database)
    await done(() => mysql.fence(local(), at))
    const calls = await runUntil(mysql.commands.unfence(at))
    for (const nth of lastCalls(calls)) {
      await done(() => mysql.fence(local(), at))
      await runUntil(mysql.commands.unfence(at), 'KILL', nth)
      await done(() => mysql.unfence(local(), at))
      expect(definitions(at.database), `call ${nth} of ${calls}`).toBe(before)
      expect(names()).not.toContain(fencedName(at.database))
    }
  }, 300_000)

  it('whose script is ended at its deadline makes again what it took off', async () => {
    await withOrder()
    const before = definitions(at.database)
    const calls = await runUntil(mysql.commands.fence(at))
    for (const nth of lastCalls(calls)) {
      await done(() => mysql.unfence(local(), at))
      await runUntil(mysql.commands.fence(at), 'TERM', nth)
      expect(definitions(isFenced() ? fencedName(at.database) : at.database), `call ${nth} of ${calls}`).toBe(before)
    }
  }, 300_000)

  it('whose script is killed while its client waits for a transaction does nothing any more once it is taken away', async () => {
    await withOrder()
    const before = definitions(at.database)
    const letGo = await hold('`order`')
    const fencing = spawn('/bin/sh', ['-c', mysql.commands.fence(at).render()], {
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, TMPDIR: dir },
    })
    const gone = new Promise((resolve) => fencing.once('exit', resolve))
    await until(
      () => server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'DROP TRIGGER%'") === '1',
    )
    // Its client goes on: what it still does comes once the transaction has ended.
    fencing.kill('SIGKILL')
    await gone
    await done(() => mysql.unfence(local(), at))
    await letGo()
    await until(() => server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'pony'") === '0')
    expect(definitions(at.database)).toBe(before)
    expect(await done(() => mysql.counts(local(), at))).toEqual(rows)
  })

  it('whose script is killed at any moment leaves every row in one place, and can be put up or taken away', async () => {
    for (const ms of [150, 400, 700, 1000]) {
      const child = spawn('/bin/sh', ['-c', mysql.commands.fence(at).render()], {
        detached: true,
        stdio: 'ignore',
        env: { ...process.env, TMPDIR: dir },
      })
      const gone = new Promise((resolve) => child.once('exit', resolve))
      await new Promise((resolve) => setTimeout(resolve, ms))
      try {
        process.kill(-(child.pid as number), 'SIGKILL')
      } catch {
        // It was faster.
      }
      await gone
      await until(() => server.sql("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'pony'") === '0')
      const database = isFenced() ? fencedName(at.database) : at.database
      expect(await done(() => mysql.counts(local(), { ...at, database }))).toEqual(rows)
      await done(() => mysql.fence(local(), at))
      await done(() => mysql.unfence(local(), at))
      expect(await done(() => mysql.counts(local(), at))).toEqual(rows)
      expect(count(at.database, 'names')).toBe(1000)
    }
  })
})

describe('what can be wrong', () => {
  const cases: [string, (at: DatabaseAddress) => DatabaseAddress, string][] = [
    ['a wrong password', (good) => ({ ...good, user: 'poor' }), 'database-password'],
    ['no password', ({ credentials: _, ...good }) => good, 'database-password'],
    ['a server that does not listen', (good) => ({ ...good, port: 1 }), 'database-unreachable'],
    ['a socket that is not there', (good) => ({ ...good, host: '/nowhere' }), 'database-unreachable'],
    ['no such database', (good) => ({ ...good, database: 'pony_nowhere' }), 'database-missing'],
  ]
  it.each(cases)('%s', async (_name, wrong, code) => {
    const bad = wrong(at)
    if (bad.user === 'poor') writeFileSync(at.credentials!, '[client]\npassword=no\n')
    const error = await failing(() => mysql.dump(local(), bad, join(dir, 'never')))
    expect(error.code).toBe(code)
    expect(error.next).toBeTruthy()
    expect(error.state).toBe(`${bad.database} is as it was, and goes on.`)
    expect(existsSync(join(dir, 'never'))).toBe(false)
  })

  it('no right to create databases', async () => {
    server.sql(`GRANT ALL ON ${at.database}.* TO poor@'%'`)
    writeFileSync(at.credentials!, passwordFile({ ...at, user: 'poor' }, 'poor').reveal())
    const poor = { ...at, user: 'poor' }
    const error = await failing(() => mysql.createEmpty(local(), poor, scratchName(at.database, 'x')))
    expect(error.code).toBe('database-cannot-create')
    expect(error.next).toContain('GRANT ALL')
    expect((await done(() => mysql.inspect(local(), poor))).canCreate).toBe(false)
  })

  it('no client on the host', async () => {
    const error = await failing(() => mysql.counts(local().env({ PATH: '/nowhere' }), at))
    expect(error.code).toBe('database-tools-missing')
    expect(error.next).toContain('mariadb-client')
  })

  it('a name that is taken, and what was not made by this tool', async () => {
    expect((await failing(() => mysql.createEmpty(local(), at, at.database))).code).toBe('database-exists')
    expect((await failing(() => mysql.drop(local(), at, at.database))).code).toBe('database-not-ours')
    expect(count(at.database)).toBe(1000)
  })

  it.runIf(process.getuid?.() === 0)('a full disk', async () => {
    const small = join(dir, 'small')
    execFileSync('mkdir', [small])
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200k', 'tmpfs', small])
    try {
      server.sql('INSERT INTO club (name) SELECT MD5(RAND()) FROM seq_1_to_50000', at.database)
      const error = await failing(() => mysql.dump(local(), at, join(small, 'dump')))
      expect(error.code).toBe('database-disk-full')
      expect(existsSync(join(small, 'dump.new'))).toBe(false)
    } finally {
      execFileSync('umount', [small])
    }
  })
})

describe('SQL', () => {
  it('is run whole or not at all, where it changes rows', async () => {
    const error = await failing(() => mysql.runSql(local(), at, 'DELETE FROM `order`; SELEC 1;'))
    expect(error.detail).toContain('SQL syntax')
    expect(count(at.database, 'order')).toBe(10)
    await done(() => mysql.runSql(local(), at, 'DELETE FROM `order`'))
    expect(count(at.database, 'order')).toBe(0)
  })

  it('has a shell that takes what is piped into it, and whose command line holds no password', () => {
    const said = execFileSync('/bin/sh', ['-c', mysql.shell(at).render()], { input: 'SELECT 40 + 2;\n' }).toString()
    expect(said).toMatch(/\b42\b/)
    expect(mysql.shell(at).render()).not.toContain('wo"rd')
    expect(mysql.shell(at).render()).toContain('--defaults-extra-file=')
  })
})
