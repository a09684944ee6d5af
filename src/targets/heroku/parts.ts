/** Steps that several changes share: maintenance, workers, a backup. */
import type { Step } from '../../engine/types.ts'
import type { HerokuContext } from './context.ts'
import { dynosGone, dynosUp, formationOf, setFormation, workerTypes } from './dynos.ts'
import { setMaintenance } from './maintenance.ts'
import * as postgres from './postgres.ts'
import * as resource from './resources.ts'

const inMaintenance = async (context: HerokuContext): Promise<boolean> =>
  (await context.client.get(context.path, resource.app)).maintenance

export function maintenanceOn(context: HerokuContext): Step {
  return {
    id: `maintenance-${context.app}`,
    title: `${context.app}: maintenance on`,
    undoTitle: `${context.app}: maintenance off`,
    check: async () => ((await inMaintenance(context)) ? 'done' : 'todo'),
    do: async () => {
      await setMaintenance(context, true)
      return {}
    },
    undo: () => setMaintenance(context, false),
  }
}

export function maintenanceOff(context: HerokuContext): Step {
  return {
    id: `open-${context.app}`,
    title: `${context.app}: maintenance off`,
    undoTitle: `${context.app}: maintenance on`,
    check: async () => ((await inMaintenance(context)) ? 'todo' : 'done'),
    do: async () => {
      await setMaintenance(context, false)
      return {}
    },
    undo: () => setMaintenance(context, true),
  }
}

export type Sizes = Readonly<Record<string, number>>

/** What runs of the workers now. */
export async function workerSizes(context: HerokuContext): Promise<Record<string, number>> {
  const formation = await formationOf(context)
  return Object.fromEntries(
    formation.filter((each) => workerTypes([each]).length > 0).map((each) => [each.type, each.quantity]),
  )
}

const text = (sizes: Sizes): string =>
  Object.entries(sizes)
    .map(([type, quantity]) => `${type}=${quantity}`)
    .join(' ') || 'none'

async function scaleTo(context: HerokuContext, sizes: Sizes): Promise<void> {
  const formation = await formationOf(context)
  const known = Object.fromEntries(
    Object.entries(sizes).filter(([type]) => formation.some((each) => each.type === type)),
  )
  await setFormation(context, known)
  const gone = Object.keys(known).filter((type) => known[type] === 0)
  if (gone.length > 0) await dynosGone(context, gone)
  const up = Object.keys(known).filter((type) => (known[type] ?? 0) > 0)
  if (up.length > 0) await dynosUp(context, { types: up })
}

const has = async (context: HerokuContext, sizes: Sizes): Promise<boolean> => {
  const formation = await formationOf(context)
  return Object.entries(sizes).every(
    ([type, quantity]) => (formation.find((each) => each.type === type)?.quantity ?? quantity) === quantity,
  )
}

export function workersOff(context: HerokuContext, sizes: Sizes): Step {
  const zero = Object.fromEntries(Object.keys(sizes).map((type) => [type, 0]))
  return {
    id: `workers-off-${context.app}`,
    title: `${context.app}: workers off (${text(sizes)} now)`,
    undoTitle: `${context.app}: workers back to ${text(sizes)}`,
    check: async () => ((await has(context, zero)) ? 'done' : 'todo'),
    do: async () => {
      await scaleTo(context, zero)
      return { sizes }
    },
    undo: () => scaleTo(context, sizes),
  }
}

export function workersOn(context: HerokuContext, sizes: Sizes): Step {
  return {
    id: `workers-on-${context.app}`,
    title: `${context.app}: workers at ${text(sizes)}`,
    undoTitle: `${context.app}: workers off`,
    check: async () => ((await has(context, sizes)) ? 'done' : 'todo'),
    do: async () => {
      await scaleTo(context, sizes)
      return {}
    },
    undo: () => scaleTo(context, Object.fromEntries(Object.keys(sizes).map((type) => [type, 0]))),
  }
}

/** A backup that stays, whatever becomes of the change. `made` is told its name. */
export function backupStep(
  context: HerokuContext,
  attachment: resource.Attachment,
  made: (name: string) => void,
): Step {
  return {
    id: `backup-${context.app}`,
    title: `back up ${postgres.databaseName(attachment)} (${attachment.addon.name})`,
    // Another one does no harm, and one that an interrupted run began may be of any time.
    check: async () => 'todo',
    do: async () => {
      const backup = await postgres.capture(context, attachment)
      made(postgres.transferName(backup))
      return { backup: postgres.transferName(backup) }
    },
  }
}
