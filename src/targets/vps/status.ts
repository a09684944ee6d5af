/** One screen about a deployment: what is there, what runs, and whether it is well. */
import { currentRun } from '../../events/index.ts'
import type { DeploymentStatus } from '../deployment.ts'
import type { VpsContext } from './context.ts'
import { findDaemon, findOrphans, liveProcesses } from './daemon.ts'
import { dataState } from './database/state.ts'
import { hostFacts, requireRelease } from './facts.ts'
import { checkHealth, type HealthResult } from './health.ts'
import { maintenanceIsOn } from './maintenance.ts'
import { programs } from './programs.ts'
import { roleOf } from './roles.ts'
import { isUp, processStatus } from './supervisor.ts'
import { asVersion } from './version.ts'

export async function status(context: VpsContext): Promise<DeploymentStatus> {
  const { deployment } = context
  const host = context.home()
  const facts = await hostFacts(deployment, host)
  const release = requireRelease(deployment, facts, host)
  const warnings: string[] = []
  const supervisor = await findDaemon(context, host, release)
  const processes = supervisor ? await supervisor.processes() : []
  const live = await liveProcesses(host, release)
  const orphans = supervisor
    ? await findOrphans(
        host,
        release,
        processes.filter((each) => each.pid > 0).map((each) => each.pid),
      )
    : live
  for (const orphan of orphans) {
    warnings.push(`${orphan.program} (pid ${orphan.pid}) runs without a supervisord; a restart ends it`)
  }
  const slot = facts.liveSlot
  const endpoint =
    deployment.app.listen.kind === 'port'
      ? { port: facts.port ?? deployment.app.listen.port }
      : slot
        ? { socket: release.slotSocket(slot) }
        : undefined
  const expected = slot && facts.slotVersions[slot] ? `${release.name}/${facts.slotVersions[slot]}` : undefined
  const serverUp = live.some((each) => /^app-[ab]$/.test(each.program))
  const health: HealthResult =
    endpoint && serverUp
      ? await checkHealth(host, endpoint, deployment.app.health, expected)
      : { healthy: false, detail: 'the app server does not run' }
  const serving = slot ? facts.slotVersions[slot] : undefined
  if (serverUp && serving && facts.current && serving !== facts.current) {
    warnings.push(`the version ${serving} serves, and ${facts.current} is the current one: restart_app takes it up`)
  }
  const role = roleOf(facts.roles, release.name)
  if (role !== undefined && role !== deployment.name) {
    warnings.push(`the host knows ${release.name} as ${role}, and the configuration calls it ${deployment.name}`)
  }
  const record = facts.records.find((each) => each.id === facts.current)
  const { lock, unfinished } = await lockAndJournal(context)
  const { databases, warning } = await dataState(context, release, facts.app)
  if (warning !== undefined) warnings.push(warning)
  if ((facts.disk?.usedPercent ?? 0) >= 90) warnings.push(`the disk is ${facts.disk?.usedPercent} % full`)
  return {
    name: deployment.name,
    target: 'vps',
    release: release.name,
    role: role === 'production' || role === 'former production' ? role : role === undefined ? 'none' : 'staging',
    version: record ? asVersion(record, facts.current) : undefined,
    server: processes
      .filter((each) => /^app-[ab]$/.test(each.name) && each.state !== 'STOPPED')
      .map((each) => ({
        ...processStatus(each, host),
        version: facts.slotVersions[each.name.endsWith('a') ? 'a' : 'b'],
      })),
    workers: programs(deployment.app, facts.scale)
      .filter((program) => program.kind === 'worker')
      .map((program) => {
        const info = processes.find((each) => each.name === program.name)
        return info && (isUp(info) || info.state !== 'STOPPED')
          ? processStatus(info, host)
          : { name: program.name, state: 'stopped' as const, host: host.name }
      }),
    healthy: health.healthy,
    health: health.detail,
    databases,
    domains: deployment.domain === undefined ? [] : [await site(context)],
    maintenance: await maintenanceIsOn(context, host, facts.app.site(deployment.name)),
    lock,
    unfinished,
    disk: facts.disk,
    warnings,
  }
}

/** Whether the site's socket leads to something that listens. */
async function site(context: VpsContext): Promise<{ domain: string; ok: boolean; detail?: string }> {
  const { deployment } = context
  const domain = deployment.domain as string
  const host = context.home()
  const facts = await hostFacts(deployment, host)
  const conf = `${facts.app.site(deployment.name)}/nginx.conf`
  if (context.config.domains.provider === 'nginx' && !(await host.exists(conf))) {
    return { domain, ok: false, detail: 'no site yet: init_staging_app makes it' }
  }
  return { domain, ok: facts.liveSlot !== undefined, detail: facts.liveSlot ? undefined : 'it points at no app server' }
}

async function lockAndJournal(context: VpsContext): Promise<{ lock?: string; unfinished?: string }> {
  const { vpsStore } = await import('./store/index.ts')
  const store = vpsStore(context.home(), context.deployment.app.name)
  const [holder, journals] = [await store.holder(context.deployment.name), await store.list()]
  const unfinished = journals.find((journal) => journal.result === 'unfinished')
  const mine = holder?.run === currentRun().id
  return {
    lock: holder && !mine ? `${holder.user}@${holder.machine} since ${holder.since}: ${holder.command}` : undefined,
    unfinished: unfinished ? `${unfinished.title} (${unfinished.id}), begun ${unfinished.begun}` : undefined,
  }
}
