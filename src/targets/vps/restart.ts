/**
 * A restart, one host after the other: on the host by itself where that can be had, else step by step; and the way back
 * on all hosts where one of them fails.
 */
import { currentRun, OutcomeUnknownError, SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { bringUp, findRunning, giveUp, notRunning } from './bring-up.ts'
import { type AuditNote, beginChange, type ChangeOn, requireVersion, tell } from './change.ts'
import { onEach, type VpsContext } from './context.ts'
import { findDaemon } from './daemon.ts'
import type { Slot } from './layout.ts'
import { liveRecords, makeCurrentAgain, noteLive, servingVersion } from './live.ts'
import { canRestartOnHost, restartOnHost } from './restart-on-host.ts'
import { lostDuring } from './step.ts'
import { formatRecord } from './version.ts'

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
