/** Going back after a promotion: one the other way, which carries the data back to the release that was production. */
import { stepRecords } from '../../../engine/index.ts'
import type { ChangeStore } from '../../../engine/types.ts'
import { SlipwayError } from '../../../events/index.ts'
import type { VpsContext } from '../context.ts'
import { hostFacts } from '../facts.ts'
import { vpsStore } from '../store/index.ts'
import { gather } from './facts.ts'
import { begin, goOn, type PromoteOptions, recordedFacts } from './promote.ts'
import type { PromotionReport } from './report.ts'

/**
 * Makes the release that was production before the last promotion production again, with all that was written since.
 * Its schema is taken back first, on the copy; where that can't be done it refuses, and leaves a dump of the data.
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
  const migrationsThen = await migrationsBefore(store, former)
  const gathering = { ...options, demoteTo: former, ...(migrationsThen ? { migrationsThen } : {}) }
  const gathered = await gather(from, to, gathering)
  return begin(from, to, store, gathered, gathering, `demote to ${former}`)
}

/** What was applied to the data when `former` was last production, as the promotion that replaced it found it. */
async function migrationsBefore(store: ChangeStore, former: string): Promise<readonly string[] | undefined> {
  for (const { id, kind, result } of await store.list()) {
    if (kind !== 'promote' || result !== 'done') continue
    const facts = await recordedFacts(store, id)
    if (facts.old?.release !== former) continue
    const before = stepRecords(await (await store.open(id)).entries()).get('migrate')?.data['before']
    return Array.isArray(before) ? before.map(String).filter(Boolean) : undefined
  }
  return undefined
}
