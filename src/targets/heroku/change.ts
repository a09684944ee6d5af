/** A change to a deployment begins here: its role is asked of the pipeline, its lock is taken, its plan is shown and done. */
import {
  beginOf,
  type ChangeResult,
  execute,
  mayHaveHappened,
  type Plan,
  planText,
  resume,
  type StepRecord,
  stepRecords,
  undo,
} from '../../engine/index.ts'
import type { ChangeStore, Owner, StepState } from '../../engine/types.ts'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun, type Run } from '../../events/run.ts'
import { owner } from '../vps/change.ts'
import type { HerokuContext } from './context.ts'
import { isNotFound } from './errors.ts'
import * as resource from './resources.ts'
import { type HerokuStore, storeFor } from './store.ts'

export interface ChangeOptions {
  /** Goes on with the unfinished change of this kind, or with the one that has this id. */
  resume?: boolean | string
  /** Goes back from it. */
  undo?: boolean | string
  /** It was agreed to already: by the configuration, or by the change that this one is part of. */
  agreed?: boolean
}

export interface Change<F extends Record<string, unknown>> {
  kind: string
  /** Reads what the plan rests on, and refuses what can't work: nothing has changed yet. */
  facts(): Promise<F>
  /** Pure but for closures that act: the same facts give the same steps, also for resuming. */
  plan(facts: F, store: HerokuStore): Plan
  /** What has to be typed before data is overwritten: `pony::DATABASE`. A plain yes unless given. */
  confirm?(facts: F): string
  /** An unfinished one of this kind is taken back before this one begins: data changes are simply run again. */
  takesBack?: boolean
  /** Where the journal is looked for; the deployment's own store unless given. */
  stores?(): Promise<HerokuStore[]>
}

/** Shows the plan, asks once, and does it; or resumes or undoes an unfinished one. Undefined: only shown. */
export async function runChange<F extends Record<string, unknown>>(
  context: HerokuContext,
  change: Change<F>,
  options: ChangeOptions = {},
): Promise<ChangeResult | undefined> {
  const run = currentRun()
  const by = ownerOf(run, change.kind)
  if (options.resume || options.undo) {
    const { store, id, facts } = await unfinished(context, change, options.resume || options.undo || true)
    const plan = change.plan(facts, store)
    if (run.options.planOnly || run.options.dryRun) return show(plan)
    const what = `${options.undo ? 'undo' : 'resume'} ${change.kind}`
    return audited(context, store, by, what, () =>
      options.undo ? undo(id, plan, store, by) : resume(id, plan, store, by),
    )
  }
  if (change.takesBack && !run.options.planOnly && !run.options.dryRun) await takeBack(context, change)
  const facts = await change.facts()
  const stores = change.stores ? await change.stores() : [await storeFor(context)]
  const store = stores[0] as HerokuStore
  const plan = change.plan(facts, store)
  if (run.options.planOnly || run.options.dryRun) return show(plan)
  if (!options.agreed) await confirm(plan, change.confirm?.(facts))
  return audited(context, store, by, change.kind, () => execute(plan, store, by, { facts: () => change.facts() }))
}

async function takeBack<F extends Record<string, unknown>>(context: HerokuContext, change: Change<F>): Promise<void> {
  const run = currentRun()
  const store = await storeFor(context)
  for (const each of await store.list()) {
    if (each.result !== 'unfinished' || each.kind !== change.kind) continue
    const begin = beginOf(await (await store.open(each.id)).entries())
    if (!begin?.locks?.includes(context.deployment.name)) continue
    run.emit({ type: 'warning', host: context.app, text: `taking back first what was left unfinished: ${each.title}` })
    await undo(each.id, change.plan(begin.facts as F, store), store, ownerOf(run, change.kind))
  }
}

function show(plan: Plan): undefined {
  for (const text of planText(plan)) currentRun().emit({ type: 'result', text })
  return undefined
}

async function confirm(plan: Plan, typed: string | undefined): Promise<void> {
  const run = currentRun()
  if (run.options.yes) return
  for (const text of planText(plan)) run.emit({ type: 'note', text })
  const agreed = typed
    ? await run.prompter.confirmTyped(`This overwrites ${typed}. Type its name to go on`, typed)
    : await run.prompter.confirm(`${plan.title}?`)
  if (!agreed)
    throw new SlipwayError('not-confirmed', `${plan.title}: not confirmed`, { state: 'Nothing was changed.' })
}

async function unfinished<F extends Record<string, unknown>>(
  context: HerokuContext,
  change: Change<F>,
  which: boolean | string,
): Promise<{ store: HerokuStore; id: string; facts: F }> {
  const stores = change.stores ? await change.stores() : [await storeFor(context)]
  for (const store of stores) {
    const open = (await store.list()).filter((each) => each.result === 'unfinished' && each.kind === change.kind)
    const found = which === true ? open[0] : open.find((each) => each.id === which)
    if (!found) continue
    const begin = beginOf(await (await store.open(found.id)).entries())
    if (begin) return { store, id: found.id, facts: begin.facts as F }
  }
  throw new UsageError(
    'nothing-unfinished',
    `there is no unfinished ${change.kind}${typeof which === 'string' ? ` ${which}` : ''}`,
    {
      state: 'Nothing was changed.',
      next: 'See `slipway history`.',
    },
  )
}

/**
 * The pipeline knows which app is production. Refuses a change where the configuration calls it something else, as
 * after a promotion by `strategy = swap`.
 */
export async function checkRole(context: HerokuContext): Promise<void> {
  const { name } = context.deployment
  if (name !== 'staging' && name !== 'production') return
  const coupling = await couplingOf(context)
  if (!coupling || (coupling.stage !== 'staging' && coupling.stage !== 'production') || coupling.stage === name) return
  throw new SlipwayError(
    'role-disagrees',
    `${context.app} is ${coupling.stage} in its pipeline; config/deploy.ini calls it ${name}`,
    {
      host: context.app,
      state: 'Nothing was changed.',
      next: 'After a swap, exchange the two `app =` lines of [staging] and [production] in config/deploy.ini.',
    },
  )
}

export async function couplingOf(context: HerokuContext): Promise<resource.Coupling | undefined> {
  try {
    return await context.client.get(`${context.path}/pipeline-couplings`, resource.coupling)
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

/** Tells the configured webhooks. A failing one is a warning. */
export async function tell(
  context: HerokuContext,
  event: 'announce' | 'deploy' | 'promote' | 'rollback' | 'failure',
  head?: string,
  detail?: string,
): Promise<void> {
  if (context.config.notifications.length === 0) return
  const { notify } = await import('../notify.ts')
  const url = context.deployment.domain
    ? `https://${context.deployment.domain}/`
    : ((await context.client.get(context.path, resource.app).catch(() => undefined))?.web_url ?? undefined)
  await notify(context.config, event, {
    user: owner().user,
    app: context.app,
    release: context.deployment.name,
    ...(url ? { url } : {}),
    ...(head ? { head } : {}),
    ...(detail ? { detail } : {}),
  })
}

/** Who is at work, with the process: whether a lock's owner is dead can be told on this machine. */
export const ownerOf = (run: Run, command: string): Owner => ({ ...owner(run, command), pid: process.pid })

/**
 * Runs `fn` under the deployment's lock, with a line in the audit log however it ends. `journal`: the unfinished change
 * that is gone on with; the lock that its dead run left behind is taken over.
 */
export async function locked<T>(
  context: HerokuContext,
  what: string,
  fn: () => Promise<T>,
  journal?: string,
): Promise<T> {
  const run = currentRun()
  await checkRole(context)
  if (run.options.dryRun) return fn()
  const store = await storeFor(context)
  const by = ownerOf(run, what)
  // Taken at the run's first change, let go at its end.
  await run.memo(`heroku lock ${context.deployment.name}`, async () => {
    const lock = await store.lock([context.deployment.name], by, journal === undefined ? {} : { journal })
    run.defer(() => lock.release())
    return lock
  })
  return audited(context, store, by, what, fn)
}

/** A line in the audit log however it ends; a failure is told to the configured webhooks too. */
async function audited<T>(
  context: HerokuContext,
  store: HerokuStore,
  by: Owner,
  what: string,
  fn: () => Promise<T>,
): Promise<T> {
  const run = currentRun()
  const audit = (outcome: 'ok' | 'failed', detail?: string): Promise<void> =>
    store
      .audit({
        at: new Date().toISOString(),
        run: run.id,
        who: `${by.user}@${by.machine}`,
        what,
        deployment: context.deployment.name,
        outcome,
        ...(detail ? { detail } : {}),
      })
      .catch((error: unknown) =>
        run.emit({
          type: 'warning',
          text: `the audit log could not be written: ${error instanceof Error ? error.message : String(error)}`,
        }),
      )
  try {
    const value = await fn()
    await audit('ok')
    return value
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error)
    await audit('failed', why)
    if (!run.signal.aborted) await tell(context, 'failure', undefined, `${what}: ${why}`)
    throw error
  }
}

/** What the journal of the unfinished change of `deployment` says of a step: others may have one of that kind too. */
export async function recordOf(
  store: ChangeStore,
  { kind, step, deployment }: StepOf,
): Promise<StepRecord | undefined> {
  for (const { id, result, kind: its } of await store.list()) {
    if (result !== 'unfinished' || its !== kind) continue
    const entries = await (await store.open(id)).entries()
    if (beginOf(entries)?.locks?.includes(deployment)) return stepRecords(entries).get(step)
  }
  return undefined
}

export interface StepOf {
  kind: string
  step: string
  /** The name of one that the change locks. */
  deployment: string
}

/**
 * Where a step stands whose effect can't be seen in the world (data that was overwritten): what the journal of the
 * unfinished change says. Begun and not finished is unclear: the way out is back.
 */
export function journalled(store: ChangeStore, of: StepOf): () => Promise<StepState> {
  return async () => {
    const record = await recordOf(store, of)
    if (!mayHaveHappened(record)) return 'todo'
    return record.direction === 'do' && record.ok === true ? 'done' : 'unclear'
  }
}
