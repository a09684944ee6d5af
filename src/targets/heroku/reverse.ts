/**
 * Reverse migrations before a rollback, while the code that knows them still runs: Django's by what was applied since
 * the release that is gone back to, Alembic's by that release's code, or the app's own commands.
 */
import { join } from 'node:path'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { quote } from '../../shell/quote.ts'
import type { HerokuContext } from './context.ts'
import { runChecked } from './database.ts'
import { runAttached } from './one-off.ts'
import { databaseUrl } from './postgres.ts'
import { sql } from './psql.ts'
import type { Release } from './resources.ts'
import * as resource from './resources.ts'
import { git } from './source.ts'
import { releasesOf } from './versions.ts'

/** Migrations run some time after their release was made: what belongs to the release is waited for that long. */
const bufferMs = 10 * 60_000

/** For each Django app with migrations applied after `time`, the last one before it: what to migrate back to. */
export const djangoTargets = `
SELECT json_build_object('app', changed.app, 'name', coalesce((
  SELECT name FROM django_migrations m WHERE m.app = changed.app AND m.applied <= :'time'::timestamptz ORDER BY m.applied DESC, m.id DESC LIMIT 1), 'zero'))
FROM (SELECT DISTINCT app FROM django_migrations WHERE applied > :'time'::timestamptz) changed ORDER BY changed.app;`

export async function reverseMigrations(context: HerokuContext, target: Release): Promise<void> {
  const { migrations } = context.deployment.app
  if (migrations === 'none') {
    throw new UsageError('no-migrations', 'there is no `migrations =` in config/deploy.ini, so none can be reversed', {
      state: 'Nothing was changed.',
      next: 'Set `migrations = django` or `alembic`, or a list and a reverse command.',
    })
  }
  const until = await boundary(context, target)
  if (migrations === 'django') {
    const url = await databaseUrl(context)
    if (!url) throw new SlipwayError('heroku-no-database', `${context.app} has no DATABASE`)
    const rows = (await sql(url, djangoTargets, { time: until })).map(
      (line) => JSON.parse(line) as { app: string; name: string },
    )
    if (rows.length === 0)
      currentRun().emit({ type: 'note', host: context.app, text: `no migration was applied since v${target.version}` })
    for (const { app, name } of rows) {
      await runChecked(
        context,
        `python3 manage.py migrate ${quote(app)} ${quote(name)} --noinput`,
        `reverse ${app} to ${name}`,
      )
    }
    return
  }
  if (migrations === 'alembic') return reverseAlembic(context, target)
  // The app's own: a list on the current code, a list on the old, and what only the current one has is reversed.
  const { exitCode, output } = await runAttached(context, migrations.list, { capture: true })
  if (exitCode !== 0)
    throw new SlipwayError('command-failed', `${context.app}: ${migrations.list} exited with status ${exitCode}`)
  const applied = output
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean)
  const url = await databaseUrl(context)
  const known = url ? await recordedBefore(url, until) : undefined
  if (!known) {
    throw new SlipwayError(
      'migrations-unrecorded',
      `${context.app} has no table schema_migrations (name, applied), so it can't be told what came after v${target.version}`,
      {
        state: 'Nothing was changed.',
        next: `Reverse by hand: tasks run:release=${context.deployment.name} -- ${migrations.reverse} NAME; then roll back without migrate.`,
      },
    )
  }
  const later = applied.filter((name) => !known.has(name))
  for (const name of later.reverse()) {
    const command = migrations.reverse.includes('{}')
      ? migrations.reverse.replaceAll('{}', quote(name))
      : `${migrations.reverse} ${quote(name)}`
    await runChecked(context, command, `reverse ${name}`)
  }
}

/** Alembic records no times: what a release had is the head of its code, which its commit in git tells. */
async function reverseAlembic(context: HerokuContext, target: Release): Promise<void> {
  const { client, path, app } = context
  const slug = target.slug ? await client.get(`${path}/slugs/${target.slug.id}`, resource.slug) : undefined
  const dir = join(context.config.dir, context.deployment.app.source)
  const unknown = (why: string): SlipwayError =>
    new SlipwayError('alembic-unknown', `it can't be told which revision v${target.version} of ${app} had: ${why}`, {
      host: app,
      state: 'Nothing was changed.',
      next: `Downgrade first: tasks run:release=${context.deployment.name} -- python3 -m alembic downgrade REVISION; then roll back without migrate.`,
    })
  if (!slug?.commit) throw unknown('it was not built from a commit')
  const lines = await git(dir, 'grep', '-E', '^(down_)?revision', slug.commit, '--', 'versions/*.py', '*/versions/*.py')
  if (lines === undefined) throw unknown(`git has no migrations of its commit ${slug.commit.slice(0, 7)} here`)
  const heads = alembicHeads(lines)
  const [head] = heads
  if (head === undefined || heads.length > 1) throw unknown(`its code has ${heads.length} heads`)
  const url = await databaseUrl(context)
  if (!url) throw new SlipwayError('heroku-no-database', `${app} has no DATABASE`)
  const now = await sql(url, 'SELECT version_num FROM alembic_version;')
  if (now.join() === head) {
    currentRun().emit({ type: 'note', host: app, text: `the schema is at ${head}, as v${target.version} had it` })
    return
  }
  await runChecked(context, `python3 -m alembic downgrade ${quote(head)}`, `downgrade to ${head}`)
}

/** Revisions that no other one comes after, of `git grep`'s lines `commit:file:revision = '1a'`. */
export function alembicHeads(lines: string): string[] {
  const revisions = new Set<string>()
  const before = new Set<string>()
  for (const line of lines.split('\n')) {
    const match = /:(down_)?revision\b[^=]*=(.*)$/.exec(line)
    if (!match) continue
    for (const [, name] of (match[2] as string).matchAll(/['"]([^'"]+)['"]/g)) {
      ;(match[1] ? before : revisions).add(name as string)
    }
  }
  return [...revisions].filter((name) => !before.has(name))
}

/** Names in `schema_migrations (name, applied)` from before; undefined where there is no such table. */
async function recordedBefore(url: string, time: string): Promise<Set<string> | undefined> {
  try {
    return new Set(
      await sql(url, "SELECT name FROM schema_migrations WHERE applied <= :'time'::timestamptz;", { time }),
    )
  } catch {
    return undefined
  }
}

/** What was applied later than this belongs to releases after the target. */
async function boundary(context: HerokuContext, target: Release): Promise<string> {
  const releases = await releasesOf(context, 1000)
  const next = releases.filter((each) => each.version > target.version).sort((a, b) => a.version - b.version)[0]
  const made = Date.parse(target.created_at)
  const limit = next ? Math.min(Date.parse(next.created_at), made + bufferMs) : made + bufferMs
  return new Date(limit).toISOString()
}
