/** Plain lines: what is shown where there is no terminal. A line is one host's; results go to stdout, the rest to stderr. */
import type { RunEvent } from '../events/events.ts'
import { failureLines } from './failure.ts'
import type { Sink } from './sink.ts'
import { type Paint, unpainted } from './style.ts'
import { createSummary } from './summary.ts'
import { bytes, createLines, duration, printable, taskTitle } from './text.ts'

export type Verbosity = 'quiet' | 'normal' | 'verbose' | 'debug'

export interface PlainOptions {
  out(text: string): void
  err(text: string): void
  verbosity?: Verbosity
  paint?: Paint
}

const rank: Record<Verbosity, number> = { quiet: 0, normal: 1, verbose: 2, debug: 3 }

/** The least verbosity at which an event is shown. */
function levelOf(event: RunEvent): Verbosity {
  switch (event.type) {
    case 'result':
    case 'log.line':
    case 'warning':
    case 'error':
      return 'quiet'
    case 'command.started':
    case 'command.output':
      return event.quiet ? 'verbose' : 'normal'
    case 'changed':
    case 'step.started':
    case 'host.connected':
      return 'verbose'
    case 'host.connecting':
      return 'debug'
    default:
      return 'normal'
  }
}

export function plainSink(options: PlainOptions): Sink {
  const { out, err, paint = unpainted, verbosity = 'normal' } = options
  const partial = new Map<string, ReturnType<typeof createLines> & { host: string }>()
  const commands = new Map<string, { display: string; quiet: boolean }>()
  const steps = new Map<string, { title: string; host?: string }>()
  const tasks = new Map<string, string>()
  const progress = new Map<string, number>()
  const summary = createSummary()
  const at = (host: string | undefined, line: string) =>
    `${host === undefined ? '' : `${paint('cyan', `[${host}]`)} `}${line}\n`
  const say = (host: string | undefined, ...lines: string[]) => {
    for (const line of lines) err(at(host, line))
  }

  const show = (event: RunEvent): void => {
    switch (event.type) {
      case 'task.started':
        tasks.set(event.id, event.name)
        return say(undefined, paint('bold', `==> ${printable(taskTitle(event))}`))
      case 'task.finished': {
        const name = tasks.get(event.id) ?? event.id
        if (event.reused) return say(undefined, `    ${name}: done before in this run`)
        if (event.outcome === 'stopped') return say(undefined, `    ${name}: stops here, ${event.error?.message ?? ''}`)
        if (event.outcome !== 'ok')
          return say(undefined, paint('red', `<== ${name} ${event.outcome}, ${duration(event.durationMs)}`))
        if (rank[verbosity] >= rank.verbose) say(undefined, `<== ${name} done, ${duration(event.durationMs)}`)
        return
      }
      case 'host.connecting':
        return say(event.host, `connecting to ${event.endpoint}`)
      case 'host.connected':
        return say(
          event.host,
          `connected to ${event.endpoint}, ${duration(event.durationMs)}${event.why ? ` (${event.why})` : ''}`,
        )
      case 'host.lost':
        return say(event.host, paint('red', `connection lost: ${printable(event.reason)}`))
      case 'command.started':
        return say(
          event.host,
          ...event.display
            .split('\n')
            .map((line, index) => paint('bold', `${index === 0 ? '$' : '>'} ${printable(line)}`)),
        )
      case 'command.output': {
        const key = `${event.id} ${event.stream}`
        const lines = partial.get(key) ?? { ...createLines(), host: event.host }
        partial.set(key, lines)
        return say(event.host, ...lines.push(event.text).map(printable))
      }
      case 'command.finished': {
        for (const stream of ['stdout', 'stderr']) {
          say(event.host, ...(partial.get(`${event.id} ${stream}`)?.end() ?? []).map(printable))
          partial.delete(`${event.id} ${stream}`)
        }
        const command = commands.get(event.id)
        commands.delete(event.id)
        const how = event.signal
          ? `killed by ${event.signal}`
          : event.exitCode === null
            ? 'ended without a status'
            : `exit ${event.exitCode}`
        if (rank[verbosity] >= rank.verbose) say(event.host, paint('dim', `${how}, ${duration(event.durationMs)}`))
        else if (event.exitCode !== 0 && command && !command.quiet) say(event.host, how)
        return
      }
      case 'held-back':
        say(
          event.host,
          ...event.display
            .split('\n')
            .map((line, index) => `${index === 0 ? 'would run:' : '         >'} ${printable(line)}`),
        )
        return say(event.host, ...diffLines(event.diff, paint))
      case 'step.started':
        return say(event.host, `… ${printable(event.title)}`)
      case 'step.finished': {
        const step = steps.get(event.id)
        steps.delete(event.id)
        const mark = { ok: '✓', unchanged: '=', failed: '✗', aborted: '✗', stopped: '-' }[event.outcome]
        const more = event.detail ? `: ${printable(event.detail)}` : ''
        return say(
          step?.host,
          `${mark} ${printable(step?.title ?? event.id)}${more}${event.durationMs >= 100 ? `, ${duration(event.durationMs)}` : ''}`,
        )
      }
      case 'progress': {
        const previous = progress.get(event.id)
        const complete = event.total !== undefined && event.done >= event.total
        if (previous === undefined) progress.set(event.id, event.at)
        if (!complete && (previous === undefined || event.at - previous < 5000)) return
        progress.set(event.id, complete ? Number.POSITIVE_INFINITY : event.at)
        if (previous === Number.POSITIVE_INFINITY) return
        return say(
          event.host,
          `${printable(event.label)}: ${amount(event.done, event.unit)}${event.total ? ` of ${amount(event.total, event.unit)}` : ''}`,
        )
      }
      case 'changed':
        say(event.host, `changed: ${printable(event.what)}`)
        return say(event.host, ...diffLines(event.diff, paint))
      case 'note':
        return say(event.host, ...event.text.split('\n').map(printable))
      case 'warning':
        return say(event.host, `${paint(['yellow', 'bold'], 'warning:')} ${printable(event.text)}`)
      case 'error':
        return say(undefined, ...failureLines(event.error, { debug: verbosity === 'debug', paint }))
      case 'result':
        return out(event.text.endsWith('\n') ? event.text : `${event.text}\n`)
      case 'log.line':
        return out(
          `${paint('cyan', `[${event.host}${event.source ? ` ${event.source}` : ''}]`)} ${printable(event.text)}\n`,
        )
      case 'run.started':
        return event.dryRun ? say(undefined, 'dry run: nothing is changed') : undefined
      case 'run.finished':
        return say(
          undefined,
          ...summary.lines(),
          `${{ ok: 'done', failed: 'failed', aborted: 'interrupted', stopped: 'stopped' }[event.outcome]}, ${duration(event.durationMs)}`,
        )
    }
  }

  return {
    event(event) {
      summary.event(event)
      if (event.type === 'command.started') commands.set(event.id, { display: event.display, quiet: event.quiet })
      if (event.type === 'step.started')
        steps.set(event.id, { title: event.title, ...(event.host === undefined ? {} : { host: event.host }) })
      if (rank[verbosity] >= rank[levelOf(event)]) show(event)
    },
  }
}

export function diffLines(diff: string | undefined, paint: Paint): string[] {
  if (!diff) return []
  return diff
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => {
      const text = printable(line)
      if (line.startsWith('+')) return paint('green', `  ${text}`)
      return line.startsWith('-') ? paint('red', `  ${text}`) : `  ${text}`
    })
}

const amount = (count: number, unit: 'bytes' | 'items') => (unit === 'bytes' ? bytes(count) : String(count))
