/** What a promotion rests on, read from the host in two rounds. What may vary (sizes, rates) is kept apart. */
import { randomBytes } from 'node:crypto'
import { currentRun, SlipwayError, UsageError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { Binding } from '../../domains/provider.ts'
import type { VpsContext } from '../context.ts'
import { type HostFacts, hostFacts } from '../facts.ts'
import { checkHealth } from '../health.ts'
import { type AppLayout, program, type ReleaseLayout, releaseLayout, releaseName, releaseOf } from '../layout.ts'
import { listCommand, reversal as reversalOf } from '../migrations.ts'
import { requireDomain } from '../nginx.ts'
import { programs } from '../programs.ts'
import { appName, providerOf } from '../provider.ts'
import { nextRelease } from '../roles.ts'
import { type Adopted, type AdoptOptions, adoptedSide, lookAt } from './adopt.ts'
import { coordinator, gatherElsewhere, hasWorkers, type WorkerHost } from './elsewhere.ts'
import { type Probed, probe } from './probe.ts'
import { readingOf } from './reading.ts'
import { type ServerData, serversOf } from './servers.ts'
import { readSite, type Site } from './site.ts'

/** One release as a promotion sees it. */
export interface Side {
  deployment: string
  release: string
  version: string
  /** `pony2026r2/20261127-101500-ab12cd` where the app says so in X-Release; else the version can't be told apart. */
  sends?: string
  dir: string
  /** Server programs, and the one whose socket the site points at. */
  server: string[]
  live?: string
  /** The port that the release has for itself; undefined for an app on sockets. */
  port?: number
  workers: string[]
  /** The longest that a worker, and that the server, gets to finish. */
  workerSeconds: number
  serverSeconds: number
}

export interface Lead {
  provider: string
  before: Binding | null
  /** The provider's name for the app that the domain is to lead to. */
  app: string
  /** As lines without secrets. */
  calls: string[]
}

export interface Data {
  name: string
  kind: 'sqlite' | 'tree'
  /** Below a release's shared folder. */
  path: string
}

/** All that the steps rest on: a plan whose facts changed is refused. */
export interface PromotionFacts {
  kind: 'promote' | 'demote'
  app: string
  home: string
  host: string
  /** The deployment that is being replaced: `production`. */
  production: string
  /** `copy` from the old production, `init` where there is none, `fresh`: its data stays with it. */
  data: 'copy' | 'init' | 'fresh'
  /** Whether requests wait in the window, or are answered 503. */
  hold: boolean
  /** Reads are answered in the window, by the old app with this variable: its read-only mode. */
  reads?: { name: string; value: string }
  next: Side
  /** The next release as the deployment that it still is. */
  staging?: Side
  old?: Side
  items: Data[]
  /** What was production is no release: it was deployed by hand. */
  adopt?: Adopted
  /** Hosts beside this one, which only run workers. */
  elsewhere?: WorkerHost[]
  /** Databases on servers. */
  servers?: ServerData[]
  /** They are handed over as they are, instead of copied. */
  handover?: boolean
  /** Shell text of the app's own commands. */
  migrate?: string
  /** Prints the migrations that are applied, one a line. */
  listMigrations?: string
  /** Going back: shell text, run with the code that is production now, that takes the copy's schema back. */
  reverse?: string
  init?: string
  health: { path: string; status: number; body?: string; deadlineSeconds: number }
  domain: string
  site: Site
  /** Apps on ports: who leads the domain to one of them, from what, and what is asked of it. */
  lead?: Lead
  /** `none`: the web server in front is the operator's own, and leads to the site's current.sock. */
  provider?: string
  /** Connections that can wait. */
  backlog: number
  /** Seconds from holding until requests are let go, or all goes back. */
  deadline: number
  roles: Record<string, string>
  supervisord: string
  python: string
}

/** What is shown, and may change from one minute to the next. */
export interface Measures {
  bytes: Record<string, number>
  freeBytes: number
  /** Requests a second, as the site's access log grows. */
  requestsPerSecond: number
  /** Free space wanted: the databases three times. */
  wantedBytes: number
  queued: Record<string, number>
}

export interface Sides {
  next: { context: VpsContext; facts: HostFacts; release: ReleaseLayout }
  old?: { context: VpsContext; facts: HostFacts; release: ReleaseLayout }
  app: AppLayout
}

export interface Gathered {
  facts: PromotionFacts
  measures: Measures
  sides: Sides
  /** What the version that becomes production was made from, where that is on record. */
  commit?: string
}

export interface GatherOptions {
  data?: 'copy' | 'fresh'
  /** `false`: the site answers 503 with Retry-After in the window, instead of holding requests. */
  hold?: boolean
  /** The release that becomes production again: for going back. */
  demoteTo?: string
  /** Production is an app that was deployed by hand: taken over with its data. */
  adopt?: AdoptOptions
  /** The migrations that were applied before it was replaced, if they were listed. */
  migrationsThen?: readonly string[] | undefined
}

/** The reserve below the web server's timeout: starting the old app again, should all go back at the deadline. */
export const reserveSeconds = 15
/** A window can't be shorter. */
export const leastDeadline = 5

/** The window's programs speak to the supervisord of each release, and may end it. */
function requireOwnDaemons(...sides: readonly VpsContext[]): void {
  for (const { config, deployment } of sides) {
    if (deployment.services === 'supervisor' && !deployment.systemSupervisor) continue
    const what = deployment.services === 'systemd' ? 'services = systemd' : 'supervisor_conf'
    throw new UsageError(
      'promotion-services',
      `[${deployment.name}] ${what}: a promotion needs releases with a supervisord of their own`,
      {
        state: 'Nothing was changed.',
        next: `Stop app and workers of both, take ${what} out of ${config.file}, and install and start them again; or deploy to production directly, in place.`,
      },
    )
  }
}

/** Reads the host. Rejects with what stands in the way. Changes nothing. */
export async function gather(from: VpsContext, to: VpsContext, options: GatherOptions = {}): Promise<Gathered> {
  const host = coordinator(from, to)
  requireOwnDaemons(from, to)
  const { app } = to.deployment
  const onPorts = needsPorts(to)
  const [staging, production] = [await hostFacts(from.deployment, host), await hostFacts(to.deployment, host)]
  const { nextName, oldName } = requireNames(from, to, { staging, production }, options, host)
  const layout = (name: string) => releaseLayout(app.root, production.home, name)
  const next = layout(nextName)
  const old = oldName === undefined ? undefined : layout(oldName)
  const items = dataOf(to)
  const handover = to.deployment.database === 'handover'
  const data = options.adopt ? 'copy' : old === undefined ? 'init' : (options.data ?? 'copy')
  const carrying = data !== 'copy' ? 'init' : handover ? 'handover' : 'copy'
  const { servers, bytes: serverBytes } = await serversOf(from, to, host, carrying)
  const probed = await probe(host, to, production, { next, old, items })
  const taken = options.adopt && (await lookAt(host, probed.python, production.home, options.adopt, items))
  const health = {
    path: app.health.path,
    status: app.health.status,
    ...(app.health.body ? { body: app.health.body } : {}),
    deadlineSeconds: app.health.deadlineMs / 1000,
  }
  const domain = requireDomain(to)
  const site = siteOf(to, probed, domain, host)
  const { nextPort, oldPort } = onPorts ? portsOf(probed, app.listen, next, old, host) : {}
  const lead = onPorts ? await leadOf(to, host, domain, nextName, nextPort as number) : undefined
  const supervisord = production.tools.supervisord
  if (!supervisord)
    throw new SlipwayError('no-supervisord', `supervisord is not installed on ${host.name}`, {
      host: host.name,
      state: 'Nothing was changed.',
    })
  const sendsRelease = await sendsXRelease(from, host, staging, next, probed.nextLive)
  const version = probed.nextVersion
  if (!version) {
    throw new SlipwayError('no-version', `${nextName} has no version that could serve`, {
      host: host.name,
      state: 'Nothing was changed.',
      next: `Deploy to it first: \`tasks deploy_${from.deployment.name}\`.`,
    })
  }
  const listing = listCommand(app.migrations)
  const sides = {
    next: sideOf(to, host, production, next, { version, sendsRelease, port: nextPort }),
    ...(options.demoteTo === undefined
      ? {
          staging: sideOf(from, host, staging, next, {
            version,
            sendsRelease,
            live: staging.liveSlot && program(staging.liveSlot),
            port: nextPort,
          }),
        }
      : {}),
    ...(old && probed.oldVersion
      ? {
          old: sideOf(to, host, production, old, {
            version: probed.oldVersion,
            sendsRelease,
            live: onPorts ? program('a') : probed.oldLive,
            port: oldPort,
          }),
        }
      : {}),
    ...(taken ? { old: adoptedSide(to.deployment.name, taken.adopted, onPorts ? taken.port : undefined) } : {}),
  }
  const reads = readingOf(to, {
    host: host.name,
    ...(sides.old && !taken && data === 'copy' ? { old: sides.old } : {}),
    servers: servers.length,
    splits: site.reads === true,
    knowsMode: probed.knowsMode,
  })
  const elsewhere = await gatherElsewhere(from, to, { ...sides, items })
  const facts: PromotionFacts = {
    kind: options.demoteTo === undefined ? 'promote' : 'demote',
    app: app.name,
    home: production.home,
    host: host.name,
    production: to.deployment.name,
    data,
    hold: options.hold ?? true,
    ...(reads ? { reads } : {}),
    ...sides,
    ...(taken ? { adopt: taken.adopted } : {}),
    items,
    ...(elsewhere.length > 0 ? { elsewhere } : {}),
    ...(servers.length > 0 ? { servers } : {}),
    ...(servers.length > 0 && carrying === 'handover' ? { handover: true } : {}),
    ...(app.migrate && options.demoteTo === undefined ? { migrate: app.migrate } : {}),
    ...(listing === undefined ? {} : { listMigrations: listing }),
    ...(await reversal(host, to, old, options)),
    ...(app.initDb ? { init: app.initDb } : {}),
    health,
    domain,
    site,
    ...(lead ? { lead } : {}),
    provider: to.config.domains.provider,
    backlog: Math.min(4096, probed.somaxconn),
    deadline: Math.max(leastDeadline, Math.min(45, site.timeoutSeconds - reserveSeconds)),
    roles: { ...production.roles },
    supervisord,
    python: probed.python,
  }
  Object.assign(probed.bytes, taken?.bytes)
  const commit = staging.records.find(({ id }) => id === version)?.commit
  const total = Object.values(probed.bytes).reduce((sum, bytes) => sum + bytes, 0)
  return {
    facts,
    measures: {
      bytes: { ...probed.bytes, ...serverBytes },
      freeBytes: production.disk?.freeBytes ?? Number.POSITIVE_INFINITY,
      requestsPerSecond: probed.requestsPerSecond,
      wantedBytes: data === 'copy' ? total * 3 : 0,
      queued: probed.queued,
    },
    sides: {
      app: production.app,
      next: { context: to, facts: production, release: next },
      ...(old ? { old: { context: to, facts: production, release: old } } : {}),
    },
    ...(commit === undefined ? {} : { commit }),
  }
}

/** The release that becomes production, and the one that is, if there is one. */
function requireNames(
  from: VpsContext,
  to: VpsContext,
  { staging, production }: { staging: HostFacts; production: HostFacts },
  options: GatherOptions,
  host: Host,
): { nextName: string; oldName: string | undefined } {
  const oldName = production.roles[to.deployment.name]
  const nextName = options.demoteTo ?? staging.release?.name
  if (options.demoteTo === undefined) requireAgreement(from, staging, host)
  if (nextName === undefined)
    throw new SlipwayError('no-release', `[${from.deployment.name}] has no release to promote`, {
      state: 'Nothing was changed.',
    })
  if (nextName === oldName) {
    throw new SlipwayError('already-production', `${nextName} is ${to.deployment.name} already`, {
      host: host.name,
      state: 'Nothing was changed.',
      next: `Begin a new release: \`tasks new_staging_release:${nextRelease(releaseOf(to.deployment.app.name, nextName))}\`.`,
    })
  }
  if (options.adopt && oldName !== undefined) {
    throw new SlipwayError('already-production', `${host.name} knows ${oldName} as ${to.deployment.name} already`, {
      host: host.name,
      state: 'Nothing was changed.',
      next: 'Promote in its place: `tasks promote_staging_to_production`.',
    })
  }
  return { nextName, oldName }
}

function sideOf(
  context: VpsContext,
  host: Host,
  facts: HostFacts,
  release: ReleaseLayout,
  at: { version: string; sendsRelease: boolean; live?: string | undefined; port: number | undefined },
): Side {
  const { name, app } = context.deployment
  const all = programs(app, facts.scale)
  const names = (kind: 'server' | 'worker') => all.filter((each) => each.kind === kind).map((each) => each.name)
  return {
    deployment: name,
    release: release.name,
    version: at.version,
    ...(at.sendsRelease ? { sends: `${release.name}/${at.version}` } : {}),
    dir: release.dir,
    server: names('server'),
    ...(at.live ? { live: at.live } : {}),
    ...(at.port === undefined ? {} : { port: at.port }),
    workers: hasWorkers(context, host) ? names('worker') : [],
    workerSeconds: Math.max(0, ...Object.values(app.workers).map((each) => each.stopSeconds)) || 60,
    serverSeconds: app.drainSeconds,
  }
}

/** The release that the host has on record for a deployment, where the configuration names another one. */
export function recordedInstead(
  { deployment: { name, release, app } }: VpsContext,
  roles: Readonly<Record<string, string>>,
): string | undefined {
  const recorded = roles[name]
  return release === undefined || recorded === releaseName(app.name, release) ? undefined : recorded
}

/** A configuration that is behind the host's record would promote another release than the one that was tried. */
function requireAgreement(from: VpsContext, { roles }: HostFacts, host: Host): void {
  const { name, release, app } = from.deployment
  const recorded = recordedInstead(from, roles)
  if (recorded === undefined) return
  throw new SlipwayError(
    'wrong-role',
    `[${name}] release is ${release} in ${from.config.file}, and ${recorded} is ${name} on ${host.name}`,
    {
      host: host.name,
      state: 'Nothing was changed.',
      next: `Set [${name}] release to ${releaseOf(app.name, recorded)}; or deploy ${release} first, which makes it ${name}.`,
    },
  )
}

/** Whether the app listens on ports. Refuses where that and the provider do not go together. */
function needsPorts(to: VpsContext): boolean {
  const { provider } = to.config.domains
  const { listen, name } = to.deployment.app
  const refused = (text: string, next: string) =>
    new SlipwayError('provider-listen', text, { state: 'Nothing was changed.', next })
  if (listen.kind === 'socket' && !['nginx', 'none'].includes(provider)) {
    throw refused(`${provider} leads a domain to a port, and ${name} listens on a socket`, 'Set [app] listen = port …')
  }
  if (listen.kind === 'port' && provider === 'none') {
    throw refused(
      `${name} listens on ports, and with provider = none nobody is there who could lead the domain from the old one to the new one`,
      'Set [app] listen = socket, and have your web server lead to ~/.slipway/<app>/sites/production/current.sock; or set [domains] provider.',
    )
  }
  return listen.kind === 'port'
}

/** The ports that both releases have for themselves: the domain is led from one to the other. */
export function portsOf(
  probed: Pick<Probed, 'nextPort' | 'oldPort'>,
  listen: VpsContext['deployment']['app']['listen'],
  next: ReleaseLayout,
  old: ReleaseLayout | undefined,
  host: Host,
): { nextPort: number; oldPort?: number } {
  const configured = listen.kind === 'port' ? listen.port : undefined
  const nextPort = probed.nextPort
  const oldPort = old && (probed.oldPort ?? configured)
  if (nextPort === undefined || nextPort === oldPort) {
    throw new SlipwayError('no-own-port', `${next.name} has no port of its own beside ${old?.name ?? 'others'}`, {
      host: host.name,
      state: 'Nothing was changed.',
      next: 'Give it one, and start it there: `tasks init_staging_app restart_app:release=staging`.',
    })
  }
  return { nextPort, ...(oldPort === undefined ? {} : { oldPort }) }
}

async function leadOf(to: VpsContext, host: Host, domain: string, release: string, port: number): Promise<Lead> {
  const provider = await providerOf(to, host)
  const app = appName(provider, release, port)
  return { provider: provider.name, app, ...(await provider.plan(domain, app)) }
}

/** How the site is reached. Where a provider has it, all that is known is its name. */
export function siteOf(
  to: VpsContext,
  probed: Pick<Probed, 'site' | 'listen'>,
  domain: string,
  host: Pick<Host, 'name'>,
): Site {
  const { provider, options } = to.config.domains
  if (provider !== 'nginx') return { address: domain, port: 443, tls: true, timeoutSeconds: 60, certificates: [] }
  const site = readSite(probed.site) ?? newSite(to, probed.listen)
  if (site) return site
  const listen = options['listen'] ?? probed.listen
  throw new SlipwayError(
    'no-site',
    `there is no site for ${to.deployment.name} on ${host.name}, and none can be made that listens on ${listen}`,
    {
      host: host.name,
      state: 'Nothing was changed.',
      next: 'Name a port in [domains] listen, for example: listen = 80, [::]:80',
    },
  )
}

/** The site as it will be made, where nginx is ours to configure. Its gate is the same throughout the run. */
function newSite(to: VpsContext, hostListen: string): Site | undefined {
  const { domains } = to.config
  if (domains.provider !== 'nginx') return undefined
  const listen = (domains.options['listen'] ?? (hostListen || '80, [::]:80')).split(/[,\n]/).map((each) => each.trim())
  const token = currentRun().memo('gate of a new site', () => randomBytes(16).toString('hex'))
  const certificate = domains.options['certificate']
  const conf = `${listen.map((each) => `listen ${each};`).join('\n')}\n${certificate ? `ssl_certificate ${certificate};\n` : ''}`
  const site = readSite(conf)
  return site && { ...site, gateToken: token, toMake: listen }
}

/** What takes the schema back to where it was, if it has gone on since. */
export async function reversal(
  host: Host,
  to: VpsContext,
  old: ReleaseLayout | undefined,
  options: GatherOptions,
): Promise<{ reverse?: string }> {
  const { migrations, migrate } = to.deployment.app
  if (options.demoteTo === undefined || !old || migrate === undefined) return {}
  const listing = listCommand(migrations)
  if (listing === undefined || options.migrationsThen === undefined) {
    throw new SlipwayError(
      'schema-unknown',
      `it can't be told whether the schema has changed since ${options.demoteTo} was production`,
      {
        host: host.name,
        state: 'Nothing was changed.',
        next: 'Set [app] migrations, with commands that list and reverse them; or restore a backup by hand.',
      },
    )
  }
  const now = await host.run(sh`/bin/sh ${old.start} run ${listing}`, { kind: 'probe', quiet: true }).lines()
  const commands = reversalOf(migrations, options.migrationsThen, now.filter(Boolean))
  return commands.length === 0 ? {} : { reverse: commands.join(' && ') }
}

/** The databases and spools that production has, in the order in which they are copied. */
function dataOf(to: VpsContext): Data[] {
  const { databases, spools } = to.deployment.app
  return [
    ...Object.entries(databases).flatMap(([name, database]): Data[] =>
      database.kind === 'sqlite' ? [{ name, kind: 'sqlite', path: database.path.replace(/^shared\//, '') }] : [],
    ),
    ...spools.map(
      (path): Data => ({ name: path, kind: 'tree', path: path.replace(/^shared\//, '').replace(/\/$/, '') }),
    ),
  ]
}

/** Whether the app tells its release in X-Release: asked of the one that runs. */
async function sendsXRelease(
  from: VpsContext,
  host: Host,
  staging: HostFacts,
  next: ReleaseLayout,
  program: string | undefined,
): Promise<boolean> {
  if (from.deployment.app.listen.kind === 'port') {
    const port = staging.port ?? from.deployment.app.listen.port
    const answer = await checkHealth(host, { port }, from.deployment.app.health)
    return answer.healthy ? answer.release !== undefined : true
  }
  const slot = staging.liveSlot ?? (program?.endsWith('b') ? 'b' : 'a')
  if (program === undefined && staging.liveSlot === undefined) return true
  const answer = await checkHealth(host, { socket: next.slotSocket(slot) }, from.deployment.app.health)
  return answer.healthy ? answer.release !== undefined : true
}
