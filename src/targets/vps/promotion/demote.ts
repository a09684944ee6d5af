/** Going back after a promotion: one the other way, which carries the data back to the release that was production. */
import { StepFailedError, stepRecords } from '../../../engine/index.ts'
import type { ChangeStore } from '../../../engine/types.ts'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import type { VpsContext } from '../context.ts'
import { backup } from '../database/backup.ts'
import { hostFacts } from '../facts.ts'
import { releaseOf } from '../layout.ts'
import { nextRelease } from '../roles.ts'
import { vpsStore } from '../store/index.ts'
import { gather, type PromotionFacts } from './facts.ts'
import { begin, goOn, type PromoteOptions, promotionKinds, recordedFacts } from './promote.ts'
import type { PromotionReport } from './report.ts'

/**
 * Makes the release that was production before the last promotion production again, with all that was written since.
 * Its schema is taken back first, on the copy; where that can't be done it refuses, and leaves a backup of all of it.
 */
export async function demote(
  from: VpsContext,
  to: VpsContext,
  options: PromoteOptions = {},
): Promise<PromotionReport | undefined> {
  const store = vpsStore(to.home(), to.deployment.app.name)
  if (options.resume || options.undo) return goOn(from, to, store, options)
  const { roles } = await hostFacts(to.deployment, to.home())
  const former = roles['former']
  if (former === undefined) {
    throw new SlipwayError('no-former', `there is no former production on ${to.home().name}`, {
      host: to.home().name,
      state: 'Nothing was changed.',
    })
  }
  const replaced = await replacementOf(store, former)
  if (replaced) refuseWrongWay(to, former, replaced.facts)
  const gathering = { ...options, demoteTo: former, migrationsThen: replaced?.migrations }
  try {
    const gathered = await gather(from, to, gathering)
    return await begin(from, to, store, gathered, gathering, `demote to ${former}`)
  } catch (error) {
    throw noWayBack(error) ? await refused(to, former, error) : error
  }
}

/** How the host's scripts tell of a command of the app that failed: of these steps, that is what reverses the schema. */
const commandFailed = /^exit status -?\d+: /

/** Whether the old release can't have the data: nobody knows how to reverse its schema, or that was tried and taken back. */
export function noWayBack(error: unknown): error is SlipwayError {
  const { planOnly, dryRun } = currentRun().options
  if (planOnly || dryRun) return false
  if (error instanceof StepFailedError) {
    const why = error.cause instanceof Error ? error.cause.message : ''
    return error.undone && ['trial', 'migrate'].includes(error.step) && commandFailed.test(why)
  }
  return error instanceof SlipwayError && error.code === 'schema-unknown'
}

/** Whoever goes back by hand begins with all that production has now. */
async function refused(to: VpsContext, former: string, cause: SlipwayError): Promise<SlipwayError> {
  const { name } = to.deployment
  try {
    const { id } = await backup(to)
    return new SlipwayError('demote-refused', `${name} can't go back to ${former}: ${cause.message}`, {
      host: to.home().name,
      cause,
      ...(cause.detail === undefined ? {} : { detail: cause.detail }),
      state: `${name} is as it was. All of its data, as it is now, is in the backup ${id}.`,
      next: `${cause.next ?? 'Correct what takes the schema back ([app] migrations), and try again.'} To have the data here: \`tasks fetch_db:release=${name}\`.`,
    })
  } catch (error) {
    currentRun().signal.throwIfAborted()
    // The backup is there where only what comes after it failed.
    const after = error instanceof SlipwayError && error.code === 'after-backup'
    const text = after
      ? `${error.message}. ${error.state}`
      : `no backup could be taken of what ${name} has: ${(error as Error).message}`
    currentRun().emit({ type: 'warning', host: to.home().name, text })
    return cause
  }
}

interface Replacement {
  facts: PromotionFacts
  /** What was applied to the data then, as the promotion found it. */
  migrations: readonly string[] | undefined
}

/** The change by which `former` stopped being production. */
async function replacementOf(store: ChangeStore, former: string): Promise<Replacement | undefined> {
  for (const { id, kind, result } of await store.list()) {
    if (!promotionKinds.includes(kind) || result !== 'done') continue
    const facts = await recordedFacts(store, id)
    if (facts.old?.release !== former) continue
    const before = stepRecords(await (await store.open(id)).entries()).get('migrate')?.data['before']
    return { facts, migrations: Array.isArray(before) ? before.map(String).filter(Boolean) : undefined }
  }
  return undefined
}

/** Where going back would not be what it says. */
function refuseWrongWay(to: VpsContext, former: string, { kind, data, next }: PromotionFacts): void {
  const here = { host: to.home().name, state: 'Nothing was changed.' }
  if (kind === 'demote') {
    throw new SlipwayError('demote-twice', `${former} was gone back from: to have it again is a promotion`, {
      ...here,
      next: 'Promote it: `tasks promote_staging_to_production`.',
    })
  }
  if (data === 'fresh') {
    const text = `${former} kept its own data (data=fresh), and that of ${next.release} would take its place`
    throw new SlipwayError('demote-fresh', text, {
      ...here,
      next: `Correct what is wrong in a new release, and promote that: \`tasks new_staging_release:${nextRelease(releaseOf(to.deployment.app.name, next.release))}\`.`,
    })
  }
}
