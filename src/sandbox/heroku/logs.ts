/** The log of an app, and log sessions: the last lines, then what comes, as text or as server-sent events. */
import { randomUUID } from 'node:crypto'
import type { Call } from './http.ts'
import { ApiError } from './http.ts'
import type { App, LogEntry } from './state.ts'
import { findApp, type World } from './world.ts'

interface Session {
  app: App
  lines: number
  tail: boolean
  dyno?: string
  source?: string
  opened: boolean
}

export function log(world: World, app: App, source: 'app' | 'heroku', dyno: string, text: string): void {
  const last = app.logs[app.logs.length - 1]
  const at = world.faults.now().toISOString().replace('Z', '000+00:00')
  const entry: LogEntry = { n: (last?.n ?? 0) + 1, at, source, dyno, text }
  app.logs.push(entry)
  // The platform keeps the last 1,500 lines.
  if (app.logs.length > 1500) app.logs.shift()
  app.logEvents.emit('line', entry)
}

const format = (entry: LogEntry): string => `${entry.at} ${entry.source}[${entry.dyno}]: ${entry.text}`

export function logRoutes(world: World): void {
  const sessions = new Map<string, Session>()

  world.api.route('POST', '/apps/:app/log-sessions', ({ params, body }) => {
    const id = randomUUID()
    sessions.set(id, {
      app: findApp(world, params['app']!),
      lines: Math.min(1500, Number(body.lines ?? 100)),
      tail: body.tail === true,
      dyno: body.dyno ?? body.dyno_name ?? body.type,
      source: body.source,
      opened: false,
    })
    const at = world.faults.timestamp()
    return {
      status: 201,
      body: { id, created_at: at, updated_at: at, logplex_url: `${world.url}/_logs/${id}?srv=${Date.now()}` },
    }
  })

  world.api.route('GET', '/_logs/:id', (call) => serve(call), { open: true })

  function serve(call: Call): undefined {
    const session = sessions.get(call.params['id']!)
    if (!session || world.faults.on.expireSessions) throw new ApiError(404, 'not_found', 'session expired')
    session.opened = true
    const { response, request } = call
    const events =
      world.faults.on.logFormat === 'events' ||
      (world.faults.on.logFormat === 'negotiate' && /event-stream/.test(String(request.headers['accept'] ?? '')))
    response.writeHead(200, { 'Content-Type': events ? 'text/event-stream' : 'text/plain; charset=utf-8' })
    response.flushHeaders()
    const matches = (entry: LogEntry): boolean =>
      (!session.source || entry.source === session.source) &&
      (!session.dyno || entry.dyno === session.dyno || entry.dyno.startsWith(`${session.dyno}.`))
    let sent = 0
    const cut = world.faults.on.cutStreamsAfter
    const send = (entry: LogEntry): void => {
      const line = format(entry)
      const text = events ? `id: ${entry.n}\nevent: message\ndata: ${line}\n\n` : `${line}\n`
      sent += text.length
      response.write(text)
      if (cut !== undefined && sent > cut) {
        world.faults.on.cutStreamsAfter = undefined
        setImmediate(() => response.destroy())
      }
    }
    const lastId = Number(request.headers['last-event-id'] ?? Number.NaN)
    const backlog = session.app.logs.filter(matches)
    for (const entry of Number.isNaN(lastId)
      ? session.lines > 0
        ? backlog.slice(-session.lines)
        : []
      : backlog.filter((each) => each.n > lastId)) {
      send(entry)
    }
    if (!session.tail) {
      response.end()
      return undefined
    }
    const onLine = (entry: LogEntry): void => {
      if (!matches(entry)) return
      if (!world.faults.on.expireSessions) {
        send(entry)
        return
      }
      // A session that expires ends without an error, wherever it is.
      session.app.logEvents.off('line', onLine)
      response.end(format(entry).slice(0, -1))
    }
    session.app.logEvents.on('line', onLine)
    response.on('close', () => session.app.logEvents.off('line', onLine))
    return undefined
  }
}
