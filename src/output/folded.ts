/**
 * What several hosts do at the same time, passed on once where it is the same. From `hosts.started` to
 * `hosts.finished`, what hosts tell is kept for two seconds at most, and passed on with the names of all that told it.
 * What differs, and what comes later, is passed on as each host's own; nothing is lost, and a host's order is kept, but
 * for what was printed by turns meanwhile: a command's output is one piece, and so are notes.
 */
import type { RunEvent } from '../events/events.ts'
import { type FoldedHosts, foldBy, foldNames } from '../events/fold.ts'
import type { Sink } from './sink.ts'

const keptMs = 2000
const keptChars = 1_000_000
/** Columns of names in front of each line. */
const widestNames = 40

/** What is told once or not at all: one event, a command's output in this window with its end, lines of a log. */
interface Piece {
  host: string
  /** Events with the same one are one piece, whatever else was printed between them. */
  joint?: string | undefined
  events: RunEvent[]
  /** What has to be the same on another host. */
  told: Map<string, string>
}

/** `sink` with the events of several hosts folded. */
export function folded(sink: Sink): Sink {
  const open = new Set<string>()
  const steps = new Map<string, { host: string; title: string }>()
  const lines = createWholeLines()
  /** In the order of the call: which answer comes first is chance. */
  const order: string[] = []
  let columns = new Map<string, Piece[]>()
  let since: number | undefined
  let chars = 0
  let timer: NodeJS.Timeout | undefined

  const flush = () => {
    clearTimeout(timer)
    since = undefined
    chars = 0
    const told = [...columns].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)).map(([, column]) => column)
    columns = new Map()
    for (let row = 0; told.some((column) => row < column.length); row++) {
      const pieces = told.flatMap((column) => column[row] ?? [])
      const folds = foldBy(
        pieces,
        (piece) => piece.host,
        (piece) => JSON.stringify([...piece.told].sort()),
      )
      for (const fold of folds) for (const event of together(fold)) sink.event(event)
    }
  }

  const keep = (host: string, event: RunEvent) => {
    const column = columns.get(host) ?? []
    columns.set(host, column)
    const joint = jointOf(event)
    let piece = joint === undefined ? undefined : lastJoint(column, joint)
    if (!piece) {
      piece = { host, joint, events: [], told: new Map([['type', joint === undefined ? event.type : 'joint']]) }
      column.push(piece)
    }
    piece.events.push(event)
    for (const [name, value] of saidBy(event)) {
      piece.told.set(name, (piece.told.get(name) ?? '') + value)
      chars += value.length
    }
    if (since === undefined) {
      since = event.at
      timer = setTimeout(flush, keptMs).unref()
    }
    if (chars > keptChars || event.at - since >= keptMs) flush()
  }

  return {
    event(event) {
      if (event.type === 'hosts.started') {
        flush()
        open.add(event.id)
        order.push(...event.hosts.filter((host) => !order.includes(host)))
        return sink.event(event)
      }
      if (open.size === 0 || seenBelow.has(event.type)) return sink.event(event)
      if (event.type === 'hosts.finished') {
        open.delete(event.id)
        if (open.size === 0) {
          for (const rest of lines.end()) keep(rest.host, rest)
          steps.clear()
        }
        flush()
        return sink.event(event)
      }
      if (event.type === 'step.started' && event.host !== undefined)
        steps.set(event.id, { host: event.host, title: event.title })
      // Its beginning may have been told in another host's name.
      const whole = event.type === 'step.finished' ? { ...steps.get(event.id), ...event } : event
      if (!('host' in whole) || whole.host === undefined) {
        flush()
        return sink.event(event)
      }
      for (const each of lines.of(whole)) keep(whole.host, each)
    },
    close() {
      flush()
      sink.close?.()
    },
  }
}

/** What a terminal shows below its lines, and what says nothing of its own: for these nothing waits. */
const seenBelow = new Set<RunEvent['type']>(['progress', 'host.connecting', 'host.connected'])

function jointOf(event: RunEvent): string | undefined {
  if (event.type === 'command.output' || event.type === 'command.finished') return `command ${event.id}`
  return event.type === 'log.line' || event.type === 'note' ? event.type : undefined
}

/** The piece that goes on. What begins or ends something stands between two pieces. */
function lastJoint(column: readonly Piece[], joint: string): Piece | undefined {
  for (let at = column.length - 1; column[at]?.joint !== undefined; at--) {
    if (column[at]?.joint === joint) return column[at]
  }
  return undefined
}

/** The parts of an event that are shown, by where they belong. */
function saidBy(event: RunEvent): [string, string][] {
  switch (event.type) {
    case 'command.started':
      return [['command', JSON.stringify([event.display, event.kind, event.quiet])]]
    case 'command.output':
      return [[event.stream, event.text]]
    case 'command.finished':
      return [['end', JSON.stringify([event.exitCode, event.signal])]]
    case 'log.line':
      return [['line', `${event.source}\0${event.text}\n`]]
    case 'note':
      return [['note', `${event.text}\n`]]
    case 'step.finished':
      return [['step', JSON.stringify([event.title, event.outcome, event.detail])]]
    default: {
      const { at, run, task, ...said } = event as RunEvent & { host?: string; id?: string }
      delete said.host
      delete said.id
      return [['event', JSON.stringify(said)]]
    }
  }
}

/** The first host's events, in the name of all; of times, the longest. */
function together({ hosts, items }: FoldedHosts<Piece>): RunEvent[] {
  const [first] = items as readonly [Piece]
  if (hosts.length === 1) return first.events
  const host = shortNames(hosts)
  const longest = Math.max(
    ...items.flatMap(({ events }) => events.map((event) => ('durationMs' in event ? event.durationMs : 0))),
  )
  return first.events.map((event) => ({
    ...event,
    host,
    ...('durationMs' in event ? { durationMs: longest } : {}),
  })) as RunEvent[]
}

/** They stand before every line: where there are too many for that, the table at the end has them all. */
function shortNames(hosts: readonly string[]): string {
  const names = foldNames(hosts)
  return names.length <= widestNames ? names : `${hosts[0]} and ${hosts.length - 1} more`
}

/** Output as whole lines, so that it can be compared wherever it was cut. */
function createWholeLines() {
  type Output = Extract<RunEvent, { type: 'command.output' }>
  const partial = new Map<string, Output>()
  const rests = (of: (event: Output) => boolean): Output[] => {
    const found = [...partial].filter(([, event]) => of(event))
    for (const [key] of found) partial.delete(key)
    return found.map(([, event]) => event)
  }
  return {
    of(event: RunEvent): RunEvent[] {
      if (event.type === 'command.finished') return [...rests(({ id }) => id === event.id), event]
      if (event.type !== 'command.output') return [event]
      const key = `${event.id} ${event.stream}`
      const text = (partial.get(key)?.text ?? '') + event.text
      const end = text.length > keptChars ? text.length : text.lastIndexOf('\n') + 1
      partial.delete(key)
      if (end < text.length) partial.set(key, { ...event, text: text.slice(end) })
      return end === 0 ? [] : [{ ...event, text: text.slice(0, end) }]
    },
    end: () => rests(() => true),
  }
}
