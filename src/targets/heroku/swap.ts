/**
 * Promotion by exchange, for parity with hosts: the staging app itself becomes production. Production's database is
 * attached to it (or copied, where plans differ), the domains move to it, and the former production gets staging's. Not atomic on Heroku:
 * a domain is on one app at a time and each app has its own DNS target, so visitors wait behind maintenance meanwhile.
 */
import type { Plan, Step } from '../../engine/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import { couplingOf, journalled, runChange } from './change.ts'
import type { HerokuContext } from './context.ts'
import { attachDomain, detachDomain, domainsOf } from './domains.ts'
import { dynosUp, formationOf } from './dynos.ts'
import { commandStep } from './hooks.ts'
import { maintenanceOff, maintenanceOn, workerSizes, workersOff, workersOn } from './parts.ts'
import * as postgres from './postgres.ts'
import { healthStep, type PromoteOptions, type PromotionFacts, promotionFacts } from './promotion.ts'
import type { Attachment } from './resources.ts'
import * as resource from './resources.ts'
import { type HerokuStore, postgresStore, storeFor } from './store.ts'
import { dataNote, dataSteps, lastSteps, type SwapData } from './swap-data.ts'
import { currentRelease } from './versions.ts'

interface SwapFacts extends PromotionFacts, SwapData {
  domains: string[]
  fromWorkers: Record<string, number>
  couplings: { from: { id: string; stage: string }; to: { id: string; stage: string } }
  /** The release command of the code that becomes production's. */
  releaseCommand: string | null
}

export async function promoteBySwap(from: HerokuContext, to: HerokuContext, options: PromoteOptions): Promise<void> {
  await runChange<SwapFacts>(
    to,
    {
      kind: 'swap',
      facts: () => swapFacts(from, to),
      plan: (facts, store) => swapPlan(from, to, facts, store),
      stores: () => stores(from, to),
    },
    options,
  )
}

/** The journal is in production's database, wherever that is attached by now. */
async function stores(from: HerokuContext, to: HerokuContext): Promise<HerokuStore[]> {
  const first = await storeFor(to)
  const moved = await postgres.databaseUrl(from)
  if (first.kind === 'files' || !moved) return [first]
  const other = postgresStore(moved)
  // Staging's own database has no store, so asking it fails: then there is nothing unfinished in it.
  return [first, { ...other, list: () => other.list().catch(() => []) }]
}

async function swapFacts(from: HerokuContext, to: HerokuContext): Promise<SwapFacts> {
  const [facts, fromDatabase, toDatabase, domains, fromWorkers, fromCoupling, toCoupling] = await Promise.all([
    promotionFacts(from, to),
    postgres.requireDatabase(from),
    postgres.requireDatabase(to),
    domainsOf(to),
    workerSizes(from),
    couplingOf(from),
    couplingOf(to),
  ])
  const planOf = async (context: HerokuContext, { addon }: Attachment): Promise<string> =>
    // An attached add-on is its owner's.
    (await context.client.get(`/apps/${encodeURIComponent(addon.app.name)}/addons/${addon.id}`, resource.addon)).plan
      .name
  const webOf = async (context: HerokuContext): Promise<number> =>
    (await formationOf(context)).find((each) => each.type === 'web')?.quantity ?? 0
  const [slug, fromPlan, toPlan, fromWeb, toWeb] = await Promise.all([
    from.client.get(`${from.path}/slugs/${facts.from.release.slug}`, resource.slug),
    planOf(from, fromDatabase),
    planOf(to, toDatabase),
    webOf(from),
    webOf(to),
  ])
  const plans = { from: fromPlan, to: toPlan }
  if (plans.from !== plans.to) {
    await postgres.requireRoom({ context: to, attachment: toDatabase }, { context: from, attachment: fromDatabase })
  }
  return {
    ...facts,
    domains: domains.filter((each) => each.kind === 'custom').map((each) => each.hostname),
    fromDatabase,
    toDatabase,
    plans,
    web: { from: fromWeb, to: toWeb },
    fromWorkers,
    couplings: {
      from: { id: fromCoupling?.id ?? '', stage: fromCoupling?.stage ?? 'staging' },
      to: { id: toCoupling?.id ?? '', stage: toCoupling?.stage ?? 'production' },
    },
    releaseCommand: slug.process_types['release'] ?? null,
  }
}

function swapPlan(from: HerokuContext, to: HerokuContext, facts: SwapFacts, store: HerokuStore): Plan {
  const { migrate, smoke } = from.deployment.app
  const command = migrate ?? facts.releaseCommand ?? undefined
  return {
    kind: 'swap',
    title: `${from.app} becomes production in place of ${to.app}`,
    facts,
    locks: [from.deployment.name, to.deployment.name],
    steps: [
      { ...maintenanceOn(from), id: 'close-new' },
      ...(facts.maintenance ? [] : [{ ...maintenanceOn(to), id: 'close-old' }]),
      workersOff(from, facts.fromWorkers),
      workersOff(to, facts.workers),
      stages(from, to, facts),
      ...dataSteps({ from, to, facts, store, command }),
      up(from),
      ...facts.domains.map((hostname) => moveDomain(store, from, to, hostname)),
      workersOn(from, { ...facts.fromWorkers, ...facts.workers }),
      { ...maintenanceOff(from), id: 'open-new' },
      healthStep(from),
      ...(smoke ? [commandStep(from, 'smoke', smoke, 'smoke')] : []),
      ...lastSteps(to, facts),
    ],
    notes: [
      'Not atomic on Heroku: a domain is on one app at a time, each app has its own DNS target, and automatic certificates are issued anew. Visitors get 503 between the first step and the last.',
      `DNS of ${facts.domains.join(', ') || 'the domains'} has to point at the new targets, which are printed.`,
      dataNote(from, to, facts),
      'Afterwards exchange the two `app =` lines of [staging] and [production] in config/deploy.ini; until then both are refused.',
    ],
  }
}

/** The pipeline says which app is production: first of all, so that nobody deploys to either meanwhile. */
function stages(from: HerokuContext, to: HerokuContext, facts: SwapFacts): Step {
  const set = async (context: HerokuContext, stage: string): Promise<void> => {
    const coupling = await couplingOf(context)
    if (!coupling) throw new SlipwayError('heroku-no-pipeline', `${context.app} is in no pipeline`)
    if (coupling.stage === stage) return
    await context.client.write('PATCH', `/pipeline-couplings/${coupling.id}`, resource.coupling, {
      body: { stage },
      reread: async () => undefined,
    })
  }
  return {
    id: 'stages',
    title: `the pipeline: ${from.app} is production, ${to.app} is staging`,
    undoTitle: `the pipeline: ${from.app} is staging, ${to.app} is production`,
    async check() {
      const [a, b] = await Promise.all([couplingOf(from), couplingOf(to)])
      return a?.stage === facts.couplings.to.stage && b?.stage === facts.couplings.from.stage ? 'done' : 'todo'
    },
    async do() {
      await set(to, facts.couplings.from.stage)
      await set(from, facts.couplings.to.stage)
      return {}
    },
    async undo() {
      await set(from, facts.couplings.from.stage)
      await set(to, facts.couplings.to.stage)
    },
  }
}

function moveDomain(store: HerokuStore, from: HerokuContext, to: HerokuContext, hostname: string): Step {
  return {
    id: `domain-${hostname}`,
    title: `${hostname}: from ${to.app} to ${from.app}`,
    undoTitle: `${hostname}: back to ${to.app}`,
    async check() {
      if ((await domainsOf(from)).some((each) => each.hostname === hostname)) return 'done'
      if ((await domainsOf(to)).some((each) => each.hostname === hostname)) return 'todo'
      // Removed from the one and not added to the other: only undo can tell that there is something to do.
      return (await journalled(store, {
        kind: 'swap',
        step: `domain-${hostname}`,
        deployment: to.deployment.name,
      })()) === 'todo'
        ? 'todo'
        : 'unclear'
    },
    async do() {
      await detachDomain(to, hostname)
      await attachDomain(from, hostname)
      return {}
    },
    async undo() {
      await detachDomain(from, hostname)
      await attachDomain(to, hostname)
    },
  }
}

function up(context: HerokuContext): Step {
  return {
    id: 'dynos',
    title: `${context.app}: every dyno up on production's data`,
    check: async () => 'todo',
    do: async () => {
      await dynosUp(context, { version: (await currentRelease(context))?.version ?? 0 })
      return {}
    },
  }
}
