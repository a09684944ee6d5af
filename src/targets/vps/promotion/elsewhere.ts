/**
 * Hosts that run only workers: their part of a promotion. It is done from the operator's machine, before requests are
 * held and after they are let go; the host with the app coordinates, and its journal holds the record of all of it.
 */
import { currentRun, SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import { hostFacts } from '../facts.ts'
import { type ReleaseLayout, releaseLayout } from '../layout.ts'
import { programs } from '../programs.ts'
import type { Data, PromotionFacts, Side } from './facts.ts'
import { daemon, list, placesOf, type StepSpec } from './spec.ts'

/** What is different on such a host. */
export interface WorkerHost {
  host: string
  home: string
  python: string
  supervisord: string
  roles: Record<string, string>
  next: Side
  staging?: Side
  old?: Side
}

/** The one host that has the app. Rejects with `several-hosts` where there is more than one, or none of them first. */
export function coordinator(from: VpsContext, to: VpsContext): Host {
  const names = (context: VpsContext) => [...context.hosts].map((host) => host.name).sort()
  const webs = [...new Set([from, to].flatMap((context) => [...context.role('web')].map((host) => host.name)))]
  const home = to.home()
  const same = names(from).join() === names(to).join() && from.home().name === home.name
  if (same && webs.length === 1 && webs[0] === home.name) return home
  throw new SlipwayError(
    'several-hosts',
    same
      ? `a promotion takes one host with the app, the first one; here the app is on ${webs.join(', ')}`
      : `a promotion takes the same hosts for both: ${names(from).join(', ')} and ${names(to).join(', ')}`,
    {
      state: 'Nothing was changed.',
      next: 'Give both deployments the same hosts, and only the first of them the role web; others may have worker.',
    },
  )
}

/** Whether the workers of a deployment run on `host`. */
export const hasWorkers = (context: VpsContext, host: Host): boolean =>
  [...context.role('worker')].some((each) => each.name === host.name)

/** Reads the hosts beside the coordinator. Rejects with what stands in the way. Changes nothing. */
export async function gatherElsewhere(
  from: VpsContext,
  to: VpsContext,
  found: { next: Side; staging?: Side; old?: Side; items: readonly Data[] },
): Promise<WorkerHost[]> {
  const others = [...to.hosts].filter((host) => host.name !== to.home().name)
  return Promise.all(others.map((host) => gatherOn(host, from, to, found)))
}

async function gatherOn(
  host: Host,
  from: VpsContext,
  to: VpsContext,
  { next, staging, old, items }: { next: Side; staging?: Side; old?: Side; items: readonly Data[] },
): Promise<WorkerHost> {
  const [asStaging, asProduction] = [await hostFacts(from.deployment, host), await hostFacts(to.deployment, host)]
  const { root } = to.deployment.app
  const layout = (name: string) => releaseLayout(root, asProduction.home, name)
  const recorded = asProduction.roles[to.deployment.name]
  if (recorded !== old?.release) {
    throw refusal(
      host,
      'roles-differ',
      `${host.name} has it that ${to.deployment.name} is ${recorded ?? 'none'}, and ${to.home().name} that it is ${old?.release ?? 'none'}`,
      'See what runs where: `tasks status:release=production`; then put ~/.slipway/<app>/roles.json of one of them right.',
    )
  }
  const there = await probe(host, layout(next.release), old && layout(old.release), items)
  if (there.version !== next.version) {
    throw refusal(
      host,
      'versions-differ',
      `${next.release} is at ${there.version ?? 'no version'} on ${host.name}, and at ${next.version} on ${to.home().name}`,
      `Deploy it to all hosts: \`tasks deploy_${from.deployment.name}\`.`,
    )
  }
  if (there.data.length > 0) {
    throw refusal(
      host,
      'data-elsewhere',
      `${old?.release} has ${there.data.join(', ')} on ${host.name} too, and a promotion carries files only on ${to.home().name}`,
      'Keep queues and spools of several hosts on a server; move what is there, and begin again.',
    )
  }
  const missing = (['python3', 'supervisord'] as const).filter((tool) => !asProduction.tools[tool])
  if (missing.length > 0) {
    throw refusal(host, 'no-supervisord', `${missing.join(' and ')}: not installed on ${host.name}`, 'Install it.')
  }
  const side = (like: Side, context: VpsContext, scale: Readonly<Record<string, number>>): Side => {
    const all = hasWorkers(context, host) ? programs(context.deployment.app, scale) : []
    return {
      deployment: like.deployment,
      release: like.release,
      version: like.version,
      dir: layout(like.release).dir,
      server: [],
      workers: all.filter((each) => each.kind === 'worker').map((each) => each.name),
      workerSeconds: like.workerSeconds,
      serverSeconds: like.serverSeconds,
    }
  }
  return {
    host: host.name,
    home: asProduction.home,
    python: asProduction.tools.python3 as string,
    supervisord: asProduction.tools.supervisord as string,
    roles: { ...asProduction.roles },
    next: side(next, to, asProduction.scale),
    ...(staging ? { staging: side(staging, from, asStaging.scale) } : {}),
    ...(old ? { old: side(old, to, asProduction.scale) } : {}),
  }
}

/** Which version there is, and which of the app's files the old release has there. */
async function probe(
  host: Host,
  next: ReleaseLayout,
  old: ReleaseLayout | undefined,
  items: readonly Data[],
): Promise<{ version?: string; data: string[] }> {
  const answers = await host.probes({
    version: sh`readlink ${next.current} || :`,
    data: old
      ? sh`cd ${old.shared} 2>/dev/null || exit 0; for f in ${items.map((item) => item.path)}; do [ -z "$(find "$f" -type f 2>/dev/null | head -n 1)" ] || printf '%s\n' "$f"; done`
      : sh`:`,
  })
  const version = answers.version.stdout.trim().split('/').pop()
  return { ...(version ? { version } : {}), data: answers.data.stdout.split('\n').filter(Boolean) }
}

const refusal = (host: Host, code: string, text: string, next: string): SlipwayError =>
  new SlipwayError(code, text, { host: host.name, state: 'Nothing was changed.', next })

/** The promotion as it is on a host beside the coordinator. */
export function factsOn(facts: PromotionFacts, on: WorkerHost): PromotionFacts {
  const { staging: _staging, old: _old, ...rest } = facts
  return { ...rest, ...on, items: [], servers: [] }
}

/** A step there: named after the step and the host. */
function there(on: WorkerHost, step: StepSpec): StepSpec {
  return { ...step, id: `${step.id}@${on.host}`, title: `${on.host}: ${step.title}`, on: on.host }
}

/** Nothing starts there by itself from now on, staging's workers stop, and the release gets production's settings. */
export function readyElsewhere(facts: PromotionFacts, id: string): StepSpec[] {
  return (facts.elsewhere ?? []).flatMap((on) => {
    const { next, staging } = on
    const mark: StepSpec = {
      id: 'mark',
      kind: 'mark',
      title: 'start nothing by itself, not after a restart either, until this is over',
      undoTitle: 'as before',
      file: placesOf(factsOn(facts, on), id).journal,
      locks: [facts.production, facts.staging?.deployment ?? 'staging'],
      told: `a promotion is under way, whose journal is on ${facts.host}`,
    }
    if (!staging) return [there(on, mark)]
    return [
      mark,
      {
        id: 'stop-staging-workers',
        kind: 'stop',
        title: `stop the ${staging.deployment} workers of ${next.release}: ${list(staging.workers)}`,
        undoTitle: 'start those that ran',
        daemon: daemon(on, next),
        programs: staging.workers,
        seconds: staging.workerSeconds,
      },
      {
        id: 'end-staging-supervisord',
        kind: 'retire',
        title: `end the supervisord of ${next.release}, which ran with ${staging.deployment} settings`,
        daemon: daemon(on, next),
        programs: staging.workers,
        seconds: staging.workerSeconds,
      },
      {
        id: 'settings',
        kind: 'settings',
        title: `give ${next.release} the settings, environment and start script of production`,
        undoTitle: `those of ${staging.deployment} again`,
      },
    ].map((step) => there(on, step))
  })
}

/** The last thing before the window: production's workers finish what they have. */
export function drainElsewhere(facts: PromotionFacts): StepSpec[] {
  if (facts.data !== 'copy') return []
  return (facts.elsewhere ?? []).flatMap((on) =>
    on.old
      ? [
          there(on, {
            id: 'drain-workers',
            kind: 'stop',
            title: `let the workers of ${on.old.release} finish, and stop them: ${list(on.old.workers)} (up to ${on.old.workerSeconds} s)`,
            undoTitle: 'start them',
            daemon: daemon(on, on.old),
            programs: on.old.workers,
            seconds: on.old.workerSeconds,
          }),
        ]
      : [],
  )
}

/** Once the new production serves. */
export function startElsewhere(facts: PromotionFacts, id: string): StepSpec[] {
  return (facts.elsewhere ?? []).flatMap((on) => {
    const { next, old, roles } = on
    const places = placesOf(factsOn(facts, on), id)
    const record: Record<string, string> = { [facts.production]: next.release, ...(old ? { former: old.release } : {}) }
    const steps: StepSpec[] = [
      {
        id: 'roles',
        kind: 'roles',
        title: `record that ${next.release} is ${facts.production}`,
        path: places.roles,
        set: record,
        unset: Object.keys(roles).filter((role) => roles[role] === next.release && record[role] === undefined),
      },
      {
        id: 'start-workers',
        kind: 'start',
        title: `start the workers of ${next.release}: ${list(next.workers)}`,
        daemon: daemon(on, next),
        programs: next.workers,
        seconds: next.workerSeconds,
      },
    ]
    if (old) {
      steps.push({
        id: 'retire-old',
        kind: 'retire',
        title: `end the supervisord of ${old.release}`,
        daemon: daemon(on, old),
        programs: old.workers,
        seconds: old.workerSeconds,
      })
    }
    steps.push({ id: 'unmark', kind: 'unmark', title: 'what is wanted starts by itself again', file: places.journal })
    return steps.map((step) => there(on, step))
  })
}

/** Refuses to go back while a host of it can't be reached: all of them, or none. */
export async function requireAll(facts: PromotionFacts, to: VpsContext, verb: string): Promise<void> {
  const others = (facts.elsewhere ?? []).map((on) => hostNamed(to, on.host))
  const answers = await Promise.all(
    others.map((host) =>
      host.run(sh`:`, { kind: 'probe', quiet: true, label: 'see whether it answers' }).then(
        () => undefined,
        (error: Error) => ({ host, error }),
      ),
    ),
  )
  currentRun().signal.throwIfAborted()
  const silent = answers.find((answer) => answer !== undefined)
  if (!silent) return
  throw new SlipwayError('needs-all-hosts', `${verb} needs ${silent.host.name}: ${silent.error.message}`, {
    host: silent.host.name,
    state: 'Nothing was changed by this run.',
    next: `Bring ${silent.host.name} back, and type the same again.`,
    cause: silent.error,
  })
}

export function hostNamed(to: VpsContext, name: string): Host {
  const found = [...to.hosts].find((host) => host.name === name)
  if (found) return found
  throw new SlipwayError(
    'unknown-host',
    `the promotion was begun with ${name}, which is no host of ${to.deployment.name} now`,
    {
      state: 'Nothing was changed by this run.',
      next: `Put ${name} back into config/deploy.ini until it is finished.`,
    },
  )
}
