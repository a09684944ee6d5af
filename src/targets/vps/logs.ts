/** The logs of a deployment, followed or not, from one source or from all of them together. */
import { UsageError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import type { LogLine, LogOptions } from '../deployment.ts'
import type { VpsContext } from './context.ts'
import { hostFacts, requireRelease } from './facts.ts'
import { logFiles } from './programs.ts'

/** The names of the sources that a deployment's logs have. */
export const logSources = (context: VpsContext): string[] => Object.keys(logFiles(context.deployment.app))

/** Lines as they come, from every host. Throws a UsageError for a source that there is not. */
export async function* readLogs(context: VpsContext, options: LogOptions = {}): AsyncIterable<LogLine> {
  const files = logFiles(context.deployment.app)
  if (options.source !== undefined && !(options.source in files)) {
    throw new UsageError('no-log', `there is no log ${options.source}; there are ${Object.keys(files).join(', ')}`)
  }
  const chosen = Object.entries(files).filter(([source]) => options.source === undefined || source === options.source)
  const hosts: Host[] = [...context.hosts]
  yield* merged(hosts.map((host) => hostLogs(context, host, chosen, options)))
}

async function* hostLogs(
  context: VpsContext,
  host: Host,
  chosen: readonly [string, string[]][],
  options: LogOptions,
): AsyncIterable<LogLine> {
  const facts = await hostFacts(context.deployment, host)
  const release = requireRelease(context.deployment, facts, host)
  const sources = new Map<string, string>(
    chosen.flatMap(([source, paths]) => paths.map((path) => [`${release.dir}/${path}`, source] as const)),
  )
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
export async function* merged<T>(streams: readonly AsyncIterable<T>[]): AsyncIterable<T> {
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
