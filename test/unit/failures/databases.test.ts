/** What PostgreSQL, MySQL and their programs print when something fails is told as a sentence with its own next step. */
import { describe, expect, test } from 'vitest'
import { explain } from '../../../src/targets/vps/database/engine-errors.ts'
import { mysqlErrors } from '../../../src/targets/vps/database/mysql-errors.ts'
import { postgresErrors } from '../../../src/targets/vps/database/postgres-errors.ts'
import { sqliteErrors } from '../../../src/targets/vps/database/sqlite-errors.ts'

const attempt = {
  what: 'dump pony',
  host: 'db1',
  at: { kind: 'postgres', database: 'pony', host: 'db1', user: 'deploy' } as never,
  state: 'Nothing was changed.',
}

/** What each program prints, word for word, and the code that it becomes. */
const postgres: [string, string][] = [
  ['pg_dump: error: aborting because of server version mismatch', 'database-tools-old'],
  ['pg_restore: error: unsupported version (1.16) in file header', 'database-tools-old'],
  ['psql: error: FATAL:  password authentication failed for user "deploy"', 'database-password'],
  ['psql: error: FATAL:  no pg_hba.conf entry for host "10.0.0.2"', 'database-password'],
  ['psql: error: FATAL:  role "deploy" does not exist', 'database-password'],
  ['psql: error: connection to server at "db1", port 5432 failed: Connection refused', 'database-unreachable'],
  ['psql: error: could not translate host name "db1" to address', 'database-unreachable'],
  ['FATAL:  the database system is starting up', 'database-unreachable'],
  ['FATAL:  database "pony" is not currently accepting connections', 'database-closed'],
  ['FATAL:  sorry, too many clients already', 'database-busy'],
  ['FATAL:  remaining connection slots are reserved for non-replication superuser connections', 'database-busy'],
  ['ERROR:  extension "postgis" is not available', 'database-extension-missing'],
  ['ERROR:  permission denied to create extension "postgis"', 'database-extension-denied'],
  ['ERROR:  permission denied to create database', 'database-cannot-create'],
  ['pg_restore: error: ERROR:  role "reporting" does not exist', 'database-role-missing'],
  ['FATAL:  database "pony" does not exist', 'database-missing'],
  ['ERROR:  database "pony_new" already exists', 'database-exists'],
  ['ERROR:  database "pony" is being accessed by other users', 'database-in-use'],
  ['ERROR:  permission denied for table riders', 'database-denied'],
  ['pg_restore: error: could not read from input file: end of file', 'database-dump-damaged'],
  ['pg_restore: error: did not find magic string in file header', 'database-dump-damaged'],
]
const mysql: [string, string][] = [
  ["ERROR 1045 (28000): Access denied for user 'deploy'@'%'", 'database-password'],
  ["ERROR 2003 (HY000): Can't connect to MySQL server on 'db1'", 'database-unreachable'],
  ['ERROR 1040 (HY000): Too many connections', 'database-busy'],
  ['slipway: no one moment of sessions', 'database-not-transactional'],
  ['slipway: something belongs to root@localhost', 'database-definer'],
  ['ERROR 1227 (42000): Access denied; you need SUPER', 'database-definer'],
  ['slipway: no database pony', 'database-missing'],
  ["ERROR 1049 (42000): Unknown database 'pony'", 'database-missing'],
  ["ERROR 1007 (HY000): Can't create database 'pony_new'; database exists", 'database-exists'],
  ["ERROR 1044 (42000): Access denied for user 'deploy'@'%' to database 'x'", 'database-cannot-create'],
  ['ERROR 1205 (HY000): Lock wait timeout exceeded', 'database-in-use'],
  ['ERROR 1412 (HY000): Table definition has changed, please retry transaction', 'database-changed'],
  ["ERROR 1142 (42000): SELECT command denied to user 'deploy'", 'database-denied'],
  ["ERROR 1273 (HY000): Unknown collation: 'utf8mb4_0900_ai_ci'", 'database-extension-missing'],
  ["ERROR 1114 (HY000): The table 'riders' is full", 'database-disk-full'],
  ['gzip: stdin: unexpected end of file', 'database-dump-damaged'],
]
const either: [string, string][] = [
  ['slipway: there is no pg_dump', 'database-tools-missing'],
  ['sh: 1: mysqldump: not found', 'database-tools-missing'],
  ['slipway: backups/7.dump does not exist', 'database-no-dump'],
  ['cat: write error: No space left on device', 'database-disk-full'],
  ['slipway: backups/7.dump cannot be read to its end', 'database-dump-damaged'],
  ['slipway: the rows differ', 'database-differs'],
  ['slipway: pony_new is not empty', 'database-not-empty'],
  ['something that nobody has seen before', 'database-failed'],
]

const sqlite: [string, string][] = [
  ['slipway: no database /srv/db/pony.sqlite', 'database-missing'],
  ['slipway: /srv/db/pony.sqlite could not be copied: database is locked', 'database-locked'],
  ['slipway: /srv/db/pony.sqlite could not be copied: database disk image is malformed', 'database-damaged'],
  ['slipway: /srv/db/pony.sqlite is damaged: row 3 missing from index club', 'database-damaged'],
  ['slipway: the scrubbing SQL failed: no such table: riders', 'database-scrub'],
]

describe.each([
  ['PostgreSQL', postgresErrors, [...postgres, ...either]],
  ['MySQL', mysqlErrors, [...mysql, ...either]],
  ['SQLite', sqliteErrors, [...sqlite, ...either]],
] as const)('what %s says', (_server, known, said) => {
  test.each(said as [string, string][])('%s', (stderr, code) => {
    const error = explain(attempt, `some line before\n${stderr}\n`, 1, known)
    expect(error).toMatchObject({ code, host: 'db1', state: 'Nothing was changed.' })
    expect(error.detail).toContain(stderr)
    expect(error.message).toMatch(/^dump pony/)
    expect(error.next).toMatch(/\w{3}/)
    expect(`${error.message} ${error.next}`).not.toMatch(/\bundefined\b|\[object|\bnull\b/)
  })

  test('every sentence of it is said above', () => {
    const codes = new Set(known.map((each) => each.code))
    expect([...codes].filter((code) => !said.some(([, each]) => each === code))).toEqual([])
  })

  test('no user and no server known: no word is missing', () => {
    for (const each of known) {
      const bare = { ...attempt, at: { kind: 'postgres', database: 'pony' } as never }
      const match = Object.assign(['x', 'y', 'z'], { index: 0, input: '' }) as never
      expect(`${each.message(bare, match)} ${each.next(bare, match)}`).not.toMatch(/\bundefined\b|\[object|\bnull\b/)
    }
  })
})
