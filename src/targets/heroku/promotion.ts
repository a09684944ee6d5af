/**
 * Promotion: the very release that staging runs becomes production's, by the pipeline. The app, its domain and its
 * data stay where they are; a backup comes before, health after, and what fails is taken back.
 */
import type { ChangeStore, Plan, Step, StepState } from '../../engine/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { gate, released } from './build.ts'
import { type ChangeOptions, checkRole, couplingOf, recordOf, runChange, tell } from './change.ts'
import type { HerokuContext } from './context.ts'
import { dynosOf, dynosUp } from './dynos.ts'
import { commandStep } from './hooks.ts'
import { backupStep, maintenanceOff, maintenanceOn, workerSizes, workersOff, workersOn } from './parts.ts'
import * as postgres from './postgres.ts'
import type { Attachment, PromotionTarget, Release } from './resources.ts'
import * as resource from './resources.ts'
import { readSettings } from './settings.ts'
import { currentRelease, getRelease, releasesOf, rollbackTo } from './versions.ts'
import { waitFor } from './wait.ts'

export interface PromoteOptions extends ChangeOptions {
  /** Visitors get 503 and workers stand still while it is released and checked: for a migration that old code can't bear. */
  maintenance?: boolean
}

interface Known {
  id: string
  app: string
  release: { id: string; version: number; slug: string } | null
}

export interface PromotionFacts extends Record<string, unknown> {
  pipeline: string
  from: Known & { release: { id: string; version: number; slug: string } }
  to: Known
  stack: string
  database: Attachment | null
  workers: Record<string, number>
  maintenance: boolean
  missingSettings: string[]
}

const known = (info: resource.App, release: Release | undefined): Known => ({
  id: info.id,
  app: info.name,
  release: release?.slug ? { id: release.id, version: release.version, slug: release.slug.id } : null,
})

/** What the promotion rests on. Refuses, before anything changes, what the platform would refuse halfway. */
export async function promotionFacts(from: HerokuContext, to: HerokuContext): Promise<PromotionFacts> {
  await Promise.all([checkRole(from), checkRole(to)])
  const [
    source,
    target,
    sourceRelease,
    targetReleases,
    sourceCoupling,
    targetCoupling,
    dynos,
    database,
    workers,
    sourceSettings,
    targetSettings,
  ] = await Promise.all([
    from.client.get(from.path, resource.app),
    to.client.get(to.path, resource.app),
    currentRelease(from),
    releasesOf(to, 20),
    couplingOf(from),
    couplingOf(to),
    dynosOf(from),
    postgres.databaseOf(to),
    workerSizes(to),
    readSettings(from),
    readSettings(to),
  ])
  const refuse = (code: string, message: string, next: string): never => {
    throw new SlipwayError(code, message, { state: 'Nothing was changed.', next })
  }
  for (const info of [source, target]) {
    if (info.build_stack.name === 'container') {
      refuse(
        'heroku-container',
        `${info.name} is on the container stack; Heroku's pipelines don't promote images`,
        `Push the same image to ${target.name} with \`heroku container:release\`.`,
      )
    }
  }
  if (!sourceCoupling || !targetCoupling || sourceCoupling.pipeline.id !== targetCoupling.pipeline.id) {
    refuse(
      'heroku-no-pipeline',
      `${source.name} and ${target.name} are not in one pipeline`,
      'Give both deployments `pipeline = NAME` in config/deploy.ini, and run `tasks init_staging_app` and `tasks init_production_app`.',
    )
  }
  if (source.stack.name !== target.stack.name && source.stack.name !== target.build_stack.name) {
    refuse(
      'heroku-stacks-differ',
      `${source.name} is on ${source.stack.name} and ${target.name} on ${target.build_stack.name}`,
      `Move it first: \`heroku stack:set ${source.stack.name} --app ${target.name}\`, then deploy it once.`,
    )
  }
  if (!sourceRelease?.slug)
    refuse('heroku-nothing-live', `${source.name} has no code to promote`, 'Deploy it first: `tasks deploy_staging`.')
  const late = dynos.filter(
    (dyno) =>
      ['web', ...Object.keys(workers)].includes(dyno.type) &&
      (dyno.state !== 'up' || dyno.release.version < (sourceRelease?.version ?? 0)),
  )
  if (late.length > 0) {
    refuse(
      'heroku-source-unready',
      `${source.name} is not up at v${sourceRelease?.version}: ${late.map((dyno) => `${dyno.name} is ${dyno.state}`).join(', ')}`,
      'Look at it with `tasks status:release=staging`.',
    )
  }
  const pending = targetReleases.find((release) => release.status === 'pending')
  if (pending)
    refuse('heroku-busy', `${target.name} is releasing v${pending.version} just now`, 'Wait for it, and run it again.')
  const targetRelease = targetReleases.find((release) => release.current)
  if (targetRelease?.slug && targetRelease.slug.id === sourceRelease?.slug?.id) {
    refuse(
      'already-live',
      `${target.name} runs the code of ${source.name} v${sourceRelease.version} already (as v${targetRelease.version})`,
      'There is nothing to promote.',
    )
  }
  return {
    pipeline: sourceCoupling?.pipeline.id ?? '',
    from: known(source, sourceRelease) as PromotionFacts['from'],
    to: known(target, targetRelease),
    stack: source.stack.name,
    database: database ?? null,
    workers,
    maintenance: target.maintenance,
    missingSettings: Object.keys(sourceSettings).filter(
      (name) => !(name in targetSettings) && !/_(URL|DSN|TOKEN|KEY)$/.test(name),
    ),
  }
}

/** Makes what staging runs production's. Undefined: it was only shown. */
export async function promoteByPipeline(
  from: HerokuContext,
  to: HerokuContext,
  options: PromoteOptions = {},
): Promise<void> {
  const result = await runChange<PromotionFacts>(
    to,
    {
      kind: 'promote',
      facts: () => promotionFacts(from, to),
      plan: (facts, store) => promotionPlan(from, to, facts, store, options),
    },
    options,
  )
  if (!result) return
  currentRun().emit({ type: 'changed', host: to.app, what: `promotion ${result.result}` })
  if (result.result === 'done') await tell(to, 'promote', `v${(await currentRelease(to))?.version ?? ''}`)
}

function promotionPlan(
  from: HerokuContext,
  to: HerokuContext,
  facts: PromotionFacts,
  store: ChangeStore,
  options: PromoteOptions,
): Plan {
  const { smoke } = to.deployment.app
  const hold = options.maintenance === true && !facts.maintenance
  return {
    kind: 'promote',
    title: `${facts.to.app} becomes ${facts.from.app} v${facts.from.release.version}`,
    facts,
    locks: [from.deployment.name, to.deployment.name],
    steps: [
      ...(facts.database ? [backupStep(to, facts.database, () => undefined)] : []),
      ...(hold ? [maintenanceOn(to), workersOff(to, facts.workers)] : []),
      ...promoteSteps(to, facts, store),
      dynosStep(to),
      ...(hold ? [workersOn(to, facts.workers), maintenanceOff(to)] : []),
      healthStep(to),
      ...(smoke ? [commandStep(to, 'smoke', smoke, 'smoke')] : []),
    ],
    notes: [
      'The domain and the data stay; only the code moves. Requests that come while new dynos boot wait at the router (up to 75 s).',
      ...(facts.database ? [] : ['Production has no Postgres: no backup, and the lock is kept on this machine only.']),
      ...(facts.missingSettings.length > 0
        ? [`Staging has settings that production lacks: ${facts.missingSettings.join(', ')}`]
        : []),
    ],
  }
}

/** Two steps, so that the journal knows the promotion by its id while the platform is at it. */
function promoteSteps(to: HerokuContext, facts: PromotionFacts, store: ChangeStore): Step[] {
  const { client } = to
  const slug = facts.from.release.slug
  const since = async (version: unknown): Promise<Release | undefined> =>
    (await releasesOf(to, 5)).find((release) => release.version > Number(version) && release.slug?.id === slug)
  /** The release of the promotion that was sent; undefined where none was. */
  const sent = async (): Promise<string | undefined> => {
    const data =
      (await recordOf(store, { kind: 'promote', step: 'promote', deployment: to.deployment.name }))?.data ?? {}
    if (data['promotion']) return targetRelease(to, String(data['promotion']))
    return data['newest'] === undefined ? undefined : (await since(data['newest']))?.id
  }
  const live = async (): Promise<StepState> => ((await currentRelease(to))?.slug?.id === slug ? 'done' : 'todo')
  return [
    {
      id: 'promote',
      title: `${to.app}: v${facts.to.release?.version ?? 0} → the code of ${facts.from.app} v${facts.from.release.version}`,
      undoTitle: facts.to.release ? `${to.app}: back to v${facts.to.release.version}` : undefined,
      ...(facts.to.release ? {} : { irreversible: 'production had no code before' }),
      async check() {
        // Until one that was sent is over, what runs says nothing of what will. How it failed is of no matter here.
        const id = await sent().catch(unlessRefused)
        const release = id === undefined ? undefined : await getRelease(to, id)
        if (release?.status === 'pending') await released(to, release.id, undefined).catch(unlessRefused)
        return live()
      },
      prepare: async () => ({
        before: facts.to.release?.id,
        version: facts.to.release?.version,
        newest: (await releasesOf(to, 1))[0]?.version ?? 0,
      }),
      async do() {
        // Of an earlier attempt there may be a release that failed.
        const newest = (await releasesOf(to, 1))[0]?.version ?? 0
        const made = await client.write('POST', '/pipeline-promotions', resource.promotion, {
          variant: 'sdk',
          body: {
            pipeline: { id: facts.pipeline },
            // The release that was checked, not whatever staging runs by now.
            source: { app: { id: facts.from.id }, release: { id: facts.from.release.id } },
            targets: [{ app: { id: facts.to.id } }],
          },
          // Beyond the reach of Ctrl-C: without its id nobody could tell what became of it.
          evenAborted: true,
          reread: async () => ((await since(newest)) ? { id: '', status: 'pending' } : undefined),
        })
        return { promotion: made.id, newest }
      },
      async undo(data) {
        const back = await rollbackTo(to, String(data['before']))
        await released(to, back.id, undefined)
        await dynosUp(to, { version: back.version })
      },
    },
    {
      id: 'release',
      title: `${to.app}: its release phase`,
      check: live,
      async do() {
        const id = await sent()
        if (!id)
          throw new SlipwayError('heroku-no-release', `the promotion made no release of ${to.app}`, { host: to.app })
        const before = facts.to.release ? await getRelease(to, facts.to.release.id) : undefined
        const ended = await released(to, id, before)
        return { release: ended.id, version: ended.version }
      },
    },
  ]
}

function unlessRefused(error: unknown): undefined {
  const over = ['heroku-promotion-failed', 'heroku-release-failed']
  if (!(error instanceof SlipwayError) || !over.includes(error.code)) throw error
}

/** The release that a promotion makes; one that failed without a release says why. */
export async function targetRelease(to: HerokuContext, promotion: string): Promise<string> {
  const target = await waitFor(
    async (): Promise<PromotionTarget | undefined> => {
      const [only] = await to.client.list(
        `/pipeline-promotions/${promotion}/promotion-targets`,
        resource.promotionTarget,
        { variant: 'sdk' },
      )
      return only && (only.release || only.status !== 'pending') ? only : undefined
    },
    {
      deadlineMs: 5 * 60_000,
      late: () =>
        new SlipwayError('heroku-promotion-late', `the promotion to ${to.app} did not begin within 5 minutes`, {
          host: to.app,
        }),
    },
  )
  if (target.release) return target.release.id
  throw new SlipwayError(
    'heroku-promotion-failed',
    `Heroku refused the promotion to ${to.app}: ${target.error_message ?? target.status}`,
    {
      host: to.app,
      state: 'Production runs on as it was.',
    },
  )
}

function dynosStep(to: HerokuContext): Step {
  return {
    id: 'dynos',
    title: `${to.app}: every dyno up at the new version`,
    check: async () => 'todo',
    do: async () => {
      const current = await currentRelease(to)
      await dynosUp(to, { version: current?.version ?? 0 })
      return {}
    },
  }
}

export function healthStep(to: HerokuContext): Step {
  const { health } = to.deployment.app
  return {
    id: `health-${to.app}`,
    title: `${to.app}: ${health.path} answers ${health.status}`,
    check: async () => 'todo',
    do: async () => {
      await gate(to)
      return {}
    },
  }
}
