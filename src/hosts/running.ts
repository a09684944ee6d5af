/** A command under way: options chained first, started in the next microtask, ended with its whole process group. */
import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { AbortedError, SlipwayError, StubbedResultError } from '../events/errors.ts'
import { approve, currentRun, type Run, throwIfAborted } from '../events/run.ts'
import { Secret } from '../shell/index.ts'
import { Capture, type Captured } from './capture.ts'
import { milliseconds } from './duration.ts'
import { CommandError, connectionLost, TimeoutError } from './errors.ts'
import type { Result, RunCommandOptions, Running } from './host.ts'
import { OutputStream } from './output-stream.ts'
import { nextTurn, orAborted, within, withResolvers } from './promises.ts'
import type { Channel, PtySize, Transport } from './transport.ts'
import { AnnouncementFilter, type WireCommand } from './wire.ts'

/** What a command needs of its host. */
export interface CommandSite {
  readonly name: string
  /** The connection, made if need be. */
  transport(): Promise<Transport>
  /** The command in its scope, as it is sent. */
  wire(nonce: string, pty: boolean): Promise<WireCommand>
  /** A line that ends the process group of `pid`, as the same user. */
  killLine(pid: number, signal: string): Promise<WireCommand>
}

const defaultCaptureBytes = 8 * 1024 * 1024
const background = { graceMs: 3000 }
/** How long ending a command may take before it is said to be running still. */
const killDeadlineMs = 10_000
let counter = 0

/** Chunks as they come, before they are shown: what takes a script's output apart. */
export interface Tap {
  stdout(chunk: Buffer): void
  stderr(chunk: Buffer): void
}

export type StartOptions = RunCommandOptions & {
  tap?: Tap
  /** Keeps its input open, and does not take one of the few command channels: a follower stays. */
  follower?: boolean
}

/** Starts (in the next microtask) the command that `site` describes. `display` is what is shown of it. */
export function startCommand(site: CommandSite, display: string, given: StartOptions = {}): Running {
  return new RunningCommand(site, display, given)
}

class RunningCommand implements Running {
  readonly #site: CommandSite
  readonly #display: string
  readonly #options: StartOptions
  readonly #result: Promise<Result>
  #piped: OutputStream | undefined
  #kill: ((signal: string) => Promise<boolean>) | undefined

  constructor(site: CommandSite, display: string, options: StartOptions) {
    this.#site = site
    this.#display = options.label ?? display
    this.#options = { ...options }
    hear(options.input)
    const run = currentRun()
    this.#result = Promise.resolve().then(() => this.#start(run))
  }

  nothrow(): Running {
    this.#options.nothrow = true
    return this
  }
  quiet(): Running {
    this.#options.quiet = true
    return this
  }
  timeout(duration: string | number): Running {
    this.#options.timeoutMs = milliseconds(duration)
    return this
  }
  idleTimeout(duration: string | number): Running {
    this.#options.idleTimeoutMs = milliseconds(duration)
    return this
  }
  input(data: string | Uint8Array | Readable | Secret): Running {
    this.#options.input = data
    hear(data)
    return this
  }
  okCodes(...codes: number[]): Running {
    this.#options.okCodes = codes
    return this
  }
  pty(): Running {
    this.#options.pty = true
    return this
  }
  async text(): Promise<string> {
    return (await this.#result).text()
  }
  async lines(): Promise<string[]> {
    return (await this.#result).lines()
  }
  async json<T = unknown>(): Promise<T> {
    return (await this.#result).json<T>()
  }
  async ok(): Promise<boolean> {
    this.#options.nothrow = true
    return (await this.#result).exitCode === 0
  }
  stdout(): Readable {
    if (!this.#piped) {
      const piped = new OutputStream()
      this.#piped = piped
      this.#result.then(
        () => piped.finish(),
        (error: Error) => piped.destroy(error),
      )
    }
    return this.#piped
  }
  async kill(signal: 'TERM' | 'KILL' | 'INT' | 'HUP' = 'TERM'): Promise<void> {
    await this.#kill?.(signal)
  }
  // biome-ignore lint/suspicious/noThenProperty: a command is awaited for its result
  then<A = Result, B = never>(
    onResult?: ((value: Result) => A | PromiseLike<A>) | null,
    onError?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#result.then(onResult, onError)
  }
  catch<T>(onRejected: (error: unknown) => T | PromiseLike<T>): Promise<Result | T> {
    return this.#result.catch(onRejected)
  }
  finally(onFinally: () => void): Promise<Result> {
    return this.#result.finally(onFinally)
  }

  async #start(run: Run): Promise<Result> {
    const options = this.#options
    const name = this.#site.name
    throwIfAborted(run)
    // Every command under way listens to it: hundreds are no leak.
    setMaxListeners(0, run.signal)
    if (run.options.dryRun && (options.kind ?? 'write') === 'write') {
      run.emit({ type: 'held-back', host: name, display: this.#display })
      return stubbedResult(this.#display)
    }
    if ((options.kind ?? 'write') === 'write' && !options.ownRecord) await approve(run, name, this.#display)
    const execution = new Execution(run, this.#site, this.#display, options, this.#piped)
    this.#kill = (signal) => execution.kill(signal)
    return execution.result()
  }
}

/** A result whose every property throws, but which can be awaited. */
export function stubbedResult<T extends object>(display: string): T {
  return new Proxy({} as T, {
    get(_target, property) {
      if (property === 'then') return undefined
      throw new StubbedResultError(display)
    },
  })
}

/** One command, from its channel's opening to its result. */
class Execution {
  readonly #run: Run
  readonly #site: CommandSite
  readonly #display: string
  readonly #options: StartOptions
  readonly #piped: OutputStream | undefined
  readonly #id = `c${++counter}`
  readonly #nonce = randomBytes(6).toString('hex')
  readonly #filter = new AnnouncementFilter(this.#nonce)
  #transport: Transport | undefined
  #channel: Channel | undefined
  #over = false
  /** Resolves once it is known which process the command is. */
  readonly #announced = withResolvers<void>()

  constructor(run: Run, site: CommandSite, display: string, options: StartOptions, piped: OutputStream | undefined) {
    this.#run = run
    this.#site = site
    this.#display = display
    this.#options = options
    this.#piped = piped
  }

  async result(): Promise<Result> {
    const run = this.#run
    const { name } = this.#site
    const quiet = this.#options.quiet ?? false
    // Waiting for a connection that others share is given up at an abort; the connection itself is not.
    const transport = await orAborted(run.signal, this.#site.transport())
    this.#transport = transport
    // sudo may be asked first, and what decides there may stand still.
    const wire = await orAborted(run.signal, this.#site.wire(this.#nonce, this.#options.pty ?? false))
    const kind = this.#options.kind ?? 'write'
    const startedAt = performance.now()
    let channel: Channel
    let gone: Error | undefined
    void transport.lost.then((error) => {
      gone = error
    })
    try {
      const opening = transport.exec(wire.line, {
        signal: run.signal,
        input: this.#wholeInput(wire),
        urgent: this.#options.follower,
        ...(this.#options.pty ? { pty: ptySize() } : {}),
      })
      // What has begun there is to be ended there, so it is waited for a while; not for ever, where the line stands still.
      const opened = await orAborted(run.signal, opening).catch((error: unknown) => {
        if (run.signal.aborted) return within(killDeadlineMs, opening)
        throw error
      })
      if (!opened) {
        void opening.then((late) => late.close()).catch(() => {})
        throw abortedCommand(run, name, this.#display, false)
      }
      channel = opened
    } catch (error) {
      if (error instanceof AbortedError) throw error
      if (run.signal.aborted) throwIfAborted(run)
      await nextTurn()
      if (!gone) throw error
      // The request may have got through before the connection went.
      throw connectionLost(name, this.#display, gone.message, true)
    }
    this.#channel = channel
    run.emit({ type: 'command.started', id: this.#id, host: name, display: this.#display, kind, quiet })

    const stop = new Stop()
    const limit = this.#options.captureBytes ?? defaultCaptureBytes
    const out = new Capture(limit, 'stdout')
    const err = new Capture(limit, 'stderr')
    let idle: NodeJS.Timeout | undefined
    const alive = () => {
      if (this.#options.idleTimeoutMs === undefined) return
      clearTimeout(idle)
      const ms = this.#options.idleTimeoutMs
      idle = setTimeout(() => stop.set({ why: 'idle', ms }), ms)
    }
    const timeoutMs = this.#options.timeoutMs
    const timer = timeoutMs && setTimeout(() => stop.set({ why: 'timeout', ms: timeoutMs }), timeoutMs)
    const abort = () => stop.set({ why: 'abort' })
    if (run.signal.aborted) abort()
    run.signal.addEventListener('abort', abort, { once: true })
    alive()

    out.onRoom = () => channel.stdout.resume()
    err.onRoom = () => channel.stderr.resume()
    const asResult = this.#options.result ? { result: true } : {}
    const tell = (stream: 'stdout' | 'stderr') => {
      const decoder = new StringDecoder('utf8')
      return (chunk: Buffer) => {
        const text = decoder.write(chunk)
        if (text) run.emit({ type: 'command.output', id: this.#id, host: name, stream, text, quiet, ...asResult })
      }
    }
    const tellOut = tell('stdout')
    const tellErr = tell('stderr')
    const takeOut = (chunk: Buffer | undefined) => {
      if (!chunk) return
      if (this.#piped) {
        if (!this.#piped.add(chunk)) {
          channel.stdout.pause()
          this.#piped.once('room', () => channel.stdout.resume())
        }
        return
      }
      if (this.#options.tap) {
        this.#options.tap.stdout(chunk)
        return
      }
      if (!out.add(chunk)) channel.stdout.pause()
      tellOut(chunk)
    }
    const withoutPrompt = promptRemover(wire.hiddenPrompt)
    let lastOutput = performance.now()
    let ready: (() => void) | undefined
    const handshake = wire.handshake ? new Promise<void>((resolve) => (ready = resolve)) : undefined
    channel.stdout.on('data', (chunk: Buffer) => {
      lastOutput = performance.now()
      alive()
      takeOut(this.#filter.push(chunk, ready))
      if (this.#filter.pid !== undefined) this.#announced.resolve()
    })
    channel.stderr.on('data', (chunk: Buffer) => {
      lastOutput = performance.now()
      alive()
      const own = withoutPrompt(chunk)
      if (own.length === 0) return
      if (this.#options.tap) {
        this.#options.tap.stderr(own)
        return
      }
      if (!err.add(own)) channel.stderr.pause()
      tellErr(own)
    })
    for (const stream of [channel.stdin, channel.stdout, channel.stderr]) stream.on('error', () => {})
    const resize = () => channel.resize(ptySize())
    if (this.#options.pty) process.stdout.on('resize', resize)
    this.#piped?.once('close', () => {
      // The reader has gone: nothing more is wanted of the command.
      if (this.#piped?.readableEnded || this.#over) return
      this.kill('TERM').then(
        () => channel.close(),
        () => channel.close(),
      )
    })

    const feeding = this.#feed(channel, wire, handshake)
    const finished = this.#finish(channel, () => lastOutput)
    const winner = await Promise.race([finished, stop.asked])
    let ended = true
    if ('why' in winner) {
      ended = await this.kill('TERM').catch(() => false)
      channel.close()
    }
    this.#over = true
    process.stdout.off('resize', resize)
    const status = 'why' in winner ? { exitCode: null, signal: null } : winner
    clearTimeout(idle)
    if (timer) clearTimeout(timer)
    run.signal.removeEventListener('abort', abort)
    takeOut(this.#filter.flush())
    feeding.catch(() => {})
    const durationMs = performance.now() - startedAt
    run.emit({ type: 'command.finished', id: this.#id, host: name, ...pick(status), durationMs, quiet, ...asResult })
    const result = makeResult(await out.finish(run), await err.finish(run), pick(status), durationMs)

    if ('why' in winner) {
      if (winner.why === 'abort') throw abortedCommand(run, name, this.#display, ended)
      throw new TimeoutError(name, this.#display, result, { ms: winner.ms, idle: winner.why === 'idle', ended })
    }
    const { input } = this.#options
    // What another command was to give is told of by that one.
    if (input instanceof Readable && input.errored && !(input.errored instanceof SlipwayError)) {
      throw unreadable(name, this.#display, input.errored)
    }
    if (status.exitCode === null && status.signal === null) {
      await nextTurn()
      if (gone) {
        run.emit({ type: 'host.lost', host: name, reason: gone.message })
        throw connectionLost(name, this.#display, gone.message, true, durationMs)
      }
    }
    if (this.#options.nothrow && (status.exitCode !== null || status.signal !== null)) return result
    const okCodes = this.#options.okCodes ?? [0]
    if (status.exitCode !== null && okCodes.includes(status.exitCode)) return result
    throw new CommandError(name, this.#display, result)
  }

  /** Ends the command's process group over a second channel. Resolves with whether none of it is left. */
  async kill(signal: string): Promise<boolean> {
    // A command that has only just started may not have said yet who it is.
    if (this.#channel && this.#filter.pid === undefined) await within(1500, this.#announced.promise)
    const pid = this.#filter.pid
    if (!this.#transport || !this.#channel || pid === undefined) {
      this.#channel?.close()
      return false
    }
    const wire = await this.#site.killLine(pid, signal)
    const channel = await within(killDeadlineMs, this.#transport.exec(wire.line, { urgent: true }))
    if (!channel) return false
    channel.stdin.on('error', () => {})
    channel.stdout.resume()
    channel.stderr.resume()
    channel.stdin.end(wire.prelude)
    return (await within(killDeadlineMs, channel.exit))?.exitCode === 0
  }

  /** All that standard input will be, where that is known before it starts. */
  #wholeInput(wire: WireCommand): { data: Uint8Array } | undefined {
    const { input, pty, follower } = this.#options
    if (pty || follower || wire.handshake) return undefined
    const known = input instanceof Secret ? input.reveal() : (input ?? '')
    if (typeof known !== 'string' && !(known instanceof Uint8Array)) return undefined
    return { data: Buffer.concat([Buffer.from(wire.prelude), Buffer.from(known)]) }
  }

  async #feed(channel: Channel, wire: WireCommand, handshake: Promise<void> | undefined): Promise<void> {
    if (channel.fed) return
    const { stdin } = channel
    await handshake
    if (wire.prelude) stdin.write(wire.prelude)
    const { input, pty, follower } = this.#options
    if (input === undefined) {
      // A terminal's input stays open: closing it would hang up on the command.
      if (!pty && !follower) stdin.end()
      return
    }
    if (typeof input === 'string' || input instanceof Uint8Array) {
      stdin.end(input)
    } else if (input instanceof Secret) {
      stdin.end(input.reveal())
    } else {
      if (input.errored) channel.close()
      else input.on('error', () => channel.close()).pipe(stdin)
    }
  }

  /** The exit status, once the streams have ended too; or once it is known and a background job holds them open. */
  async #finish(channel: Channel, lastOutput: () => number): Promise<Ended> {
    const streams = [channel.stdout, channel.stderr].map(
      (stream) =>
        new Promise<void>((resolve) => {
          stream.once('end', resolve)
          stream.once('close', resolve)
        }),
    )
    const whole = Promise.all([channel.exit, ...streams]).then(([status]) => status)
    if (!channel.exited) return whole
    const first = await Promise.race([whole, channel.exited])
    if (first) return first
    for (;;) {
      const quietFor = performance.now() - lastOutput()
      const settled = await within(Math.max(background.graceMs - quietFor, 50), whole)
      if (settled) return settled
      if (performance.now() - lastOutput() < background.graceMs) continue
      this.#run.emit({
        type: 'warning',
        host: this.#site.name,
        text: `${this.#display} has ended, but something that it started still holds its output; it was left running. Redirect its output, as in >/dev/null 2>&1 </dev/null.`,
      })
      channel.close()
      return channel.exit
    }
  }
}

/** Takes the first `prompt` out of a stream. Sudo writes it in one piece. */
function promptRemover(prompt: string | undefined): (chunk: Buffer) => Buffer {
  let pending = prompt
  return (chunk) => {
    const at = pending === undefined ? -1 : chunk.indexOf(pending)
    if (pending === undefined || at < 0) return chunk
    const rest = Buffer.concat([chunk.subarray(0, at), chunk.subarray(at + pending.length)])
    pending = undefined
    return rest
  }
}

type Ended = { exitCode: number | null; signal: string | null }
type StopReason = { why: 'abort' } | { why: 'timeout' | 'idle'; ms: number }

const pick = ({ exitCode, signal }: Ended): Ended => ({ exitCode, signal })

/** The first reason to stop a command before its end. */
class Stop {
  set: (reason: StopReason) => void = () => {}
  readonly asked = new Promise<StopReason>((resolve) => {
    this.set = resolve
  })
}

function abortedCommand(run: Run, host: string, display: string, ended: boolean): SlipwayError {
  const reason: unknown = run.signal.reason
  return new AbortedError(`interrupted during ${display} on ${host}`, {
    host,
    cause: reason,
    state: ended
      ? 'It and the processes it started were ended on the host.'
      : 'It could not be ended on the host, and may still be running there.',
  })
}

/** A stream may fail before the command takes it: that is told of then, and must not end the process meanwhile. */
function hear(input: StartOptions['input']): void {
  if (input instanceof Readable) input.on('error', () => {})
}

function unreadable(host: string, display: string, cause: Error): SlipwayError {
  return new SlipwayError('input-unreadable', `what ${display} was to be given could not be read: ${cause.message}`, {
    host,
    cause,
    state: 'It was given a part at most, and its input was closed; look at what it made of that.',
  })
}

function ptySize(): PtySize {
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24, term: process.env.TERM }
}

function makeResult(out: Captured, err: Captured, status: Ended, durationMs: number): Result {
  const text = () => {
    if (out.file !== undefined) {
      throw new SlipwayError('output-truncated', `the output is longer than what is kept in memory`, {
        state: `All of it is in ${out.file} until the run ends.`,
        next: 'Give a larger captureBytes, or read it as it comes with .stdout().',
      })
    }
    return out.text.replace(/(\r?\n)+$/, '')
  }
  return {
    stdout: out.text,
    stderr: err.text,
    ...status,
    durationMs,
    truncated: out.file !== undefined || err.file !== undefined,
    ...(out.file === undefined && err.file === undefined ? {} : { files: { stdout: out.file, stderr: err.file } }),
    text,
    lines: () => (text() === '' ? [] : text().split(/\r?\n/)),
    json: <T>() => JSON.parse(text()) as T,
  }
}
