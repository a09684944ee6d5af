/** What PostgreSQL and its programs say when something fails, by SQLSTATE where psql shows it. */
import { common, type Known, place } from './engine-errors.ts'

export const postgresErrors: readonly Known[] = [
  ...common,
  {
    says: /server version mismatch|unsupported version \([\d.]+\) in file header/,
    code: 'database-tools-old',
    message: ({ host }) => `the PostgreSQL programs on ${host} are older than the server, or than the dump`,
    next: () => 'Install the client of the same version as the server, or a later one.',
  },
  {
    says: /password authentication failed|no password supplied|fe_sendauth|Peer authentication failed|no pg_hba\.conf entry|FATAL:\s+role "[^"]*" does not exist/,
    code: 'database-password',
    message: ({ at }) => `the server does not let us in: ${place(at)}`,
    next: () => 'Check the user and the password: in the settings, in .env, and in pg_hba.conf on the server.',
  },
  {
    says: /could not connect to server|connection to server .* failed: (?!FATAL)|could not translate host name|timeout expired|the database system is (?:starting up|shutting down|in recovery mode)/,
    code: 'database-unreachable',
    message: ({ at }) => `the server does not answer: ${place(at)}`,
    next: ({ host }) =>
      `Look whether it runs, and whether ${host} may reach it: \`slipway ssh ${host}\`, then \`pg_isready\`.`,
  },
  {
    says: /is not currently accepting connections/,
    code: 'database-closed',
    message: ({ at }) => `${at.database} refuses connections`,
    next: ({ at }) => `Open it: \`ALTER DATABASE "${at.database}" ALLOW_CONNECTIONS true\`.`,
  },
  {
    says: /too many (?:clients already|connections)|remaining connection slots are reserved/,
    code: 'database-busy',
    message: () => 'the server has no connection left for us',
    next: () => 'Do it again when fewer programs use it, or raise max_connections.',
  },
  {
    says: /extension "([^"]+)" is not available|could not open extension control file "[^"]*\/([^/"]+)\.control"/,
    code: 'database-extension-missing',
    message: (_attempt, match) => `the server has no extension ${match[1] ?? match[2]}, which the data needs`,
    next: () => 'Install it on the server (Debian: a package postgresql-VERSION-…), and do it again.',
  },
  {
    says: /permission denied to create extension "([^"]+)"/,
    code: 'database-extension-denied',
    message: ({ at }, match) => `${at.user ?? 'this user'} may not create the extension ${match[1]}`,
    next: (_attempt, match) =>
      `As a superuser: \`CREATE EXTENSION "${match[1]}"\` in template0's stead, or restore as a superuser.`,
  },
  {
    says: /permission denied to (create|rename|copy) database/,
    code: 'database-cannot-create',
    message: ({ at }, match) => `${at.user ?? 'this user'} may not ${match[1]} databases`,
    next: ({ at }) => `As a superuser: \`ALTER ROLE "${at.user ?? 'USER'}" CREATEDB\`.`,
  },
  {
    says: /role "([^"]+)" does not exist/,
    code: 'database-role-missing',
    message: (_attempt, match) => `the server has no role ${match[1]}, which something in the data belongs to`,
    next: (_attempt, match) =>
      `Create it, \`createuser ${match[1]}\`, or do it as a user that is no superuser: then all is theirs.`,
  },
  {
    says: /\b3D000\b|database "([^"]+)" does not exist/,
    code: 'database-missing',
    message: ({ at }, match) => `there is no database ${match[1] ?? at.database}`,
    next: () => 'Check its name in the configuration; a new one is made by `tasks init_staging_db`.',
  },
  {
    says: /\b42P04\b|database "([^"]+)" already exists/,
    code: 'database-exists',
    message: (_attempt, match) => `the database ${match[1] ?? ''} is there already`.replace('  ', ' '),
    next: () => 'Look at what is in it; one that is needed no more can be dropped by hand.',
  },
  {
    says: /\b55006\b|is being accessed by other users|sessions that do not end|to terminate (?:superuser )?process|whose process is being terminated/,
    code: 'database-in-use',
    message: ({ at }) => `others are in ${at.database}, and their sessions could not be ended`,
    next: () =>
      'Stop what uses it (`SELECT * FROM pg_stat_activity` shows it), or do it as a user who may end their sessions.',
  },
  {
    says: /\b42501\b|permission denied|must be (?:owner|superuser|a member)/,
    code: 'database-denied',
    message: ({ at }) => `${at.user ?? 'this user'} lacks a right for it`,
    next: ({ at }) => `Let the owner of ${at.database} or a superuser do it, or grant what is named above.`,
  },
  {
    says: /could not read from input file|unexpected end of file|does not appear to be a valid archive|input file is too short|could not find block ID|did not find magic string/,
    code: 'database-dump-damaged',
    message: () => 'the dump was cut short or is damaged',
    next: () => 'Use another backup: `tasks backups` lists them.',
  },
]
