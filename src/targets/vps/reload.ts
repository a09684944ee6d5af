/**
 * The app server's own reload: it takes up new settings, and new code, without being started again. Proved by its being
 * the same process, and by what it answers.
 */
import { currentRun, SlipwayError, UsageError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import { afterUnhealthy, bringUp, endpoint, findRunning, type Running } from './bring-up.ts'
import { audited, beginChange, type ChangeOn, requireVersion, tell } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { logTail } from './daemon.ts'
import { checkHealth, type HealthResult } from './health.ts'
import { program, type Slot } from './layout.ts'
import { goLive, makeCurrentAgain, servingVersion } from './live.ts'
import { besideTheApp, inStep, until } from './step.ts'
import { hasFailed, isUp, type Supervisor } from './supervisor.ts'

/** Has the server of each web host reload, one host after the other. */
export async function reloadServer(context: VpsContext): Promise<void> {
  const signal = requireSignal(context)
  await audited(context, 'reload the app', async () => {
    await onEach(
      context.role('web'),
      async (host) => {
        const change = await beginChange(context, host, `reload ${context.deployment.name}`)
        const running = serves(await findRunning(context, host, change))
        if (!running) {
          throw new SlipwayError(
            'not-running',
            `the app server does not run on ${host.name}: there is nothing to reload`,
            {
              host: host.name,
              state: 'Nothing was changed.',
              next: `Start it: \`tasks start_app:release=${context.deployment.name}\`.`,
            },
          )
        }
        const failed = await reload(context, host, change, running, signal)
        if (failed !== undefined)
          throw await unhealthy(context, host, change, failed, 'It runs on, or its daemon starts it again.')
      },
      { parallel: false, maxFailures: 0 },
    ).catch((error: unknown) => {
      throw besideTheApp(error, context.deployment.name, {
        lost: 'The app server has been told to reload, or has not.',
        full: 'It is not known whether the app server has reloaded.',
        look: 'status',
      })
    })
  })
}

function requireSignal({ config, deployment }: VpsContext): string {
  if (deployment.app.reload !== undefined) return deployment.app.reload
  throw new UsageError('no-reload', `${config.file} does not say how the app server reloads`, {
    state: 'Nothing was changed.',
    next: 'Set [app] reload, e.g. reload = HUP for gunicorn; or restart it, which fails no request either.',
  })
}

/**
 * The running server takes up the current version by its reload. False where none runs. Where it does not become well,
 * the version before is current again, and served again.
 */
export async function takeUpByReload(context: VpsContext, host: Host, change: ChangeOn): Promise<boolean> {
  const signal = requireSignal(context)
  const run = currentRun()
  const running = serves(await findRunning(context, host, change))
  if (!running) return false
  if (run.options.dryRun) {
    run.emit({ type: 'held-back', host: host.name, display: `send ${signal} to ${program(running.slot)}, check it` })
    return true
  }
  const { facts, release, guard } = change
  const version = requireVersion(change, host)
  const failed = await reload(context, host, change, running, signal, `${release.name}/${version}`)
  if (failed === undefined) {
    const file = `${release.run}/${program(running.slot)}.version`
    await host.script(
      [{ name: 'what it serves', command: sh`printf '%s\n' ${version} > ${file}.new; mv -f ${file}.new ${file}` }],
      {
        guard,
        quiet: true,
      },
    )
    await goLive(context, host, change, running.slot)
    const record = facts.records.find((each) => each.id === version)
    if (record && !record.wasLive) await tell(context, 'deploy', { head: record.commit ?? record.id })
    return true
  }
  const before = servingVersion(facts)
  if (before === undefined || before === version) {
    throw await unhealthy(context, host, change, failed, 'It runs on, or its daemon starts it again.')
  }
  await makeCurrentAgain(context, host, change, before)
  const again = await beginChange(context, host, `restart ${context.deployment.name}`)
  const state = await serveAgain(context, host, again, signal, before, pidOf(running))
  throw await unhealthy(context, host, change, failed, `${state}; ${version} is marked as failed.`)
}

/** After a reload that failed: the version before is served, by a reload where the server lives, else by a start. */
async function serveAgain(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  signal: string,
  before: string,
  pid: number | undefined,
): Promise<string> {
  const alive = serves(await findRunning(context, host, change))
  const expected = `${change.release.name}/${before}`
  if (alive && (await reload(context, host, change, alive, signal, expected)) === undefined) {
    // Another process: the server had ended, and its daemon started it anew.
    if (pidOf(alive) === pid) return `The server has taken ${before} up again, and it is the current version`
  } else {
    await bringUp(context, host, change, await findRunning(context, host, change))
  }
  return `The server ended, and was started again with ${before}, which is the current version; requests failed meanwhile`
}

type Serving = Running & { supervisor: Supervisor; slot: Slot }

const pidOf = ({ slot, processes }: Serving): number | undefined =>
  processes.find((each) => each.name === program(slot))?.pid

const serves = (running: Running): Serving | undefined =>
  running.supervisor && running.slot ? (running as Serving) : undefined

/** Resolves with why it failed; with undefined once it is well. `expected`: what must answer, where the app tells. */
async function reload(
  context: VpsContext,
  host: Host,
  change: ChangeOn,
  { supervisor, slot, processes }: Serving,
  signal: string,
  expected?: string,
): Promise<string | undefined> {
  const name = program(slot)
  const { health } = context.deployment.app
  const pid = processes.find((each) => each.name === name)?.pid
  let failed: string | undefined
  await inStep(`reload ${name} (SIG${signal})`, host.name, async () => {
    await supervisor.signal(name, signal)
    if (currentRun().options.dryRun) return undefined
    let last: HealthResult = { healthy: false, detail: 'not asked yet' }
    await until(
      async () => {
        last = await checkHealth(host, endpoint(context, change, slot), health, expected)
        const info = (await supervisor.processes()).find((each) => each.name === name)
        if (hasFailed(info) || info?.pid !== pid) failed = `it ended upon SIG${signal} (pid ${pid})`
        return failed !== undefined || (last.healthy && isUp(info)) ? true : undefined
      },
      {
        deadlineMs: health.deadlineMs,
        everyMs: 50,
        late: () =>
          new SlipwayError('unhealthy', `after ${health.deadlineMs / 1000} s: ${last.detail}`, { host: host.name }),
      },
    ).catch((error: unknown) => {
      if (!(error instanceof SlipwayError) || error.code !== 'unhealthy') throw error
      failed = error.message
    })
    if (failed === undefined && expected !== undefined && last.release === undefined) {
      const text = 'the app sends no X-Release header: which version answers was not checked'
      currentRun().emit({ type: 'note', host: host.name, text })
    }
    return failed ?? last.detail
  })
  return failed
}

async function unhealthy(
  context: VpsContext,
  host: Host,
  { release }: ChangeOn,
  why: string,
  state: string,
): Promise<SlipwayError> {
  return new SlipwayError('unhealthy', `${release.name} did not become healthy on ${host.name} by its reload: ${why}`, {
    host: host.name,
    detail: await logTail(host, `${release.logs}/app.out`),
    state,
    next: afterUnhealthy(context),
  })
}
