/**
 * An app server beside the one that runs: it answers its health check before the web server is pointed at it; the old
 * one drains after that. Where it does not become well, what ran before goes on.
 */
import { currentRun, SlipwayError } from '../../events/index.ts'
import { humanDuration } from '../../hosts/duration.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import { type ChangeOn, requireVersion, tell } from './change.ts'
import type { VpsContext } from './context.ts'
import { endIdleDaemon, endSurvivors, ensureDaemon, findDaemon, liveProcesses, logTail } from './daemon.ts'
import { forgetFacts } from './facts.ts'
import { checkHealth, type Endpoint, type HealthResult } from './health.ts'
import { otherSlot, program, type Slot, slots } from './layout.ts'
import { backSteps, goLive, writeRecord } from './live.ts'
import { inStep, until } from './step.ts'
import { stopPrograms } from './stop-programs.ts'
import { hasFailed, isDown, isUp, type ProcessInfo, type Supervisor } from './supervisor.ts'

export interface Running {
  supervisor?: Supervisor
  processes: ProcessInfo[]
  /** The slot that runs, or that holds a process without a daemon. */
  slot?: Slot
}

export async function findRunning(context: VpsContext, host: Host, { release, facts }: ChangeOn): Promise<Running> {
  const supervisor = await findDaemon(context, host, release)
  const processes = supervisor ? await supervisor.processes() : []
  const up = slots.filter((slot) => isUp(processes.find((each) => each.name === program(slot))))
  const slot = up.find((each) => each === facts.liveSlot) ?? up[0]
  if (supervisor || slot) return { supervisor, processes, slot }
  const orphans = await liveProcesses(host, release)
  const orphan = slots.find((each) => orphans.some((process) => process.program === program(each)))
  if (orphans.length > 0) {
    currentRun().emit({
      type: 'warning',
      host: host.name,
      text: `running without their supervisord: ${orphans.map((each) => `${each.program} (pid ${each.pid})`).join(', ')}`,
    })
  }
  return { processes, slot: orphan }
}

export function endpoint(context: VpsContext, { release, facts }: ChangeOn, slot: Slot): Endpoint {
  const { listen } = context.deployment.app
  return listen.kind === 'port' ? { port: facts.port ?? listen.port } : { socket: release.slotSocket(slot) }
}

/** Starts the other slot, checks it, flips the site's socket to it, and ends the old one. */
export async function bringUp(context: VpsContext, host: Host, change: ChangeOn, running: Running): Promise<void> {
  const { app } = context.deployment
  const run = currentRun()
  const onPort = app.listen.kind === 'port'
  const slot: Slot = onPort ? 'a' : running.slot ? otherSlot(running.slot) : (change.facts.liveSlot ?? 'a')
  const version = run.options.dryRun ? change.facts.current : requireVersion(change, host)
  const supervisor = running.supervisor ?? (await ensureDaemon(context, host, change))
  if (!supervisor || run.options.dryRun) {
    run.emit({ type: 'held-back', host: host.name, display: `start ${program(slot)}, check it, point the site at it` })
    return
  }
  const stopping = performance.now()
  if (onPort && running.slot) await stopForPort(context, host, change, supervisor)
  if (onPort) await requireFreePort(context, host, change)
  const leftover = running.processes.find((each) => each.name === program(slot))
  if (!onPort && leftover && !isDown(leftover)) await stopPrograms(host, supervisor, [program(slot)], app.drainSeconds)
  await supervisor.reload()

  const expected = version === undefined ? undefined : `${change.release.name}/${version}`
  await inStep(`start ${program(slot)}`, host.name, async () => {
    await supervisor.start(program(slot))
    const health = await waitHealthy(context, host, change, supervisor, slot, expected)
    if (health.release === undefined) {
      run.emit({
        type: 'note',
        host: host.name,
        text: 'the app sends no X-Release header: which version answers was not checked',
      })
    }
    return health.detail
  })
  if (onPort && running.slot) {
    const away = humanDuration(performance.now() - stopping)
    run.emit({ type: 'note', host: host.name, text: `nobody answered on the port for up to ${away}` })
  }
  await inStep('point the site at it', host.name, () => goLive(context, host, change, slot))
  const record = change.facts.records.find((each) => each.id === version)
  if (record && !record.wasLive) await tell(context, 'deploy', { head: record.commit ?? record.id })
  if (running.slot && !onPort) {
    const old = running.slot
    await inStep(`drain ${program(old)}`, host.name, async () => {
      if (running.supervisor) await stopPrograms(host, supervisor, [program(old)], app.drainSeconds)
      await endSurvivors(host, change, [program(old)], running.supervisor ? 5 : app.drainSeconds)
    })
  }
  await waitRunning(host, change, supervisor, slot)
}

/** For an app on a port there is only one place: requests fail from here until the new one listens. */
async function stopForPort(context: VpsContext, host: Host, change: ChangeOn, supervisor: Supervisor): Promise<void> {
  currentRun().emit({
    type: 'note',
    host: host.name,
    text: 'the app listens on a port: requests fail while it restarts (listen = socket avoids that)',
  })
  await stopPrograms(host, supervisor, [program('a')], context.deployment.app.drainSeconds)
  await endSurvivors(host, change, [program('a')], context.deployment.app.drainSeconds)
}

/** Somebody else's server on the port would answer in place of the app's. */
async function requireFreePort(context: VpsContext, host: Host, { facts, release }: ChangeOn): Promise<void> {
  const { listen } = context.deployment.app
  if (listen.kind !== 'port') return
  const port = facts.port ?? listen.port
  const taken = await host.run(sh`bash -c ${`exec 3<>/dev/tcp/127.0.0.1/${port}`}`, {
    kind: 'probe',
    quiet: true,
    nothrow: true,
    label: `whether port ${port} is free`,
  })
  if (taken.exitCode !== 0) return
  throw new SlipwayError('port-taken', `something else listens on port ${port} of ${host.name}`, {
    host: host.name,
    state: `No app server of ${release.name} runs.`,
    next: `Look at what it is: \`ss -ltnp 'sport = :${port}'\` there; then \`tasks start_app:release=${context.deployment.name}\`.`,
  })
}

async function waitHealthy(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  supervisor: Supervisor,
  slot: Slot,
  expected: string | undefined,
): Promise<HealthResult> {
  const { health } = context.deployment.app
  let last: HealthResult = { healthy: false, detail: 'not asked yet' }
  let pid: number | undefined
  const failed = (why: string) => giveUp(context, host, change, supervisor, slot, why)
  return until(
    async () => {
      const [answer, processes] = await Promise.all([
        checkHealth(host, endpoint(context, change, slot), health, expected),
        supervisor.processes(),
      ])
      last = answer
      const info = processes.find((each) => each.name === program(slot))
      if (last.healthy && isUp(info)) return last
      // It is RUNNING as soon as it is spawned: another pid says that the first one has ended.
      if (info && info.pid > 0) pid ??= info.pid
      if (pid !== undefined && info && info.pid > 0 && info.pid !== pid) throw await failed(`it ended (pid ${pid})`)
      if (hasFailed(info)) throw await failed(`it ended with status ${info?.exitStatus}: ${info?.detail}`)
      return undefined
    },
    {
      deadlineMs: health.deadlineMs,
      everyMs: 50,
      late: () => failed(`after ${health.deadlineMs / 1000} s: ${last.detail}`),
    },
  )
}

/** Where to look, and what it was that did not become well. */
export const afterUnhealthy = ({ deployment: { name, app } }: Pick<VpsContext, 'deployment'>): string =>
  `Look at its log: \`tasks tail_app_log:release=${name}\`. What was started is ${app.server}`

/** Ends what was started, puts `current` back to the version that still serves, and says all of it. */
export async function giveUp(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  supervisor: Supervisor,
  slot: Slot,
  why: string,
): Promise<SlipwayError> {
  const { release, facts, guard } = change
  const detail = await logTail(host, `${release.logs}/app.out`)
  await supervisor.stop(program(slot))
  await endSurvivors(host, change, [program(slot)], context.deployment.app.drainSeconds)
  const serving = facts.liveSlot && facts.liveSlot !== slot ? facts.slotVersions[facts.liveSlot] : undefined
  const failedRecord = facts.records.find((record) => record.id === facts.current)
  const keptVersion = serving !== undefined && serving !== facts.current && facts.records.some((r) => r.id === serving)
  if (keptVersion) {
    const { settingsBefore } = await import('./release-files.ts')
    // Each is tried, on a full disk too: what is told is why the version failed.
    const steps = [
      ...backSteps(release, serving),
      settingsBefore(release, facts.current ?? ''),
      ...(failedRecord && !failedRecord.wasLive
        ? [writeRecord(release, { ...failedRecord, state: 'failed' }, 'mark the version as failed')]
        : []),
    ]
    const results = await host.script(
      steps.map((step) => ({ ...step, nothrow: true })),
      { guard, quiet: true },
    )
    for (const { name, exitCode, stderr } of results) {
      if (exitCode === 0) continue
      const text = `after the failure: ${name} failed too: ${stderr.trim().split('\n').at(-1)}`
      currentRun().emit({ type: 'warning', host: host.name, text })
    }
  }
  forgetFacts(context.deployment, host)
  await endIdleDaemon(host, change, supervisor)
  return new SlipwayError('unhealthy', `${release.name} did not become healthy on ${host.name}: ${why}`, {
    host: host.name,
    detail,
    state: keptVersion
      ? `The version ${serving} still serves, and is the current one again; ${facts.current} is marked as failed.`
      : serving !== undefined
        ? `The server that ran before (version ${serving}) still serves.`
        : 'No app server runs.',
    next: afterUnhealthy(context),
  })
}

/** RUNNING by supervisord's own measure: it has been up for startsecs. */
async function waitRunning(host: Host, change: ChangeOn, supervisor: Supervisor, slot: Slot): Promise<void> {
  await until(
    async () => {
      const info = (await supervisor.processes()).find((each) => each.name === program(slot))
      if (info?.state === 'RUNNING') return info
      if (hasFailed(info)) throw await notRunning(host, change, slot, info?.detail ?? '')
      return undefined
    },
    { deadlineMs: 10_000, everyMs: 100, late: () => notRunning(host, change, slot) },
  )
}

/** `ended`: what the daemon said of its end. */
export async function notRunning(host: Host, { release }: ChangeOn, slot: Slot, ended?: string): Promise<SlipwayError> {
  if (ended === undefined)
    return new SlipwayError('server-not-running', `${program(slot)} is not RUNNING`, { host: host.name })
  return new SlipwayError('server-died', `${program(slot)} answered, and then ended: ${ended}`, {
    host: host.name,
    detail: await logTail(host, `${release.logs}/app.out`),
  })
}
