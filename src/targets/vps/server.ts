/**
 * The app server of a release: started, stopped and looked at on each web host. It has two slots behind the site's
 * socket, so that a restart fails no request: restart.ts.
 */
import { currentRun } from '../../events/index.ts'
import type { LogLine, LogOptions, ProcessStatus, Service } from '../deployment.ts'
import { bringUp, endpoint, findRunning } from './bring-up.ts'
import { audited, beginChange } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { endIdleDaemon, endSurvivors, findDaemon } from './daemon.ts'
import { forgetFacts, hostFacts, requireRelease } from './facts.ts'
import { checkHealth } from './health.ts'
import { program, slots } from './layout.ts'
import { readLogs } from './logs.ts'
import { restartServer } from './restart.ts'
import { inStep, unlessLost } from './step.ts'
import { stopPrograms } from './stop-programs.ts'
import { processStatus } from './supervisor.ts'

export function serverOf(context: VpsContext): Service {
  return {
    start: () => audited(context, 'start the app', () => unlessLost(context, startServer)),
    stop: () => audited(context, 'stop the app', () => unlessLost(context, stopServer)),
    restart: () => audited(context, 'restart the app', (note) => restartServer(context, note)),
    status: () => serverStatus(context),
    tail: (options?: LogOptions): AsyncIterable<LogLine> => readLogs(context, { source: 'app', ...options }),
  }
}

/** Resolves once a server is running and healthy on each web host; one that runs already is left alone. */
export async function startServer(context: VpsContext): Promise<void> {
  await onEach(context.role('web'), async (host) => {
    const change = await beginChange(context, host, `start ${context.deployment.name}`)
    const running = await findRunning(context, host, change)
    if (running.supervisor && running.slot) {
      const health = await checkHealth(host, endpoint(context, change, running.slot), context.deployment.app.health)
      if (health.healthy && change.facts.liveSlot === running.slot) {
        currentRun().emit({ type: 'note', host: host.name, text: `the app runs already: ${health.detail}` })
        return
      }
    }
    await bringUp(context, host, change, running)
  })
}

/** Resolves once no process of the server is left on any web host. */
async function stopServer(context: VpsContext): Promise<void> {
  await onEach(context.role('web'), async (host) => {
    const change = await beginChange(context, host, `stop ${context.deployment.name}`)
    const { drainSeconds } = context.deployment.app
    const names = slots.map(program)
    await inStep('stop the app server', host.name, async () => {
      const supervisor = await findDaemon(context, host, change.release)
      if (supervisor) await stopPrograms(host, supervisor, names, drainSeconds)
      await endSurvivors(host, change, names, drainSeconds, 'app')
      if (supervisor && !currentRun().options.dryRun) await endIdleDaemon(host, change, supervisor)
    })
    forgetFacts(context.deployment, host)
  })
}

async function serverStatus(context: VpsContext): Promise<ProcessStatus[]> {
  const each = await onEach(context.role('web'), async (host): Promise<ProcessStatus[]> => {
    const facts = await hostFacts(context.deployment, host)
    const release = requireRelease(context.deployment, facts, host)
    const supervisor = await findDaemon(context, host, release)
    if (!supervisor) return [{ name: 'app', state: 'stopped', host: host.name }]
    const processes = await supervisor.processes()
    const shown = slots.flatMap((slot): ProcessStatus[] => {
      const info = processes.find((process) => process.name === program(slot))
      return info && info.state !== 'STOPPED'
        ? [{ ...processStatus(info, host), version: facts.slotVersions[slot] }]
        : []
    })
    return shown.length > 0 ? shown : [{ name: 'app', state: 'stopped', host: host.name }]
  })
  return [...each.values()].flat()
}
