/** Past promotions, and what is left of them. */
import type { ChangeStore } from '../../../engine/types.ts'
import { currentRun, SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import { audited } from '../change.ts'
import type { VpsContext } from '../context.ts'
import { forgetFacts, hostFacts } from '../facts.ts'
import { releaseLayout } from '../layout.ts'
import { vpsStore } from '../store/index.ts'
import { promotionKinds, recordedFacts } from './promote.ts'
import { type PromotionReport, reportOf } from './report.ts'

/** Newest first: what was promoted, by whom, with which window, and how each ended. */
export async function promotions(to: VpsContext): Promise<PromotionReport[]> {
  const store = vpsStore(to.home(), to.deployment.app.name)
  const all = (await store.list()).filter((each) => promotionKinds.includes(each.kind))
  const reports: PromotionReport[] = []
  let isLast = true
  for (const { id, result } of all) {
    reports.push(reportOf(await (await store.open(id)).entries(), isLast))
    if (result === 'done') isLast = false
  }
  return reports
}

/** A promotion's report as lines: a table of its steps with their times. */
export function promotionText(report: PromotionReport): string[] {
  const width = Math.max(...Object.keys(report.times).map((step) => step.length), 0)
  return [
    `${report.id}  ${report.title}`,
    `  by ${report.by}, ${report.begun}${report.ended ? ` to ${report.ended}` : ''}: ${report.result}`,
    ...(report.error ? [`  failed at ${report.error}`] : []),
    ...Object.entries(report.times).map(([step, ms]) => `  ${step.padEnd(width)}  ${String(ms).padStart(7)} ms`),
    ...report.lines.slice(1).map((line) => `  ${line}`),
  ]
}

export interface PruneOptions {
  /** Former productions that stay, so that `demote` can go back to one. 1 unless given. */
  keep?: number
}

/**
 * Deletes what past promotions kept: releases that were production, with their data, and staging's data from before.
 * Never a release that has a role, and never one whose promotion is unfinished. Resolves with the paths deleted.
 */
export async function prunePromotions(to: VpsContext, options: PruneOptions = {}): Promise<string[]> {
  const run = currentRun()
  const host = to.home()
  const { app } = to.deployment
  const store = vpsStore(host, app.name)
  const facts = await hostFacts(to.deployment, host)
  const found = await prunable(store, facts.roles, options.keep ?? 1)
  const there: { host: Host; path: string }[] = []
  for (const each of to.hosts) {
    const { home, app: places } = await hostFacts(to.deployment, each)
    const releases = found.releases.map((name) => releaseLayout(app.root, home, name).dir)
    const changes = found.changes.flatMap((id) => [`${places.dir}/archive/${id}`, `${places.dir}/changes/${id}`])
    const paths = await each
      .run(sh`for p in ${[...releases, ...changes]}; do [ -e "$p" ] && echo "$p"; done; :`, {
        kind: 'probe',
        quiet: true,
      })
      .lines()
    there.push(...paths.filter(Boolean).map((path) => ({ host: each, path })))
  }
  for (const { host: on, path } of there) run.emit({ type: 'note', host: on.name, text: `to be deleted: ${path}` })
  if (there.length === 0 || run.options.planOnly || run.options.dryRun) return []
  if (
    !run.options.yes &&
    !(await run.prompter.confirmTyped(
      `This deletes old releases with their data. Type the app's name to go on:`,
      app.name,
    ))
  ) {
    throw new SlipwayError('declined', 'nothing was deleted: it was declined', { state: 'Nothing was changed.' })
  }
  return audited(to, `prune promotions: ${[...found.releases, ...found.changes].join(', ')}`, async () => {
    const { owner } = await import('./promote.ts')
    const lock = await store.lock([to.deployment.name], owner('prune promotions'))
    try {
      for (const { host: on, path } of there) {
        await refuseRunning(on, path)
        await on.remove(path, { recursive: true })
      }
      for (const each of to.hosts) {
        const { roles, app: places } = await hostFacts(to.deployment, each)
        const former = roles['former']
        if (former !== undefined && found.releases.includes(former)) await forgetFormer(each, places.roles)
        forgetFacts(to.deployment, each)
      }
      return there.map(({ path }) => path)
    } finally {
      await lock.release()
    }
  })
}

/** What nothing needs any more: `keep` former productions stay, first the one that `demote` would go back to. */
export async function prunable(
  store: ChangeStore,
  roles: Readonly<Record<string, string>>,
  keep: number,
): Promise<{ releases: string[]; changes: string[] }> {
  const ended = (await store.list()).filter(
    (each) => promotionKinds.includes(each.kind) && each.result !== 'unfinished',
  )
  const former: string[] = []
  const changes: string[] = []
  const inUse = new Set(Object.entries(roles).flatMap(([role, release]) => (role === 'former' ? [] : [release])))
  // By the host's own record: the journals are in the order of the clocks of those who promoted.
  const last = keep > 0 ? roles['former'] : undefined
  let kept = last === undefined ? 0 : 1
  for (const { id, result } of ended) {
    const facts = await recordedFacts(store, id)
    // What was deployed by hand is not ours to delete.
    const old = facts.adopt ? undefined : facts.old?.release
    if (result === 'done' && old !== undefined && !inUse.has(old) && (old === last || kept < keep)) {
      inUse.add(old)
      if (old !== last) kept += 1
      continue
    }
    changes.push(id)
    if (result === 'done' && old !== undefined && !inUse.has(old) && !former.includes(old)) former.push(old)
  }
  return { releases: former, changes }
}

/** Rejects where a process of the release in `path` still runs, whatever the records say. */
export async function refuseRunning(host: Host, path: string): Promise<void> {
  const alive = await host
    .run(sh`grep -lsazE ${`^SLIPWAY_PROCESS=${path}:`} /proc/[0-9]*/environ 2>/dev/null | head -n 1; :`, {
      kind: 'probe',
      quiet: true,
    })
    .text()
  if (!alive) return
  throw new SlipwayError('still-running', `a process of ${path} still runs: ${alive.split('/')[2]}`, {
    host: host.name,
    state: 'It was not deleted.',
  })
}

async function forgetFormer(host: Host, file: string): Promise<void> {
  await host.edit(file, (text) => {
    const { former: _, ...rest } = JSON.parse(text) as Record<string, string>
    return `${JSON.stringify(rest)}\n`
  })
}
