/**
 * One-off dynos. Attached: over rendezvous, with the exit status that the protocol itself lacks: the command prints it
 * behind a mark, which is looked for across chunks and never shown. Detached: by name, its output in the app's log.
 */
import { randomBytes } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { OutcomeUnknownError, SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { quoteAll } from '../../shell/quote.ts'
import type { HerokuContext } from './context.ts'
import { dynosOf } from './dynos.ts'
import { HerokuApiError } from './errors.ts'
import type { Dyno } from './resources.ts'
import * as resource from './resources.ts'
import { pause } from './wait.ts'

interface OneOffOptions {
  /** A terminal: keys are passed on, as in a shell. */
  terminal?: boolean
  /** Gets the output instead of it being shown. */
  capture?: boolean
  /** The output is what the run was asked for: it is shown unchanged. */
  result?: boolean
}

interface OneOffResult {
  exitCode: number
  output: string
}

const mark = '\uFFFF heroku-command-exit-status: '

/** Splits output from the mark, wherever the chunks end. What might be the mark's beginning is held back. */
export class StatusFinder {
  status: number | undefined
  #held = ''
  readonly #mark: string

  constructor(text = mark) {
    this.#mark = text
  }

  /** The text that can be shown. */
  push(text: string): string {
    const all = this.#held + text
    const at = all.indexOf(this.#mark)
    if (at >= 0) {
      const match = /^(\d+)\r?\n/.exec(all.slice(at + this.#mark.length))
      if (match) this.status = Number(match[1])
      this.#held = all.slice(at)
      if (match) this.#held = ''
      return all.slice(0, at)
    }
    let keep = Math.min(this.#mark.length - 1, all.length)
    while (keep > 0 && !this.#mark.startsWith(all.slice(all.length - keep))) keep -= 1
    this.#held = all.slice(all.length - keep)
    return all.slice(0, all.length - keep)
  }

  /** What was held back, at the end. */
  end(): string {
    const rest = this.#held
    this.#held = ''
    return this.status === undefined && rest.startsWith(this.#mark) ? '' : rest
  }
}

/** What the dyno runs: what was asked, in a shell of its own, so that its `exit` doesn't end the mark too. */
const wrapped = (command: string): string => `(${command}\n) ; echo "${mark}$?"`

async function startOneOff(context: HerokuContext, body: Record<string, unknown>): Promise<Dyno> {
  // What tells this run's dyno from others, should the reply be lost.
  const label = `SLIPWAY_RUN_${randomBytes(6).toString('hex')}`
  const command = `: ${label}; ${String(body['command'])}`
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await context.client.write('POST', `${context.path}/dynos`, resource.dyno, {
        body: { ...body, command },
        variant: 'sdk',
        reread: async () => (await dynosOf(context)).find((dyno) => dyno.command.includes(label)),
      })
    } catch (error) {
      // The app is being changed just now; the platform says to try again.
      if (!(error instanceof HerokuApiError) || error.failure.status !== 409 || attempt >= 3) throw error
      await pause(500 * attempt)
    }
  }
}

/** Runs it to its end and resolves with its status; its output is shown as it comes, or captured. */
export async function runAttached(
  context: HerokuContext,
  command: readonly string[] | string,
  options: OneOffOptions = {},
): Promise<OneOffResult> {
  const run = currentRun()
  const text = typeof command === 'string' ? command : quoteAll(command)
  if (run.options.dryRun) {
    run.emit({ type: 'held-back', host: context.app, display: text })
    return { exitCode: 0, output: '' }
  }
  const terminal = options.terminal === true && process.stdin.isTTY === true
  const env = terminal
    ? {
        TERM: process.env['TERM'] ?? 'xterm',
        COLUMNS: String(process.stdout.columns ?? 80),
        LINES: String(process.stdout.rows ?? 24),
      }
    : {}
  const id = randomBytes(4).toString('hex')
  const begun = performance.now()
  run.emit({
    type: 'command.started',
    id,
    host: context.app,
    display: text,
    kind: 'write',
    quiet: options.capture ?? false,
  })
  const dyno = await startOneOff(context, {
    command: wrapped(text),
    attach: true,
    env,
    ...(terminal ? {} : { force_no_tty: true }),
  })
  const finder = new StatusFinder()
  let output = ''
  const show = (shown: string): void => {
    if (shown === '') return
    output = options.capture ? output + shown : (output + shown).slice(-64_000)
    if (terminal) process.stdout.write(shown)
    else
      run.emit({
        type: 'command.output',
        id,
        host: context.app,
        stream: 'stdout',
        text: shown,
        quiet: options.capture ?? false,
        ...(options.result ? { result: true } : {}),
      })
  }
  try {
    await converse(context, dyno, terminal, (chunk) => show(finder.push(chunk)))
  } catch (error) {
    if (finder.status === undefined) throw error
  }
  show(finder.end())
  const exitCode = finder.status
  run.emit({
    type: 'command.finished',
    id,
    host: context.app,
    exitCode: exitCode ?? null,
    signal: null,
    durationMs: performance.now() - begun,
    ...(options.result ? { result: true } : {}),
  })
  if (exitCode === undefined) {
    throw new OutcomeUnknownError(
      'heroku-run-lost',
      `${context.app}: the connection to ${dyno.name} ended before the command told its status`,
      {
        host: context.app,
        detail: output.slice(-2000),
        state: 'The command may have run to its end, or not; it was not started again.',
        next: `See what it printed: \`heroku logs --dyno ${dyno.name} --app ${context.app}\`.`,
      },
    )
  }
  return { exitCode, output }
}

/** Joins the dyno's input and output; resolves when the dyno closes them. */
function converse(
  context: HerokuContext,
  dyno: Dyno,
  terminal: boolean,
  onText: (text: string) => void,
): Promise<void> {
  const url = new URL((dyno.attach_url ?? '').replace(/^rendezvous:/, 'https:'))
  const secret = url.pathname.slice(1)
  const run = currentRun()
  return new Promise<void>((resolve, reject) => {
    void (async () => {
      const ca = await context.client.certificate()
      const socket: TLSSocket = connect({
        host: url.hostname,
        port: Number(url.port || 5000),
        ...(/^[\d.]+$/.test(url.hostname) ? {} : { servername: url.hostname }),
        ...(ca ? { ca } : {}),
      })
      const decoder = new TextDecoder()
      let greeted = ''
      let joined = false
      const finish = (error?: Error): void => {
        run.signal.removeEventListener('abort', onAbort)
        restore()
        socket.destroy()
        if (error) reject(error)
        else resolve()
      }
      const onAbort = (): void =>
        finish(run.signal.reason instanceof Error ? run.signal.reason : new Error('interrupted'))
      run.signal.addEventListener('abort', onAbort, { once: true })
      let restore = (): void => undefined
      socket.setNoDelay(true)
      // The server ends a silent connection after an hour; keepalive is for what lies between.
      socket.setKeepAlive(true, 30_000)
      socket.on('secureConnect', () => socket.write(`${secret}\r\n`))
      socket.on('data', (chunk) => {
        const text = decoder.decode(chunk, { stream: true })
        if (joined) return onText(text)
        greeted += text
        const end = greeted.indexOf('\n')
        if (end < 0) return
        if (!greeted.startsWith('rendezvous')) {
          return finish(new SlipwayError('heroku-rendezvous', `${dyno.name} could not be reached: ${greeted.trim()}`))
        }
        joined = true
        if (terminal) restore = passKeys(socket)
        else socket.write('\x04')
        if (greeted.length > end + 1) onText(greeted.slice(end + 1))
      })
      socket.on('end', () => finish())
      socket.on('close', () => finish())
      socket.on('error', (error) =>
        finish(
          new SlipwayError('heroku-rendezvous', `the connection to ${dyno.name} failed: ${error.message}`, {
            cause: error,
            host: context.app,
          }),
        ),
      )
    })().catch(reject)
  })
}

/** Keys go to the dyno as they are typed; returns what puts the terminal back. */
function passKeys(socket: TLSSocket): () => void {
  const { stdin } = process
  const raw = stdin.isRaw
  stdin.setRawMode(true)
  const onData = (chunk: Buffer): void => void socket.write(chunk)
  stdin.on('data', onData)
  stdin.resume()
  return () => {
    stdin.off('data', onData)
    stdin.setRawMode(raw)
    stdin.pause()
  }
}

/** Starts it and leaves it. Resolves with the dyno's name, under which its output is in the log. */
export async function runDetached(context: HerokuContext, command: readonly string[] | string): Promise<string> {
  const text = typeof command === 'string' ? command : quoteAll(command)
  const dyno = await startOneOff(context, { command: text, attach: false })
  if (currentRun().options.dryRun) return 'run'
  currentRun().emit({
    type: 'note',
    host: context.app,
    text: `${dyno.name} runs: ${text}. Its output: tasks logs:source=${dyno.name}`,
  })
  return dyno.name
}
