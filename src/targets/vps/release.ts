/** Which release a deployment is, and the daemon that it runs under. */
import { currentRun } from '../../events/index.ts'
import { sh } from '../../shell/index.ts'
import type { ProcessStatus } from '../deployment.ts'
import { audited, beginChange } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { endDaemon, endSurvivors, findDaemon } from './daemon.ts'
import { forgetFacts, hostFacts, requireRelease } from './facts.ts'
import { programs } from './programs.ts'
import { unlessLost } from './step.ts'
import { stopPrograms } from './stop-programs.ts'
import { processStatus } from './supervisor.ts'

/** The name of the release folder: as configured, or as the host remembers. */
export async function currentRelease(context: VpsContext): Promise<string> {
  const host = context.home()
  return requireRelease(context.deployment, await hostFacts(context.deployment, host), host).name
}

/** Everything that runs under the daemon, app and workers; and the daemon itself first. */
export async function supervisorStatus(context: VpsContext): Promise<ProcessStatus[]> {
  const each = await onEach(context.hosts, async (host): Promise<ProcessStatus[]> => {
    const release = requireRelease(context.deployment, await hostFacts(context.deployment, host), host)
    const supervisor = await findDaemon(context, host, release)
    const name = context.deployment.services === 'systemd' ? 'systemd' : 'supervisord'
    if (!supervisor) return [{ name, state: 'stopped', host: host.name }]
    const [pid, processes] = [await supervisor.pid(), await supervisor.processes()]
    return [
      { name, state: 'running', pid: pid > 0 ? pid : undefined, host: host.name },
      ...processes.map((info) => processStatus(info, host)),
    ]
  })
  return [...each.values()].flat()
}

/** Stops everything in the daemon, app and workers, and the daemon; resolves once no process is left. */
export async function stopSupervisor(context: VpsContext): Promise<void> {
  await audited(context, 'stop the app and the workers', () => unlessLost(context, stopAll))
}

async function stopAll(context: VpsContext): Promise<void> {
  await onEach(context.hosts, async (host) => {
    const change = await beginChange(context, host, `stop all of ${context.deployment.name}`)
    const { app } = context.deployment
    const seconds = Math.max(app.drainSeconds, ...Object.values(app.workers).map((worker) => worker.stopSeconds))
    const names = new Set(programs(app, change.facts.scale).map((program) => program.name))
    const supervisor = await findDaemon(context, host, change.release)
    if (supervisor) {
      for (const info of await supervisor.processes()) names.add(info.name)
      await stopPrograms(host, supervisor, [...names], seconds)
    }
    await endSurvivors(host, change, [...names], seconds, 'app')
    await host.script([{ name: 'a reboot leaves them stopped', command: sh`rm -f ${change.release.wanted}/workers` }], {
      guard: change.guard,
      quiet: true,
    })
    if (supervisor && !currentRun().options.dryRun) await endDaemon(host, change, supervisor)
    forgetFacts(context.deployment, host)
  })
}
