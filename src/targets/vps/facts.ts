/** What a host says of a deployment, gathered in one round trip and kept for the run until something changes it. */
import type { VpsConfig } from '../../config/types.ts'
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host, StepResult } from '../../hosts/host.ts'
import { type Command, quote, raw, sh } from '../../shell/index.ts'
import { type AppLayout, appLayout, type ReleaseLayout, releaseLayout, type Slot } from './layout.ts'
import { parseRoles, type Roles, releaseFor } from './roles.ts'
import { newestFirst, parseRecord, type VersionRecord } from './version.ts'

export interface HostFacts {
  home: string
  user: string
  machine: string
  bootId: string
  roles: Roles
  /** undefined: the host knows of no release for this deployment. */
  release?: ReleaseLayout
  app: AppLayout
  /** The id of the current version. */
  current?: string
  /** Newest first. */
  records: VersionRecord[]
  /** The versions that have a folder. */
  folders: string[]
  /** The slot that the site's socket points at. */
  liveSlot?: Slot
  /** Where the site's socket points, whatever it is. */
  siteTarget?: string
  /** The port that the release has for itself, whatever it becomes; as configured unless it has one. */
  port?: number
  /** The version that each slot was last started with. */
  slotVersions: Partial<Record<Slot, string>>
  /** Whether a reboot brings the workers back. */
  workersWanted: boolean
  /** Whether values were made for this deployment's settings and are kept on the host. */
  hasGenerated: boolean
  /** Numbers of worker processes that an operator set. */
  scale: Record<string, number>
  /** Paths of rsync, python3 and supervisord; undefined where the host has none. */
  tools: Partial<Record<'rsync' | 'python3' | 'supervisord', string>>
  disk?: { usedPercent: number; freeBytes: number }
}

interface Kept {
  facts?: Promise<HostFacts>
}

const kept = (deployment: VpsConfig, host: Host): Kept =>
  currentRun().memo(`vps facts ${deployment.name} ${host.name}`, (): Kept => ({}))

/** The facts of `deployment` on `host`; asked once a run, and again after `forgetFacts`. */
export function hostFacts(deployment: VpsConfig, host: Host): Promise<HostFacts> {
  const keep = kept(deployment, host)
  keep.facts ??= askFacts(deployment, host)
  return keep.facts
}

export interface FactsWith {
  /** Runs `command` and then reads the facts, in one script. */
  send(name: string, command: Command): Promise<StepResult>
  /** There will be no command: whoever waits for the facts gets `error`. */
  giveUp(error: unknown): void
}

/** Has the facts read in the script that a first command goes with; undefined where they are known, or asked for. */
export function factsWith(deployment: VpsConfig, host: Host): FactsWith | undefined {
  const keep = kept(deployment, host)
  if (keep.facts) return undefined
  let settle: { resolve(facts: HostFacts): void; reject(error: unknown): void } | undefined
  const facts = new Promise<HostFacts>((resolve, reject) => {
    settle = { resolve, reject }
  })
  // Whoever asks is told.
  facts.catch(() => {})
  keep.facts = facts
  const giveUp = (error: unknown) => {
    if (keep.facts === facts) keep.facts = undefined
    settle?.reject(error)
  }
  const send = async (name: string, command: Command) => {
    try {
      const probes = Object.entries(factProbes(deployment)).map(([probe, each]) => ({ name: probe, command: each }))
      const steps = [{ name, command }, ...probes].map((step) => ({ ...step, nothrow: true }))
      const [first, ...answers] = await host.script(steps, { quiet: true })
      settle?.resolve(readFacts(deployment, Object.fromEntries(answers.map((each) => [each.name, each.stdout]))))
      return first as StepResult
    } catch (error) {
      giveUp(error)
      throw error
    }
  }
  return { send, giveUp }
}

/** To be called after a change of what facts hold. */
export function forgetFacts(deployment: VpsConfig, host: Host): void {
  kept(deployment, host).facts = undefined
}

/** What a change that has just been made turned the facts into: saves asking the host again. */
export async function noteFacts(deployment: VpsConfig, host: Host, changed: Partial<HostFacts>): Promise<void> {
  const keep = kept(deployment, host)
  if (!keep.facts || currentRun().options.dryRun) return
  const facts = { ...(await keep.facts), ...changed }
  keep.facts = Promise.resolve(facts)
}

/** `records` with `record` in it, newest first. */
export const withRecord = (records: readonly VersionRecord[], record: VersionRecord): VersionRecord[] =>
  newestFirst([...records.filter((each) => each.id !== record.id), record])

/** The release, or a SlipwayError that says what to type. */
export function requireRelease(deployment: VpsConfig, facts: HostFacts, host: Host): ReleaseLayout {
  if (facts.release) return facts.release
  throw new SlipwayError('no-release', `${host.name} knows of no release that is ${deployment.name}`, {
    host: host.name,
    state: 'Nothing was changed.',
    next:
      deployment.name === 'production'
        ? 'Promote one: `tasks promote_staging_to_production`; or set [production] release to deploy to it directly.'
        : `Set [${deployment.name}] release, e.g. release = 2026r1.`,
  })
}

/** `~/webapps` for the host's shell: its own home, the rest quoted. */
function shellPath(path: string): string {
  if (path === '~') return '"$HOME"'
  if (path.startsWith('~/')) return `"$HOME"/${quote(path.slice(2))}`
  return path.startsWith('/') ? quote(path) : `"$HOME"/${quote(path)}`
}

/** Shell text that sets A (the app's folder) and R (the release's; of a name that can't be, where there is none). */
function releasePrelude(deployment: VpsConfig): string {
  const app = deployment.app.name
  const a = `A="$HOME"/.slipway/${quote(app)}`
  const name =
    deployment.release !== undefined
      ? `N=${quote(`${app}${deployment.release}`)}`
      : `N=$(sed -n 's/.*"${deployment.name}" *: *"\\([^"]*\\)".*/\\1/p' "$A/roles.json" 2>/dev/null) || :`
  return `${a}; ${name}; R=${shellPath(deployment.app.root)}/"\${N:-.none}"`
}

function factProbes(deployment: VpsConfig): Record<string, Command> {
  const prelude = raw(releasePrelude(deployment))
  return {
    identity: sh`printf '%s\n' "$HOME" "$(id -un)" "$(uname -n)"; cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo none`,
    roles: sh`${prelude}; cat "$A/roles.json" 2>/dev/null || :`,
    current: sh`${prelude}; readlink "$R/current" 2>/dev/null || :`,
    records: sh`${prelude}; cat "$R"/.slipway/versions/*.json 2>/dev/null || :`,
    folders: sh`${prelude}; ls "$R/versions" 2>/dev/null || :`,
    site: sh`${prelude}; readlink "$A"/sites/${deployment.name}/current.sock 2>/dev/null || :`,
    slots: sh`${prelude}; for s in a b; do printf '%s %s\n' "$s" "$(cat "$R/run/app-$s.version" 2>/dev/null || :)"; done`,
    port: sh`${prelude}; cat "$R/.slipway/port" 2>/dev/null || :`,
    scale: sh`${prelude}; cat "$R/.slipway/scale.json" 2>/dev/null || :`,
    wanted: sh`${prelude}; [ ! -f "$R/.slipway/wanted/workers" ] || echo yes`,
    generated: sh`${prelude}; [ ! -f "$A"/generated/${deployment.name}.json ] || echo yes`,
    tools: sh`for t in rsync python3 supervisord; do printf '%s %s\n' "$t" "$(command -v "$t" 2>/dev/null || :)"; done`,
    disk: sh`df -Pk "$HOME" 2>/dev/null | tail -n 1`,
  }
}

async function askFacts(deployment: VpsConfig, host: Host): Promise<HostFacts> {
  const answers = await host.probes(factProbes(deployment))
  const text = Object.fromEntries(Object.entries(answers).map(([name, result]) => [name, result.stdout]))
  return readFacts(deployment, text)
}

/** Facts from what the probes printed. Pure. */
function readFacts(deployment: VpsConfig, text: Readonly<Record<string, string>>): HostFacts {
  const [home = '', user = '', machine = '', bootId = ''] = (text['identity'] ?? '').split('\n')
  const roles = parseRoles(text['roles'] ?? '')
  const name = releaseFor(deployment, roles)
  const release = name === undefined ? undefined : releaseLayout(deployment.app.root, home, name)
  const siteTarget = text['site']?.trim() || undefined
  const slot = siteTarget && release ? /\/run\/app-([ab])\.sock$/.exec(siteTarget)?.[1] : undefined
  const disk = (text['disk'] ?? '').trim().split(/\s+/)
  return {
    home,
    user,
    machine,
    bootId,
    roles,
    release,
    app: appLayout(home, deployment.app.name),
    current: (text['current'] ?? '').trim().split('/').pop() || undefined,
    records: newestFirst(
      (text['records'] ?? '').split('\n').flatMap((line) => {
        const record = line.trim() === '' ? undefined : parseRecord(line)
        return record ? [record] : []
      }),
    ),
    folders: (text['folders'] ?? '').split('\n').filter((name) => name !== ''),
    siteTarget,
    ...(Number(text['port']) > 0 ? { port: Number(text['port']) } : {}),
    liveSlot: siteTarget?.startsWith(`${release?.dir}/`) ? (slot as Slot | undefined) : undefined,
    slotVersions: pairs(text['slots'] ?? ''),
    workersWanted: (text['wanted'] ?? '').trim() === 'yes',
    hasGenerated: (text['generated'] ?? '').trim() === 'yes',
    scale: readScale(text['scale'] ?? ''),
    tools: pairs(text['tools'] ?? ''),
    disk:
      disk.length >= 5
        ? { usedPercent: Number.parseInt(disk[4] as string, 10), freeBytes: Number(disk[3]) * 1024 }
        : undefined,
  }
}

function pairs(text: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const line of text.split('\n')) {
    const [name, value] = line.trim().split(' ')
    if (name && value) found[name] = value
  }
  return found
}

function readScale(text: string): Record<string, number> {
  try {
    const parsed = JSON.parse(text) as Record<string, unknown>
    return Object.fromEntries(
      Object.entries(parsed).filter((pair): pair is [string, number] => typeof pair[1] === 'number'),
    )
  } catch {
    return {}
  }
}
