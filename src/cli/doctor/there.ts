/** Doctor on the hosts: the way there step by step, then in one round trip tools, disk, clock, and what the deployments need. */
import { statSync } from 'node:fs'
import { connect } from 'node:net'
import type { Config, VpsConfig } from '../../config/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import { host } from '../../hosts/index.ts'
import { resolveSshConfig, type SshConfig } from '../../hosts/ssh-config.ts'
import { raw, sh } from '../../shell/index.ts'
import { bad, type Finding, fromError, ok } from './finding.ts'

interface Need {
  command: string
  for: string
  fix: string
  required: boolean
}

/** Clocks further apart than this mislead: tokens, certificates, the order of versions. */
const clockSeconds = 30
const diskPercent = 90

/** Milliseconds that a port gets to open. */
const openMs = 10_000

export interface HostFindings {
  findings: Finding[]
  /** The hosts that a session opened on. */
  reached: Set<string>
}

export async function hostFindings(config: Config, sshConfigFile?: string): Promise<HostFindings> {
  const hosts = new Map<string, VpsConfig[]>()
  for (const deployment of Object.values(config.deployments)) {
    if (deployment.target !== 'vps') continue
    const names = new Set([...deployment.hosts, ...Object.values(deployment.roles).flat()])
    for (const name of names) hosts.set(name, [...(hosts.get(name) ?? []), deployment])
  }
  const reached = new Set<string>()
  const found = await Promise.all(
    [...hosts].map(async ([name, deployments]) => {
      const way = await wayFindings(name, sshConfigFile)
      if (way.some(({ state }) => state === 'failure')) return way
      const there = await findingsOf(name, deployments, config)
      if (there[0]?.state === 'ok') reached.add(name)
      return [...way, ...there]
    }),
  )
  return { findings: found.flat(), reached }
}

/** The steps before a session: what ssh makes of the name, keys that it will take, a port that opens. */
async function wayFindings(name: string, sshConfigFile?: string): Promise<Finding[]> {
  try {
    const resolved = await resolveSshConfig(name, sshConfigFile)
    return [...configFindings(name, resolved), ...(await portFinding(name, resolved))]
  } catch (error) {
    return [fromError(name, error)]
  }
}

/** What the ssh configuration makes of a destination; private keys that others can read, which ssh refuses. */
export function configFindings(
  name: string,
  resolved: Pick<SshConfig, 'user' | 'hostName' | 'port' | 'proxyJump' | 'proxyCommand' | 'identityFiles'>,
): Finding[] {
  const { user, hostName, port, proxyJump, proxyCommand, identityFiles } = resolved
  const via =
    proxyJump.length > 0 ? `, through ${proxyJump.join(', ')}` : proxyCommand ? ', through a ProxyCommand' : ''
  const open = identityFiles.filter((file) => ((statSync(file, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0)
  return [
    ok(name, `ssh configuration: ${user}@${hostName}, port ${port}${via}`),
    ...open.map((file) =>
      bad(name, 'failure', `the key ${file} can be read by others: ssh refuses it`, `chmod 600 ${file}`),
    ),
  ]
}

/** Whether the port opens from here; behind a jump host only the session itself can tell. */
async function portFinding(name: string, { hostName, port, proxyJump, proxyCommand }: SshConfig): Promise<Finding[]> {
  if (proxyJump.length > 0 || proxyCommand !== undefined) return []
  const started = performance.now()
  const failure = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    const socket = connect({ host: hostName, port, timeout: openMs })
    const end = (error?: Error) => {
      socket.destroy()
      resolve(error)
    }
    socket.once('connect', () => end())
    socket.once('timeout', () => end(new Error(`no answer in ${openMs / 1000} s`)))
    socket.once('error', end)
  })
  if (!failure) return [ok(name, `port ${port} opens, in ${Math.round(performance.now() - started)} ms`)]
  const [why, fix] = unopened(failure, hostName, port)
  return [bad(name, 'failure', `${hostName}, port ${port}: ${why}`, fix)]
}

/** Why a port does not open, in words, and what to look at. Pure. */
export function unopened(
  { code, message }: { code?: string; message: string },
  hostName: string,
  port: number,
): [why: string, fix: string] {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return [
      'there is no such name',
      `HostName in ~/.ssh/config, or hosts in config/deploy.ini; try: getent hosts ${hostName}`,
    ]
  if (code === 'ECONNREFUSED')
    return ['nothing listens there', `Is it the right port? Is sshd running? Try: ssh -v -p ${port} ${hostName}`]
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
    return ['there is no way there', 'Look at your network, or a VPN that has to be up.']
  return [
    code ? `it does not open (${code})` : message,
    'Look for a firewall between here and there, and at its address.',
  ]
}

/** What a host has to have for these deployments. */
export function needsOf(deployments: readonly VpsConfig[], config: Pick<Config, 'domains'>): Need[] {
  const needs = new Map<string, Need>()
  const need = (command: string, why: string, fix: string, required = true) =>
    needs.set(command, { command, for: why, fix, required })
  need('rsync', 'uploads come with it; without it they are slower, by SFTP', 'apt install rsync', false)
  for (const { app, services } of deployments) {
    if (services === 'supervisor')
      need('supervisord', 'server and workers run under it', 'apt install supervisor, or pip install --user supervisor')
    if (
      /\bpython3\b/.test(
        [app.server, ...app.install, ...Object.values(app.workers).map((each) => each.command)].join('\n'),
      )
    ) {
      need('python3', '[app] runs it', 'apt install python3 python3-venv')
    }
    if (/\b(node|npm)\b/.test([app.server, ...app.install, ...app.build].join('\n')))
      need('node', '[app] runs it', 'Install Node there.')
    for (const database of Object.values(app.databases)) {
      if (database.kind === 'sqlite')
        need('sqlite3', 'databases are copied with it while the app writes', 'apt install sqlite3', false)
      if (database.kind === 'postgres')
        need('pg_dump', 'databases are backed up with it', 'apt install postgresql-client')
      if (database.kind === 'mysql')
        need('mysqldump', 'databases are backed up with it', 'apt install default-mysql-client')
    }
  }
  if (config.domains.provider === 'nginx')
    need('nginx', 'it serves the domains', 'tasks setup_host prints what root has to do once')
  return [...needs.values()]
}

async function findingsOf(name: string, deployments: readonly VpsConfig[], config: Config): Promise<Finding[]> {
  const needs = needsOf(deployments, config)
  const roots = [...new Set(deployments.map(({ app }) => app.root))]
  const here = host(name)
  const started = performance.now()
  try {
    const commands = raw(needs.map(({ command }) => command).join(' '))
    const facts = await here.probes({
      system: sh`uname -sr; id -un; printf '%s\n' "$HOME"`,
      clock: sh`date +%s`,
      // Administrators' tools are often not in a user's PATH.
      tools: sh`PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"; for c in ${commands}; do command -v "$c" >/dev/null 2>&1 || continue; o=--version; test "$c" = nginx && o=-v; echo "$c $("$c" "$o" 2>&1 </dev/null | head -n 1)"; done; :`,
      nginx: sh`for p in /proc/[0-9]*/comm; do read -r n <"$p" && test "$n" = nginx && stat -c %U "$p"; done 2>/dev/null | sort -u; :`,
      folders: sh`for d in ${roots.map((root) => root.replace(/^~\//, ''))}; do cd; while test ! -e "$d"; do d=$(dirname -- "$d"); done; test -w "$d" || echo "$d"; done; :`,
      mode: sh`stat -c %a "$HOME" 2>/dev/null || :`,
      disk: sh`df -Pk "$HOME" | tail -n 1`,
      inodes: sh`df -Pi "$HOME" | tail -n 1`,
      home: sh`test -w "$HOME" && ls -ld "$HOME"`,
    })
    const seconds = (performance.now() - started) / 1000
    const [system = '', user = '', home = ''] = facts.system.stdout.split('\n')
    const found = toolVersions(facts.tools.stdout)
    const nginxUsers = facts.nginx.stdout.split('\n').filter(Boolean)
    const asAnother = nginxUsers.some((each) => each !== 'root' && each !== user)
    const unwritable = facts.folders.stdout.split('\n').filter(Boolean)
    return [
      ok(
        name,
        `host key known, signed in as ${user}, ${system}, in ${seconds.toFixed(2)} s; releases in ${roots.map((root) => root.replace(/^~/, home)).join(', ')}`,
      ),
      ...needs.map((need) =>
        found.has(need.command)
          ? ok(name, [need.command, found.get(need.command)].filter(Boolean).join(' '))
          : bad(name, need.required ? 'failure' : 'warning', `${need.command} is missing there: ${need.for}`, need.fix),
      ),
      clockFinding(name, Number(facts.clock.stdout), Date.now() / 1000),
      shareFinding(name, 'disk', facts.disk.stdout),
      shareFinding(name, 'inodes', facts.inodes.stdout),
      facts.home.exitCode === 0
        ? ok(name, 'the home folder is writable')
        : bad(name, 'failure', 'the home folder cannot be written', `chown it to ${user}`),
      ...homeFindings(name, facts.mode.stdout.trim(), config.domains.provider === 'nginx' && asAnother),
      ...unwritable.map((folder) =>
        bad(name, 'failure', `${folder} cannot be written: releases are made below it`, `chown ${user} ${folder}`),
      ),
      ...(config.domains.provider !== 'nginx' || !found.has('nginx')
        ? []
        : nginxUsers.length > 0
          ? [ok(name, 'nginx runs')]
          : [bad(name, 'failure', 'nginx does not run', 'sudo systemctl enable --now nginx')]),
    ]
  } catch (error) {
    return [fromStep(name, error)]
  }
}

/** A failed connection, with the step that it failed in. */
export function fromStep(name: string, error: unknown): Finding {
  const finding = fromError(name, error)
  const code = error instanceof SlipwayError ? error.code : ''
  const step = code.startsWith('host-key') ? 'host key: ' : code === 'auth-failed' ? 'signing in: ' : ''
  return { ...finding, text: `${step}${finding.text}` }
}

/** Lines of `command what --version says`, as command → version. Pure. */
export function toolVersions(text: string): Map<string, string | undefined> {
  const lines = text.split('\n').filter(Boolean)
  return new Map(lines.map((line) => [line.split(' ', 1)[0]!, /\d+\.\d+(\.\d+)*/.exec(line)?.[0]]))
}

/** What a home folder's mode, in octal, keeps from working. Pure. */
export function homeFindings(area: string, mode: string, served: boolean): Finding[] {
  const bits = Number.parseInt(mode, 8)
  if (!Number.isFinite(bits)) return []
  const findings: Finding[] = []
  if (bits & 0o022)
    findings.push(
      bad(area, 'warning', `others may write the home folder (mode ${mode}): sshd may refuse keys`, 'chmod go-w ~'),
    )
  if (served && !(bits & 0o001))
    findings.push(
      bad(area, 'warning', `nginx may not enter the home folder (mode ${mode}) to reach the app`, 'chmod o+x ~'),
    )
  return findings
}

export function clockFinding(area: string, there: number, here: number): Finding {
  const apart = Math.round(Math.abs(there - here))
  if (!Number.isFinite(apart)) return bad(area, 'warning', 'its clock could not be read', 'Try there: date +%s')
  if (apart <= clockSeconds) return ok(area, 'its clock agrees with this machine’s')
  return bad(
    area,
    'warning',
    `its clock is ${apart} s ${there > here ? 'ahead of' : 'behind'} this machine's`,
    'timedatectl set-ntp true, on the one that is wrong',
  )
}

/** From a line of `df -P`: the share is its fifth column. */
export function shareFinding(area: string, what: 'disk' | 'inodes', line: string): Finding {
  const used = Number(/(\d+)%/.exec(line)?.[1])
  if (!Number.isFinite(used)) return ok(area, `${what}: not counted there`)
  if (used < diskPercent) return ok(area, `${what}: ${used} % used`)
  return bad(
    area,
    used >= 99 ? 'failure' : 'warning',
    `${what}: ${used} % used`,
    'tasks prune, or look with: du -xh ~ | sort -h | tail',
  )
}
