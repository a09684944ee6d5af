/** Failures of database servers and their clients, as errors that say what is true now and what to type next. */
import { SlipwayError } from '../../../events/index.ts'
import type { DatabaseAddress } from './engine.ts'

export interface Attempt {
  /** `dump pony` */
  what: string
  host: string
  at: DatabaseAddress
  /** What is true when it has failed. */
  state: string
}

export interface Known {
  /** Matched against standard error. */
  says: RegExp
  code: string
  message(attempt: Attempt, match: RegExpExecArray): string
  next(attempt: Attempt, match: RegExpExecArray): string
}

/** `pony on db1 as deploy`, as far as it is known. */
export function place(at: DatabaseAddress): string {
  const server =
    at.host === undefined ? 'its default server' : at.port === undefined ? at.host : `${at.host}:${at.port}`
  return `${at.database} on ${server}${at.user === undefined ? '' : ` as ${at.user}`}`
}

/** The first of `known` that `stderr` shows, else a plain failure with the end of what was said. */
export function explain(
  attempt: Attempt,
  stderr: string,
  exitCode: number | null,
  known: readonly Known[],
  cause?: unknown,
): SlipwayError {
  const detail = stderr.trim().split('\n').slice(-20).join('\n')
  const details = { host: attempt.host, state: attempt.state, detail, ...(cause === undefined ? {} : { cause }) }
  for (const each of known) {
    const match = each.says.exec(stderr)
    if (!match) continue
    return new SlipwayError(each.code, `${attempt.what}: ${each.message(attempt, match)}`, {
      ...details,
      next: each.next(attempt, match),
    })
  }
  const how = exitCode === null ? 'was ended' : `failed with status ${exitCode}`
  return new SlipwayError('database-failed', `${attempt.what} ${how}: ${place(attempt.at)}`, {
    ...details,
    next: 'Look at what the server and its client said, above.',
  })
}

const packages = { sqlite: 'python3', postgres: 'postgresql-client', mysql: 'mariadb-client' }

/** What is the same for every server, because this tool's own programs say it. */
export const common: readonly Known[] = [
  {
    says: /slipway: there is no (\S+)|(?:^|[ :])(\S+): (?:command )?not found/m,
    code: 'database-tools-missing',
    message: ({ host }, match) => `there is no ${match[1] ?? match[2]} on ${host}`,
    next: ({ at, host }) => `Install it there (Debian: \`apt install ${packages[at.kind]}\`): \`slipway ssh ${host}\`.`,
  },
  {
    says: /slipway: (\S+) does not exist/,
    code: 'database-no-dump',
    message: (_attempt, match) => `${match[1]} does not exist`,
    next: () => 'List what there is: `tasks backups`.',
  },
  {
    says: /No space left on device|could not extend file|\b53100\b|Disk full|Errcode: 28|errno: 28/,
    code: 'database-disk-full',
    message: () => 'the disk is full',
    next: () => 'Make room, on the database server or where the dump goes, and do it again.',
  },
  {
    says: /slipway: (\S+) cannot be read to its end/,
    code: 'database-dump-damaged',
    message: (_attempt, match) => `${match[1]} was cut short or is damaged: it cannot be read to its end`,
    next: () => 'Use another backup: `tasks backups` lists them.',
  },
  {
    says: /slipway: the rows differ/,
    code: 'database-differs',
    message: () => 'the copy has other rows than the original',
    next: () => 'Do it again; if that gives the same, compare the tables named above by hand.',
  },
  {
    says: /slipway: (\S+) is not empty/,
    code: 'database-not-empty',
    message: (_attempt, match) => `${match[1]} is not empty`,
    next: () => 'Look at what is in it; a database that is needed no more can be dropped by hand.',
  },
]
