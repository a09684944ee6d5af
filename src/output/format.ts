/**
 * Events as lines of text: what plain output, the CI systems and the terminal view share. It remembers what later
 * events refer to (a step's title, a line that is not finished), and writes nothing.
 */
import type { EventType, RunEvent } from '../events/events.ts'
import { failureLines } from './failure.ts'
import { type Paint, unpainted } from './style.ts'
import { createSummary } from './summary.ts'
import { bytes, createLines, duration, printable, settled, taskTitle } from './text.ts'

export type Verbosity = 'quiet' | 'normal' | 'verbose' | 'debug'

export interface Lines {
  /** stdout is for results and followed logs, stderr for everything else. */
  to: 'out' | 'err'
  /** Whose lines they are; undefined: nobody's in particular. */
  host?: string
  lines: readonly string[]
  /** In place of the lines: text that is passed on as it came. */
  raw?: string
}

/** Gives the lines of an event, or undefined where it shows nothing at this verbosity. */
export type Format = (event: RunEvent) => Lines | undefined

const rank: Record<Verbosity, number> = { quiet: 0, normal: 1, verbose: 2, debug: 3 }

/** Milliseconds between two lines about the same progress. */
const progressEvery = 5000

/** Lines of output that an error's detail is compared with. */
const recentLines = 60

type Of<T extends EventType> = Extract<RunEvent, { type: T }>
type Formatters = { [T in EventType]: (event: Of<T>) => readonly string[] }

export function createFormat({
  verbosity = 'normal',
  paint = unpainted,
  raw = { out: true, err: true },
}: {
  verbosity?: Verbosity
  paint?: Paint
  /** Which streams take a result's output as it comes, rather than in whole lines. */
  raw?: { out: boolean; err: boolean }
} = {}): Format {
  const from = (level: Verbosity) => rank[verbosity] >= rank[level]
  const summary = createSummary()
  const titles = createTitles()
  const output = createOutputLines()
  const progress = createProgressLines()

  const formatters: Formatters = {
    'run.started': ({ dryRun }) => (dryRun ? ['dry run: nothing is changed'] : []),
    'run.finished': ({ outcome, durationMs }) => [
      ...summary.lines(),
      `${{ ok: 'done', failed: 'failed', aborted: 'interrupted', stopped: 'stopped' }[outcome]}, ${duration(durationMs)}`,
    ],
    'task.started': (event) => [paint('bold', `==> ${printable(taskTitle(event))}`)],
    'task.finished': ({ id, outcome, durationMs, reused, error }) => {
      const name = titles.task(id)
      if (reused) return [`    ${name}: done before in this run`]
      if (outcome === 'stopped') return [`    ${name} stops here: ${error?.message ?? ''}`]
      if (outcome !== 'ok') return [paint('red', `<== ${name} ${outcome}, ${duration(durationMs)}`)]
      return from('verbose') ? [`<== ${name} done, ${duration(durationMs)}`] : []
    },
    'host.connecting': ({ endpoint }) => (from('debug') ? [`connecting to ${endpoint}`] : []),
    'host.connected': ({ endpoint, durationMs, transport, why }) =>
      from('verbose')
        ? [`connected to ${endpoint} (${transport}${why ? `, ${why}` : ''}), ${duration(durationMs)}`]
        : [],
    'host.lost': ({ reason }) => [paint('red', `connection lost: ${printable(reason)}`)],
    // What is begun is told by what it does, what is over by the table at the run's end.
    'hosts.started': () => [],
    'hosts.finished': () => [],
    'command.started': ({ display, quiet }) =>
      quiet && !from('verbose') ? [] : marked(display, '$ ', '> ').map((line) => paint('bold', line)),
    'command.output': (event) => {
      const lines = output.lines(event)
      if (event.quiet && !from('verbose')) return []
      output.remember(lines)
      return lines
    },
    'command.finished': (event) => {
      const { rest, quiet } = output.end(event)
      if ((event.quiet ?? quiet) && !from('verbose')) return []
      output.remember(rest)
      const how = ending(event)
      if (from('verbose')) return [...rest, paint('dim', `${how}, ${duration(event.durationMs)}`)]
      return event.exitCode === 0 ? rest : [...rest, how]
    },
    'held-back': ({ display, diff }) => [...marked(display, 'would run: ', '         > '), ...diffLines(diff, paint)],
    'step.started': ({ title }) => (from('verbose') ? [`… ${printable(title)}`] : []),
    'step.finished': ({ id, title = titles.step(id), outcome, durationMs, detail }) => {
      const mark = { ok: '✓', unchanged: '=', failed: '✗', aborted: '✗', stopped: '-', 'held-back': '-' }[outcome]
      if (outcome === 'held-back') return [`- ${printable(title)}: held back`]
      const time = durationMs >= 100 ? `, ${duration(durationMs)}` : ''
      return [`${mark} ${printable(title)}${detail ? `: ${printable(detail)}` : ''}${time}`]
    },
    progress: (event) => progress.lines(event),
    changed: ({ what, diff }) => (from('verbose') ? [`changed: ${printable(what)}`, ...diffLines(diff, paint)] : []),
    note: ({ text }) => text.split('\n').map(printable),
    warning: ({ text }) => [`${paint(['yellow', 'bold'], 'warning:')} ${printable(text)}`],
    error: ({ error }) =>
      failureLines(output.shown(error.detail) ? { ...error, detail: undefined } : error, {
        debug: from('debug'),
        paint,
      }),
    result: ({ text }) => text.replace(/\n$/, '').split('\n'),
    'log.line': ({ source, text }) => [source === '' ? printable(text) : `${paint('cyan', source)} ${printable(text)}`],
  }

  const resultOutput = (event: Of<'command.output'>): Lines | undefined => {
    const to = event.stream === 'stdout' ? 'out' : 'err'
    if (raw[to]) return { to, lines: [], raw: event.text }
    const lines = output.lines(event)
    return lines.length === 0 ? undefined : { to, lines }
  }

  return (event) => {
    if (event.type !== 'command.output') {
      summary.event(event)
      titles.event(event)
      output.event(event)
    } else if (event.result) return resultOutput(event)
    // The type of an event picks the formatter for just that type, which TypeScript can't follow.
    const lines = (formatters[event.type] as (event: RunEvent) => readonly string[])(event)
    if (lines.length === 0 || (verbosity === 'quiet' && !alwaysShown.has(event.type))) return undefined
    const host = 'host' in event ? event.host : event.type === 'step.finished' ? titles.stepHost(event.id) : undefined
    return { to: toStdout.has(event.type) ? 'out' : 'err', ...(host === undefined ? {} : { host }), lines }
  }
}

const toStdout = new Set<EventType>(['result', 'log.line'])
const alwaysShown = new Set<EventType>(['result', 'log.line', 'warning', 'error'])

function ending({ signal, exitCode }: Of<'command.finished'>): string {
  if (signal) return `killed by ${signal}`
  return exitCode === null ? 'ended without a status' : `exit ${exitCode}`
}

function marked(text: string, first: string, others: string): string[] {
  return text.split('\n').map((line, index) => `${index === 0 ? first : others}${printable(line)}`)
}

/** Names that finishing events lack. */
function createTitles() {
  const tasks = new Map<string, string>()
  const steps = new Map<string, Of<'step.started'>>()
  return {
    event(event: RunEvent) {
      if (event.type === 'task.started') tasks.set(event.id, event.name)
      if (event.type === 'step.started') steps.set(event.id, event)
    },
    task: (id: string) => tasks.get(id) ?? id,
    step: (id: string) => steps.get(id)?.title ?? id,
    stepHost: (id: string) => steps.get(id)?.host,
  }
}

/** Chunks of output as whole lines, so that two hosts never share one. */
function createOutputLines() {
  const recent: string[] = []
  const commands = new Map<string, { quiet: boolean; streams: Map<string, ReturnType<typeof createLines>> }>()
  return {
    event(event: RunEvent) {
      if (event.type === 'command.started') commands.set(event.id, { quiet: event.quiet, streams: new Map() })
    },
    lines({ id, stream, text, quiet }: Of<'command.output'>): string[] {
      const command = commands.get(id) ?? { quiet, streams: new Map() }
      commands.set(id, command)
      const lines = command.streams.get(stream) ?? createLines()
      command.streams.set(stream, lines)
      const whole = lines.push(text)
      for (let index = 0; index < whole.length; index++) whole[index] = printable(whole[index]!)
      return whole
    },
    end({ id }: Of<'command.finished'>): { rest: string[]; quiet: boolean } {
      const command = commands.get(id)
      commands.delete(id)
      const rest = [...(command?.streams.values() ?? [])].flatMap((lines) => lines.end()).map(printable)
      return { rest, quiet: command?.quiet ?? false }
    },
    remember(lines: readonly string[]) {
      for (const line of lines) recent.push(line)
      if (recent.length > 10 * recentLines) recent.splice(0, recent.length - recentLines)
    },
    /** Whether an error's detail is what was just shown, so that it need not be shown twice. */
    shown: (detail = '') =>
      detail !== '' && lastLines(detail).every((line) => recent.slice(-recentLines).includes(printable(settled(line)))),
  }
}

const lastLines = (text: string) => text.trimEnd().split('\n')

/** At the end of it, and now and then on the way. */
function createProgressLines() {
  const shown = new Map<string, number>()
  const amount = (count: number, unit: 'bytes' | 'items') => (unit === 'bytes' ? bytes(count) : String(count))
  return {
    lines({ id, at, label, done, total, about, unit }: Of<'progress'>): string[] {
      const last = shown.get(id)
      const complete = total !== undefined && done >= total
      if (last === undefined && !complete) shown.set(id, at)
      if (last === Number.POSITIVE_INFINITY) return []
      if (!complete && (last === undefined || at - last < progressEvery)) return []
      shown.set(id, complete ? Number.POSITIVE_INFINITY : at)
      const end = total ? ` of ${about ? 'about ' : ''}${amount(total, unit)}` : ''
      return [`${printable(label)}: ${amount(done, unit)}${end}`]
    },
  }
}

function diffLines(diff: string | undefined, paint: Paint): string[] {
  if (!diff) return []
  const lines = diff.replace(/\n$/, '').split('\n')
  return lines.map((line) => {
    const text = `  ${printable(line)}`
    if (line.startsWith('+')) return paint('green', text)
    return line.startsWith('-') ? paint('red', text) : text
  })
}
