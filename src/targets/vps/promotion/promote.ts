/** Staging becomes production, and what an operator can do about a promotion that stopped on its way. */
import { createHash, randomBytes } from 'node:crypto'
import { beginOf, type ChangeResult, execute, planText, resume, undo } from '../../../engine/index.ts'
import type { ChangeStore, JournalSummary, Owner } from '../../../engine/types.ts'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import { audited, owner as ownerOf, tell } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { forgetFacts } from '../facts.ts'
import { releaseName } from '../layout.ts'
import { vpsStore } from '../store/index.ts'
import { requireAll } from './elsewhere.ts'
import { type Gathered, type GatherOptions, gather, type PromotionFacts, recordedInstead } from './facts.ts'
import { buildPlan } from './plan.ts'
import { notesOf, refusals } from './preflight.ts'
import { type PromotionReport, reportOf } from './report.ts'
import { placePasswords } from './servers.ts'
import { placesOf } from './spec.ts'

export interface PromoteOptions extends GatherOptions {
  /** Go on with the unfinished promotion, or go back. */
  resume?: boolean
  undo?: boolean
  /** After a failure before the point of no return: go back (the default), or stop there. */
  onFailure?: 'undo' | 'stop'
  /** Connections that may have to wait; as the access log tells unless given. */
  connections?: number
}

/**
 * Makes the release of `from` the production release of `to`: `tasks promote_staging_to_production`. Shows its plan,
 * asks for the app's name, typed, and then does it; `--plan` only shows it. Resolves with what was measured.
 */
export async function promote(
  from: VpsContext,
  to: VpsContext,
  options: PromoteOptions = {},
): Promise<PromotionReport | undefined> {
  const store = vpsStore(to.home(), to.deployment.app.name)
  if (options.resume || options.undo) return goOn(from, to, store, options)
  const gathered = await gather(from, to, options)
  const what = `${gathered.facts.kind} ${gathered.facts.next.release}`
  return begin(from, to, store, gathered, options, what)
}

export async function begin(
  from: VpsContext,
  to: VpsContext,
  store: ChangeStore,
  gathered: Gathered,
  options: PromoteOptions,
  what: string,
): Promise<PromotionReport | undefined> {
  const run = currentRun()
  const { facts } = gathered
  const id = changeId(run.id)
  const { plan, place, remove } = buildPlan(facts, id, to, notesOf(gathered, options.connections))
  const refused = refusals(gathered, options.connections)
  for (const line of planText(plan))
    run.emit(run.options.planOnly ? { type: 'result', text: line } : { type: 'note', text: line })
  const disagreement = disagreementOf(to, facts)
  if (disagreement) run.emit({ type: 'warning', host: facts.host, text: disagreement })
  if (refused.length > 0) throw refused[0]
  if (run.options.planOnly || run.options.dryRun) return undefined
  await confirm(facts)
  const again = async () => {
    forgetAll(from, to)
    return { ...(await gather(from, to, options)).facts }
  }
  const carryOut = async () => {
    await place()
    await placePasswords(to, placesOf(facts, id).folder)
    try {
      const result = await execute(plan, store, owner(what), {
        id,
        facts: again,
        ...(options.onFailure ? { onFailure: options.onFailure } : {}),
      })
      return await finished(store, result, from, to)
    } catch (error) {
      if (isBeforeBegin(error)) await remove().catch(() => {})
      forgetAll(from, to)
      throw error
    }
  }
  return audited(to, what, carryOut, () => gathered.commit)
}

export async function goOn(
  from: VpsContext,
  to: VpsContext,
  store: ChangeStore,
  options: PromoteOptions,
): Promise<PromotionReport | undefined> {
  const unfinished = await unfinishedPromotion(store)
  if (!unfinished) {
    throw new SlipwayError('nothing-unfinished', 'there is no unfinished promotion', {
      state: 'Nothing was changed.',
      next: 'See past ones: `tasks promotions`.',
    })
  }
  const facts = await recordedFacts(store, unfinished.id)
  const { plan, place } = buildPlan(facts, unfinished.id, to)
  const verb = options.undo ? 'undo' : 'resume'
  const run = currentRun()
  run.emit({
    type: 'note',
    text: `${verb}: ${unfinished.title}, begun ${unfinished.begun} by ${unfinished.by.user} on ${unfinished.by.machine}`,
  })
  if (run.options.planOnly || run.options.dryRun) {
    for (const line of planText(plan)) run.emit({ type: 'result', text: line })
    return undefined
  }
  const what = `${verb} ${facts.kind} ${facts.next.release}`
  await requireAll(facts, to, options.undo ? 'going back' : 'going on')
  return audited(to, what, async () => {
    // The scripts of this very version of the tool, in case they were never wholly put there.
    await place()
    await placePasswords(to, placesOf(facts, unfinished.id).folder)
    const result = options.undo
      ? await undo(unfinished.id, plan, store, owner(what))
      : await resume(unfinished.id, plan, store, owner(what), options.onFailure ? { onFailure: options.onFailure } : {})
    return finished(store, result, from, to)
  })
}

async function finished(
  store: ChangeStore,
  result: ChangeResult,
  from: VpsContext,
  to: VpsContext,
): Promise<PromotionReport> {
  forgetAll(from, to)
  if (result.result === 'done') await takeUpSchedule(to)
  const entries = await (await store.open(result.journal)).entries()
  const report = reportOf(entries)
  for (const line of report.lines) currentRun().emit({ type: 'note', text: line })
  if (result.result === 'done') {
    const facts = beginOf(entries)?.facts as unknown as PromotionFacts | undefined
    await tell(to, facts?.kind === 'demote' ? 'rollback' : 'promote', { head: report.release })
  }
  return report
}

function forgetAll(from: VpsContext, to: VpsContext): void {
  for (const context of [from, to]) for (const host of to.hosts) forgetFacts(context.deployment, host)
}

/** The crontab's lines name a release: from now on the one that is production. */
async function takeUpSchedule(to: VpsContext): Promise<void> {
  const { scheduleOf } = await import('../schedule.ts')
  await scheduleOf(to)
    .push()
    .catch((error: Error) => {
      currentRun().signal.throwIfAborted()
      const text = `scheduled commands still name the old release, and do nothing there: ${error.message}`
      currentRun().emit({ type: 'warning', text })
    })
}

/** What the configuration says of production, where the host's own record says otherwise: the record holds. */
function disagreementOf(to: VpsContext, { production, roles, host }: PromotionFacts): string | undefined {
  const { release, app } = to.deployment
  const recorded = recordedInstead(to, roles)
  if (release === undefined || recorded === undefined) return undefined
  return `${to.config.file} says that ${releaseName(app.name, release)} is ${production}; ${host} has ${recorded} on record, and goes by that: take release out of [${production}]`
}

export async function confirm(facts: Pick<PromotionFacts, 'app' | 'production'>): Promise<void> {
  const run = currentRun()
  if (run.options.yes) return
  const question = `This changes ${facts.production} of ${facts.app}. Type the app's name to go on:`
  if (await run.prompter.confirmTyped(question, facts.app)) return
  throw new SlipwayError('declined', 'the promotion was declined', { state: 'Nothing was changed.' })
}

/** Of changes, those that make a release production. */
export const promotionKinds: readonly string[] = ['promote', 'demote']

async function unfinishedPromotion(store: ChangeStore): Promise<JournalSummary | undefined> {
  return (await store.list()).find((each) => each.result === 'unfinished' && promotionKinds.includes(each.kind))
}

/** The facts that a journal was begun with: what its plan is made of again. */
export async function recordedFacts(store: ChangeStore, id: string): Promise<PromotionFacts> {
  const begin = beginOf(await (await store.open(id)).entries())
  if (!begin) throw new SlipwayError('journal-empty', `the journal ${id} has no beginning`)
  return begin.facts as unknown as PromotionFacts
}

export function owner(what: string): Owner {
  return { ...ownerOf(currentRun(), what), pid: process.pid }
}

/** Short, because a socket's path in its folder holds at most 107 bytes; sorts by time. */
function changeId(run: string): string {
  const stamp = /^\d{8}T\d{6}/.exec(run)?.[0] ?? new Date().toISOString().replace(/[-:]|\.\d+Z/g, '')
  return `${stamp}-${createHash('sha256').update(run).update(randomBytes(4)).digest('hex').slice(0, 4)}`
}

/** Refused before a journal was begun: by a lock, or because the facts had changed. */
function isBeforeBegin(error: unknown): boolean {
  return (
    error instanceof SlipwayError && ['locked', 'unfinished-change', 'facts-changed', 'bad-plan'].includes(error.code)
  )
}
