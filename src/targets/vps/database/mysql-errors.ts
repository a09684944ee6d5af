/** What MySQL and MariaDB and their programs say when something fails, by error number where there is one. */
import { common, type Known, place } from './engine-errors.ts'

/** `ERROR 1045 (28000): …`, or `mysqldump: Got error: 1045: …`. */
const numbered = (...numbers: number[]): RegExp => new RegExp(`(?:ERROR|error:?) \\(?(?:${numbers.join('|')})\\b`)

export const mysqlErrors: readonly Known[] = [
  ...common,
  {
    says: numbered(1045, 1698, 1130, 1251),
    code: 'database-password',
    message: ({ at }) => `the server does not let us in: ${place(at)}`,
    next: () => 'Check the user and the password: in the settings, in .env, and `SHOW GRANTS` on the server.',
  },
  {
    says: numbered(2002, 2003, 2005, 2006, 2013, 1053),
    code: 'database-unreachable',
    message: ({ at }) => `the server does not answer: ${place(at)}`,
    next: ({ host }) => `Look whether it runs, and whether ${host} may reach it: \`slipway ssh ${host}\`.`,
  },
  {
    says: numbered(1040, 1203, 1226),
    code: 'database-busy',
    message: () => 'the server has no connection left for us',
    next: () => 'Do it again when fewer programs use it, or raise max_connections.',
  },
  {
    says: /slipway: no one moment of (.+)/,
    code: 'database-not-transactional',
    message: (_attempt, match) =>
      `there is no consistent copy while the app writes: these tables have no transactions: ${match[1]}`,
    next: () => 'Convert them, `ALTER TABLE … ENGINE=InnoDB`, or fence the database first.',
  },
  {
    says: /slipway: something belongs to (.+)/,
    code: 'database-definer',
    message: ({ at }, match) => `${at.user ?? 'this user'} may not make again what belongs to ${match[1]}`,
    next: ({ at }) =>
      `Let a user with SUPER or SET USER do it, or make ${at.user ?? 'this user'} the DEFINER of its triggers, views and routines.`,
  },
  {
    says: numbered(1227),
    code: 'database-definer',
    message: ({ at }) => `${at.user ?? 'this user'} may not make triggers, views or routines that belong to others`,
    next: () => 'Let a user with SUPER or SET USER do it.',
  },
  {
    says: /slipway: no database (.+)/,
    code: 'database-missing',
    message: (_attempt, match) => `there is no database ${match[1]}, or this user may not see it`,
    next: () => 'Check its name in the configuration; a new one is made by `tasks init_staging_db`.',
  },
  {
    says: numbered(1049),
    code: 'database-missing',
    message: ({ at }) => `there is no database ${at.database}`,
    next: () => 'Check its name in the configuration; a new one is made by `tasks init_staging_db`.',
  },
  {
    says: numbered(1007),
    code: 'database-exists',
    message: () => 'the new database is there already',
    next: () => 'Look at what is in it; one that is needed no more can be dropped by hand.',
  },
  {
    says: numbered(1044),
    code: 'database-cannot-create',
    message: ({ at }) => `${at.user ?? 'this user'} may not create, or use, a database beside ${at.database}`,
    next: ({ at }) => `As root: \`GRANT ALL ON \\\`${at.database}%\\\`.* TO ${at.user ?? 'USER'}\`.`,
  },
  {
    says: numbered(1205, 1213),
    code: 'database-in-use',
    message: ({ at }) => `others have ${at.database} in use, and did not let go`,
    next: () => 'Stop what uses it (`SHOW PROCESSLIST` shows it), and do it again.',
  },
  {
    says: numbered(1412),
    code: 'database-changed',
    message: ({ at }) => `the tables of ${at.database} were changed while they were read`,
    next: () => 'Do it again when no migration runs.',
  },
  {
    says: numbered(1142, 1143, 1370, 1419),
    code: 'database-denied',
    message: ({ at }) => `${at.user ?? 'this user'} lacks a right for it`,
    next: () => 'Grant what is named above.',
  },
  {
    says: numbered(1286, 1524, 1273),
    code: 'database-extension-missing',
    message: () => 'the server lacks a storage engine, a plugin or a collation that the data needs',
    next: () => 'Install on this server what is named above; it may be older than the one that the data comes from.',
  },
  {
    says: numbered(1021, 1114, 3675),
    code: 'database-disk-full',
    message: () => 'the disk of the server is full',
    next: () => 'Make room there, and do it again.',
  },
  {
    says: /unexpected end of file|not in gzip format|crc error|cannot be read to its end/,
    code: 'database-dump-damaged',
    message: () => 'the dump was cut short or is damaged',
    next: () => 'Use another backup: `tasks backups` lists them.',
  },
]
