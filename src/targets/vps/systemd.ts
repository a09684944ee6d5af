/**
 * The programs of a release as systemd user units, behind the same interface as its supervisord: a unit a program,
 * written by install, started and stopped through `systemctl --user`. systemd itself is nobody's to end: the daemon that
 * others see here has no pid of its own.
 */
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host, ScriptStep } from '../../hosts/host.ts'
import { type Command, lines, sh } from '../../shell/index.ts'
import type { ReleaseLayout } from './layout.ts'
import type { Program } from './programs.ts'
import type { ProcessInfo, StateName, Supervisor } from './supervisor.ts'

export const unitName = (release: string, program: string): string => `slipway-${release}-${program}.service`

/** `slipway-ponyr2-app-a.service` → `app-a`, if it is the release's. */
export function programOf(release: string, unit: string): string | undefined {
  const head = `slipway-${release}-`
  return unit.startsWith(head) && unit.endsWith('.service') ? unit.slice(head.length, -'.service'.length) : undefined
}

/** A path where systemd expands nothing: only its own specifiers have to be kept from it. */
const path = (text: string): string => text.replaceAll('%', '%%')
/** A word of ExecStart. */
const word = (text: string): string =>
  `"${path(text)
    .replace(/[\\"]/g, (char) => `\\${char}`)
    .replaceAll('$', '$$$$')}"`

/**
 * The unit of one program. TERM goes to the main process alone, so that it can drain what it has started; what is left
 * when it has ended is killed. Output is appended to the same files as under supervisord.
 */
export function renderUnit(release: ReleaseLayout, program: Program): string {
  const log = `append:${path(`${release.logs}/${program.log}`)}`
  return `# ${program.name} of ${release.name}. Written by install_app.
[Unit]
Description=${path(`${program.name} of ${release.name}`)}
StartLimitIntervalSec=30
StartLimitBurst=4

[Service]
Type=exec
WorkingDirectory=${path(release.dir)}
ExecStart=/bin/sh ${word(release.start)} ${word(program.name)}
Restart=always
RestartSec=1
KillSignal=SIGTERM
KillMode=mixed
TimeoutStopSec=${program.stopSeconds}
UMask=0022
StandardInput=null
StandardOutput=${log}
StandardError=${log}
`
}

/** For a login without a session of its own, such as a command over SSH. */
const reach = `export XDG_RUNTIME_DIR="\${XDG_RUNTIME_DIR:-/run/user/$(id -u)}" SYSTEMD_PAGER= LC_ALL=C
folder="\${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"`

const command = (...parts: (Command | string | false)[]): Command => lines(reach, ...parts)

/**
 * Writes the units of `programs`, takes away those of the release that are not among them, and has them read. With the
 * user's `home`, a dry run shows what would change in them.
 */
export function unitSteps(release: ReleaseLayout, programs: readonly Program[], home?: string): ScriptStep[] {
  const names = programs.map((program) => unitName(release.name, program.name))
  return [
    {
      name: 'the systemd units',
      ...(home === undefined
        ? {}
        : {
            writes: programs.map((program) => ({
              path: `${home}/.config/systemd/user/${unitName(release.name, program.name)}`,
              text: renderUnit(release, program),
            })),
          }),
      command: command(
        sh`mkdir -p "$folder" ${release.logs}`,
        ...programs.map(
          (program) =>
            sh`printf %s ${renderUnit(release, program)} >"$folder"/${unitName(release.name, program.name)}.new
mv -f "$folder"/${unitName(release.name, program.name)}.new "$folder"/${unitName(release.name, program.name)}`,
        ),
        sh`for f in "$folder"/${`slipway-${release.name}-`}*.service; do
case ${` ${names.join(' ')} `} in *" \${f##*/} "*) ;; *) systemctl --user stop "\${f##*/}" 2>/dev/null || :; rm -f -- "$f" ;; esac
done
systemctl --user daemon-reload`,
      ),
    },
  ]
}

export interface SystemdFacts {
  version: number
  /** The user's manager answers. */
  reachable: boolean
  /** It goes on when the user logs out, and starts with the machine. */
  linger: boolean
}

const systemdFacts = (): Command =>
  command(`systemctl --version 2>/dev/null | sed -n '1s/^systemd \\([0-9]*\\).*/version \\1/p'
systemctl --user show --property=Version >/dev/null 2>&1 && echo reachable
# A manager that logind has not started is not ended by it either.
case $XDG_RUNTIME_DIR in /run/user/*) [ ! -e "/var/lib/systemd/linger/$(id -un)" ] || echo linger ;; *) echo linger ;; esac
:`)

export const readSystemdFacts = (text: string): SystemdFacts => ({
  version: Number(/^version (\d+)$/m.exec(text)?.[1] ?? 0),
  reachable: /^reachable$/m.test(text),
  linger: /^linger$/m.test(text),
})

/** Rejects where units would not start, or not outlive the login that started them. */
export async function requireSystemd(host: Host): Promise<void> {
  const { stdout } = await host.run(systemdFacts(), { kind: 'probe', quiet: true, label: 'systemd' })
  const facts = readSystemdFacts(stdout)
  const state = 'Nothing was changed.'
  if (facts.version < 240) {
    const message = facts.version === 0 ? 'there is no systemd' : `systemd ${facts.version} is too old`
    throw new SlipwayError('no-systemd', `${message} on ${host.name}`, {
      host: host.name,
      state,
      next: 'Use `services = supervisor`; systemd is good from 240 on.',
    })
  }
  if (!facts.reachable) {
    throw new SlipwayError('no-user-manager', `the user's systemd on ${host.name} does not answer`, {
      host: host.name,
      state,
      next: 'As root there: `loginctl enable-linger USER`, which starts it.',
    })
  }
  if (!facts.linger) {
    throw new SlipwayError('no-linger', `on ${host.name} the app would end when its user logs out`, {
      host: host.name,
      state,
      next: 'As root there: `loginctl enable-linger USER`.',
    })
  }
}

const properties =
  'Id,LoadState,ActiveState,SubState,Result,MainPID,ExecMainPID,ExecMainStatus,ExecMainStartTimestampMonotonic,ControlGroup'

/** What systemd knows of the release's units, one block each; the machine's uptime first. */
const showUnits = (release: string): Command =>
  command(
    sh`set --; for f in "$folder"/${`slipway-${release}-`}*.service; do [ ! -e "$f" ] || set -- "$@" "\${f##*/}"; done
echo "Uptime=$(cut -d' ' -f1 /proc/uptime)"; echo
[ $# = 0 ] || systemctl --user show --property=${properties} -- "$@"`,
  )

export interface UnitInfo extends ProcessInfo {
  /** Where the kernel keeps its processes; empty where it has none. */
  controlGroup: string
  /** The pid that it had last, and whether it had to be killed. */
  lastPid: number
  killed: boolean
}

export function readUnits(release: string, text: string): UnitInfo[] {
  const blocks = text.split(/\n\s*\n/).map(
    (block) =>
      new Map(
        block.split('\n').flatMap((line): [string, string][] => {
          const at = line.indexOf('=')
          return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)]]
        }),
      ),
  )
  const uptime = Number(blocks.find((block) => block.has('Uptime'))?.get('Uptime') ?? 0)
  return blocks.flatMap((block): UnitInfo[] => {
    const name = programOf(release, block.get('Id') ?? '')
    if (name === undefined) return []
    const state = stateOf(block)
    const pid = Number(block.get('MainPID') ?? 0)
    const began = Number(block.get('ExecMainStartTimestampMonotonic') ?? 0) / 1e6
    const result = block.get('Result') ?? ''
    return [
      {
        name,
        group: name,
        state,
        pid,
        uptimeSeconds: pid > 0 && began > 0 ? Math.max(0, Math.round(uptime - began)) : 0,
        settled: pid > 0 && began > 0 && uptime - began >= 1,
        exitStatus: Number(block.get('ExecMainStatus') ?? 0),
        detail: state === 'FATAL' || state === 'BACKOFF' ? result : '',
        controlGroup: block.get('ControlGroup') ?? '',
        lastPid: Number(block.get('ExecMainPID') ?? 0),
        killed: result === 'timeout',
      },
    ]
  })
}

function stateOf(block: ReadonlyMap<string, string>): StateName {
  const active = block.get('ActiveState')
  const sub = block.get('SubState')
  if (active === 'active') return sub === 'running' ? 'RUNNING' : 'EXITED'
  if (active === 'activating') return sub === 'auto-restart' ? 'BACKOFF' : 'STARTING'
  if (active === 'deactivating') return 'STOPPING'
  if (active === 'failed') return block.get('Result') === 'timeout' ? 'STOPPED' : 'FATAL'
  return active === 'inactive' ? 'STOPPED' : 'UNKNOWN'
}

/**
 * Exits with 0 when no process is left in the control groups, whichever of the kernel's hierarchies they are in: what
 * has forked and forgotten its parent is in them still. Prints the pids that are left.
 */
function noneLeft(controlGroups: readonly string[]): Command {
  return sh`left=
for g in ${controlGroups}; do
for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
for f in $(find "$root$g" -name cgroup.procs 2>/dev/null); do left="$left $(cat "$f" 2>/dev/null || :)"; done
done
done
left=$(echo $left); [ -z "$left" ] || { echo "$left"; exit 1; }`
}

/** The release's units; undefined where it has none. */
export async function connectSystemd(host: Host, release: ReleaseLayout): Promise<Supervisor | undefined> {
  const look = async (): Promise<UnitInfo[]> => {
    const result = await host.run(showUnits(release.name), {
      kind: 'probe',
      quiet: true,
      nothrow: true,
      label: 'units',
    })
    if (result.exitCode === 0) return readUnits(release.name, result.stdout)
    throw new SlipwayError('systemd-silent', `systemctl --user failed on ${host.name}`, {
      host: host.name,
      detail: result.stderr.trim(),
      state: 'The programs are left as they are.',
      next: `Look at it there: \`slipway ssh ${host.name}\`, then \`systemctl --user status\`.`,
    })
  }
  if ((await look()).length === 0) return undefined
  const units = (names: readonly string[]) => names.map((name) => unitName(release.name, name))
  const act = async (text: Command, label: string) => {
    await host.run(text, { quiet: true, label: `systemd: ${label}` })
  }
  return {
    name: 'systemd',
    own: false,
    processes: look,
    proveStopped: (before, names) => proveStopped(host, before as readonly UnitInfo[], names),
    signal: (name, signal) =>
      act(
        command(
          sh`systemctl --user kill --kill-who=main --signal=${signal} -- ${unitName(release.name, name)} 2>/dev/null ||
systemctl --user kill --kill-whom=main --signal=${signal} -- ${unitName(release.name, name)}`,
        ),
        `send ${signal} to ${name}`,
      ),
    // Failed ones count against the limit of starts until they are forgotten.
    start: (...names) =>
      act(
        command(sh`systemctl --user reset-failed ${units(names)} 2>/dev/null || :
systemctl --user start --no-block -- ${units(names)}`),
        `start ${names.join(' ')}`,
      ),
    async stop(...names) {
      const known = new Set((await look()).map((each) => each.name))
      const there = names.filter((name) => known.has(name))
      if (there.length === 0) return
      await act(command(sh`systemctl --user stop --no-block -- ${units(there)}`), `stop ${there.join(' ')}`)
    },
    async reload() {
      await act(command('systemctl --user daemon-reload'), 'read the units again')
      return { added: [], changed: [], removed: [] }
    },
    // The manager is the user's: it goes on.
    shutdown: async () => {},
    pid: async () => 0,
    async logTail() {
      const killed = (await look()).filter((each) => each.killed)
      return killed.map((each) => `killing '${each.name}' (${each.lastPid}) with SIGKILL\n`).join('')
    },
    close: () => {},
  }
}

/** Rejects while a process of `names` is left, whoever it is the child of. `before` is what ran. */
export async function proveStopped(host: Host, before: readonly UnitInfo[], names: readonly string[]): Promise<void> {
  const groups = before.filter((each) => names.includes(each.name) && each.controlGroup !== '')
  if (groups.length === 0 || currentRun().options.dryRun) return
  const result = await host.run(noneLeft(groups.map((each) => each.controlGroup)), {
    kind: 'probe',
    quiet: true,
    nothrow: true,
    label: 'processes that are left',
  })
  if (result.exitCode === 0) return
  throw new SlipwayError('processes-left', `of ${names.join(', ')} processes are left on ${host.name}`, {
    host: host.name,
    detail: `pids ${result.stdout.trim()}`,
    next: `Look at them: \`systemctl --user status\` there.`,
  })
}
