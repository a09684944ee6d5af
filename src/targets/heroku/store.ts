/**
 * Locks, journals and the audit log in a schema of its own, `slipway`, in production's Postgres: whoever may deploy
 * agrees, wherever they are. Left out of copies. An app without Postgres (or a machine without psql) has the weaker
 * way: files on this machine, which other machines don't see.
 */
import { LockedError, summaryOf } from '../../engine/index.ts'
import { isDead, unlockedLine } from '../../engine/locks.ts'
import type {
  AuditLine,
  ChangeStore,
  Journal,
  JournalEntry,
  JournalSummary,
  Lock,
  LockInfo,
  LockOptions,
  Owner,
} from '../../engine/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import { currentRun, type Run } from '../../events/run.ts'
import { type Aside, asideOf, type Saved } from './aside.ts'
import { type HerokuContext, herokuContext } from './context.ts'
import { isNotFound } from './errors.ts'
import { attachedAs, databaseName, databaseUrl, leavesGoing, requireDatabase, transfersEnded } from './postgres.ts'
import { sql } from './psql.ts'

export const schema = 'slipway'

const tables = `
SET client_min_messages = warning;
SELECT pg_advisory_xact_lock(7549260) \\g /dev/null
CREATE SCHEMA IF NOT EXISTS ${schema};
CREATE TABLE IF NOT EXISTS ${schema}.locks (
  scope text PRIMARY KEY, run text NOT NULL, owner jsonb NOT NULL, since timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS ${schema}.journals (
  id text PRIMARY KEY, scopes text[] NOT NULL, begun timestamptz NOT NULL DEFAULT clock_timestamp(), result text);
CREATE TABLE IF NOT EXISTS ${schema}.entries (
  n bigserial PRIMARY KEY, journal text NOT NULL REFERENCES ${schema}.journals, entry jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS ${schema}.audits (n bigserial PRIMARY KEY, line jsonb NOT NULL);
`

export interface HerokuStore extends ChangeStore {
  /** `postgres`, or `files` on this machine. */
  readonly kind: 'postgres' | 'files'
  /** Runs what replaces the database's content, and puts locks and journals back into the new content. */
  across<T>(fn: () => Promise<T>): Promise<T>
}

/** The store of a deployment: in production's database where the configuration has a production on Heroku. */
export async function storeFor(context: HerokuContext): Promise<HerokuStore> {
  return currentRun().memo(`heroku store ${keeperOf(context).app} ${context.app}`, async () => {
    const keeper = keeperOf(context)
    const urlOf = (of: HerokuContext): Promise<string | undefined> =>
      databaseUrl(of).catch((error: unknown) => {
        if (isNotFound(error)) return undefined
        throw error
      })
    // Before there is a production, a deployment's own database keeps its store.
    const first = await urlOf(keeper)
    const holder = first ? keeper : context
    const url = first ?? (keeper.app === context.app ? undefined : await urlOf(context))
    if (url) {
      try {
        const aside = asideOf(holder, folderOf(holder))
        if (currentRun().options.dryRun) await sql(url, 'SELECT 1')
        else {
          // First: while the platform still writes there, it alone makes what is there.
          await putBackLeft(holder, aside)
          await sql(url, tables)
        }
        return postgresStore(url, { aside, holder })
      } catch (error) {
        if (!(error instanceof SlipwayError) || error.code !== 'no-psql') throw error
        weaker(keeper, 'psql is not installed here')
      }
    } else {
      weaker(keeper, 'it has no Postgres')
    }
    return filesStore(context)
  })
}

/** The store on this machine: what there is before there is a database. */
export async function filesStore(context: HerokuContext): Promise<HerokuStore> {
  const name = folderOf(keeperOf(context))
  return currentRun().memo(`heroku files ${name}`, async () => {
    const [{ vpsStore }, { local }] = await Promise.all([
      import('../vps/store/index.ts'),
      import('../../hosts/index.ts'),
    ])
    // A rehearsal leaves the home of whoever rehearses alone.
    const home = context.env['SLIPWAY_STATE_HOME']
    const machine = home === undefined ? local() : local().env({ HOME: home })
    return { ...vpsStore(machine, name), kind: 'files', across: (fn) => fn() } satisfies HerokuStore
  })
}

/**
 * What a database's new content lacks of the store, or has from before, is put right once the platform is done;
 * where others, on another machine, have recorded something since, that is what holds.
 */
async function putBackLeft(holder: HerokuContext, aside: Aside): Promise<void> {
  const left = await aside.left()
  if (!left) return
  const warn = (text: string): void => currentRun().emit({ type: 'warning', host: holder.app, text })
  // An exchange of databases may have begun or ended since: it is put back where it is from.
  const of = await attachedAs(holder, ({ addon }) => addon.id === left.database)
  if (!of?.url) {
    warn(
      `a run did not see the end of overwriting the database ${left.database}, which ${holder.app} has no more: its journal is not put back. Remove it, once nobody wants it: rm ${aside.file}`,
    )
    return
  }
  const tell = (how: string): void =>
    warn(`a run did not see the end of overwriting ${databaseName(of.attachment)}: ${how}`)
  await transfersEnded(holder, of.attachment)
  const since = await sql(
    of.url,
    `${tables} SELECT 1 FROM (SELECT line AS one FROM ${schema}.audits UNION ALL SELECT entry FROM ${schema}.entries) AS said
  WHERE (one->>'at')::timestamptz > (:'at')::timestamptz LIMIT 1;`,
    { at: left.at },
  )
  if (since.length > 0) tell('others have gone on since, and its journal is not put back')
  else {
    tell('its journal is put back')
    await putBack(of.url, left.saved)
  }
  await aside.drop()
}

async function putBack(url: string, saved: Saved): Promise<void> {
  await sql(
    url,
    `SET client_min_messages = warning; DROP SCHEMA IF EXISTS ${schema} CASCADE; ${tables}
INSERT INTO ${schema}.locks SELECT * FROM jsonb_populate_recordset(NULL::${schema}.locks, :'saved'::jsonb->'locks');
INSERT INTO ${schema}.journals SELECT * FROM jsonb_populate_recordset(NULL::${schema}.journals, :'saved'::jsonb->'journals');
INSERT INTO ${schema}.entries (journal, entry) SELECT journal, entry FROM jsonb_populate_recordset(NULL::${schema}.entries, :'saved'::jsonb->'entries');
INSERT INTO ${schema}.audits (line) SELECT line FROM jsonb_populate_recordset(NULL::${schema}.audits, :'saved'::jsonb->'audits');`,
    { saved: tag(saved) },
  )
}

const folderOf = (keeper: HerokuContext): string => `heroku-${keeper.app}`

/** Who holds a lock on the deployment, without making or changing anything; undefined where that can't be told. */
export async function lockHolder(
  context: HerokuContext,
  keeperConfig: Record<string, string> | undefined,
): Promise<LockInfo | undefined> {
  const url = keeperConfig?.['DATABASE_URL']
  if (!url) return undefined
  return postgresStore(url)
    .holder(context.deployment.name)
    .catch(() => undefined)
}

/** The deployment whose database keeps the store. */
export function keeperOf(context: HerokuContext): HerokuContext {
  const production = context.config.deployments['production']
  if (production?.target !== 'heroku') return context
  return herokuContext(production, { config: context.config, env: context.env })
}

function weaker(keeper: HerokuContext, why: string): void {
  const { app } = keeper
  currentRun().emit({
    type: 'warning',
    host: app,
    text: `${why}: locks and journals of ${app} are kept on this machine only (~/.slipway/${folderOf(keeper)}), so other machines don't see them`,
  })
}

const tag = (value: unknown): string => JSON.stringify(value)

type Busy = { scope: string; holder: Owner; since: string; ageSeconds: number; journal: string | null }

/** Who else holds one of `scopes`, by a lock or by an unfinished journal. */
const busySql = `WITH wanted AS (SELECT jsonb_array_elements_text(:'scopes'::jsonb) AS scope),
busy AS (
  SELECT scope, owner AS holder, since::text, round(extract(epoch FROM clock_timestamp() - since))::int AS "ageSeconds", NULL AS journal
    FROM ${schema}.locks WHERE scope IN (SELECT scope FROM wanted) AND run <> :'run'
  UNION ALL
  SELECT wanted.scope, entry->'by', begun::text, round(extract(epoch FROM clock_timestamp() - begun))::int, journals.id
    FROM ${schema}.journals JOIN wanted ON wanted.scope = ANY(scopes)
    JOIN ${schema}.entries ON entries.journal = journals.id AND entry->>'entry' = 'begin'
    WHERE result IS NULL AND journals.id <> :'journal')`

function busyIn(rows: readonly Busy[]): LockInfo | undefined {
  const row = rows[0]
  if (!row) return undefined
  const { scope, since, ageSeconds } = row
  return { ...row.holder, scope, since, ageSeconds, ...(row.journal ? { journal: row.journal } : {}) }
}

/** What has the store while its database is overwritten, which is one of `holder`'s. */
interface Keeping {
  aside: Aside
  holder: HerokuContext
}

function leave({ aside, holder: { app } }: Keeping): void {
  aside.leave()
  const text = `Heroku may still be overwriting a database of ${app}, so its locks and journals are not put back yet: they are in ${aside.file}. Type the same command again on this machine: it waits until Heroku is done, and puts them back first`
  currentRun().emit({ type: 'warning', host: app, text })
}

/** `kept`: where the store is while `across` overwrites its database. */
export function postgresStore(url: string, kept?: Keeping): HerokuStore {
  /** The platform may be overwriting the database still: nothing is written there any more. */
  let away = false
  const query = async <T>(text: string, values: Record<string, string> = {}): Promise<T[]> =>
    (await sql(url, text, values)).map((line) => JSON.parse(line) as T)

  async function take(
    scopes: readonly string[],
    owner: Owner,
    journal: string,
    replace = '',
  ): Promise<LockInfo | undefined> {
    return busyIn(
      await query<Busy>(
        `SELECT pg_advisory_xact_lock(7549260) \\g /dev/null
DELETE FROM ${schema}.locks WHERE run = :'replace' AND scope IN (SELECT jsonb_array_elements_text(:'scopes'::jsonb));
${busySql},
taken AS (
  INSERT INTO ${schema}.locks (scope, run, owner) SELECT scope, :'run', :'owner'::jsonb FROM wanted
    WHERE NOT EXISTS (SELECT FROM busy) ON CONFLICT (scope) DO NOTHING)
SELECT to_jsonb(busy) FROM busy LIMIT 1;`,
        { scopes: tag(scopes), run: owner.run, owner: tag(owner), journal, replace },
      ),
    )
  }

  function journal(id: string): Journal {
    return {
      id,
      async entries() {
        return query<JournalEntry>(`SELECT entry FROM ${schema}.entries WHERE journal = :'id' ORDER BY n`, { id })
      },
      async append(entry) {
        // Each line is written only while the lock is still this run's.
        const rows = await query<{ n: number }>(
          `WITH lost AS (SELECT FROM ${schema}.journals CROSS JOIN unnest(scopes) AS one(scope) WHERE id = :'id'
  AND NOT EXISTS (SELECT FROM ${schema}.locks WHERE locks.scope = one.scope AND run = :'run')),
ended AS (UPDATE ${schema}.journals SET result = :'entry'::jsonb->>'result' WHERE id = :'id' AND :'entry'::jsonb->>'entry' = 'end'
  AND NOT EXISTS (SELECT FROM lost))
INSERT INTO ${schema}.entries (journal, entry) SELECT :'id', :'entry'::jsonb WHERE NOT EXISTS (SELECT FROM lost)
RETURNING jsonb_build_object('n', n);`,
          { id, entry: tag(entry), run: currentRun().id },
        )
        if (rows.length === 0) {
          throw new SlipwayError('lock-lost', `the lock of the change ${id} is no longer this run's`, {
            state: 'Somebody unlocked it; this run changes nothing more.',
            next: 'Look who goes on with it: `slipway history`.',
          })
        }
      },
    }
  }

  const store: HerokuStore = {
    kind: 'postgres',
    async lock(scopes, owner, options: LockOptions = {}): Promise<Lock> {
      const sorted = [...new Set(scopes)].sort()
      const run = currentRun()
      if (run.options.dryRun) return { scopes: sorted, release: async () => undefined }
      let busy = await take(sorted, owner, options.journal ?? '')
      if (busy && options.journal && !busy.journal && isDead(busy, owner)) {
        busy = await take(sorted, owner, options.journal, busy.run)
      }
      if (busy) throw new LockedError(busy)
      const uses = usesOf(run, url)
      for (const scope of sorted) uses.set(scope, (uses.get(scope) ?? 0) + 1)
      let held = true
      return {
        scopes: sorted,
        async release() {
          if (!held) return
          held = false
          const free = sorted.filter((scope) => {
            uses.set(scope, (uses.get(scope) ?? 1) - 1)
            return uses.get(scope) === 0
          })
          if (free.length === 0) return
          await sql(
            url,
            `DELETE FROM ${schema}.locks WHERE run = :'run' AND scope IN (SELECT jsonb_array_elements_text(:'scopes'::jsonb));`,
            {
              run: owner.run,
              scopes: tag(free),
            },
          )
        },
      }
    },
    async begin(entry) {
      await sql(
        url,
        `INSERT INTO ${schema}.journals (id, scopes) SELECT :'id', ARRAY(SELECT jsonb_array_elements_text(:'scopes'::jsonb));
INSERT INTO ${schema}.entries (journal, entry) VALUES (:'id', :'entry'::jsonb);`,
        { id: entry.id, scopes: tag(entry.locks ?? []), entry: tag(entry) },
      )
      return journal(entry.id)
    },
    open: async (id) => journal(id),
    async list(): Promise<JournalSummary[]> {
      const rows = await query<{ entries: JournalEntry[] }>(
        `SELECT jsonb_build_object('entries', jsonb_agg(entry ORDER BY n)) FROM ${schema}.entries
  JOIN ${schema}.journals ON id = journal GROUP BY id, begun ORDER BY begun DESC LIMIT 200;`,
      )
      return rows.flatMap((row) => summaryOf(row.entries) ?? [])
    },
    async holder(scope) {
      return busyIn(
        await query<Busy>(`${busySql} SELECT to_jsonb(busy) FROM busy LIMIT 1;`, {
          scopes: tag([scope]),
          run: '',
          journal: '',
        }),
      )
    },
    async breakLock(scope, by) {
      const was = await store.holder(scope)
      // With it goes the dead run's lock on what it was making, which has no name that anybody could type.
      await sql(
        url,
        `DELETE FROM ${schema}.locks WHERE scope = :'scope'
  OR (scope LIKE '%.init' AND run = (SELECT run FROM ${schema}.locks WHERE scope = :'scope'));`,
        { scope },
      )
      if (was) await store.audit(unlockedLine(was, scope, by))
      return was
    },
    async audit(line: AuditLine) {
      if (away) return
      await sql(url, `INSERT INTO ${schema}.audits (line) VALUES (:'line'::jsonb);`, { line: tag(line) })
    },
    async audits(limit) {
      return query<AuditLine>(`SELECT line FROM ${schema}.audits ORDER BY n DESC LIMIT ${Math.floor(limit)};`)
    },
    async across(fn) {
      const [saved = {}] = await query<Saved>(
        `SELECT jsonb_build_object(
  'locks', (SELECT coalesce(jsonb_agg(to_jsonb(l)), '[]') FROM ${schema}.locks l),
  'journals', (SELECT coalesce(jsonb_agg(to_jsonb(j)), '[]') FROM ${schema}.journals j),
  'entries', (SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY n), '[]') FROM ${schema}.entries e),
  'audits', (SELECT coalesce(jsonb_agg(to_jsonb(a) ORDER BY n), '[]') FROM ${schema}.audits a));`,
      )
      if (kept) {
        const { aside, holder } = kept
        const of = (await attachedAs(holder, (_, its) => its === url))?.attachment ?? (await requireDatabase(holder))
        // A run that doesn't see the end is over when this is put back: it holds no lock then.
        const locks = (saved['locks'] as { run: string }[]).filter(({ run }) => run !== currentRun().id)
        await aside.keep(of.addon.id, { ...saved, locks })
      }
      try {
        return await fn()
      } catch (error) {
        away = kept !== undefined && leavesGoing(error)
        throw error
      } finally {
        if (kept && away) leave(kept)
        else {
          await putBack(url, saved)
          await kept?.aside.drop()
        }
      }
    },
  }
  return store
}

/** Removes the store from a database that is a copy of production's. */
export async function dropCopiedStore(url: string): Promise<void> {
  await sql(url, `SET client_min_messages = warning; DROP SCHEMA IF EXISTS ${schema} CASCADE;`)
}

/** In a copy that is to be production's: history stays, and the change under way goes on in the database it began in. */
export async function dropCopiedChange(url: string): Promise<void> {
  await sql(
    url,
    `DELETE FROM ${schema}.locks;
DELETE FROM ${schema}.entries WHERE journal IN (SELECT id FROM ${schema}.journals WHERE result IS NULL);
DELETE FROM ${schema}.journals WHERE result IS NULL;`,
  )
}

/** How often this run holds each lock: the last one to let go releases it. */
function usesOf(run: Run, url: string): Map<string, number> {
  return run.memo(`heroku locks ${url}`, () => new Map<string, number>())
}
