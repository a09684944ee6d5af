/** The workers of a release: each process a program of its own, so that scaling one touches no other. */
import { currentRun, SlipwayError, UsageError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { LogLine, LogOptions, ProcessStatus, Workers } from '../deployment.ts'
import { type AuditNote, audited, beginChange, type ChangeOn, requireVersion } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { endIdleDaemon, endSurvivors, ensureDaemon, findDaemon, findOrphans, logTail } from './daemon.ts'
import { forgetFacts, hostFacts, noteFacts, requireRelease, withRecord } from './facts.ts'
import { inVersion } from './install.ts'
import { liveRecords, writeRecord } from './live.ts'
import { readLogs } from './logs.ts'
import { type Program, programs } from './programs.ts'
import { serviceSteps } from './release-files.ts'
import { canRestartOnHost, restartOnHost } from './restart-on-host.ts'
import { inStep, lostDuring, until } from './step.ts'
import { stopPrograms } from './stop-programs.ts'
import { hasFailed, isDown, isUp, processStatus, type Supervisor } from './supervisor.ts'

export function workersOf(context: VpsContext): Workers {
  const { app } = context.deployment
  const first = Object.keys(app.workers)[0]
  return {
    start: () => eachWorkerHost(context, 'start', (host, change) => startWorkers(context, host, change)),
    stop: () => eachWorkerHost(context, 'stop', (host, change) => stopWorkers(context, host, change, true)),
    restart: () =>
      eachWorkerHost(context, 'restart', async (host, change, note) => {
        if (await restartThere(context, host, change, note)) return
        await stopWorkers(context, host, change, false)
        await startWorkers(context, host, change)
      }),
    status: () => workerStatus(context),
    tail: (options?: LogOptions): AsyncIterable<LogLine> =>
      readLogs(context, { source: first ?? 'supervisor', ...options }),
    scale: (sizes) => scaleWorkers(context, sizes),
  }
}

async function eachWorkerHost(
  context: VpsContext,
  verb: string,
  act: (host: Host, change: ChangeOn, note?: AuditNote) => Promise<void>,
): Promise<void> {
  try {
    await actOnWorkers(context, verb, act)
  } catch (error) {
    throw lostDuring(
      error,
      'The app server is left as it is. The workers may be as they were, draining, stopped, or started.',
      `When the host can be reached, look at \`tasks ps:release=${context.deployment.name}\`; doing it again is right in each case.`,
    )
  }
}

async function actOnWorkers(
  context: VpsContext,
  verb: string,
  act: (host: Host, change: ChangeOn, note?: AuditNote) => Promise<void>,
): Promise<void> {
  await audited(context, `${verb} the workers`, async (note) => {
    await onEach(context.role('worker'), async (host) => {
      const change = await beginChange(context, host, `${verb} the workers of ${context.deployment.name}`)
      await act(host, change, note)
      if (verb === 'start' || verb === 'restart') await recordLive(context, host, change)
    })
  })
}

/** On a host without an app server, the version whose workers were started is live: what a failure goes back to. */
async function recordLive(context: VpsContext, host: Host, { facts, release, guard }: ChangeOn): Promise<void> {
  const { nowLive, retired } = liveRecords(facts)
  const serves = [...context.role('web')].some((each) => each.name === host.name)
  if (serves || currentRun().options.dryRun || nowLive === undefined) return
  if (facts.records.some((record) => record.id === nowLive.id && record.state === 'live') && retired.length === 0)
    return
  await host.script(
    [
      writeRecord(release, nowLive, 'record that it is live'),
      ...retired.map((record) => writeRecord(release, record, `retire ${record.id}`)),
    ],
    { guard, quiet: true },
  )
  await noteFacts(context.deployment, host, {
    records: [...retired, nowLive].reduce(withRecord, facts.records),
  })
}

const wantedPrograms = (context: VpsContext, change: ChangeOn): Program[] =>
  programs(context.deployment.app, change.facts.scale).filter((each) => each.kind === 'worker')

const longestDrain = (context: VpsContext): number =>
  Math.max(0, ...Object.values(context.deployment.app.workers).map((worker) => worker.stopSeconds))

/** Starts the workers that are not running, the daemon too if need be, and waits until each is RUNNING. */
async function startWorkers(context: VpsContext, host: Host, change: ChangeOn): Promise<void> {
  const wanted = wantedPrograms(context, change)
  if (wanted.length === 0) {
    currentRun().emit({ type: 'note', host: host.name, text: 'no workers are configured' })
    return
  }
  if (!currentRun().options.dryRun) requireVersion(change, host)
  await inStep(`start ${wanted.map((each) => each.name).join(' ')}`, host.name, async () => {
    const found = await findDaemon(context, host, change.release)
    if (!found) await endOrphans(context, host, change, [])
    const supervisor = found ?? (await ensureDaemon(context, host, change))
    if (!supervisor || currentRun().options.dryRun) return
    const names = wanted.map((each) => each.name)
    // One that failed and is tried again and again would be tried as it was before it was corrected.
    const tried = (await supervisor.processes()).filter((each) => each.state === 'BACKOFF' && names.includes(each.name))
    if (tried.length > 0)
      await stopPrograms(
        host,
        supervisor,
        tried.map((each) => each.name),
        5,
      )
    await supervisor.reload()
    await supervisor.start(...names)
    await waitUp(context, host, change, supervisor, wanted)
    await requireWell(context, host, change, wanted)
    if (change.facts.workersWanted) return
    const { wanted: folder } = change.release
    await host.script([{ name: 'a reboot brings them back', command: sh`mkdir -p ${folder}; : > ${folder}/workers` }], {
      guard: change.guard,
      quiet: true,
    })
    await noteFacts(context.deployment, host, { workersWanted: true })
  })
}

/** Drained, proved gone and started again in one round trip, where that can be had: true once it is done. */
async function restartThere(context: VpsContext, host: Host, change: ChangeOn, note?: AuditNote): Promise<boolean> {
  const wanted = wantedPrograms(context, change)
  if (wanted.length === 0 || !canRestartOnHost(context, change)) return false
  requireVersion(change, host)
  const done = await restartOnHost(context, host, change, 'workers', {
    drainSeconds: longestDrain(context),
    programs: wanted.map((each) => each.name),
    // What is not known to be well yet, is not said to have gone well.
    audit: wanted.some(({ of }) => healthOf(context, of)) ? undefined : note?.entry(change.facts),
    ...(change.facts.workersWanted ? {} : { wanted: `${change.release.wanted}/workers` }),
  })
  if (done.outcome === 'worker-failed') {
    throw await workerFailed(
      context,
      host,
      change,
      done.bad.map(([name, state, detail]) => ({
        program: wanted.find((each) => each.name === name),
        name,
        state,
        detail,
      })),
    )
  }
  if (done.outcome !== 'ok') return false
  if (note) note.left = done.audited === true
  await noteFacts(context.deployment, host, { workersWanted: true })
  await requireWell(context, host, change, wanted)
  return true
}

interface BadWorker {
  name: string
  state: string
  detail?: string
  program?: Program
}

async function workerFailed(
  context: VpsContext,
  host: Host,
  { release }: ChangeOn,
  bad: readonly BadWorker[],
): Promise<SlipwayError> {
  const said = bad.map(({ name, state, detail }) => `${name} is ${state}${detail ? ` (${detail})` : ''}`).join(', ')
  const first = bad[0]?.program
  return new SlipwayError('worker-failed', `a worker did not start on ${host.name}: ${said}`, {
    host: host.name,
    detail: first ? await logTail(host, `${release.logs}/${first.log}`) : undefined,
    state: 'The app server is left as it is.',
    next: `Look at its log: \`tasks logs:release=${context.deployment.name} --source ${first?.of ?? 'supervisor'}\`.`,
  })
}

async function waitUp(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  supervisor: Supervisor,
  wanted: readonly Program[],
): Promise<void> {
  const state = async () => {
    const processes = await supervisor.processes()
    return wanted.map((program) => ({ program, info: processes.find((each) => each.name === program.name) }))
  }
  const error = (each: Awaited<ReturnType<typeof state>>) =>
    workerFailed(
      context,
      host,
      change,
      each
        .filter(({ info }) => info?.state !== 'RUNNING')
        .map(({ program, info }) => ({
          program,
          name: program.name,
          state: info?.state ?? 'unknown',
          detail: info?.detail,
        })),
    )
  await until(
    async () => {
      const each = await state()
      if (each.every(({ info }) => info?.state === 'RUNNING' && info.settled !== false)) return true
      if (each.some(({ info }) => hasFailed(info))) throw await error(each)
      return undefined
    },
    { deadlineMs: 20_000, everyMs: 100, late: async () => error(await state()) },
  )
}

const healthOf = ({ deployment }: VpsContext, worker: string): string | undefined =>
  deployment.app.workers[worker]?.health

/** Asks each worker that has a health command, again and again until it succeeds or the deadline is over. */
async function requireWell(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  started: readonly Program[],
): Promise<void> {
  const seconds = Math.ceil(context.deployment.app.health.deadlineMs / 1000)
  const names = [...new Set(started.map((each) => each.of))]
  for (const name of names) {
    const health = healthOf(context, name)
    if (health === undefined) continue
    const ask = inVersion(change.release, requireVersion(change, host), health).render()
    await inStep(`${name} is well: ${health}`, host.name, async () => {
      const result = await host.run(
        sh`end=$(($(date +%s) + ${seconds})); status=1; said=
while left=$((end - $(date +%s))); [ "$left" -gt 0 ]; do
  said=$(timeout "$left" sh -c ${ask} 2>&1); status=$?
  [ "$status" -ne 0 ] || break
  sleep 0.1
done
printf '%s\n' "$said"; exit "$status"`,
        { quiet: true, nothrow: true, label: `ask whether ${name} is well` },
      )
      if (result.exitCode === 0) return
      const log = started.find((each) => each.of === name)?.log as string
      throw new SlipwayError('worker-unhealthy', `${name} was not well on ${host.name} within ${seconds} s`, {
        host: host.name,
        detail: [
          `${health} ended with status ${result.exitCode}`,
          result.stdout.trim(),
          await logTail(host, `${change.release.logs}/${log}`),
        ]
          .filter(Boolean)
          .join('\n'),
        state: 'The app server is left as it is; the worker runs on.',
        next: `Look at its log: \`tasks logs:release=${context.deployment.name} --source ${name}\`; or correct [app.workers] ${name}.health.`,
      })
    })
  }
}

/** Drains the workers and proves them gone; the app server is not touched. Ends the daemon if nothing is left in it. */
async function stopWorkers(context: VpsContext, host: Host, change: ChangeOn, endDaemon: boolean): Promise<void> {
  const names = new Set(wantedPrograms(context, change).map((each) => each.name))
  const seconds = longestDrain(context)
  await inStep('stop the workers', host.name, async () => {
    const supervisor = await findDaemon(context, host, change.release)
    if (!supervisor) {
      await endOrphans(context, host, change, [])
      return
    }
    for (const each of await supervisor.processes()) if (!/^app-[ab]$/.test(each.name)) names.add(each.name)
    await stopPrograms(host, supervisor, [...names], seconds)
    await endSurvivors(host, change, [...names], 5, endDaemon ? 'workers' : undefined)
    if (endDaemon) await noteFacts(context.deployment, host, { workersWanted: false })
    if (endDaemon && !currentRun().options.dryRun) await endIdleDaemon(host, change, supervisor)
  })
}

/** Workers whose daemon was killed: named, and ended before others are started beside them. */
async function endOrphans(context: VpsContext, host: Host, change: ChangeOn, known: readonly number[]): Promise<void> {
  const orphans = (await findOrphans(host, change.release, known)).filter((each) => !/^app-[ab]$/.test(each.program))
  if (orphans.length === 0) return
  currentRun().emit({
    type: 'warning',
    host: host.name,
    text: `running without their supervisord, and ended now: ${orphans.map((each) => `${each.program} (pid ${each.pid})`).join(', ')}`,
  })
  await endSurvivors(host, change, [...new Set(orphans.map((each) => each.program))], longestDrain(context))
}

async function workerStatus(context: VpsContext): Promise<ProcessStatus[]> {
  const each = await onEach(context.role('worker'), async (host): Promise<ProcessStatus[]> => {
    const facts = await hostFacts(context.deployment, host)
    const release = requireRelease(context.deployment, facts, host)
    const supervisor = await findDaemon(context, host, release)
    const processes = supervisor ? await supervisor.processes() : []
    return programs(context.deployment.app, facts.scale)
      .filter((program) => program.kind === 'worker')
      .map((program) => {
        const info = processes.find((process) => process.name === program.name)
        return info ? processStatus(info, host) : { name: program.name, state: 'stopped' as const, host: host.name }
      })
  })
  return [...each.values()].flat()
}

/** Sets the numbers of processes, which later deploys keep; starts and stops only what differs. */
async function scaleWorkers(context: VpsContext, sizes: Record<string, number>): Promise<void> {
  const known = Object.keys(context.deployment.app.workers)
  for (const [name, size] of Object.entries(sizes)) {
    if (!known.includes(name)) {
      throw new UsageError(
        'no-worker',
        `there is no worker ${name}; there ${known.length === 1 ? 'is' : 'are'} ${known.join(', ') || 'none'}`,
      )
    }
    if (!Number.isInteger(size) || size < 0) throw new UsageError('bad-value', `${name} can't have ${size} processes`)
  }
  await eachWorkerHost(context, 'scale', async (host, change) => {
    const scale = { ...change.facts.scale, ...sizes }
    const after = programs(context.deployment.app, scale)
    const names = new Set(after.map((each) => each.name))
    const before = await findDaemon(context, host, change.release)
    const workers = before ? (await before.processes()).filter((each) => !/^app-[ab]$/.test(each.name)) : []
    const gone = workers.filter((each) => !names.has(each.name) && !isDown(each)).map((each) => each.name)
    // Drained while what runs them still knows them.
    if (before && gone.length > 0) {
      await stopPrograms(host, before, gone, longestDrain(context))
      await endSurvivors(host, change, gone, 5)
    }
    await host.script(
      [
        {
          name: 'record the numbers',
          command: sh`printf '%s\n' ${JSON.stringify(scale)} > ${change.release.records}/scale.json.new; mv -f ${change.release.records}/scale.json.new ${change.release.records}/scale.json`,
        },
        ...(await serviceSteps(context, change.facts, change.release, after)),
      ],
      { guard: change.guard },
    )
    forgetFacts(context.deployment, host)
    const supervisor = await findDaemon(context, host, change.release)
    if (!supervisor || currentRun().options.dryRun) return
    await supervisor.reload()
    const wanted = after.filter((each) => each.kind === 'worker')
    if (!workers.some(isUp) || wanted.length === 0) return
    await supervisor.start(...wanted.map((each) => each.name))
    await waitUp(context, host, change, supervisor, wanted)
    await requireWell(context, host, change, wanted)
  })
}
