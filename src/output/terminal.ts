/**
 * The view on a terminal: finished lines scroll as a tree of tasks, what is going on is redrawn below them. Written in
 * whole frames, at most twenty a second, so that it neither flickers nor costs time, however many lines come.
 */
import type { RunEvent } from '../events/events.ts'
import { folded } from './folded.ts'
import { createFormat, type Verbosity } from './format.ts'
import { createLive } from './live.ts'
import type { Writers } from './plain.ts'
import type { Sink } from './sink.ts'
import type { Paint } from './style.ts'
import { duration, printable, taskTitle } from './text.ts'
import { width, wrap } from './width.ts'

const frameMs = 50
const spinMs = 100
/** Shown as it came, for the terminal to break: what a program printed, and results. */
const verbatim = new Set<RunEvent['type']>(['command.output', 'command.finished', 'log.line', 'result', 'error'])
/** Below this, how long a task took is not worth a line. */
const worthMs = 500

export interface TerminalOptions extends Writers {
  paint: Paint
  verbosity?: Verbosity
  size(): { columns: number; rows: number }
  /** Whether stdout is the same terminal: then results are part of the frames. */
  outIsTerminal: boolean
  now?(): number
}

export interface TerminalSink extends Sink {
  /** Leaves the terminal to something else (a question, a shell) until the returned function is called. */
  pause(): () => void
}

export function terminalSink(options: TerminalOptions): TerminalSink {
  const { paint, verbosity = 'normal', size, now = Date.now } = options
  const format = createFormat({ verbosity, paint, raw: { out: !options.outIsTerminal, err: false } })
  const live = createLive(paint)
  const tree = createTree(paint)
  let pending: { to: 'out' | 'err'; text: string }[] = []
  let drawn: string[] = []
  let paused = 0
  let frame: NodeJS.Timeout | undefined
  let spin: NodeJS.Timeout | undefined

  const add = (to: 'out' | 'err', text: string) => {
    const last = pending.at(-1)
    if (last?.to === to) last.text += text
    else pending.push({ to, text })
  }

  const begun = new Map<string, number>()
  /** What goes on is below, in the live part; of what took a moment, the sum stays. */
  const finishes = ({ id, at, done, total }: Extract<RunEvent, { type: 'progress' }>): boolean => {
    const since = begun.get(id) ?? at
    begun.set(id, since)
    return total !== undefined && done >= total && at - since >= worthMs
  }

  /** The sequence that takes back what was drawn, whatever the width is now. */
  const erase = () => {
    if (drawn.length === 0) return ''
    const { columns } = size()
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(width(line) / columns)), 0)
    drawn = []
    // To the first column, too: the terminal may have echoed a ^C since.
    return `\x1b[${rows}F\x1b[0J`
  }

  const draw = () => {
    clearTimeout(frame)
    frame = undefined
    if (paused > 0) return
    const { columns, rows } = size()
    const lines = live.idle ? [] : live.lines(now(), { columns, rows: Math.max(1, Math.min(12, rows - 4)) })
    if (pending.length === 0 && lines.length === 0 && drawn.length === 0) return
    // Begin and end of a synchronized update: terminals that know it show the frame at once, others ignore it.
    let text = `\x1b[?2026h${erase()}`
    for (const part of pending) {
      if (part.to === 'err') text += part.text
      else {
        options.err(text)
        options.out(part.text)
        text = ''
      }
    }
    pending = []
    drawn = lines
    options.err(`${text}${lines.map((line) => `${line}\n`).join('')}\x1b[?2026l`)
  }

  const schedule = () => {
    frame ??= setTimeout(draw, frameMs)
    if (live.idle) {
      clearInterval(spin)
      spin = undefined
    } else spin ??= setInterval(schedule, spinMs).unref()
  }

  const show = (event: RunEvent) => {
    const heading = verbosity === 'quiet' ? undefined : tree.heading(event)
    const shown = event.type === 'progress' && !finishes(event) ? undefined : format(event)
    if (heading !== undefined) add('err', heading)
    else if (shown) {
      if (shown.raw !== undefined) options[shown.to](shown.raw)
      else if (shown.to === 'out' && !options.outIsTerminal) {
        const whose = shown.host === undefined ? '' : `[${shown.host}] `
        options.out(shown.lines.map((line) => `${whose}${line}\n`).join(''))
      } else {
        const prefix =
          event.type === 'result' || (event.type === 'command.output' && event.result)
            ? ''
            : tree.prefix(event, shown.host)
        let text = ''
        if (verbatim.has(event.type)) for (const line of shown.lines) text += `${prefix}${line}\n`
        else {
          const { columns } = size()
          const indent = `${/^ */.exec(prefix)?.[0] ?? ''}    `
          for (const line of shown.lines) text += `${wrap(`${prefix}${line}`, columns, indent).join('\n')}\n`
        }
        add(shown.to, text)
      }
    }
    schedule()
  }
  const lines = folded({ event: show })

  return {
    event(event) {
      live.event(event)
      lines.event(event)
      schedule()
    },
    pause() {
      draw()
      if (drawn.length > 0) options.err(erase())
      paused++
      return () => {
        paused--
        schedule()
      }
    },
    close() {
      lines.close?.()
      paused = 0
      clearInterval(spin)
      draw()
    },
  }
}

/** Where a line belongs: under its task, and whose it is. */
function createTree(paint: Paint) {
  const tasks = new Map<string, { depth: number; name: string }>()
  // Colouring costs more than all else that a line of output needs.
  const names = new Map<string, string>()
  const nameOf = (host: string) => {
    const known = names.get(host)
    if (known !== undefined) return known
    const name = `${paint('cyan', `[${host}]`)} `
    names.set(host, name)
    return name
  }
  const indent = (depth: number) => '  '.repeat(depth)
  const depthOf = (id: string | undefined) => (id === undefined ? 0 : (tasks.get(id)?.depth ?? 0) + 1)
  return {
    /** The line of a task's beginning or end, in place of the plain one. */
    heading(event: RunEvent): string | undefined {
      if (event.type === 'task.started') {
        const depth = depthOf(event.parent)
        tasks.set(event.id, { depth, name: event.name })
        return `${indent(depth)}${paint('bold', printable(taskTitle(event)))}\n`
      }
      if (event.type !== 'task.finished') return undefined
      const task = tasks.get(event.id) ?? { depth: 0, name: event.id }
      const time = paint('dim', duration(event.durationMs))
      const line = (mark: string, more = '') => `${indent(task.depth)}${mark} ${task.name}${more} ${time}\n`
      if (event.reused) return line(paint('dim', '='), paint('dim', ' done before in this run'))
      if (event.outcome === 'stopped') return line(paint('yellow', '-'), ` stops here: ${event.error?.message ?? ''}`)
      if (event.outcome !== 'ok') return line(paint('red', '✗'), event.outcome === 'failed' ? '' : ` ${event.outcome}`)
      return task.depth === 0 || event.durationMs >= worthMs ? line(paint('green', '✓')) : ''
    },
    prefix(event: RunEvent, host: string | undefined): string {
      const depth = event.type === 'error' || event.type === 'run.finished' ? 0 : depthOf(event.task)
      return host === undefined ? indent(depth) : indent(depth) + nameOf(host)
    },
  }
}
