/**
 * How production's data comes under the code that becomes production: its database is attached where both plans are
 * the same; where they differ, the data is copied into the database of the plan that production is to have.
 */
import type { Step, UndoData } from '../../engine/types.ts'
import { journalled } from './change.ts'
import type { HerokuContext } from './context.ts'
import { commandStep } from './hooks.ts'
import { backupStep, workersOff, workersOn } from './parts.ts'
import * as postgres from './postgres.ts'
import type { Attachment } from './resources.ts'
import { dropCopiedChange, type HerokuStore } from './store.ts'

export interface SwapData {
  fromDatabase: Attachment
  toDatabase: Attachment
  /** Plans by app: `heroku-postgresql:standard-0`. */
  plans: { from: string; to: string }
  /** Dynos of web, which rest while data is copied. */
  web: { from: number; to: number }
}

export interface DataMove {
  /** The app that becomes production. */
  from: HerokuContext
  /** The app that is production. */
  to: HerokuContext
  facts: SwapData
  /** Where the change is recorded: maybe in the very database that is moved. */
  store: HerokuStore
  /** Migrates the data: `migrate`, or the release command of the new code. */
  command: string | undefined
}

const isTransfer = ({ plans }: SwapData): boolean => plans.from !== plans.to

/** From the backup to data that the new code understands; both apps are in maintenance by then. */
export function dataSteps(move: DataMove): Step[] {
  return isTransfer(move.facts) ? transferred(move) : attached(move)
}

/** What is said of it beside the plan. */
export function dataNote(from: HerokuContext, to: HerokuContext, facts: SwapData): string {
  return isTransfer(facts)
    ? `The plans differ, so the data is copied from ${facts.toDatabase.addon.name} (${facts.plans.to}) over ${facts.fromDatabase.addon.name} (${facts.plans.from}), which is production's from then on, with the journals that were finished. ${to.app} keeps its database as it is.`
    : `The database ${facts.toDatabase.addon.name} still belongs to ${to.app}: destroying that app destroys it, and ${from.app}'s data with it.`
}

function attached({ from, to, facts, store, command }: DataMove): Step[] {
  let backup: string | undefined
  return [
    backupStep(to, facts.toDatabase, (name) => {
      backup = name
    }),
    attach(from, facts.toDatabase, facts.fromDatabase),
    attach(to, facts.fromDatabase, facts.toDatabase),
    ...(command
      ? [
          {
            ...commandStep(from, 'migrate', command, "migrate production's data"),
            undoTitle: 'restore the backup just made: nothing was written since',
            prepare: async () => ({ backup }),
            check: journalled(store, { kind: 'swap', step: 'migrate', deployment: to.deployment.name }),
            // The journal is in the database that is overwritten.
            undo: (data: UndoData) =>
              store.across(() =>
                postgres.restoreBackup(
                  String(data['backup']),
                  { context: to, attachment: facts.toDatabase },
                  { context: from, attachment: facts.toDatabase },
                ),
              ),
          },
        ]
      : []),
  ]
}

function transferred({ from, to, facts, store, command }: DataMove): Step[] {
  let before: string | undefined
  return [
    // Requests that are being answered may still write: they end before the data is read.
    web(workersOff(to, { web: facts.web.to }), to, 'off', facts.web.to),
    web(workersOff(from, { web: facts.web.from }), from, 'off', facts.web.from),
    backupStep(to, facts.toDatabase, () => undefined),
    backupStep(from, facts.fromDatabase, (name) => {
      before = name
    }),
    {
      id: 'transfer',
      title: `copy ${facts.toDatabase.addon.name} (${facts.plans.to}) over ${facts.fromDatabase.addon.name} (${facts.plans.from})`,
      undoTitle: `restore what ${from.app} had, from the backup just made`,
      check: journalled(store, { kind: 'swap', step: 'transfer', deployment: to.deployment.name }),
      prepare: async () => ({ before }),
      async do() {
        await postgres.copyDatabase(
          { context: to, attachment: facts.toDatabase },
          { context: from, attachment: facts.fromDatabase },
        )
        const url = await postgres.databaseUrl(from, facts.fromDatabase.name)
        if (url && store.kind === 'postgres') await dropCopiedChange(url)
        return { before }
      },
      undo: (data) => postgres.restoreBackup(String(data['before']), { context: from, attachment: facts.fromDatabase }),
    },
    // Taken back with the transfer: it is the copy that is migrated.
    ...(command ? [commandStep(from, 'migrate', command, "migrate the copy of production's data")] : []),
    web(workersOn(from, { web: facts.web.from }), from, 'on', facts.web.from),
  ]
}

/** The former production answers again (in maintenance) at the end. */
export const lastSteps = (to: HerokuContext, facts: SwapData): Step[] =>
  isTransfer(facts) ? [web(workersOn(to, { web: facts.web.to }), to, 'on', facts.web.to)] : []

function web(step: Step, context: HerokuContext, to: 'on' | 'off', dynos: number): Step {
  const [off, on] = [`${context.app}: web off (${dynos} now)`, `${context.app}: web back to ${dynos}`]
  return {
    ...step,
    id: `web-${to}-${context.app}`,
    title: to === 'on' ? on : off,
    undoTitle: to === 'on' ? off : on,
  }
}

function attach(context: HerokuContext, wanted: Attachment, before: Attachment): Step {
  return {
    id: `database-${context.app}`,
    title: `${context.app}: DATABASE is ${wanted.addon.name}`,
    undoTitle: `${context.app}: DATABASE is ${before.addon.name} again`,
    check: async () => ((await postgres.databaseOf(context))?.addon.id === wanted.addon.id ? 'done' : 'todo'),
    do: async () => {
      await postgres.attachDatabase(context, wanted.addon.name)
      return {}
    },
    undo: async () => {
      await postgres.attachDatabase(context, before.addon.name)
    },
  }
}
