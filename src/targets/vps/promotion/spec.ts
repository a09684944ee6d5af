/**
 * A promotion as the list of its steps, with real values: what the plan shows and what the host's scripts do. In the
 * order that loses nothing: until the flip everything can be taken back, and nothing is deleted before it. Pure.
 */
import { quote } from '../../../shell/index.ts'
import { drainElsewhere, readyElsewhere, startElsewhere } from './elsewhere.ts'
import type { Data, PromotionFacts, Side } from './facts.ts'
import { holding, holdsPort, leading, lettingGo, lettingIn } from './holding.ts'
import { readingSteps } from './reading.ts'
import { keptIn, serverEntry } from './servers.ts'

/** One step. What it needs beyond this is for its kind, in templates/hold/steps.py. */
export interface StepSpec {
  id: string
  /** The kind in steps.py; `site`, `settings`, `init` and `outside` are done from the operator's machine. */
  kind: string
  title: string
  undoTitle?: string
  irreversible?: string
  window?: boolean
  /** The host that it is done on, where that is not the one with the app. */
  on?: string
  [more: string]: unknown
}

export interface ChangeSpec {
  id: string
  journal: string
  /** Seconds from holding until requests are let go, or all goes back. */
  deadline: number
  pointOfNoReturn: string
  steps: StepSpec[]
}

/** Paths that the steps share. */
export interface Places {
  /** The change's own folder on the host. */
  folder: string
  journal: string
  roles: string
  archive: string
  /** Folders of the two sites. */
  stagingSite: string
  site: string
}

export function placesOf(facts: PromotionFacts, id: string): Places {
  const app = `${facts.home}/.slipway/${facts.app}`
  return {
    folder: `${app}/changes/${id}`,
    journal: `${app}/journals/${id}.journal`,
    roles: `${app}/roles.json`,
    archive: `${app}/archive/${id}`,
    stagingSite: `${app}/sites/${facts.staging?.deployment ?? ''}`,
    site: `${app}/sites/${facts.production}`,
  }
}

export function specOf(facts: PromotionFacts, id: string): ChangeSpec {
  const places = placesOf(facts, id)
  const steps = [
    ...newSite(facts),
    ...readyElsewhere(facts, id),
    ...emptyStaging(facts, places),
    ...rehearsal(facts, places, id),
    ...initialise(facts),
    ...drainElsewhere(facts),
    ...windowOf(facts, places, id),
    ...startElsewhere(facts, id),
    ...afterwards(facts, places, id),
  ]
  return { id, journal: places.journal, deadline: facts.deadline, pointOfNoReturn: 'flip', steps }
}

const program = 'app-a'
const socketFile = (side: Side, name: string): string => `${side.dir}/run/${name}.sock`
/** Where the app listens: a socket's path, or `port:9001`. */
const socketOf = (side: Side, name: string): string =>
  side.port === undefined ? socketFile(side, name) : `port:${side.port}`
const shared = (side: Side, item: Data): string => `${side.dir}/shared/${item.path}`
/** Where data is that the release is to get. */
const source = (facts: PromotionFacts, item: Data): string =>
  facts.adopt?.paths[item.name] ?? (facts.old ? shared(facts.old, item) : '')
const earlier = (facts: PromotionFacts, item: Data): string => `${shared(facts.next, item)}.earlier`

/** A release's supervisord, as the host's scripts start it and speak to it. */
export function daemon(facts: Pick<PromotionFacts, 'supervisord'>, side: Side) {
  return {
    socket: `${side.dir}/run/supervisor.sock`,
    folder: side.dir,
    argv: [facts.supervisord, '-c', `${side.dir}/etc/supervisord.conf`],
  }
}

function health(facts: PromotionFacts, side: Side, name: string) {
  const { path, status, body, deadlineSeconds } = facts.health
  return {
    socket: socketOf(side, name),
    path,
    status,
    ...(body === undefined ? {} : { body }),
    deadline: deadlineSeconds,
    release: side.sends ?? null,
    host: facts.domain,
  }
}

function newSite({ site, domain }: PromotionFacts): StepSpec[] {
  if (!site.toMake) return []
  const title = `make the site of ${domain}, on ${site.toMake.join(' and ')}, and have the web server take it up`
  return [{ id: 'site', kind: 'site', title, undoTitle: 'remove it' }]
}

/** What is in the place of the data goes out of the way: staging's, or what somebody made there since it was fenced. */
function putAway({ next, staging, items }: PromotionFacts, places: Places): StepSpec[] {
  const away = `${places.archive}/${next.release}`
  const moves = items.flatMap((item) =>
    (item.kind === 'sqlite' ? ['', '-wal', '-shm', '-journal'] : ['']).map((companion) => ({
      from: `${shared(next, item)}${companion}`,
      to: `${away}/${item.path}${companion}`,
    })),
  )
  const what = staging ? `put the ${staging.deployment} data away` : 'put away what has come into the place of the data'
  return some(items, {
    id: staging ? 'archive-staging' : 'archive-stray',
    kind: 'move',
    title: `${what}: ${list(items.map((item) => item.path))} → ${places.archive}`,
    undoTitle: 'put it back',
    moves,
  })
}

/** Staging stops, its data goes out of the way, and the release gets production's settings. */
function emptyStaging(facts: PromotionFacts, places: Places): StepSpec[] {
  const { next, staging } = facts
  if (!staging) return putAway(facts, places)
  return [
    {
      id: 'stop-staging-workers',
      kind: 'stop',
      title: `stop the ${staging.deployment} workers of ${next.release}: ${list(staging.workers)}`,
      undoTitle: 'start those that ran',
      daemon: daemon(facts, next),
      programs: staging.workers,
      seconds: staging.workerSeconds,
    },
    {
      id: 'detach-staging',
      kind: 'link',
      title: `take ${next.release} off the ${staging.deployment} site`,
      undoTitle: 'point the site at it again',
      links: [{ path: `${places.stagingSite}/current.sock`, target: null }],
    },
    {
      id: 'stop-staging',
      kind: 'stop',
      title: `stop the ${staging.deployment} app of ${next.release}`,
      undoTitle: 'start it, if it ran',
      daemon: daemon(facts, next),
      programs: staging.server,
      seconds: staging.serverSeconds,
      health: staging.live ? health(facts, staging, staging.live) : null,
    },
    {
      id: 'end-staging-supervisord',
      kind: 'retire',
      title: `end the supervisord of ${next.release}, which ran with ${staging.deployment} settings`,
      daemon: daemon(facts, next),
      programs: [...staging.server, ...staging.workers],
      seconds: staging.serverSeconds,
    },
    ...putAway(facts, places),
    {
      id: 'settings',
      kind: 'settings',
      title: `give ${next.release} the settings, environment and start script of production`,
      undoTitle: `those of ${staging.deployment} again`,
    },
  ]
}

/** Everything once, on a copy that was made while production goes on: what will fail fails here. */
function rehearsal(facts: PromotionFacts, places: Places, id: string): StepSpec[] {
  const { next, old, items } = facts
  const servers = facts.servers ?? []
  const entries = servers.map((server) => {
    const entry = serverEntry(server, places.folder, id)
    return facts.handover && schemaCommand(facts) ? entry.rehearseHandover : entry.rehearse
  })
  const names = list(servers.map((server) => server.at.database))
  if (facts.data !== 'copy' || !old) return []
  return [
    ...some(items, {
      id: 'rehearse',
      kind: 'rehearse',
      title: `copy ${list(items.map((item) => item.path))} of ${old.release} while it goes on, and check them from end to end`,
      undoTitle: 'delete the copies',
      items: items.map((item) => ({
        name: item.name,
        kind: item.kind,
        from: source(facts, item),
        to: earlier(facts, item),
      })),
    }),
    ...some(servers, {
      id: 'rehearse-servers',
      kind: 'rehearse-servers',
      title: `copy ${names} while ${old.release} goes on, and compare the rows`,
      undoTitle: 'drop the copies',
      databases: entries,
    }),
    {
      id: 'trial',
      kind: 'trial',
      title: `try it on the copies: ${schemaText(facts)}start ${next.release}, check it, stop it`,
      undoTitle: 'delete what it left',
      items: items.map((item) => ({ kind: item.kind, earlier: earlier(facts, item), to: shared(next, item) })),
      daemon: daemon(facts, next),
      programs: [program],
      migrate: schemaCommand(facts) ?? null,
      seconds: 600,
      stop: next.serverSeconds,
      health: health(facts, next, program),
      ...(facts.reads ? { reads: true } : {}),
      demand: { folder: old.dir, programs: old.server, port: facts.site.port },
      servers: entries.map(({ name, database, scratch }) => ({ name, database, scratch })),
      // Where the app reads which database is its own: during the trial, the copy's name is there.
      files: [`${next.dir}/settings/${facts.production}.environment`, `${next.dir}/settings/active`],
    },
    ...some(servers, {
      id: 'drop-rehearsal',
      kind: 'drop-rehearsal',
      title: `drop the copies of ${names} again`,
      databases: entries,
    }),
  ]
}

/** What changes the copy's schema: forward with the new code, back with the code that wrote it. */
function schemaCommand(facts: PromotionFacts): string[] | undefined {
  const { next, old } = facts
  if (facts.migrate) return startRun(next, facts.migrate)
  if (!facts.reverse || !old) return undefined
  const environment = quote(`${next.dir}/settings/${facts.production}.environment`)
  const there = `SLIPWAY_SHARED=${quote(`${next.dir}/shared`)}; SLIPWAY_SETTINGS=${quote(`${next.dir}/settings/active`)}; if [ -r ${environment} ]; then . ${environment}; fi`
  return startRun(old, `${there}; export SLIPWAY_SHARED SLIPWAY_SETTINGS; ${facts.reverse}`)
}

const schemaText = (facts: PromotionFacts): string =>
  facts.migrate ? `\`${facts.migrate}\`, ` : facts.reverse ? `\`${facts.reverse}\`, ` : ''

/** Runs shell text with the environment that the app has. */
const startRun = (side: Side, text: string): string[] => ['/bin/sh', `${side.dir}/bin/start`, 'run', text]

/** New databases, made by the app's own command. */
function initialise(facts: PromotionFacts): StepSpec[] {
  if (facts.data === 'copy' || !facts.init) return []
  return [
    {
      id: 'initialise',
      kind: 'init',
      title: `make new databases for ${facts.next.release}: \`${facts.init}\``,
      undoTitle: 'delete them',
    },
  ]
}

function windowOf(facts: PromotionFacts, places: Places, id: string): StepSpec[] {
  const { next, old, items, data } = facts
  const servers = facts.servers ?? []
  const entries = servers.map((server) => serverEntry(server, places.folder, id))
  const names = list(servers.map((server) => server.at.database))
  const link = `${places.site}/current.sock`
  const copied = facts.handover ? [] : servers
  const relays = holdsPort(facts)
  const reading = readingSteps(
    facts,
    places,
    (side) => daemon(facts, side),
    (item) => source(facts, item),
  )
  const steps: StepSpec[] = []
  steps.push({
    id: 'arm',
    kind: 'boot',
    title: 'have the host make good what is under way, should it be restarted: a line in its crontab',
    undoTitle: 'take the line out',
  })
  if (old && data === 'copy') {
    steps.push(
      ...(facts.adopt ? stopAdopted(facts, places, old) : stopOld(facts, places, old, reading.live)),
      ...some(items, {
        id: 'fence',
        kind: facts.reads ? 'fence-reading' : 'fence',
        title: `rename ${list(items.map((item) => item.path))} of ${old.release}, so that nobody writes to them${facts.reads ? '; a snapshot that can only be read takes the place of each database' : ''}`,
        undoTitle: 'rename them back',
        ...(facts.reads ? { reading: 'read-live' } : {}),
        items: items.map((item) => ({ kind: item.kind, path: source(facts, item) })),
      }),
      ...reading.snapshots,
      ...some(copied, {
        id: 'fence-servers',
        kind: 'fence-servers',
        title: `rename ${names} on its server to …_slipway_fenced, and end the sessions in it`,
        undoTitle: 'rename it back',
        databases: entries.map((entry) => entry.fence),
      }),
      ...some(items, {
        id: 'copy',
        kind: 'copy',
        title: `copy them to ${next.release}: what changed since the rehearsal; check; rename into place`,
        undoTitle: 'delete the copies',
        items: items.map((item) => ({
          kind: item.kind,
          from: source(facts, item),
          to: shared(next, item),
          earlier: earlier(facts, item),
        })),
      }),
      ...some(copied, {
        id: 'copy-servers',
        kind: 'copy-servers',
        title: `copy it for ${next.release}, compare the rows, and give the copy the name ${names}`,
        undoTitle: 'drop the copy',
        databases: entries.map((entry) => entry.copy),
      }),
      ...some(facts.handover ? servers : [], handOver(facts, entries)),
    )
    const schema = schemaCommand(facts)
    if (schema) {
      steps.push({
        id: 'migrate',
        kind: 'command',
        title: facts.migrate
          ? `migrate the copy: \`${facts.migrate}\``
          : `take the copy's schema back: \`${facts.reverse}\``,
        argv: schema,
        before: facts.migrate && facts.listMigrations ? startRun(next, facts.listMigrations) : null,
        seconds: 600,
        folder: next.dir,
      })
    }
  }
  steps.push(
    {
      id: 'start-new',
      kind: 'start',
      title: `start ${next.release} on its own socket, and wait until it is healthy`,
      undoTitle: 'stop it',
      daemon: daemon(facts, next),
      programs: [program],
      seconds: next.serverSeconds,
      health: health(facts, next, program),
    },
    {
      id: 'gate',
      kind: 'gate',
      title: throughFront(facts)
        ? `ask it as ${facts.domain} through the web server, on the way that only this check can take, 3 times in a row`
        : `ask it as ${facts.domain} where it listens, 3 times in a row`,
      undoTitle: throughFront(facts) ? 'close that way' : 'nothing',
      direct: !throughFront(facts),
      link: `${places.site}/gate.sock`,
      socket: socketOf(next, program),
      address: facts.site.address,
      port: facts.site.port,
      tls: facts.site.tls,
      host: facts.domain,
      token: facts.site.gateToken ?? '',
      times: 3,
      seconds: 20,
      health: health(facts, next, program),
    },
    {
      id: 'flip',
      kind: relays ? 'relay' : 'flip',
      title: relays
        ? `let the requests that wait, and all that come to port ${old?.port}, go to ${next.release} at port ${next.port}`
        : `point ${facts.domain} at ${next.release}: one rename`,
      undoTitle: old && !facts.adopt ? `point it at ${old.release} again` : 'point it at nothing again',
      // The way of all requests last: it is the point of no return.
      links: [
        ...(facts.reads ? [{ path: `${places.site}/reads.sock`, target: 'current.sock' }] : []),
        { path: link, target: socketFile(next, program) },
      ],
      ...(relays ? { hold: 'hold', socket: socketOf(next, program) } : {}),
    },
  )
  if (old && data === 'copy' && !facts.adopt) {
    steps.push(...lettingGo(facts, places, (side) => socketOf(side, program)))
  }
  const record: Record<string, string> = {
    [facts.production]: next.release,
    ...(old && !facts.adopt ? { former: old.release } : {}),
  }
  steps.push(
    {
      id: 'roles',
      kind: 'roles',
      title: `record on the host that ${next.release} is production${old && !facts.adopt ? `, and ${old.release} was` : ''}`,
      path: places.roles,
      set: record,
      unset: Object.keys(facts.roles).filter(
        (role) => facts.roles[role] === next.release && record[role] === undefined,
      ),
    },
    {
      id: 'start-workers',
      kind: 'start',
      title: `start the workers of ${next.release}: ${list(next.workers)}`,
      undoTitle: 'stop them',
      daemon: daemon(facts, next),
      programs: next.workers,
      seconds: next.workerSeconds,
    },
  )
  steps.push(...reading.end)
  // On ports it serves until the domain leads elsewhere.
  if (!facts.lead || data === 'copy') steps.push(...retireOld(facts))
  steps.push({ id: 'disarm', kind: 'unboot', title: 'take the line out of the crontab' })
  return steps.map((step) => ({ ...step, window: true }))
}

/** Its workers finish, requests are held, and it answers what it has. */
function stopOld(facts: PromotionFacts, places: Places, old: Side, reading: StepSpec[]): StepSpec[] {
  const writers = facts.reads && old.live ? [old.live] : old.server
  return [
    {
      id: 'drain-workers',
      kind: 'stop',
      title: `let the workers of ${old.release} finish, and stop them: ${list(old.workers)} (up to ${old.workerSeconds} s)`,
      undoTitle: 'start them',
      daemon: daemon(facts, old),
      programs: old.workers,
      seconds: old.workerSeconds,
    },
    ...reading,
    ...holding(facts, places, old, (side) => socketOf(side, program)),
    {
      id: 'stop-old',
      kind: facts.reads ? 'stop-writer' : 'stop',
      title: `stop ${old.release}${facts.reads ? ' where it writes,' : ''} once it has answered what it has`,
      undoTitle: `start ${old.release}, and wait until it is healthy`,
      daemon: daemon(facts, old),
      programs: writers,
      seconds: Math.min(old.serverSeconds, Math.floor(facts.deadline / 2)),
      sockets: facts.lead ? [] : writers.map((name) => socketOf(old, name)),
      ...(facts.reads ? { reading: 'read-live' } : {}),
      health: old.live ? health(facts, old, old.live) : null,
      ...(facts.lead ? { holder: 'hold' } : {}),
    },
    ...lettingIn(facts, places),
  ]
}

/** An app that was deployed by hand: what it was started with ends it, or TERM. */
function stopAdopted(facts: PromotionFacts, places: Places, old: Side): StepSpec[] {
  const { adopt } = facts
  if (!adopt) return []
  const holds = holdsPort(facts)
  return [
    ...(holds ? holding(facts, places, old, (side) => socketOf(side, program)) : []),
    {
      id: 'stop-adopted',
      kind: 'stop-adopted',
      title: `stop what runs in ${adopt.folder}: ${adopt.stop ? `\`${adopt.stop}\`` : 'TERM to its processes'}; prove that none is left`,
      undoTitle: adopt.start ? `start it again: \`${adopt.start}\`` : 'nothing: nothing ran',
      folder: adopt.folder,
      files: Object.values(adopt.paths),
      stop: adopt.stop ?? null,
      start: adopt.start ?? ':',
      seconds: old.serverSeconds,
      ...(holds ? { holder: 'hold' } : {}),
    },
    ...(holds ? lettingIn(facts, places) : []),
  ]
}

/** One database that both releases use: nobody is in it, and how it was is kept where it will be changed. */
function handOver(facts: PromotionFacts, entries: readonly ReturnType<typeof serverEntry>[]): StepSpec {
  const names = list(entries.map((entry) => entry.handOver.database))
  const changes = schemaCommand(facts) !== undefined
  return {
    id: 'hand-over',
    kind: 'hand-over',
    title: `end the sessions in ${names}, prove that nobody comes back${changes ? ', and dump it' : ''}: ${facts.next.release} goes on with it`,
    undoTitle: changes ? 'put the dump in its place, if it was changed' : 'nothing: it was not changed',
    dumps: changes,
    changing: ['migrate', 'start-new'],
    databases: entries.map((entry) => entry.handOver),
  }
}

function retireOld({ old, data, ...facts }: PromotionFacts): StepSpec[] {
  if (!old || facts.adopt) return []
  return [
    {
      id: 'retire-old',
      kind: 'retire',
      title: `${data === 'copy' ? 'end the supervisord of' : 'stop'} ${old.release}; the release and its data stay until prune_promotions`,
      daemon: daemon(facts, old),
      programs: [...old.server, ...old.workers],
      sockets: data === 'copy' ? [] : old.server.map((name) => socketOf(old, name)),
      seconds: Math.max(old.serverSeconds, old.workerSeconds),
    },
  ]
}

function afterwards(facts: PromotionFacts, places: Places, id: string): StepSpec[] {
  const rehearsed = facts.data === 'copy' ? facts.items : []
  const servers = facts.data === 'copy' && facts.old && !facts.handover ? (facts.servers ?? []) : []
  return [
    ...leading(facts),
    ...(facts.lead && facts.data !== 'copy' ? retireOld(facts) : []),
    ...some(servers, {
      id: 'keep-servers',
      kind: 'keep-servers',
      title: `keep what ${list(servers.map((server) => server.at.database))} was, as ${list(servers.map((server) => keptIn(server, id)))}`,
      databases: servers.map((server) => serverEntry(server, places.folder, id).keep),
    }),
    {
      id: 'tidy',
      kind: 'discard',
      title: 'remove what only the promotion needed',
      paths: [
        ...rehearsed.map((item) => earlier(facts, item)),
        `${places.site}/gate.sock`,
        `${places.folder}/hold.sock`,
        ...((facts.servers ?? []).length > 0 ? [`${places.folder}/credentials`] : []),
      ],
    },
    {
      id: 'outside',
      kind: 'outside',
      title: `ask ${facts.domain} from here`,
      promotion: id,
    },
  ]
}

/** Whether the web server has a way that only the gate can take: other providers have none. */
const throughFront = ({ site, lead }: PromotionFacts): boolean =>
  site.gateToken !== undefined && (lead === undefined || lead.provider === 'nginx')

/** The step, where there is anything that it would be done with. */
function some(things: readonly unknown[], step: StepSpec): StepSpec[] {
  return things.length > 0 ? [step] : []
}

export function list(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.join(', ')
}
