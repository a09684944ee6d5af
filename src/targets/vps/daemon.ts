/**
 * The daemon that runs a release's programs. Its own supervisord is started when something is to run in it, and ended
 * when nothing is left; the system's supervisord and the user's systemd are there, and stay.
 */
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { type Command, lines, sh } from '../../shell/index.ts'
import type { ChangeOn } from './change.ts'
import type { VpsContext } from './context.ts'
import type { ReleaseLayout } from './layout.ts'
import { endProcesses, type LiveProcess, listProcesses, readProcesses } from './processes.ts'
import { inStep } from './step.ts'
import { connectSupervisor, isDown, type Supervisor } from './supervisor.ts'

/** Starts supervisord unless it answers. It binds its socket before it goes into the background, so no wait is needed. */
function startDaemon(release: ReleaseLayout): Command {
  return sh`cd ${release.dir}
[ -r etc/supervisord.conf ] || { echo 'this release is not installed yet: there is no etc/supervisord.conf' >&2; exit 78; }
command -v supervisord >/dev/null 2>&1 || { echo 'supervisord is not installed' >&2; exit 127; }
mkdir -p run logs
env -u SLIPWAY_VERSION supervisord -c etc/supervisord.conf`
}

/** What the programs of a release are called before their names, where they are not alone. */
export const programPrefix = ({ deployment }: Pick<VpsContext, 'deployment'>, release: ReleaseLayout): string =>
  deployment.systemSupervisor ? `${release.name}-` : ''

/** The socket of the supervisord that the release runs under. */
export const daemonSocket = ({ deployment }: Pick<VpsContext, 'deployment'>, release: ReleaseLayout): string =>
  deployment.systemSupervisor?.socket ?? release.supervisorSocket

/** The daemon of the release, if it runs; of systemd, if it has units of the release. */
export async function findDaemon(
  context: Pick<VpsContext, 'deployment'>,
  host: Host,
  release: ReleaseLayout,
): Promise<Supervisor | undefined> {
  if (context.deployment.services === 'systemd') {
    const { connectSystemd } = await import('./systemd.ts')
    return connectSystemd(host, release)
  }
  return connectSupervisor(host, daemonSocket(context, release), programPrefix(context, release))
}

/** The daemon, started if need be. undefined in a dry run that would have started it. */
export async function ensureDaemon(
  context: Pick<VpsContext, 'deployment'>,
  host: Host,
  change: ChangeOn,
): Promise<Supervisor | undefined> {
  const { release, guard } = change
  const found = await findDaemon(context, host, release)
  if (found) return found
  if (context.deployment.services === 'systemd' || context.deployment.systemSupervisor) {
    return currentRun().options.dryRun ? undefined : missing(context, host, release)
  }
  requireSupervisord(change, host)
  await host.script([{ name: 'start supervisord', command: startDaemon(release) }], { guard })
  if (currentRun().options.dryRun) return undefined
  const started = await findDaemon(context, host, release)
  if (started) return started
  throw new SlipwayError('supervisor-start', `supervisord did not start on ${host.name}`, {
    host: host.name,
    detail: await logTail(host, `${release.logs}/supervisord.log`),
  })
}

/** There is nothing of the release in what is always there: why not. */
async function missing(
  { deployment }: Pick<VpsContext, 'deployment'>,
  host: Host,
  release: ReleaseLayout,
): Promise<never> {
  const state = 'Nothing was started.'
  if (deployment.systemSupervisor) {
    const { socket } = deployment.systemSupervisor
    throw new SlipwayError(
      'no-system-supervisor',
      `the system's supervisord on ${host.name} does not answer at ${socket}`,
      {
        host: host.name,
        state,
        next: 'Does it run, and may the account use its socket (chown in [unix_http_server])? `tasks setup_host` shows what root does.',
      },
    )
  }
  const { requireSystemd } = await import('./systemd.ts')
  await requireSystemd(host)
  throw new SlipwayError('no-units', `${release.name} has no systemd units on ${host.name}`, {
    host: host.name,
    state,
    next: `Install it first: \`tasks install_app:release=${deployment.name}\`.`,
  })
}

function requireSupervisord({ facts }: ChangeOn, host: Host): void {
  if (facts.tools.supervisord) return
  throw new SlipwayError(
    'no-supervisord',
    `supervisord is not installed on ${host.name}, and is what runs the app there`,
    {
      host: host.name,
      state: 'Nothing was started.',
      next: 'Install it: `apt-get install supervisor` as root, or `pip install --user supervisor`.',
    },
  )
}

/** The last lines of a log, or nothing. */
export async function logTail(host: Host, path: string, count = 20): Promise<string | undefined> {
  const { stdout } = await host.run(sh`tail -n ${count} ${path}`, { kind: 'probe', quiet: true, nothrow: true })
  return stdout.trimEnd() || undefined
}

/** Processes that run without the daemon knowing them: their own daemon was killed. */
export async function findOrphans(
  host: Host,
  release: ReleaseLayout,
  known: readonly number[],
): Promise<LiveProcess[]> {
  const all = await liveProcesses(host, release)
  // Children of a supervised process carry its name too: only programs of which no process is known are orphans.
  const supervised = new Set(all.filter((each) => known.includes(each.pid)).map((each) => each.program))
  return all.filter((each) => !supervised.has(each.program))
}

export async function liveProcesses(host: Host, release: ReleaseLayout): Promise<LiveProcess[]> {
  const { stdout } = await host.run(listProcesses(release.dir), {
    kind: 'probe',
    quiet: true,
    label: `processes of ${release.name}`,
  })
  return readProcesses(stdout)
}

/**
 * Ends what is left of `programs` and proves it; says what had to be killed. `unwanted`: a reboot does not bring it
 * back from now on.
 */
export async function endSurvivors(
  host: Host,
  change: ChangeOn,
  programs: readonly string[],
  seconds: number,
  unwanted?: 'app' | 'workers',
): Promise<void> {
  const { release, guard } = change
  const results = await host.script(
    [
      { name: `end what is left of ${programs.join(' ')}`, command: endProcesses(release.dir, programs, seconds) },
      ...(unwanted ? [{ name: 'a reboot leaves it stopped', command: sh`rm -f ${release.wanted}/${unwanted}` }] : []),
    ],
    { guard, quiet: true, timeoutMs: (seconds + 20) * 1000 },
  )
  if (currentRun().options.dryRun) return
  reportKilled(host, results[0]?.stdout ?? '', seconds)
}

function reportKilled(host: Host, output: string, seconds: number): void {
  for (const [, pid, program] of output.matchAll(/^killed (\d+) (\S+)$/gm)) {
    currentRun().emit({
      type: 'warning',
      host: host.name,
      text: `${program} (pid ${pid}) did not finish within ${seconds} s and was killed`,
    })
  }
}

/** Ends the daemon if nothing runs in it any more, and proves that it is gone. */
export async function endIdleDaemon(host: Host, change: ChangeOn, supervisor: Supervisor): Promise<boolean> {
  if (!supervisor.own) return false
  const processes = await supervisor.processes()
  if (!processes.every(isDown)) return false
  await endDaemon(host, change, supervisor)
  return true
}

export async function endDaemon(host: Host, change: ChangeOn, supervisor: Supervisor): Promise<void> {
  if (!supervisor.own) return
  const { guard } = change
  await inStep('end supervisord', host.name, async () => {
    const pid = await supervisor.pid()
    await supervisor.shutdown()
    supervisor.close()
    // The pid file goes before the process does, and stays after a kill: only the process itself is proof.
    const wait = sh`i=0
while kill -0 ${pid} 2>/dev/null && [ "$(tr '\\0' ' ' <"/proc/${pid}/cmdline" 2>/dev/null | grep -c supervisord)" = 1 ]; do
  i=$((i + 1)); [ "$i" -lt 600 ] || { echo "supervisord (pid ${pid}) is still there" >&2; exit 1; }
  sleep 0.05
done`
    await host.script([{ name: 'supervisord is gone', command: lines(wait) }], {
      guard,
      quiet: true,
      timeoutMs: 40_000,
    })
  })
}
