/**
 * Reads go on in the window: the old app, in its read-only mode, answers GET and HEAD while everything else waits. Where
 * that can be, and its steps. Pure.
 */
import { SlipwayError } from '../../../events/index.ts'
import { quote } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import type { PromotionFacts, Side } from './facts.ts'
import type { Places, StepSpec } from './spec.ts'

/** What is known of the host when it is decided. */
export interface ReadingFacts {
  host: string
  old?: Side
  /** How many databases on servers the app has. */
  servers: number
  /** Whether the production site leads reads by a way of their own. */
  splits: boolean
  /** Whether the old release's start script knows of the mode. */
  knowsMode: boolean
}

/** The variable of the read-only mode; undefined where there is none, or no old app. Throws where it can't work. */
export function readingOf(to: VpsContext, facts: ReadingFacts): PromotionFacts['reads'] {
  const { readOnly, listen } = to.deployment.app
  if (readOnly === undefined || !facts.old) return undefined
  const { provider } = to.config.domains
  const without = 'Or promote without it: take read_only out, and reads wait as writes do.'
  const reason =
    listen.kind !== 'socket'
      ? 'the app listens on a port, and only sockets can be led to one by one'
      : provider !== 'nginx'
        ? `the web server in front is not configured by this tool (provider = ${provider}), and it would have to tell reads apart`
        : facts.servers > 0
          ? 'a database on a server can not be read while it is copied'
          : undefined
  if (reason !== undefined) {
    throw new SlipwayError('read-only-layout', `reads can't go on while writes wait: ${reason}`, {
      host: facts.host,
      state: 'Nothing was changed.',
      next: 'Take read_only out of [app]: reads wait as writes do.',
    })
  }
  if (!facts.splits) {
    throw new SlipwayError('read-only-site', `the site of ${to.deployment.name} does not tell reads from writes yet`, {
      host: facts.host,
      state: 'Nothing was changed.',
      next: `Have it written again: \`tasks init_production_app\`. ${without}`,
    })
  }
  if (!facts.knowsMode) {
    throw new SlipwayError(
      'read-only-start',
      `${facts.old.release} was installed before it had a read-only mode: its start script does not know of it`,
      {
        host: facts.host,
        state: 'Nothing was changed.',
        next: `Deploy it there again: \`tasks deploy:release=production\`. ${without}`,
      },
    )
  }
  if (facts.old.live === undefined) {
    throw new SlipwayError('read-only-stopped', `${facts.old.release} does not run: it can't answer reads`, {
      host: facts.host,
      state: 'Nothing was changed.',
      next: `Start it: \`tasks start_app:release=production\`. ${without}`,
    })
  }
  return readOnly
}

/** The slot that is free while `live` serves. */
const freeSlot = (live: string): string => (live === 'app-a' ? 'app-b' : 'app-a')

interface Reading {
  old: Side & { live: string }
  /** What both steps are told. */
  shared: Record<string, unknown>
}

function readingIn(
  facts: PromotionFacts,
  places: Places,
  daemon: (side: Side) => unknown,
  source: (item: PromotionFacts['items'][number]) => string,
): Reading | undefined {
  const { reads, old, items, deadline } = facts
  if (!reads || old?.live === undefined) return undefined
  const sockets = Object.fromEntries(
    [freeSlot(old.live), old.live].map((name) => [name, `${old.dir}/run/${name}.sock`]),
  )
  const { path, status, body, deadlineSeconds } = facts.health
  return {
    old: { ...old, live: old.live },
    shared: {
      daemon: daemon(old),
      sockets,
      link: `${places.site}/reads.sock`,
      otherwise: 'current.sock',
      mode: `export ${reads.name}=${quote(reads.value)}\n`,
      seconds: Math.min(old.serverSeconds, Math.floor(deadline / 2)),
      files: items.filter((item) => item.kind === 'sqlite').map(source),
      health: {
        path,
        status,
        ...(body === undefined ? {} : { body }),
        deadline: deadlineSeconds,
        release: old.sends ?? null,
        host: facts.domain,
      },
    },
  }
}

/** The steps of reading; none where the app has no such mode. */
export function readingSteps(...given: Parameters<typeof readingIn>): {
  /** Before requests are held. */
  live: StepSpec[]
  /** Once the databases are fenced. */
  snapshots: StepSpec[]
  /** Once requests reach the new release. */
  end: StepSpec[]
} {
  const [facts] = given
  const reading = readingIn(...given)
  if (!reading) return { live: [], snapshots: [], end: [] }
  const { old, shared } = reading
  return {
    live: [
      {
        id: 'read-live',
        kind: 'read-live',
        title: `start ${old.release} a second time, in its read-only mode (${facts.reads?.name}), and have it answer GET and HEAD`,
        undoTitle: 'stop that, and let reads go where all requests go',
        ...shared,
        program: freeSlot(old.live),
      },
    ],
    snapshots: [
      {
        id: 'read-snapshots',
        kind: 'read-snapshots',
        title:
          'have reads answered from the snapshots, by a process that knows no others; prove that nobody has the databases open',
        undoTitle: 'stop it; reads wait meanwhile',
        ...shared,
        program: old.live,
        reading: 'read-live',
      },
    ],
    end: [
      {
        id: 'end-reading',
        kind: 'end-reading',
        title: `stop ${old.release}, which answered reads, and delete the snapshots`,
        reading: 'read-live',
        files: shared['files'],
      },
    ],
  }
}
