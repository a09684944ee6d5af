/**
 * Follows files on hosts as one stream of lines. A dropped connection is taken up at the byte where it was cut; what
 * cannot be known to be whole is marked as a gap.
 */
import { randomBytes } from 'node:crypto'
import { StringDecoder } from 'node:string_decoder'
import { AbortedError, SlipwayError, UsageError } from '../events/errors.ts'
import { currentRun, type Run, withRun } from '../events/run.ts'
import type { Command } from '../shell/index.ts'
import { milliseconds } from './duration.ts'
import { ConnectError } from './errors.ts'
import type { Host, RunCommandOptions, Running, TailLine, TailOptions } from './host.ts'
import { logTime } from './log-time.ts'
import { createTailParser, filesPerFollower, type TailPlan, type TailPosition, tailCommand } from './tail-script.ts'

export interface TailSite {
  readonly name: string
  /** Starts a command that holds its channel for as long as it follows. */
  start(command: Command, options: RunCommandOptions): Running
  probe(text: string): Promise<string>
}

/** How long a host may be away before following it is given up, milliseconds. */
const patience = 10 * 60_000
const backWithSince = 16 * 1024 * 1024

/** The lines of `paths` on one host. Ends when not following; else when the run is aborted or the reader stops. */
export function tailHost(site: TailSite, paths: readonly string[], options: TailOptions = {}): AsyncIterable<TailLine> {
  if (paths.length === 0) throw new UsageError('tail-nothing', 'there is no file to follow')
  const run = currentRun()
  const groups: string[][] = []
  for (let from = 0; from < paths.length; from += filesPerFollower)
    groups.push(paths.slice(from, from + filesPerFollower))
  const stop = new AbortController()
  return merged(
    run,
    groups.map((group) => followGroup(run, stop.signal, site, group, options)),
    () => stop.abort(),
  )
}

/**
 * The lines of `paths` on several hosts, as they come. Each line names its host.
 *
 * @example
 * ```ts
 * for await (const { host: name, text } of tailHosts([host('web1'), host('web2')], 'log/app.log', { follow: true })) {
 *   note(`${name}: ${text}`)
 * }
 * ```
 */
export function tailHosts(
  hosts: Iterable<Host>,
  paths: string | readonly string[],
  options: TailOptions = {},
): AsyncIterable<TailLine> {
  const run = currentRun()
  const each = [...hosts].map((host) => host.tail(paths, options)[Symbol.asyncIterator]())
  return merged(run, each, () => {
    for (const iterator of each) void iterator.return?.()
  })
}

async function* followGroup(
  run: Run,
  stop: AbortSignal,
  site: TailSite,
  paths: readonly string[],
  options: TailOptions,
): AsyncGenerator<TailLine> {
  const follow = options.follow ?? true
  const grep = pattern(options.grep)
  const since = options.since === undefined ? undefined : await sinceOf(site, options.since)
  const files = paths.map(() => ({
    position: undefined as TailPosition | undefined,
    decoder: new StringDecoder('utf8'),
    text: '',
    wanted: since === undefined,
  }))
  let lostAt: number | undefined
  for (;;) {
    const nonce = randomBytes(6).toString('hex')
    const plan: TailPlan = {
      paths,
      from: files.map((file) => file.position),
      back: since === undefined ? { lines: options.lines ?? 10 } : { bytes: backWithSince },
      follow,
      nonce,
      interval: 0.25,
    }
    const parse = createTailParser(nonce)
    const running = site.start(tailCommand(plan), { kind: 'probe', quiet: true, label: `tail ${paths.join(' ')}` })
    const stdout = running.stdout()
    // Closing the stream ends the command, also while it has nothing to say.
    const close = () => stdout.destroy()
    stop.addEventListener('abort', close, { once: true })
    try {
      for await (const chunk of stdout) {
        if (lostAt !== undefined) {
          lostAt = undefined
          for (const path of paths) yield { host: site.name, path, text: '', mark: 'reconnected' }
        }
        for (const piece of parse(chunk as Buffer)) {
          const file = files[piece.file]
          const path = paths[piece.file]
          if (!file || path === undefined) continue
          if (piece.type === 'mark') {
            if (piece.mark === 'missing') {
              if (!follow) throw missing(site, path)
              run.emit({ type: 'note', host: site.name, text: `${path} does not exist yet; waiting for it` })
              continue
            }
            yield { host: site.name, path, text: '', mark: piece.mark }
            continue
          }
          file.position = { inode: piece.inode, offset: piece.offset + piece.bytes.length }
          file.text += file.decoder.write(piece.bytes)
          const lines = file.text.split('\n')
          file.text = lines.pop() ?? ''
          for (const text of lines) {
            if (!file.wanted && since) {
              const time = logTime(text, since.zone, since.now)
              file.wanted = time !== undefined && time >= since.from
            }
            if (file.wanted && grep(text)) yield { host: site.name, path, text }
          }
        }
      }
      await running
      if (follow)
        throw new SlipwayError('tail-ended', `following ${paths.join(', ')} on ${site.name} ended by itself`, {
          host: site.name,
        })
      for (const [index, file] of files.entries()) {
        const rest = file.text + file.decoder.end()
        if (rest && file.wanted && grep(rest)) yield { host: site.name, path: paths[index] as string, text: rest }
      }
      return
    } catch (error) {
      if (stop.aborted || run.signal.aborted || error instanceof AbortedError) return
      const cut =
        error instanceof ConnectError
          ? lostAt !== undefined
          : error instanceof SlipwayError && /^(connection-lost|channel-unanswered)$/.test(error.code)
      if (!cut || !follow) throw error
      if (lostAt === undefined) {
        lostAt = Date.now()
        run.emit({
          type: 'warning',
          host: site.name,
          text: 'the connection was lost; following again as soon as it stands',
        })
      } else if (Date.now() - lostAt > patience) throw error
      await pause(Math.min(250 + (Date.now() - lostAt) / 4, 5000), run.signal)
      if (run.signal.aborted) return
    } finally {
      stop.removeEventListener('abort', close)
      stdout.destroy()
    }
  }
}

function missing(site: TailSite, path: string): SlipwayError {
  return new SlipwayError('file-missing', `${path} on ${site.name} does not exist`, { host: site.name })
}

function pattern(grep: string | undefined): (text: string) => boolean {
  if (grep === undefined) return () => true
  try {
    const regex = new RegExp(grep)
    return (text) => regex.test(text)
  } catch (error) {
    throw new UsageError('bad-grep', `${JSON.stringify(grep)} is not a regular expression`, { cause: error })
  }
}

/** The moment to begin at, by the host's clock and in its zone. */
async function sinceOf(site: TailSite, since: string): Promise<{ from: number; now: number; zone: number }> {
  const duration = /^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(since.trim())
  const given = duration ? 'date +%s' : `date -d ${`'${since.replaceAll("'", `'\\''`)}'`} +%s`
  const [now, zone, from] = (await site.probe(`date +%s; date +%z; ${given} 2>/dev/null || echo -`)).trim().split('\n')
  if (from === '-' || from === undefined) {
    throw new UsageError('bad-since', `${JSON.stringify(since)} is neither a duration nor a date`, {
      next: "Write '10m', '2h', or a date such as '2026-11-27 10:00'.",
    })
  }
  const [, sign, hours, minutes] = /([+-])(\d\d)(\d\d)/.exec(zone ?? '') ?? []
  const nowMs = Number(now) * 1000
  return {
    now: nowMs,
    from: duration ? nowMs - milliseconds(since.trim()) : Number(from) * 1000,
    zone: (sign === '-' ? -1 : 1) * (Number(hours ?? 0) * 60 + Number(minutes ?? 0)),
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}

/** Several streams as one, in the order in which things come. The reader's stop stops them all, at once. */
function merged(
  run: Run,
  sources: readonly AsyncIterator<TailLine>[],
  stop: () => void,
): AsyncIterableIterator<TailLine> {
  const next = (index: number) =>
    withRun(run, () => (sources[index] as AsyncIterator<TailLine>).next()).then((result) => ({ index, result }))
  let waiting: Map<number, ReturnType<typeof next>> | undefined
  const [only] = sources
  if (only !== undefined && sources.length === 1) {
    // Tens of thousands of lines may come in a second: nothing is done for each that need not be.
    let last: Promise<IteratorResult<TailLine>> | undefined
    return {
      [Symbol.asyncIterator]() {
        return this
      },
      next() {
        last = withRun(run, () => only.next())
        return last
      },
      async return() {
        stop()
        await last?.catch(() => {})
        return { done: true, value: undefined }
      },
    }
  }
  return {
    [Symbol.asyncIterator]() {
      return this
    },
    async next() {
      waiting ??= new Map(sources.map((_each, index) => [index, next(index)]))
      while (waiting.size > 0) {
        const { index, result } = await Promise.race(waiting.values())
        if (result.done) waiting.delete(index)
        else {
          waiting.set(index, next(index))
          return { done: false, value: result.value }
        }
      }
      return { done: true, value: undefined }
    },
    async return() {
      stop()
      await Promise.allSettled(waiting?.values() ?? [])
      return { done: true, value: undefined }
    },
  }
}
