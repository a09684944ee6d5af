/** The deployment's database: Heroku Postgres, its backups, and the app's own commands on it. */
import { createWriteStream } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import type { Backup, Database } from '../deployment.ts'
import { inStep } from '../vps/step.ts'
import { locked } from './change.ts'
import { clone } from './clone.ts'
import type { HerokuContext } from './context.ts'
import { runAttached } from './one-off.ts'
import * as postgres from './postgres.ts'
import type { Attachment, Transfer } from './resources.ts'
import { restore } from './restore.ts'

export function database(context: HerokuContext): Database {
  return {
    async init(options = {}) {
      const command = context.deployment.app.initDb
      if (!command)
        throw new UsageError('no-init-db', 'there is no `init_db =` in config/deploy.ini', {
          next: 'Name the command that creates and fills a new database.',
        })
      await locked(context, 'init the database', async () => {
        const attachment = await postgres.requireDatabase(context)
        await postgres.waitForDatabase(context, attachment)
        if ((await holdsData(context, attachment)) && !options.force) {
          if (options.unlessThere) return
          throw new SlipwayError('has-data', `${postgres.databaseName(attachment)} has data already`, {
            host: context.app,
            state: 'Nothing was changed.',
            next: 'Give force to run the command all the same, or empty it first: `tasks reset_db`.',
          })
        }
        await runChecked(context, command, 'init_db')
      })
    },
    async migrate() {
      const { migrate } = context.deployment.app
      if (!migrate) throw new UsageError('no-migrate', 'there is no `migrate =` in config/deploy.ini')
      await locked(context, 'migrate', () => runChecked(context, migrate, 'migrate'))
    },
    backup: () =>
      locked(context, 'backup', async () => {
        const attachment = await postgres.requireDatabase(context)
        const made = await inStep(`back up ${postgres.databaseName(attachment)}`, context.app, () =>
          postgres.capture(context, attachment),
        )
        return asBackup(made, attachment.name)
      }),
    async backups() {
      const attachment = await postgres.requireDatabase(context)
      return (await postgres.transfersOf(context, attachment))
        .filter((each) => postgres.isBackup(each) && each.succeeded === true)
        .map((each) => asBackup(each, attachment.name))
    },
    restore: (backup) => restore(context, backup),
    async fetch(directory = '.') {
      const attachment = await postgres.requireDatabase(context)
      const backup = await postgres.findBackup(context, attachment)
      return [
        await download(context, backup, resolve(currentRun().options.projectDir ?? context.config.dir, directory)),
      ]
    },
    async copyTo(target) {
      if (target.target !== 'heroku') {
        throw new UsageError('other-target', `${target.name} is on a VPS; copies go between apps on Heroku`, {
          next: `Fetch a backup (\`tasks fetch_db:release=${context.deployment.name}\`) and restore it there.`,
        })
      }
      await clone(context, target.config)
    },
    verify: (name) => verify(context, name),
    async size() {
      const attachment = await postgres.requireDatabase(context)
      const { num_bytes: bytes } = await postgres.info(context, attachment)
      return [{ name: attachment.name, bytes: bytes ?? 0 }]
    },
    async shell() {
      const url = await postgres.databaseUrl(context)
      if (!url) await postgres.requireDatabase(context)
      const { psqlShell } = await import('./psql.ts')
      return psqlShell(url as string)
    },
  }
}

/** Whether there are rows, besides the store's own and the list of migrations. */
export async function holdsData(context: HerokuContext, attachment: Attachment): Promise<boolean> {
  const { num_tables: tables = 0 } = await postgres.info(context, attachment)
  if (tables === 0) return false
  const url = await postgres.databaseUrl(context)
  if (!url) return tables > 0
  try {
    const { sql } = await import('./psql.ts')
    const rows = await sql(
      url,
      `SELECT schemaname || '.' || relname FROM pg_stat_user_tables WHERE schemaname <> 'slipway' AND relname !~ 'migrations$|alembic_version' AND (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM (SELECT 1 FROM %I.%I LIMIT 1) x', schemaname, relname), false, true, '')))[1]::text::int > 0 LIMIT 1`,
    )
    return rows.length > 0
  } catch {
    return tables > 0
  }
}

/** A command in a one-off dyno whose failure is an error. */
export async function runChecked(context: HerokuContext, command: string, what: string): Promise<void> {
  const { exitCode, output } = await runAttached(context, command, { terminal: true })
  if (exitCode === 0) return
  throw new SlipwayError('command-failed', `${context.app}: ${what} exited with status ${exitCode}`, {
    host: context.app,
    detail: output.trim().split('\n').slice(-20).join('\n'),
    next: `Run it again once it can work: tasks run:release=${context.deployment.name} -- ${command}`,
  })
}

function asBackup(transfer: Transfer, database: string): Backup {
  return {
    id: postgres.transferName(transfer),
    at: transfer.created_at,
    bytes: transfer.processed_bytes,
    databases: [database],
    verified: false,
  }
}

/** Downloads a backup to `directory`, readable by this user alone. Resolves with the file. */
export async function download(context: HerokuContext, backup: Transfer, directory: string): Promise<string> {
  const attachment = await postgres.requireDatabase(context)
  await mkdir(directory, { recursive: true })
  const file = join(directory, `${context.app}-${postgres.transferName(backup)}.dump`)
  const response = await context.client.open(await postgres.backupUrl(context, attachment, backup))
  if (!response.ok || !response.body) {
    throw new SlipwayError(
      'heroku-download',
      `the backup ${postgres.transferName(backup)} can't be downloaded: HTTP ${response.status}`,
      { host: context.app, next: 'Run it again.' },
    )
  }
  const expected = Number(response.headers.get('Content-Length') ?? Number.NaN)
  try {
    await pipeline(Readable.fromWeb(response.body as never), createWriteStream(`${file}.part`, { mode: 0o600 }), {
      signal: currentRun().signal,
    })
    const { size } = await stat(`${file}.part`)
    if (!Number.isNaN(expected) && size !== expected) {
      throw new SlipwayError('heroku-download', `only ${size} of ${expected} bytes of the backup came`, {
        host: context.app,
        next: 'Run it again.',
      })
    }
    await rename(`${file}.part`, file)
  } finally {
    await rm(`${file}.part`, { force: true })
  }
  return file
}

/** Downloads the backup and reads all of it with pg_restore: every table's data is unpacked and its order checked. */
async function verify(context: HerokuContext, name?: string): Promise<void> {
  const attachment = await postgres.requireDatabase(context)
  const backup = await postgres.findBackup(context, attachment, name)
  const scratch = join(tmpdir(), `slipway-verify-${currentRun().id}`)
  try {
    const file = await download(context, backup, scratch)
    const { execFile } = await import('node:child_process')
    const { promisify } = await import('node:util')
    const run = promisify(execFile)
    const { stdout } = await run('pg_restore', ['--list', file], { maxBuffer: 64 << 20 })
    const tables = stdout.split('\n').filter((line) => /TABLE DATA/.test(line) && !/ slipway /.test(line)).length
    await run('pg_restore', ['-f', '/dev/null', file], { maxBuffer: 64 << 20 })
    const url = await postgres.databaseUrl(context)
    const { sql } = await import('./psql.ts')
    const live = url
      ? Number(
          (
            await sql(
              url,
              "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog','information_schema','slipway')",
            )
          )[0],
        )
      : tables
    if (tables === 0 && live > 0)
      throw new SlipwayError(
        'backup-empty',
        `${postgres.transferName(backup)} holds no table, and the database has ${live}`,
        { host: context.app, state: 'The database is as it was; this backup can not bring it back.' },
      )
    currentRun().emit({
      type: 'note',
      host: context.app,
      text: `${postgres.transferName(backup)}: ${tables} tables, all of its data can be read (the database has ${live} now)`,
    })
  } catch (error) {
    if (error instanceof SlipwayError) throw error
    throw new SlipwayError(
      'backup-unreadable',
      `${postgres.transferName(backup)} can't be read: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`,
      {
        cause: error,
        host: context.app,
        state: 'The database is as it was.',
        next:
          (error as NodeJS.ErrnoException).code === 'ENOENT'
            ? 'Install the PostgreSQL client: pg_restore.'
            : 'Make another: `tasks backup_db`.',
      },
    )
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}
