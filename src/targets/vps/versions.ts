/** The versions of a release: listed, gone back to, cleared away. */
import { currentRun } from '../../events/index.ts'
import { sh } from '../../shell/index.ts'
import type { Version } from '../deployment.ts'
import { audited, beginChange, tell } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { forgetFacts, hostFacts, requireRelease } from './facts.ts'
import { restartServer, switchCurrent } from './server.ts'
import { removeVersion } from './upload.ts'
import { asVersion, prunable, rollbackTarget } from './version.ts'
import { workersOf } from './workers.ts'

/** Newest first. */
export async function versions(context: VpsContext): Promise<Version[]> {
  const host = context.home()
  const facts = await hostFacts(context.deployment, host)
  requireRelease(context.deployment, facts, host)
  return facts.records.map((record) => asVersion(record, facts.current))
}

/** To the version that was live before, or `to`; restarts server and workers. */
export async function rollback(
  context: VpsContext,
  options: { to?: string; migrate?: boolean } = {},
): Promise<Version> {
  const home = context.home()
  const facts = await hostFacts(context.deployment, home)
  requireRelease(context.deployment, facts, home)
  const target = rollbackTarget(facts.records, facts.current, options.to)
  return audited(context, `rollback to ${target.id}`, async () => {
    await onEach(context.hosts, async (host) => {
      const { release, guard } = await beginChange(context, host, `rollback ${context.deployment.name}`)
      await host.script(
        [
          { name: `${target.id} is there`, command: sh`[ -d ${release.version(target.id)} ]` },
          {
            name: 'its start script',
            command: sh`[ ! -f ${release.versionStart(target.id)} ] || cp -p ${release.versionStart(target.id)} ${release.start}`,
          },
          { name: `current → ${target.id}`, command: switchCurrent(release, target.id) },
        ],
        { guard },
      )
      forgetFacts(context.deployment, host)
    })
    await restartServer(context)
    if (Object.keys(context.deployment.app.workers).length > 0) await workersOf(context).restart()
    await tell(context, 'rollback', { head: target.commit ?? target.id })
    return { ...asVersion(target, target.id), state: 'live' as const }
  })
}

/** Removes old versions from every host; never the current one or the one before. Returns the ids removed. */
export async function prune(context: VpsContext, options: { keep?: number } = {}): Promise<string[]> {
  const removed = new Set<string>()
  await onEach(context.hosts, async (host) => {
    const change = await beginChange(context, host, `prune ${context.deployment.name}`)
    const { facts, guard } = change
    const ids = prunable(facts.records, facts.current, options.keep ?? context.deployment.app.keepVersions)
    if (ids.length === 0) return
    await host.script(
      ids.map((id) => ({ name: `remove ${id}`, command: removeVersion(change, id) })),
      { guard },
    )
    forgetFacts(context.deployment, host)
    for (const id of ids) removed.add(id)
  })
  if (removed.size === 0) currentRun().emit({ type: 'note', text: 'nothing to remove' })
  return [...removed]
}
