/** Restoring a backup over a database, as a change: what is there is backed up first, and undo puts that back. */
import type { Plan } from '../../engine/types.ts'
import { type ChangeOptions, checkRole, journalled, runChange } from './change.ts'
import type { HerokuContext } from './context.ts'
import { inHooks } from './hooks.ts'
import { backupStep, maintenanceOff, maintenanceOn, workerSizes, workersOff, workersOn } from './parts.ts'
import * as postgres from './postgres.ts'
import type { Attachment, BackupSchedule } from './resources.ts'
import * as resource from './resources.ts'

interface Facts extends Record<string, unknown> {
  backup: { name: string; at: string }
  attachment: Attachment
  workers: Record<string, number>
  maintenance: boolean
  schedules: BackupSchedule[]
}

/** `backup`: `b001`, as `backups` lists them. Asks for `app::DATABASE` to be typed. */
export async function restore(context: HerokuContext, backup: string, options: ChangeOptions = {}): Promise<void> {
  await runChange<Facts>(
    context,
    {
      kind: 'restore',
      takesBack: true,
      async facts() {
        await checkRole(context)
        const attachment = await postgres.requireDatabase(context)
        const [found, schedules, workers, info] = await Promise.all([
          postgres.findBackup(context, attachment, backup),
          postgres.schedulesOf(context, attachment),
          workerSizes(context),
          context.client.get(context.path, resource.app),
        ])
        await postgres.requireRoomFor(found, { context, attachment })
        return {
          backup: { name: postgres.transferName(found), at: found.created_at },
          attachment,
          workers,
          maintenance: info.maintenance,
          schedules,
        }
      },
      confirm: (facts) => postgres.databaseName(facts.attachment),
      plan(facts, store): Plan {
        let before: string | undefined
        const place = { context, attachment: facts.attachment }
        const from = (name: string): Promise<void> =>
          store.across(() => postgres.restoreBackup(name, place, place, facts.schedules))
        return {
          kind: 'restore',
          title: `${postgres.databaseName(facts.attachment)} becomes what it was at ${facts.backup.at} (${facts.backup.name})`,
          facts,
          locks: [context.deployment.name],
          steps: [
            ...(facts.maintenance ? [] : [maintenanceOn(context)]),
            workersOff(context, facts.workers),
            backupStep(context, facts.attachment, (name) => {
              before = name
            }),
            {
              id: 'restore',
              title: `restore ${facts.backup.name} over ${postgres.databaseName(facts.attachment)}; backup schedules are put back`,
              undoTitle: 'restore what was there before, from the backup just made',
              check: journalled(store, { kind: 'restore', step: 'restore', deployment: context.deployment.name }),
              prepare: async () => ({ before }),
              do: async () => {
                await from(facts.backup.name)
                return { before }
              },
              undo: async (data) => from(String(data['before'])),
            },
            ...inHooks(context, 'after_restore'),
            workersOn(context, facts.workers),
            ...(facts.maintenance ? [] : [maintenanceOff(context)]),
          ],
        }
      },
    },
    options,
  )
}
