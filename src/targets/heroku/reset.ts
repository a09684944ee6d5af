/** Emptying a database, as a change: what is there is backed up first, and undo puts that back. */
import type { Plan } from '../../engine/types.ts'
import { currentRun } from '../../events/run.ts'
import { type ChangeOptions, checkRole, journalled, runChange } from './change.ts'
import type { HerokuContext } from './context.ts'
import { backupStep, maintenanceOff, maintenanceOn, workerSizes, workersOff, workersOn } from './parts.ts'
import * as postgres from './postgres.ts'
import type { Attachment } from './resources.ts'
import * as resource from './resources.ts'

interface Facts extends Record<string, unknown> {
  attachment: Attachment
  workers: Record<string, number>
  maintenance: boolean
}

/** Asks for `app::DATABASE` to be typed. Locks and journals that live in the database stay. */
export async function reset(context: HerokuContext, options: ChangeOptions = {}): Promise<void> {
  const result = await runChange<Facts>(
    context,
    {
      kind: 'reset',
      takesBack: true,
      async facts() {
        await checkRole(context)
        const [attachment, workers, info] = await Promise.all([
          postgres.requireDatabase(context),
          workerSizes(context),
          context.client.get(context.path, resource.app),
        ])
        return { attachment, workers, maintenance: info.maintenance }
      },
      confirm: (facts) => postgres.databaseName(facts.attachment),
      plan(facts, store): Plan {
        let before: string | undefined
        const { attachment } = facts
        return {
          kind: 'reset',
          title: `${postgres.databaseName(attachment)} (${attachment.addon.name}) is emptied`,
          facts,
          locks: [context.deployment.name],
          steps: [
            ...(facts.maintenance ? [] : [maintenanceOn(context)]),
            workersOff(context, facts.workers),
            backupStep(context, attachment, (name) => {
              before = name
            }),
            {
              id: 'reset',
              title: `empty ${postgres.databaseName(attachment)}`,
              undoTitle: 'restore what was there before, from the backup just made',
              check: journalled(store, { kind: 'reset', step: 'reset', deployment: context.deployment.name }),
              prepare: async () => ({ before }),
              do: async () => {
                await store.across(() => postgres.resetDatabase(context, attachment))
                return { before }
              },
              undo: (data) =>
                store.across(() => postgres.restoreBackup(String(data['before']), { context, attachment })),
            },
            workersOn(context, facts.workers),
            ...(facts.maintenance ? [] : [maintenanceOff(context)]),
          ],
          notes: ['The app finds no tables until it is migrated or `init_staging_db` fills it again.'],
        }
      },
    },
    options,
  )
  if (result?.result === 'done')
    currentRun().emit({ type: 'changed', host: context.app, what: 'the database is empty' })
}
