/** The logs of a deployment, followed or not, from one source or from all of them together. */
import { UsageError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import type { LogLine, LogOptions } from '../deployment.ts'
import type { VpsContext } from './context.ts'
import { hostFacts, requireRelease } from './facts.ts'
import { logFiles } from './programs.ts'

/** The names of the sources that a deployment's logs have. */
const logSources = (context: VpsContext): string[] => [
  ...Object.keys(logFiles(context.deployment.app)),
  ...(context.config.domains.provider === 'nginx' ? [webServer] : []),
]

/** What nginx writes of the site. */
const webServer = 'web'

/** Lines as they come, from every host. Throws a UsageError for a source that there is not. */
export async function* readLogs(context: VpsContext, options: LogOptions = {}): AsyncIterable<LogLine> {
  const known = logSources(context)
  if (options.source !== undefined && !known.includes(options.source)) {
    throw new UsageError('no-log', `there is no log ${options.source}; there are ${known.join(', ')}`)
  }
  const hosts: Host[] = [...context.hosts]
  yield* merged(hosts.map((host) => hostLogs(context, host, options)))
}

async function* hostLogs(context: VpsContext, host: Host, options: LogOptions): AsyncIterable<LogLine> {
  const facts = await hostFacts(context.deployment, host)
  const release = requireRelease(context.deployment, facts, host)
  const site = facts.app.site(context.deployment.name)
  const isWeb =
    logSources(context).includes(webServer) && [...context.role('web')].some(({ name }) => name === host.name)
  const all = [
    ...Object.entries(logFiles(context.deployment.app)).flatMap(([source, paths]) =>
      paths.map((path) => [`${release.dir}/${path}`, source] as const),
    ),
    ...(isWeb ? [`${site}/access.log`, `${site}/error.log`].map((path) => [path, webServer] as const) : []),
  ]
  const sources = new Map(all.filter(([, source]) => options.source === undefined || source === options.source))
  // Followed, a log may come later. Looked at, those that there are count, unless none is there.
  if (options.follow !== true && sources.size > 1) {
    const look = sh`for f in ${[...sources.keys()]}; do [ ! -e "$f" ] || echo "$f"; done`
    const there = await host.run(look, { kind: 'probe', quiet: true, label: 'which logs there are' }).lines()
    for (const path of there.length > 0 ? [...sources.keys()] : []) if (!there.includes(path)) sources.delete(path)
  }
  if (sources.size === 0) return
  const tail = host.tail([...sources.keys()], {
    follow: options.follow ?? false,
    lines: options.lines,
    since: options.since,
    grep: options.grep,
  })
  for await (const line of tail) {
    yield {
      host: line.host,
      source: sources.get(line.path) ?? line.path,
      text: line.text,
      ...(line.mark ? { mark: line.mark } : {}),
    }
  }
}

/** Several streams as one, each line as soon as it is there. */
async function* merged<T>(streams: readonly AsyncIterable<T>[]): AsyncIterable<T> {
  if (streams.length === 1) {
    yield* streams[0] as AsyncIterable<T>
    return
  }
  const iterators = streams.map((stream) => stream[Symbol.asyncIterator]())
  const next = (index: number) => (iterators[index] as AsyncIterator<T>).next().then((result) => ({ index, result }))
  const waiting = new Map(iterators.map((_, index) => [index, next(index)]))
  try {
    while (waiting.size > 0) {
      const { index, result } = await Promise.race(waiting.values())
      if (result.done) waiting.delete(index)
      else {
        waiting.set(index, next(index))
        yield result.value
      }
    }
  } finally {
    await Promise.allSettled(iterators.map((iterator) => iterator.return?.()))
  }
}
