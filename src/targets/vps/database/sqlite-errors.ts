/** What the program for SQLite's files says when something fails. */
import { common, type Known } from './engine-errors.ts'

export const sqliteErrors: readonly Known[] = [
  ...common,
  {
    says: /slipway: no database (.+)/,
    code: 'database-missing',
    message: (_attempt, match) => `there is no database ${match[1]}`,
    next: () => 'Check its path in the configuration; a new one is made by `tasks init_staging_db`.',
  },
  {
    says: /database (?:table )?is locked/,
    code: 'database-locked',
    message: ({ at }) => `somebody holds ${at.database} locked, and did not let go`,
    next: ({ host, at }) =>
      `Look who has it open, and do it again: \`slipway ssh ${host}\`, then \`fuser -v ${at.database}\`. A transaction should be short.`,
  },
  {
    says: /slipway: (\S+) is damaged|malformed|not a database/,
    code: 'database-damaged',
    message: ({ at }, match) => `${match[1] ?? at.database} is damaged`,
    next: () =>
      'Restore the last good backup: `tasks backups`, `tasks restore_db:…`; `sqlite3 FILE .recover` saves what can be read.',
  },
  {
    says: /slipway: the scrubbing SQL failed: (.+)/,
    code: 'database-scrub',
    message: (_attempt, match) => `the scrubbing SQL failed: ${match[1]}`,
    next: () => 'Correct the SQL file that `scrub` names, and do it again.',
  },
]
