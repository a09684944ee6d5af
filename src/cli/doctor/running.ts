/** Doctor on what is deployed: ports, supervisor, web server, databases, and Heroku's API. Reads; changes nothing. */
import type { Config, DeploymentConfig } from '../../config/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import { host } from '../../hosts/index.ts'
import { sh } from '../../shell/index.ts'
import type { Deployment, DeploymentStatus } from '../../targets/deployment.ts'
import type { Access } from '../../targets/vps/database/access.ts'
import { bad, type Finding, fromError, ok } from './finding.ts'

/** What there is to find only after a first deploy. */
const notYet = new Set(['no-release', 'no-version', 'never-live', 'no-role', 'no-production'])

/** `reached`: hosts that answered; what runs on the others is unknown, and they have a finding of their own. */
export async function deploymentFindings(config: Config, reached: ReadonlySet<string>): Promise<Finding[]> {
  const { application } = await import('../../application.ts')
  const app = application({ deployments: Object.keys(config.deployments) })
  const looked = Object.values(config.deployments).map(async (deployment) => {
    const home = deployment.target === 'vps' ? deployment.hosts[0] : undefined
    if (deployment.target === 'vps' && (home === undefined || !reached.has(home))) return []
    return await findingsOf(config, deployment, app[deployment.name] as Deployment)
  })
  return (await Promise.all(looked)).flat()
}

async function findingsOf(config: Config, configured: DeploymentConfig, deployment: Deployment): Promise<Finding[]> {
  const area = configured.name
  try {
    const status = await deployment.status()
    const servers = await serverFindings(config, configured)
    return [
      ...statusFindings(status),
      ...(await portFindings(config, configured, status)),
      ...servers,
      // Sizes take the same way in: where a server doesn't let us in, that has been said.
      ...(servers.some(({ state }) => state === 'failure') ? [] : await databaseFindings(configured, deployment)),
      ...(await domainFindings(configured, deployment, status)),
    ]
  } catch (error) {
    if (!(error instanceof SlipwayError) || !notYet.has(error.code)) return [fromError(area, error)]
    const nothing = bad(
      area,
      'warning',
      `nothing is deployed yet: ${error.message}`,
      error.next ?? `tasks deploy_${area}`,
    )
    return [
      nothing,
      ...(await portFindings(config, configured, undefined)),
      ...(await serverFindings(config, configured)),
    ]
  }
}

/** Pure: what a status says, a finding each. */
export function statusFindings(status: DeploymentStatus): Finding[] {
  const area = status.name
  const runs = status.server.some(({ state }) => state === 'running')
  const stopped = status.workers.filter(({ state }) => state !== 'running')
  const under = status.target === 'heroku' ? 'dynos' : 'supervisor'
  return [
    status.version
      ? ok(area, `${status.release}: version ${status.version.id}`)
      : bad(area, 'warning', `${status.release} has no version`, `tasks deploy_${area}`),
    runs
      ? ok(area, `${under}: ${status.server.map(({ name, state }) => `${name} ${state}`).join(', ')}`)
      : bad(area, 'warning', `${under}: the app server does not run`, `tasks start_app:release=${area}`),
    ...(runs && !status.healthy
      ? [
          bad(
            area,
            'failure',
            `its health check fails: ${status.health ?? 'no answer'}`,
            `tasks tail_app_log:release=${area}`,
          ),
        ]
      : []),
    ...(runs && stopped.length > 0
      ? [
          bad(
            area,
            'warning',
            `${under}: ${stopped.map(({ name, state }) => `${name} ${state}`).join(', ')}`,
            `tasks restart_workers:release=${area}`,
          ),
        ]
      : []),
    ...(status.maintenance ? [bad(area, 'warning', 'in maintenance: visitors get 503', 'maintenance.off()')] : []),
    ...(status.lock ? [bad(area, 'warning', `locked by ${status.lock}`, 'Wait for it, or: app.unlock()')] : []),
    ...(status.unfinished
      ? [
          bad(
            area,
            'failure',
            `unfinished: ${status.unfinished}`,
            'tasks promote_staging_to_production --resume, or --undo',
          ),
        ]
      : []),
    ...status.warnings.map((text) => bad(area, 'warning', text, `tasks status:release=${area}`)),
  ]
}

/** Whether the app's port is its own, on every host: asked of the kernel, which needs no tool. */
async function portFindings(
  config: Config,
  deployment: DeploymentConfig,
  status: DeploymentStatus | undefined,
): Promise<Finding[]> {
  if (deployment.target !== 'vps' || deployment.app.listen.kind !== 'port') return []
  const { port } = deployment.app.listen
  const hosts = deployment.roles['web'] ?? deployment.hosts
  const found = await Promise.all(
    hosts.map((name) => portFinding(config, deployment, name, port, status).catch((error) => [fromError(name, error)])),
  )
  return found.flat()
}

async function portFinding(
  config: Config,
  deployment: DeploymentConfig,
  name: string,
  port: number,
  status: DeploymentStatus | undefined,
): Promise<Finding[]> {
  const area = deployment.name
  const { stdout } = await host(name).run(sh`cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || :`, {
    kind: 'probe',
    quiet: true,
  })
  const others = sharing(config, deployment, port)
  const open = listening(stdout, port)
  const mine = status?.server.some(({ state }) => state === 'running') ?? false
  if (others.length > 0) {
    return [
      bad(
        area,
        'failure',
        `port ${port} on ${name} is also ${others.join("'s and ")}'s`,
        'Give each its own: listen = port … in their sections, or listen = socket in [app].',
      ),
    ]
  }
  if (open && !mine) {
    return [
      bad(
        area,
        'failure',
        `port ${port} on ${name} is taken by something else`,
        `See what: ss -ltnp 'sport = :${port}'. Or set another: listen = port …`,
      ),
    ]
  }
  const where = deployment.target === 'vps' && deployment.hosts.length > 1 ? ` on ${name}` : ''
  return [ok(area, `port ${port}${where} is ${open ? 'its own' : 'free'}`)]
}

/** Other deployments of the same host and port. Pure. */
export function sharing(config: Pick<Config, 'deployments'>, deployment: DeploymentConfig, port: number): string[] {
  if (deployment.target !== 'vps') return []
  return Object.values(config.deployments)
    .filter(
      (other) =>
        other.target === 'vps' &&
        other.name !== deployment.name &&
        other.app.listen.kind === 'port' &&
        other.app.listen.port === port &&
        other.hosts.some((each) => deployment.hosts.includes(each)),
    )
    .map(({ name }) => name)
}

/** From /proc/net/tcp: whether a socket listens (state 0A) on `port`. Pure. */
export function listening(text: string, port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return text.split('\n').some((line) => new RegExp(`^\\s*\\d+: [0-9A-F]+:${hex} \\S+ 0A `).test(line))
}

/** Asks each database for its size, which takes the same way in as the app's. */
async function databaseFindings(configured: DeploymentConfig, deployment: Deployment): Promise<Finding[]> {
  if (Object.keys(configured.app.databases).length === 0) return []
  const area = configured.name
  try {
    const sizes = await deployment.database.size()
    return sizes.map(({ name, bytes }) =>
      bytes > 0
        ? ok(area, `database ${name}: reached, ${bytes} bytes`)
        : bad(area, 'warning', `database ${name} is empty or not there`, '[app] init_db makes it: database.init()'),
    )
  } catch (error) {
    return [fromError(area, error)]
  }
}

/** Asks each PostgreSQL or MySQL server, as the configured user; nothing has to be deployed for it. */
async function serverFindings(config: Config, configured: DeploymentConfig): Promise<Finding[]> {
  if (configured.target !== 'vps') return []
  const [{ serverAccess }, { vpsContext }] = await Promise.all([
    import('../../targets/vps/database/access.ts'),
    import('../../targets/vps/create.ts'),
  ])
  return (await serverAccess(vpsContext(config, configured))).flatMap((access) =>
    accessFindings(configured.name, access),
  )
}

/** What a look at a database on a server says. Pure. */
export function accessFindings(area: string, { name, database, facts, error }: Access): Finding[] {
  if (!facts) return [fromError(area, error)]
  const what = `database ${name}: ${database}`
  if (!facts.exists)
    return [
      bad(
        area,
        'warning',
        `${what} is not there, on a server that lets us in`,
        'tasks init_staging_db, or create it on the server.',
      ),
    ]
  if (!facts.accepts)
    return [
      bad(
        area,
        'failure',
        `${what} takes no connections`,
        'Another change may be under way: tasks status. Else open it on the server.',
      ),
    ]
  return [
    ok(area, `${what} lets us in: ${facts.version}, ${facts.tables} tables`),
    ...(facts.canCreate
      ? []
      : [
          bad(
            area,
            'warning',
            `${what}: its user may not create databases, so backups can't be verified or restored beside`,
            'Let it: ALTER ROLE … CREATEDB, or GRANT ALL ON `NAME%`.* on MySQL.',
          ),
        ]),
  ]
}

/** Asks the web server for each domain, as a browser would. */
async function domainFindings(
  configured: DeploymentConfig,
  deployment: Deployment,
  status: DeploymentStatus,
): Promise<Finding[]> {
  const area = configured.name
  if (configured.domain === undefined || status.maintenance || status.server.length === 0) return []
  const domains = await deployment.domains.list()
  return domains.map(({ domain, ok: answers, detail }) =>
    answers
      ? ok(area, `web server: ${domain} is answered by it`)
      : bad(
          area,
          'failure',
          `web server: ${domain}: ${detail ?? 'not answered by it'}`,
          'slipway help hosts, and tasks setup_host',
        ),
  )
}
