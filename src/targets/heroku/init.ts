/**
 * A deployment from nothing: the app, its stack, buildpacks, features, add-ons, settings, pipeline, first deploy, data
 * and domain, as a plan of what differs. Running it again changes only what differs by then; one that stopped on its
 * way has a journal, which says what it made, and the next one goes on from there.
 */
import {
  abandon,
  beginOf,
  execute,
  type Plan,
  resume,
  type Step,
  StepFailedError,
  type StepRecord,
  stepRecords,
} from '../../engine/index.ts'
import { AbortedError, OutcomeUnknownError, SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { addonDifferences } from './addons.ts'
import { locked, ownerOf } from './change.ts'
import { type HerokuContext, ofRun } from './context.ts'
import { holdsData } from './database.ts'
import type { InitAppOptions } from './deployment.ts'
import { appDifferences, domainDifferences, pipelineDifferences, settingsDifferences } from './differences.ts'
import { isNotFound } from './errors.ts'
import { type Manifest, readManifest } from './manifest.ts'
import { databaseName, databaseOf } from './postgres.ts'
import type { App } from './resources.ts'
import * as resource from './resources.ts'
import { filesStore, type HerokuStore, storeFor } from './store.ts'
import { currentRelease } from './versions.ts'

/** One difference, with what makes it none. */
export interface Difference {
  text: string
  make(): Promise<void>
}

/** Makes the app what the configuration says, difference by difference. Resolves with what was different. */
export async function init(context: HerokuContext, options: InitAppOptions = {}): Promise<string[]> {
  const run = currentRun()
  const left = await unfinishedInit(context)
  if (run.options.planOnly || run.options.dryRun) {
    if (left) tellOf(left, context)
    const found = await differences(context, options, left)
    for (const { text } of found) run.emit({ type: 'result', text })
    return found.map(({ text }) => text)
  }
  return locked(context, 'init the app', () => journalled(context, options, left), left?.id)
}

const kind = 'init'
/** Not the deployment itself: what was made can be looked at and mended meanwhile. */
const scopeOf = (context: HerokuContext): string => `${context.app}.init`

interface Left {
  store: HerokuStore
  id: string
  begun: string
  by: string
  records: Map<string, StepRecord>
  /** Every step that it meant to do. */
  steps: readonly string[]
}

/** The init that stopped on its way: in the store of now, or in the one from before there was a database. */
async function unfinishedInit(context: HerokuContext): Promise<Left | undefined> {
  const { dryRun } = currentRun().options
  const store = await storeFor(context)
  for (const each of store.kind === 'files' ? [store] : [store, await filesStore(context)]) {
    // A dry run finds no tables where nothing was journalled yet, and makes none.
    const all = await each.list().catch((error: unknown) => {
      if (dryRun) return []
      throw error
    })
    for (const { id, result, kind: of } of all) {
      if (result !== 'unfinished' || of !== kind) continue
      const entries = await (await each.open(id)).entries()
      const begin = beginOf(entries)
      if (!begin?.locks?.includes(scopeOf(context))) continue
      const { by, at, steps } = begin
      return { store: each, id, begun: at, by: `${by.user} on ${by.machine}`, steps, records: stepRecords(entries) }
    }
  }
  return undefined
}

function tellOf(left: Left, { app }: HerokuContext): void {
  const all = [...left.records.values()]
  const made = all.filter((each) => each.ok).map((each) => each.step)
  const open = all.filter((each) => each.ok === undefined).map((each) => each.step)
  const failed = all.filter((each) => each.ok === false).map((each) => `${each.step} (${each.error ?? 'failed'})`)
  const text = [
    `an init of ${app} that ${left.by} began at ${left.begun} stopped on its way.`,
    `It made: ${made.join('; ') || 'nothing'}.`,
    open.length > 0 ? `It had begun, and may have made: ${open.join('; ')}.` : '',
    failed.length > 0 ? `It failed at: ${failed.join('; ')}.` : '',
    'Going on with what still differs.',
  ]
  currentRun().emit({ type: 'warning', host: app, text: text.filter(Boolean).join(' ') })
}

/** Does what differs with a journal beside, in that of the init which stopped on its way where there is one. */
async function journalled(context: HerokuContext, options: InitAppOptions, left: Left | undefined): Promise<string[]> {
  // Only now is it certain that it is not under way still.
  if (left) tellOf(left, context)
  const store = left?.store ?? (await storeFor(context))
  const by = ownerOf(currentRun(), kind)
  if (left && store !== (await storeFor(context))) {
    // From before there was a database: the dead run's lock on the deployment is there, and goes with its journal.
    await (await store.lock([context.deployment.name], by, { journal: left.id })).release()
  }
  const found = await differences(context, options, left)
  if (found.length === 0 && !left) return []
  const made: string[] = []
  const names = new Set(left?.records.keys())
  const plan: Plan = {
    kind,
    title: `${context.app}: what config/deploy.ini says of it`,
    facts: { app: context.app },
    locks: [scopeOf(context)],
    steps: found.map(({ text, make }): Step => {
      // What it made once, and is gone since, is a step of its own.
      const id = left?.records.get(text)?.ok ? unused(text, names) : text
      return {
        id,
        title: text,
        irreversible: 'what was made stays; run it again to go on',
        // The plan is what differs, read just now.
        check: async () => 'todo',
        do: async () => {
          await make()
          made.push(text)
          return undefined
        },
      }
    }),
  }
  try {
    const how = { onFailure: 'stop' } as const
    await (left ? resume(left.id, plan, store, by, how) : execute(plan, store, by, how))
  } catch (error) {
    const nothing = !left && made.length === 0 && (await changedNothing(context, options, found, error))
    if (nothing) await forget(error as StepFailedError, plan, store)
    throw stopped(error, context, options, made, nothing)
  }
  return made
}

/** Whether all that differed still does after a step that failed: there is nothing to go on with. */
async function changedNothing(
  context: HerokuContext,
  options: InitAppOptions,
  before: readonly Difference[],
  error: unknown,
): Promise<boolean> {
  if (!(error instanceof StepFailedError) || error.cause instanceof OutcomeUnknownError) return false
  const now = await differences(context, options, undefined).catch(() => [])
  return now.map(({ text }) => text).join('\n') === before.map(({ text }) => text).join('\n')
}

async function forget({ journal }: StepFailedError, plan: Plan, store: HerokuStore): Promise<void> {
  const lock = await store.lock(plan.locks, ownerOf(currentRun(), kind), { journal })
  try {
    await abandon(journal, store)
  } finally {
    await lock.release()
  }
}

function unused(text: string, names: Set<string>): string {
  for (let count = 2; ; count += 1) {
    const name = `${text} (${count})`
    if (names.has(name)) continue
    names.add(name)
    return name
  }
}

/** The failure itself, with what is true now: what was made stays, and the same command goes on. */
function stopped(
  error: unknown,
  { deployment, app }: HerokuContext,
  { deploy }: InitAppOptions,
  made: readonly string[],
  nothing: boolean,
): unknown {
  const sofar = made.length > 0 ? `Made so far: ${made.join('; ')}.` : 'No other part was made by this run.'
  const details = {
    host: app,
    state: nothing ? 'Nothing was made.' : `${sofar} The journal says so to the next run.`,
    next: `Run it again: it goes on from there. \`tasks init_${deployment.name}${deploy ? '' : '_app'}\``,
  }
  if (error instanceof AbortedError) return new AbortedError(error.message, { ...details, cause: error })
  if (!(error instanceof StepFailedError) || !(error.cause instanceof SlipwayError)) return error
  const { code, message, detail, state, next } = error.cause
  return new SlipwayError(code, message, {
    ...details,
    cause: error.cause,
    ...(detail ? { detail } : {}),
    state: nothing ? (state ?? details.state) : [state, details.state].filter(Boolean).join(' '),
    next: next ?? details.next,
  })
}

/** All that differs, before anything is changed. An app that isn't there differs in everything. */
async function differences(
  context: HerokuContext,
  options: InitAppOptions,
  left: Left | undefined,
): Promise<Difference[]> {
  const [manifest, app] = await Promise.all([readManifest(context), existing(context)])
  const there = app !== undefined
  const [shape, addons, pipeline, domain, coded] = await Promise.all([
    appDifferences(context, manifest, app),
    addonDifferences(context, manifest, there, options),
    pipelineDifferences(context, there),
    domainDifferences(context, app, options),
    there ? currentRelease(context).then((release) => Boolean(release?.slug)) : false,
  ])
  const settings = await settingsDifferences(context, manifest, app, there && addons.length === 0)
  return [
    ...(there ? [] : [{ text: `create the app ${context.app}`, make: () => createApp(context, manifest) }]),
    ...shape,
    ...addons,
    ...settings,
    ...pipeline,
    ...(await firstDifferences(context, options, left, coded)),
    ...domain,
  ]
}

/** The first deploy and its data, where they are not there; what an interrupted init did not see to its end is gone on with. */
async function firstDifferences(
  context: HerokuContext,
  { deploy, populate }: InitAppOptions,
  left: Left | undefined,
  coded: boolean,
): Promise<Difference[]> {
  const [first, fill] = ['first deploy', 'fill the database']
  const owed = (step: string): boolean =>
    left !== undefined && (left.steps.includes(step) || left.records.has(step)) && !left.records.get(step)?.ok
  const differences: Difference[] = []
  if (deploy && (!coded || owed(first))) {
    const make = async (): Promise<void> => {
      const record = left?.records.get(first)
      const remembered = ofRun(context)
      // Begun, and how it ended is not known: its build may be under way, or live.
      remembered.goesOn = record !== undefined && record.ok === undefined
      try {
        await deploy()
      } finally {
        remembered.goesOn = false
      }
    }
    differences.push({ text: first, make })
  }
  if (deploy && populate && context.deployment.app.initDb) {
    const attachment = coded ? await databaseOf(context) : undefined
    const filled = attachment !== undefined && (await holdsData(context, attachment))
    if (!filled || owed(fill)) {
      const make = async (): Promise<void> => {
        if (filled && left?.records.has(fill)) throw halfFilled(context, databaseName(attachment))
        await populate()
      }
      differences.push({ text: fill, make })
    }
  }
  return differences
}

function halfFilled({ deployment, app }: HerokuContext, database: string): SlipwayError {
  return new SlipwayError('half-filled', `${database} may be filled in part: an init began with it, and did not end`, {
    host: app,
    state: 'It was not filled again.',
    next: `Empty it with \`tasks reset_db:release=${deployment.name}\` and run this again; or, where all of it is there, say so with \`tasks init_${deployment.name}_app\`, which ends that init.`,
  })
}

async function existing(context: HerokuContext): Promise<App | undefined> {
  try {
    return await context.client.get(context.path, resource.app)
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

async function createApp(context: HerokuContext, manifest: Manifest): Promise<void> {
  const { deployment, client, app } = context
  const stack = deployment.stack ?? manifest.stack
  const body = {
    name: app,
    ...(deployment.region ? { region: deployment.region } : {}),
    ...(stack ? { stack } : {}),
    ...(deployment.team ? { team: deployment.team } : {}),
  }
  await client.write('POST', deployment.team ? '/teams/apps' : '/apps', resource.app, {
    body,
    reread: () => existing(context),
  })
  currentRun().emit({ type: 'changed', host: app, what: `the app ${app}` })
}
