/** Doctor on the hosts: the connection, then in one round trip tools, disk, clock, and what the deployments need. */
import type { Config, VpsConfig } from '../../config/types.ts'
import { host } from '../../hosts/index.ts'
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

export async function hostFindings(config: Config): Promise<Finding[]> {
  const hosts = new Map<string, VpsConfig[]>()
  for (const deployment of Object.values(config.deployments)) {
    if (deployment.target !== 'vps') continue
    const names = new Set([...deployment.hosts, ...Object.values(deployment.roles).flat()])
    for (const name of names) hosts.set(name, [...(hosts.get(name) ?? []), deployment])
  }
  const found = await Promise.all([...hosts].map(([name, deployments]) => findingsOf(name, deployments, config)))
  return found.flat()
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
      tools: sh`PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin"; for c in ${commands}; do command -v "$c" >/dev/null 2>&1 && echo "$c"; done; :`,
      disk: sh`df -Pk "$HOME" | tail -n 1`,
      inodes: sh`df -Pi "$HOME" | tail -n 1`,
      home: sh`test -w "$HOME" && ls -ld "$HOME"`,
    })
    const seconds = (performance.now() - started) / 1000
    const [system = '', user = '', home = ''] = facts.system.stdout.split('\n')
    const found = new Set(facts.tools.stdout.split('\n'))
    return [
      ok(
        name,
        `reached as ${user}, ${system}, in ${seconds.toFixed(2)} s; releases in ${roots.map((root) => root.replace(/^~/, home)).join(', ')}`,
      ),
      ...needs.map((need) =>
        found.has(need.command)
          ? ok(name, need.command)
          : bad(name, need.required ? 'failure' : 'warning', `${need.command} is missing there: ${need.for}`, need.fix),
      ),
      clockFinding(name, Number(facts.clock.stdout), Date.now() / 1000),
      shareFinding(name, 'disk', facts.disk.stdout),
      shareFinding(name, 'inodes', facts.inodes.stdout),
      facts.home.exitCode === 0
        ? ok(name, 'the home folder is writable')
        : bad(name, 'failure', 'the home folder cannot be written', `chown it to ${user}`),
    ]
  } catch (error) {
    return [fromError(name, error)]
  }
}

export function clockFinding(area: string, there: number, here: number): Finding {
  const apart = Math.round(Math.abs(there - here))
  if (!Number.isFinite(apart)) return bad(area, 'warning', 'its clock could not be read')
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
