/** One deployment's data over another's: maintenance, workers off, transfer, migrate, scrub, back on, in one change. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { HerokuConfig } from '../../config/types.ts'
import type { Plan, Step } from '../../engine/types.ts'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { type ChangeOptions, checkRole, journalled, runChange } from './change.ts'
import { type HerokuContext, herokuContext } from './context.ts'
import { commandStep, inHooks } from './hooks.ts'
import { backupStep, maintenanceOff, maintenanceOn, workerSizes, workersOff, workersOn } from './parts.ts'
import * as postgres from './postgres.ts'
import { sql } from './psql.ts'
import type { Attachment } from './resources.ts'
import * as resource from './resources.ts'
import { dropCopiedStore, storeFor } from './store.ts'
import { currentRelease } from './versions.ts'

interface Facts extends Record<string, unknown> {
  from: Attachment
  to: Attachment
  workers: Record<string, number>
  maintenance: boolean
  deployed: boolean
  releaseCommand: string | null
}

/** An add-on can be attached to two apps: a copy onto itself would only empty it. */
export function requireOwnDatabases(from: [HerokuContext, Attachment], to: [HerokuContext, Attachment]): void {
  const [[{ app }, { addon }], [other, there]] = [from, to]
  if (addon.id !== there.addon.id) return
  throw new SlipwayError('same-database', `${app} and ${other.app} share the database ${addon.name}`, {
    host: other.app,
    state: 'Nothing was changed.',
  })
}

/** Over `target`'s data, after a backup of it. Asks for `app::DATABASE` to be typed. */
export async function clone(context: HerokuContext, target: HerokuConfig, options: ChangeOptions = {}): Promise<void> {
  const to = herokuContext(target, { config: context.config, env: context.env })
  if (to.app === context.app) throw new UsageError('same-app', `${context.app} can't be copied over itself`)
  await runChange<Facts>(
    to,
    {
      kind: 'clone',
      takesBack: true,
      async facts() {
        await checkRole(to)
        const [fromDb, toDb, workers, info, release] = await Promise.all([
          postgres.requireDatabase(context),
          postgres.requireDatabase(to),
          workerSizes(to),
          to.client.get(to.path, resource.app),
          currentRelease(to),
        ])
        requireOwnDatabases([context, fromDb], [to, toDb])
        await scrubText(to)
        await postgres.requireRoom({ context, attachment: fromDb }, { context: to, attachment: toDb })
        const slug = release?.slug
          ? await to.client.get(`${to.path}/slugs/${release.slug.id}`, resource.slug)
          : undefined
        return {
          from: fromDb,
          to: toDb,
          workers,
          maintenance: info.maintenance,
          deployed: slug !== undefined,
          releaseCommand: slug?.process_types['release'] ?? null,
        }
      },
      confirm: (facts) => postgres.databaseName(facts.to),
      stores: async () => [await storeFor(to)],
      plan(facts, store): Plan {
        let before: string | undefined
        const command = to.deployment.app.migrate ?? facts.releaseCommand
        const copy = async (): Promise<void> => {
          try {
            await postgres.copyDatabase({ context, attachment: facts.from }, { context: to, attachment: facts.to })
          } catch (error) {
            // Between apps of different owners or plans a direct copy may fail where a backup can be restored.
            if (!(error instanceof SlipwayError) || error.code !== 'heroku-transfer-failed') throw error
            currentRun().emit({ type: 'warning', host: to.app, text: `${error.message}; going by way of a backup` })
            const backup = await postgres.capture(context, facts.from)
            const url = await postgres.backupUrl(context, facts.from, backup)
            await postgres.restoreFrom(
              to,
              facts.to,
              url,
              `restore of ${context.app} ${postgres.transferName(backup)} to ${postgres.databaseName(facts.to)}`,
            )
          }
          const url = await postgres.databaseUrl(to, facts.to.name)
          // The copy is not where locks live.
          if (url && store.kind === 'postgres' && !(await keepsStore(to))) await dropCopiedStore(url)
        }
        return {
          kind: 'clone',
          title: `${postgres.databaseName(facts.from)} is copied over ${postgres.databaseName(facts.to)}`,
          facts,
          locks: [to.deployment.name],
          steps: [
            ...(facts.maintenance ? [] : [maintenanceOn(to)]),
            workersOff(to, facts.workers),
            backupStep(to, facts.to, (name) => {
              before = name
            }),
            {
              id: 'transfer',
              title: `copy ${facts.from.addon.name} over ${facts.to.addon.name}; backup schedules are put back`,
              undoTitle: `restore what ${to.app} had, from the backup just made`,
              check: journalled(store, { kind: 'clone', step: 'transfer', deployment: to.deployment.name }),
              prepare: async () => ({ before }),
              do: async () => {
                await ((await keepsStore(to)) ? store.across(copy) : copy())
                return { before }
              },
              undo: (data) => postgres.restoreBackup(String(data['before']), { context: to, attachment: facts.to }),
            },
            ...(to.deployment.scrub === undefined ? [] : [scrubStep(to, to.deployment.scrub, facts.to)]),
            ...(facts.deployed && command ? [commandStep(to, 'migrate', command, 'migrate')] : []),
            ...(facts.deployed ? inHooks(to, 'after_clone') : []),
            workersOn(to, facts.workers),
            ...(facts.maintenance ? [] : [maintenanceOff(to)]),
          ],
          notes: [`Locks and journals of production are left out of the copy.`],
        }
      },
    },
    options,
  )
}

/** The SQL that makes the copy fit to be used here; undefined where none is configured. */
async function scrubText(to: HerokuContext): Promise<string | undefined> {
  const { scrub: file, name } = to.deployment
  if (file === undefined) return undefined
  try {
    return await readFile(join(to.config.dir, file), 'utf8')
  } catch (cause) {
    throw new UsageError('scrub', `[${name}] scrub = ${file}, and it can't be read`, {
      cause,
      state: 'Nothing was changed.',
      next: `Check \`scrub =\` under [${name}] in config/deploy.ini.`,
    })
  }
}

/** All of the file in one transaction, while nothing of the app uses the copy. Taken back with the copy. */
function scrubStep(to: HerokuContext, file: string, attachment: Attachment): Step {
  return {
    id: 'scrub',
    title: `run ${file} on ${postgres.databaseName(attachment)}`,
    check: async () => 'todo',
    async do() {
      const url = await postgres.databaseUrl(to, attachment.name)
      try {
        await sql(url ?? '', (await scrubText(to)) ?? '')
      } catch (cause) {
        if (!(cause instanceof SlipwayError) || cause.code !== 'sql-failed') throw cause
        throw new SlipwayError('database-scrub', `the scrubbing SQL failed: ${cause.message}`, {
          cause,
          host: to.app,
          detail: cause.detail,
          next: `Correct ${file}, and do it again.`,
        })
      }
      return {}
    },
  }
}

/** Whether the deployment's own database is where the store is. */
async function keepsStore(context: HerokuContext): Promise<boolean> {
  const production = context.config.deployments['production']
  return production?.target !== 'heroku' || production.herokuApp === context.app
}
