/** What is going on right now, as lines for the bottom of a terminal. Fed with events; draws nothing itself. */
import type { RunEvent } from '../events/events.ts'
import type { Paint } from './style.ts'
import { bytes, createLines, duration, printable } from './text.ts'
import { truncate, width } from './width.ts'

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
/** Milliseconds before a command that nobody asked to see is shown as running. */
const quietFor = 400
/** Columns of a label that still say what it is. */
const leastLabel = 16

interface Running {
  kind: 'connect' | 'command' | 'step'
  host?: string
  title: string
  since: number
  quiet: boolean
  /** The last line it printed. */
  last?: string
  lines?: ReturnType<typeof createLines>
}

interface Progress {
  host?: string
  label: string
  done: number
  total?: number
  about?: boolean
  unit: 'bytes' | 'items'
  since: number
  from: number
}

export interface Live {
  event(event: RunEvent): void
  /** At most `rows` lines of at most `columns` columns. */
  lines(now: number, size: { columns: number; rows: number }): string[]
  readonly idle: boolean
}

export function createLive(paint: Paint): Live {
  const running = new Map<string, Running>()
  const progress = new Map<string, Progress>()
  return {
    get idle() {
      return running.size === 0 && progress.size === 0
    },
    event(event) {
      switch (event.type) {
        case 'host.connecting':
          running.set(`connect ${event.host}`, {
            kind: 'connect',
            host: event.host,
            title: 'connecting',
            since: event.at,
            quiet: true,
          })
          break
        case 'host.connected':
        case 'host.lost':
          running.delete(`connect ${event.host}`)
          break
        case 'command.started': {
          const title = printable(event.display.split('\n')[0] ?? '')
          running.set(`command ${event.id}`, {
            kind: 'command',
            host: event.host,
            title,
            since: event.at,
            quiet: event.quiet,
            lines: createLines(),
          })
          break
        }
        case 'command.output': {
          // Asked for, it scrolls by above; else its last line is all that is seen of it.
          if (!event.quiet) break
          const command = running.get(`command ${event.id}`)
          if (!command?.quiet) break
          const last = command.lines?.push(event.text.slice(-4096)).findLast((line) => line.trim() !== '')
          if (last !== undefined) command.last = printable(last)
          break
        }
        case 'command.finished':
          running.delete(`command ${event.id}`)
          break
        case 'step.started':
          running.set(`step ${event.id}`, {
            kind: 'step',
            title: printable(event.title),
            since: event.at,
            quiet: false,
            ...hostOf(event),
          })
          break
        case 'step.finished':
          running.delete(`step ${event.id}`)
          progress.delete(event.id)
          break
        case 'progress':
          if (event.total !== undefined && event.done >= event.total) progress.delete(event.id)
          else {
            const before = progress.get(event.id) ?? { since: event.at, from: event.done }
            const { label, done, unit, total, about } = event
            const size = total === undefined ? {} : { total, ...(about ? { about } : {}) }
            progress.set(event.id, {
              label: printable(label),
              done,
              unit,
              ...size,
              ...hostOf(event),
              since: before.since,
              from: before.from,
            })
          }
          break
        case 'task.finished':
          // What a failed task left unfinished is not going on any more.
          if (event.outcome !== 'ok') progress.clear()
          break
        case 'run.finished':
          running.clear()
          progress.clear()
          break
      }
    },
    lines(now, { columns, rows }) {
      const frame = paint('cyan', frames[Math.floor(now / 100) % frames.length]!)
      const shown = [...running.values()].filter((each) => !each.quiet || now - each.since >= quietFor)
      const lines = [
        ...[...progress.values()].map((each) => `${frame} ${progressText(each, now, columns - 3, paint)}`),
        ...shown.map((each) => {
          const last = each.last ? paint('dim', ` ${each.last}`) : ''
          return `${frame} ${name(each.host, paint)}${each.title}${last} ${paint('dim', duration(now - each.since))}`
        }),
      ]
      const kept =
        lines.length > rows
          ? [...lines.slice(0, rows - 1), paint('dim', `  and ${lines.length - rows + 1} more`)]
          : lines
      return kept.map((line) => truncate(line, columns - 1))
    },
  }
}

const hostOf = ({ host }: { host?: string }) => (host === undefined ? {} : { host })
const name = (host: string | undefined, paint: Paint) => (host === undefined ? '' : `${paint('cyan', `[${host}]`)} `)

/** The bar and the numbers are what one looks for: where room is short, the label is cut, and the host left out. */
function progressText(
  { host, label, done, total, about, unit, since, from }: Progress,
  now: number,
  columns: number,
  paint: Paint,
): string {
  const placed = (rest: string): string => {
    const whose = name(host, paint)
    const room = columns - width(rest) - 1
    return room - width(whose) >= Math.min(width(label), leastLabel)
      ? `${whose}${truncate(label, room - width(whose))} ${rest}`
      : `${truncate(label, room)} ${rest}`
  }
  const amount = (count: number) => (unit === 'bytes' ? bytes(count) : String(count))
  const seconds = (now - since) / 1000
  const rate = unit === 'bytes' && seconds >= 0.5 ? `, ${bytes(Math.round((done - from) / seconds))}/s` : ''
  if (!total) return placed(`${amount(done)}${rate}`)
  const share = Math.min(1, done / total)
  const size = columns >= 60 ? 20 : 8
  const filled = Math.round(share * size)
  const bar = paint('green', '━'.repeat(filled)) + paint('dim', '━'.repeat(size - filled))
  return placed(
    `${bar} ${Math.floor(share * 100)} % ${amount(done)} of ${about ? 'about ' : ''}${amount(total)}${rate}`,
  )
}
