/**
 * A run as one HTML page that needs nothing else: a timeline by host, the tree of tasks with their output folded, and
 * what changed. Pure. Everything in it comes from events, so it is text of other machines: all of it is escaped.
 */
import type { ErrorRecord, EventType, Outcome, RunEvent } from '../events/events.ts'
import { reportStyle } from './report-style.ts'
import { createLines, duration, printable, taskTitle } from './text.ts'

type Of<T extends EventType> = Extract<RunEvent, { type: T }>
type Mark = Outcome | 'unchanged' | 'held-back' | 'answered' | 'unfinished'

interface TaskNode {
  kind: 'task'
  title: string
  outcome: Mark
  start: number
  durationMs: number
  error?: ErrorRecord
  children: Node[]
}

interface WorkNode {
  kind: 'command' | 'step'
  title: string
  host?: string
  outcome: Mark
  start: number
  durationMs: number
  detail?: string
  window?: boolean
  lines: string[]
}

interface LineNode {
  kind: 'note' | 'warning' | 'result' | 'held-back' | 'log'
  host?: string
  text: string
  diff?: string
}

type Node = TaskNode | WorkNode | LineNode

interface RunModel {
  started?: Of<'run.started'>
  finished?: Of<'run.finished'>
  start: number
  end: number
  roots: Node[]
  work: WorkNode[]
  changed: Map<string, Of<'changed'>[]>
  errors: ErrorRecord[]
}

export function reportHtml(events: readonly RunEvent[]): string {
  const run = modelOf(events)
  const title = run.started ? `tasks ${run.started.argv.join(' ')}` : 'run'
  const outcome: Mark = run.finished?.outcome ?? 'unfinished'
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}: ${outcome}</title>
<style>${reportStyle}</style>
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
<p><span class="badge ${outcome}">${outcome}</span> ${facts(run)}</p>
</header>
<main>
${run.errors.map(errorHtml).join('\n')}
${changedHtml(run)}
${timelineHtml(run)}
<section><h2>What was done</h2>
${run.roots.map(nodeHtml).join('\n')}
</section>
</main>
</body>
</html>
`
}

function modelOf(events: readonly RunEvent[]): RunModel {
  const start = events[0]?.at ?? 0
  const run: RunModel = { start, end: events.at(-1)?.at ?? start, roots: [], work: [], changed: new Map(), errors: [] }
  const tasks = new Map<string, TaskNode>()
  const works = new Map<string, WorkNode & { streams: Map<string, ReturnType<typeof createLines>> }>()
  const into = (id: string | undefined) => (id === undefined ? run.roots : (tasks.get(id)?.children ?? run.roots))
  const begin = (key: string, event: RunEvent, work: Pick<WorkNode, 'kind' | 'title' | 'host' | 'window'>) => {
    const node = {
      ...work,
      outcome: 'unfinished' as Mark,
      start: event.at,
      durationMs: 0,
      lines: [],
      streams: new Map(),
    }
    works.set(key, node)
    run.work.push(node)
    into(event.task).push(node)
  }
  // Commands by which the tool asks: a status of theirs is an answer.
  const questions = new Set<string>()
  const end = (key: string, event: { outcome: Mark; durationMs: number; detail?: string }) => {
    const node = works.get(key)
    if (!node) return
    node.outcome = event.outcome
    node.durationMs = event.durationMs
    if (event.detail) node.detail = event.detail
    for (const lines of node.streams.values()) node.lines.push(...lines.end())
  }
  for (const event of events) {
    switch (event.type) {
      case 'run.started':
        run.started = event
        break
      case 'run.finished':
        run.finished = event
        break
      case 'task.started': {
        const node: TaskNode = {
          kind: 'task',
          title: taskTitle(event),
          outcome: 'unfinished',
          start: event.at,
          durationMs: 0,
          children: [],
        }
        tasks.set(event.id, node)
        into(event.parent).push(node)
        break
      }
      case 'task.finished': {
        const node = tasks.get(event.id)
        if (node)
          Object.assign(node, {
            outcome: event.outcome,
            durationMs: event.durationMs,
            ...(event.error ? { error: event.error } : {}),
          })
        break
      }
      case 'command.started':
        begin(`command ${event.id}`, event, { kind: 'command', title: event.display, host: event.host })
        if (event.kind === 'probe' && event.quiet) questions.add(event.id)
        break
      case 'command.output': {
        const node = works.get(`command ${event.id}`)
        if (!node) break
        const lines = node.streams.get(event.stream) ?? createLines()
        node.streams.set(event.stream, lines)
        for (const line of lines.push(event.text)) node.lines.push(line)
        break
      }
      case 'command.finished': {
        const failed =
          event.exitCode === 0
            ? undefined
            : event.signal
              ? `killed by ${event.signal}`
              : `exit ${event.exitCode ?? 'status unknown'}`
        end(`command ${event.id}`, {
          outcome: !failed ? 'ok' : event.exitCode !== null && questions.has(event.id) ? 'answered' : 'failed',
          durationMs: event.durationMs,
          ...(failed ? { detail: failed } : {}),
        })
        break
      }
      case 'step.started':
        begin(`step ${event.id}`, event, {
          kind: 'step',
          title: event.title,
          ...hostOf(event),
          ...(event.window ? { window: true } : {}),
        })
        break
      case 'step.finished':
        end(`step ${event.id}`, event)
        break
      case 'changed':
        run.changed.set(event.host ?? '', [...(run.changed.get(event.host ?? '') ?? []), event])
        break
      case 'error':
        run.errors.push(event.error)
        break
      case 'note':
      case 'warning':
      case 'result':
        into(event.task).push({ kind: event.type, text: event.text, ...('host' in event ? hostOf(event) : {}) })
        break
      case 'log.line':
        into(event.task).push({ kind: 'log', text: event.text, host: event.host })
        break
      case 'held-back':
        into(event.task).push({
          kind: 'held-back',
          text: event.display,
          host: event.host,
          ...(event.diff ? { diff: event.diff } : {}),
        })
        break
    }
  }
  return run
}

const hostOf = ({ host }: { host?: string }) => (host === undefined ? {} : { host })

function facts({ started, finished, start }: RunModel): string {
  const time = new Date(start).toISOString()
  const parts = [
    `<time datetime="${time}">${time.slice(0, 19).replace('T', ' ')} UTC</time>`,
    finished && escaped(duration(finished.durationMs)),
    started && `by ${escaped(started.user)}`,
    started?.dryRun && 'dry run: nothing was changed',
    started && `Slipway ${escaped(started.version)}`,
  ]
  return parts.filter(Boolean).join(' · ')
}

function errorHtml({ message, state, next, detail, host }: ErrorRecord): string {
  return `<section class="error"><h2>${host ? `${hostHtml(host)} ` : ''}${escaped(message)}</h2>
${detail ? `<pre>${escaped(detail)}</pre>` : ''}${state ? `<p>${escaped(state)}</p>` : ''}${next ? `<p class="next">→ ${escaped(next)}</p>` : ''}</section>`
}

function changedHtml({ changed, started }: RunModel): string {
  if (changed.size === 0) return ''
  const rows = [...changed].map(([host, events]) => {
    const items = events.map((event) => `<li>${escaped(event.what)}${diffHtml(event.diff)}</li>`)
    return `<dt>${host === '' ? 'here' : hostHtml(host)}</dt><dd><ul>${items.join('')}</ul></dd>`
  })
  return `<section><h2>${started?.dryRun ? 'What would change' : 'What changed'}</h2><dl>${rows.join('')}</dl></section>`
}

/** Bars narrower than this share of the whole are joined with their neighbours, so that long runs stay light. */
const narrowest = 0.0005

function timelineHtml({ work, start, end }: RunModel): string {
  const whole = Math.max(1, end - start)
  const lanes = new Map<string, WorkNode[]>()
  for (const each of work) lanes.set(each.host ?? '', [...(lanes.get(each.host ?? '') ?? []), each])
  if (lanes.size === 0) return ''
  const rows = [...lanes].map(([host, nodes]) => {
    const bars: { left: number; right: number; title: string; className: string }[] = []
    for (const node of nodes) {
      const left = (node.start - start) / whole
      const right = Math.min(1, left + Math.max(node.durationMs / whole, narrowest))
      const className = `${node.kind} ${node.outcome}${node.window ? ' window' : ''}`
      const last = bars.at(-1)
      if (last && right - left <= narrowest && left - last.right < narrowest && last.className === className) {
        last.right = Math.max(last.right, right)
      } else bars.push({ left, right, title: `${node.title.split('\n')[0]}: ${duration(node.durationMs)}`, className })
    }
    const html = bars.map(({ left, right, title, className }) => {
      const style = `left:${percent(left)};width:${percent(right - left)}`
      return `<i class="${className}" style="${style}" title="${escaped(printable(title))}"></i>`
    })
    return `<div class="lane"><span>${host === '' ? 'steps' : escaped(host)}</span><div>${html.join('')}</div></div>`
  })
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => `<span>${escaped(duration(whole * share))}</span>`)
  return `<section><h2>When</h2><div class="timeline">${rows.join('')}<div class="ticks"><span></span><div>${ticks.join('')}</div></div></div></section>`
}

const percent = (share: number) => `${(share * 100).toFixed(3)}%`

function nodeHtml(node: Node): string {
  if (node.kind === 'task') {
    const error =
      node.error && node.outcome !== 'stopped' ? '' : node.error ? `<p>${escaped(node.error.message)}</p>` : ''
    return `<details class="task" open><summary>${markHtml(node.outcome)}<b>${escaped(node.title)}</b>${timeHtml(node)}</summary>${error}${node.children.map(nodeHtml).join('\n')}</details>`
  }
  if ('lines' in node) {
    const head = `${markHtml(node.outcome)}${node.host ? hostHtml(node.host) : ''}<code>${escaped(node.title)}</code>${node.detail ? ` <em>${escaped(node.detail)}</em>` : ''}${node.window ? ' <em class="window">window</em>' : ''}${timeHtml(node)}`
    if (node.lines.length === 0) return `<div class="work">${head}</div>`
    const count = `<em>${node.lines.length} line${node.lines.length === 1 ? '' : 's'}</em>`
    return `<details class="work"${node.outcome === 'failed' ? ' open' : ''}><summary>${head} ${count}</summary><pre>${escaped(node.lines.join('\n'))}</pre></details>`
  }
  const host = node.host ? hostHtml(node.host) : ''
  if (node.kind === 'result') return `<pre class="result">${escaped(node.text)}</pre>`
  if (node.kind === 'held-back')
    return `<div class="line">${host}<em>would run</em> <code>${escaped(node.text)}</code>${diffHtml(node.diff)}</div>`
  return `<div class="line ${node.kind}">${host}${escaped(node.text)}</div>`
}

function diffHtml(diff: string | undefined): string {
  if (!diff) return ''
  const lines = diff
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => {
      const tag = line.startsWith('+') ? 'ins' : line.startsWith('-') ? 'del' : undefined
      return tag ? `<${tag}>${escaped(line)}</${tag}>` : escaped(line)
    })
  return `<pre>${lines.join('\n')}</pre>`
}

const marks: Record<Mark, string> = {
  ok: '✓',
  unchanged: '=',
  answered: '·',
  failed: '✗',
  aborted: '✗',
  stopped: '–',
  'held-back': '–',
  unfinished: '…',
}
const markHtml = (outcome: Mark) => `<span class="mark ${outcome}" title="${outcome}">${marks[outcome]}</span>`
const timeHtml = ({ durationMs }: { durationMs: number }) =>
  `<span class="time">${escaped(duration(durationMs))}</span>`
const hostHtml = (host: string) => `<span class="host">${escaped(host)}</span>`

function escaped(text: string): string {
  const clean = text.split('\n').map(printable).join('\n')
  return clean.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
