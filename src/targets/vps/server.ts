/**
 * The app server of a release: two slots behind the site's socket, so that a restart fails no request. The new one
 * answers its health check before the web server is pointed at it; the old one drains after that.
 */
import { currentRun, OutcomeUnknownError, SlipwayError } from '../../events/index.ts'
import { humanDuration } from '../../hosts/duration.ts'
import type { Host } from '../../hosts/host.ts'
import { type Command, sh } from '../../shell/index.ts'
import type { LogLine, LogOptions, ProcessStatus, Service } from '../deployment.ts'
import { type AuditNote, audited, beginChange, type ChangeOn, requireVersion, tell } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { endIdleDaemon, endSurvivors, ensureDaemon, findDaemon, liveProcesses, logTail } from './daemon.ts'
import { forgetFacts, type HostFacts, hostFacts, noteFacts, requireRelease, withRecord } from './facts.ts'
import { checkHealth, type Endpoint, type HealthResult } from './health.ts'
import { otherSlot, type ReleaseLayout, type Slot } from './layout.ts'
import { readLogs } from './logs.ts'
import { canRestartOnHost, restartOnHost } from './restart-on-host.ts'
import { inStep, lostDuring, until } from './step.ts'
import { hasFailed, isDown, isUp, type ProcessInfo, type Supervisor } from './supervisor.ts'
import { formatRecord, type VersionRecord } from './version.ts'

const slots: readonly Slot[] = ['a', 'b']
export const program = (slot: Slot): string => `app-${slot}`

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

/** Starts the current version beside the running server, and ends that one only when the new one is well. */
export async function restartServer(context: VpsContext, note?: AuditNote): Promise<void> {
  const begun = new Set<string>()
  /** The hosts that are done, and what each served before. */
  const done: { host: Host; before?: string }[] = []
  let failure: unknown
  try {
    await onEach(
      context.role('web'),
      async (host) => {
        let before: string | undefined
        try {
          const change = await beginChange(context, host, `restart ${context.deployment.name}`)
          begun.add(host.name)
          before = servingVersion(change.facts)
          await restartHooks(context, host, change, 'before_restart')
          if (!(await reloaded(context, host, change)) && !(await exchangeOnHost(context, host, change, note)))
            await bringUp(context, host, change, await findRunning(context, host, change))
          await restartHooks(context, host, change, 'after_restart')
          done.push({ host, before })
        } catch (error) {
          failure = await backOnPort(context, host, before, error).catch(() => error)
          throw failure
        }
      },
      // Rolling: one host after the other, so that the rest serve meanwhile.
      { parallel: false, maxFailures: 0 },
    )
  } catch (error) {
    const { signal, options } = currentRun()
    if (!signal.aborted && !options.dryRun) {
      for (const host of context.hosts) if (!begun.has(host.name)) await backToServing(context, host)
      // Where the line was lost, the new version may be well: then the others stay with it.
      if (!(failure instanceof OutcomeUnknownError)) {
        for (const { host, before } of done.reverse()) await backToBefore(context, host, before)
      }
    }
    // One after the other, so that it was one that failed: what it says is what is to be known.
    throw lostDuring(
      failure ?? error,
      context.deployment.app.listen.kind === 'port'
        ? 'The app server may be stopped, started or as it was: on a port there is one.'
        : 'The app goes on, with the version before or the new one: no server is stopped before another is well.',
      `When the host can be reached, look at \`tasks status:release=${context.deployment.name}\`; restarting again is right in each case.`,
    )
  }
}

/** The version that a host serves; where it serves none, the one whose workers run there. */
export function servingVersion({ liveSlot, slotVersions, records }: HostFacts): string | undefined {
  const serving = liveSlot ? slotVersions[liveSlot] : records.find((record) => record.state === 'live')?.id
  return records.some(({ id }) => id === serving) ? serving : undefined
}

/**
 * On a host whose turn never came, or that serves nobody: what it runs is its current version again, so that neither a
 * reboot nor a restart of its workers takes up the one that failed elsewhere.
 */
async function backToServing(context: VpsContext, host: Host): Promise<void> {
  try {
    const change = await beginChange(context, host, `restart ${context.deployment.name}`)
    const serving = servingVersion(change.facts)
    if (serving === undefined || serving === change.facts.current) return
    await makeCurrentAgain(context, host, change, serving)
  } catch (error) {
    const text = `the version that failed elsewhere may be the current one here: ${(error as Error).message}`
    currentRun().emit({ type: 'warning', host: host.name, text })
  }
}

/** On a host that took up the version which then failed on another: it serves what it did before. */
async function backToBefore(context: VpsContext, host: Host, before: string | undefined): Promise<void> {
  try {
    const change = await beginChange(context, host, `restart ${context.deployment.name}`)
    if (before === undefined || before === change.facts.current) return
    await makeCurrentAgain(context, host, change, before)
    const again = await beginChange(context, host, `restart ${context.deployment.name}`)
    if (!(await exchangeOnHost(context, host, again)))
      await bringUp(context, host, again, await findRunning(context, host, again))
    currentRun().emit({
      type: 'warning',
      host: host.name,
      text: `it serves ${before} again: what failed elsewhere is gone from here too`,
    })
  } catch (error) {
    currentRun().emit({
      type: 'warning',
      host: host.name,
      text: `it serves the version that failed elsewhere, and could not go back: ${(error as Error).message}`,
    })
  }
}

/** `id`, with its start script, is current; what was current is failed. */
export async function makeCurrentAgain(context: VpsContext, host: Host, change: ChangeOn, id: string): Promise<void> {
  const { facts, release, guard } = change
  const record = facts.records.find((each) => each.id === facts.current)
  const { settingsBefore } = await import('./release-files.ts')
  await host.script(
    [
      ...backSteps(release, id),
      settingsBefore(release, facts.current ?? ''),
      ...(record ? [writeRecord(release, { ...record, state: 'failed' }, 'mark the version as failed')] : []),
    ],
    { guard, quiet: true },
  )
  forgetFacts(context.deployment, host)
}

const backSteps = (release: ReleaseLayout, id: string) => [
  {
    name: `the start script of ${id}`,
    command: sh`[ ! -f ${release.versionStart(id)} ] || cp -p ${release.versionStart(id)} ${release.start}`,
  },
  { name: `current → ${id}`, command: switchCurrent(release, id) },
]

/** `restart = reload`: true once the running server has taken the current version up by itself. */
async function reloaded(context: VpsContext, host: Host, change: ChangeOn): Promise<boolean> {
  if (context.deployment.app.restartBy !== 'reload') return false
  const { takeUpByReload } = await import('./reload.ts')
  return takeUpByReload(context, host, change)
}

/** The configured commands, in the current version. One that fails ends the restart where it is. */
async function restartHooks(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  name: 'before_restart' | 'after_restart',
): Promise<void> {
  const commands = context.deployment.app.hooks[name] ?? []
  if (commands.length === 0) return
  const { inVersion } = await import('./install.ts')
  const version = currentRun().options.dryRun ? (change.facts.current ?? '') : requireVersion(change, host)
  await host.script(
    commands.map((command) => ({
      name: `${name.replace('_', ' ')}: ${command}`,
      command: inVersion(change.release, version, command),
    })),
    { guard: change.guard },
  )
}

/** The whole exchange in one round trip, where it can be had: true once it is done. */
async function exchangeOnHost(context: VpsContext, host: Host, change: ChangeOn, note?: AuditNote): Promise<boolean> {
  const { app, name } = context.deployment
  const { release, facts } = change
  if (app.listen.kind === 'port' || !canRestartOnHost(context, change)) return false
  const version = requireVersion(change, host)
  const { nowLive, retired } = liveRecords(facts)
  const { path, status, body, deadlineMs } = app.health
  const done = await restartOnHost(context, host, change, 'server', {
    drainSeconds: app.drainSeconds,
    liveSlot: facts.liveSlot,
    sockets: { a: release.slotSocket('a'), b: release.slotSocket('b') },
    health: { path, status, body, deadlineMs },
    expected: `${release.name}/${version}`,
    link: facts.app.currentSocket(name),
    wanted: `${release.wanted}/app`,
    audit: (app.hooks.after_restart ?? []).length > 0 ? undefined : note?.entry(facts),
    records: [...(nowLive ? [nowLive] : []), ...retired].map((record) => [
      release.versionRecord(record.id),
      formatRecord(record),
    ]),
  })
  switch (done.outcome) {
    case 'ok': {
      if (note) note.left = done.audited === true
      await noteLive(context, host, change, done.slot as Slot)
      const record = facts.records.find((each) => each.id === version)
      if (record && !record.wasLive) await tell(context, 'deploy', { head: record.commit ?? record.id })
      return true
    }
    case 'unhealthy': {
      const supervisor = await findDaemon(context, host, release)
      if (supervisor) throw await giveUp(context, host, change, supervisor, done.slot, done.why ?? '')
      return false
    }
    case 'died':
    case 'not-running':
      throw await notRunning(host, change, done.slot, done.outcome === 'died' ? (done.why ?? '') : undefined)
    default:
      return false
  }
}

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

/** On a port the server before has been stopped for the new one: it is started again. Resolves with what is to be told. */
async function backOnPort(
  context: VpsContext,
  host: Host,
  before: string | undefined,
  error: unknown,
): Promise<unknown> {
  if (context.deployment.app.listen.kind !== 'port' || before === undefined) return error
  if (!(error instanceof SlipwayError) || error.code !== 'unhealthy') return error
  const change = await beginChange(context, host, `restart ${context.deployment.name}`)
  if (before === change.facts.current) return error
  await makeCurrentAgain(context, host, change, before)
  const again = await beginChange(context, host, `restart ${context.deployment.name}`)
  await bringUp(context, host, again, await findRunning(context, host, again))
  return new SlipwayError(error.code, error.message, {
    host: host.name,
    cause: error,
    detail: error.detail,
    state: `The version ${before} was started again, and is the current one; requests failed meanwhile. ${change.facts.current} is marked as failed.`,
    next: error.next,
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
async function giveUp(
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

/** The records of the versions that going live changes. Pure but for the clock. */
export function liveRecords(facts: HostFacts): { nowLive?: VersionRecord; retired: VersionRecord[] } {
  const live = facts.records.find((record) => record.id === facts.current)
  const now = new Date().toISOString()
  return {
    nowLive: live && {
      ...live,
      state: 'live' as const,
      wasLive: true,
      liveAt: live.state === 'live' ? live.liveAt : now,
    },
    retired: facts.records
      .filter((record) => record.state === 'live' && record.id !== facts.current)
      .map((record) => ({ ...record, state: 'retired' as const })),
  }
}

/** Points the site at the slot by one rename, reads it back, and records that the version is live. */
export async function goLive(context: VpsContext, host: Host, change: ChangeOn, slot: Slot): Promise<void> {
  const { release, facts, guard } = change
  const { nowLive, retired } = liveRecords(facts)
  const link = facts.app.currentSocket(context.deployment.name)
  await host.script(
    [
      { name: `current.sock → ${program(slot)}`, command: replaceLink(release.slotSocket(slot), link) },
      { name: 'a reboot brings it back', command: sh`mkdir -p ${release.wanted}; : > ${release.wanted}/app` },
      ...(nowLive ? [writeRecord(release, nowLive, 'record that it is live')] : []),
      ...retired.map((record) => writeRecord(release, record, `retire ${record.id}`)),
    ],
    { guard, quiet: true },
  )
  await noteLive(context, host, change, slot)
}

/** What going live turned the facts into. */
async function noteLive(
  { deployment }: VpsContext,
  host: Host,
  { release, facts }: ChangeOn,
  slot: Slot,
): Promise<void> {
  const { nowLive, retired } = liveRecords(facts)
  await noteFacts(deployment, host, {
    liveSlot: slot,
    siteTarget: release.slotSocket(slot),
    slotVersions: { ...facts.slotVersions, ...(facts.current ? { [slot]: facts.current } : {}) },
    records: [...retired, ...(nowLive ? [nowLive] : [])].reduce(withRecord, facts.records),
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

/** Replaces a link by one rename, and reads it back. */
export function replaceLink(target: string, link: string): Command {
  const folder = link.slice(0, link.lastIndexOf('/'))
  return sh`mkdir -p ${folder}
t=${link}.$$; rm -f "$t"; ln -s ${target} "$t"; mv -fT "$t" ${link}
[ "$(readlink ${link})" = ${target} ] || { echo "it points at $(readlink ${link})" >&2; exit 1; }`
}

export const switchCurrent = (release: ReleaseLayout, id: string): Command =>
  replaceLink(`versions/${id}`, release.current)

export function writeRecord(
  release: ReleaseLayout,
  record: VersionRecord,
  name: string,
): { name: string; command: Command } {
  const path = release.versionRecord(record.id)
  return {
    name,
    command: sh`mkdir -p ${release.versionRecords}; printf '%s' ${formatRecord(record)} > ${path}.new; mv -f ${path}.new ${path}`,
  }
}

/** Sends the stop signal to all at once, and waits until supervisord has seen each of them end. */
export async function stopPrograms(
  host: Host,
  supervisor: Supervisor,
  names: readonly string[],
  seconds: number,
): Promise<void> {
  // One that is between two tries has no process, and would get one.
  const before = (await supervisor.processes()).filter((each) => names.includes(each.name) && !isDown(each))
  if (before.length === 0) return
  const begun = performance.now()
  await supervisor.stop(...names)
  if (currentRun().options.dryRun) return
  await until(
    async () =>
      (await supervisor.processes()).filter((each) => names.includes(each.name)).every(isDown) ? true : undefined,
    {
      deadlineMs: (seconds + 20) * 1000,
      everyMs: 50,
      late: () =>
        new SlipwayError('not-stopped', `${names.join(', ')} did not stop within ${seconds + 20} s`, {
          host: host.name,
        }),
    },
  )
  await supervisor.proveStopped?.(before, names)
  if (performance.now() - begun < seconds * 900) return
  // supervisorctl says "stopped" of what it killed, too: its log is what tells.
  const log = await supervisor.logTail(8192)
  for (const { name, pid } of before) {
    if (log.includes(`killing '${name}' (${pid}) with SIGKILL`)) {
      currentRun().emit({
        type: 'warning',
        host: host.name,
        text: `${name} (pid ${pid}) did not finish within ${seconds} s and was killed`,
      })
    }
  }
}

/** Starts or stops by `act`; where the line is lost in it, that says what may be true. */
export const unlessLost = (context: VpsContext, act: (context: VpsContext) => Promise<void>): Promise<void> =>
  act(context).catch((error: unknown) => {
    throw lostDuring(
      error,
      'What was to be started or stopped may run, be on its way, or have ended.',
      `When the host can be reached, look at \`tasks ps:release=${context.deployment.name}\`; doing it again is right in each case.`,
    )
  })

/** Resolves once no process of the server is left on any web host. */
export async function stopServer(context: VpsContext): Promise<void> {
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

export async function serverStatus(context: VpsContext): Promise<ProcessStatus[]> {
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

export function processStatus(info: ProcessInfo, host: Host): ProcessStatus {
  const states: Record<string, ProcessStatus['state']> = {
    RUNNING: 'running',
    STARTING: 'starting',
    STOPPING: 'stopping',
    STOPPED: 'stopped',
    BACKOFF: 'failed',
    FATAL: 'failed',
    EXITED: 'failed',
  }
  return {
    name: info.name,
    state: states[info.state] ?? 'failed',
    pid: info.pid > 0 ? info.pid : undefined,
    uptimeSeconds: info.pid > 0 ? info.uptimeSeconds : undefined,
    host: host.name,
    detail: info.detail || undefined,
  }
}
