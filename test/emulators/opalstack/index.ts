/**
 * Opalstack's REST interface as documented: lists and reads by GET, arrays in and out of writes, things that become
 * ready some reads later. Faults are asked for by name.
 */
import { randomUUID } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'

export type OpalstackFault =
  | 'unauthorized'
  | 'too-many-requests'
  | 'server-error'
  | 'lost-answer'
  | 'never-ready'
  /** The update is accepted, becomes ready, and was never done. */
  | 'success-that-is-not'
  | 'no-answer'

type Thing = Record<string, unknown> & { id: string; name: string; state: string; ready: boolean }

export interface Opalstack {
  readonly url: string
  readonly token: string
  readonly requests: string[]
  readonly models: Record<string, Thing[]>
  /** The next requests that fit have this fault. */
  fault(name: OpalstackFault, fits: RegExp, times?: number): void
  add(model: string, thing: Record<string, unknown> & { name: string }): Thing
  close(): Promise<void>
}

export async function startOpalstack(): Promise<Opalstack> {
  const token = 'f'.repeat(40)
  const models: Record<string, Thing[]> = { site: [], app: [], domain: [], osuser: [], ip: [] }
  const requests: string[] = []
  const faults: { name: OpalstackFault; fits: RegExp; left: number }[] = []
  const reads = new Map<string, number>()
  const stuck = new Set<string>()

  const add: Opalstack['add'] = (model, thing) => {
    const made = { id: randomUUID(), state: 'READY', ready: true, ...thing } as Thing
    models[model]?.push(made)
    return made
  }
  const reply = (response: ServerResponse, status: number, body?: unknown, headers: Record<string, string> = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(body === undefined ? '' : JSON.stringify(body))
  }
  /** Pending until it was looked at twice. */
  function pending(thing: Thing, state: string): void {
    thing.state = state
    thing.ready = false
    reads.set(thing.id, 0)
  }
  function looked(thing: Thing): Thing {
    const count = (reads.get(thing.id) ?? 9) + 1
    reads.set(thing.id, count)
    if (count >= 2 && !stuck.has(thing.id)) Object.assign(thing, { state: 'READY', ready: true })
    return thing
  }

  const server = createServer((request, response) => {
    let text = ''
    request.on('data', (data) => {
      text += data
    })
    request.on('end', () => {
      const what = `${request.method} ${request.url}`
      requests.push(what)
      const fault = faults.find((each) => each.left > 0 && each.fits.test(what))
      if (fault) fault.left -= 1
      if (request.headers.authorization !== `Token ${token}` || fault?.name === 'unauthorized') {
        return reply(response, 401, { detail: 'Invalid token.' })
      }
      if (fault?.name === 'too-many-requests')
        return reply(response, 429, { detail: 'Request was throttled.' }, { 'retry-after': '0.05' })
      if (fault?.name === 'server-error') return reply(response, 502, { detail: 'Bad gateway' })
      if (fault?.name === 'no-answer') return undefined
      const [, model = '', verb = '', id] = /^\/api\/v1\/(\w+)\/(\w+)\/([\w-]*)/.exec(request.url ?? '') ?? []
      const things = models[model]
      if (!things) return reply(response, 404, { detail: 'Not found.' })
      if (request.method === 'GET' && verb === 'list') return reply(response, 200, things.map(looked))
      if (request.method === 'GET' && verb === 'read') {
        const thing = things.find((each) => each.id === id)
        return thing ? reply(response, 200, looked(thing)) : reply(response, 404, { detail: 'Not found.' })
      }
      const bodies: unknown = JSON.parse(text || 'null')
      if (!Array.isArray(bodies)) return reply(response, 400, { detail: 'Expected a list of items.' })
      const changed = bodies.map((body: Record<string, unknown>) => {
        if (verb === 'create') {
          const made = add(model, {
            ...(model === 'app' ? { port: 19306, json: {} } : {}),
            ...body,
            name: String(body['name']),
          })
          pending(made, 'PENDING_CREATE')
          return made
        }
        const thing = things.find((each) => each.id === body['id'])
        if (!thing) return undefined
        if (fault?.name !== 'success-that-is-not') {
          Object.assign(thing, body)
          if (Array.isArray(body['routes']))
            thing['routes'] = body['routes'].map((route: object) => ({ id: randomUUID(), ...route }))
        }
        pending(thing, 'PENDING_UPDATE')
        return thing
      })
      if (changed.includes(undefined)) return reply(response, 404, { detail: 'Not found.' })
      if (fault?.name === 'never-ready') for (const thing of changed) if (thing) stuck.add(thing.id)
      if (fault?.name === 'lost-answer') return request.socket.destroy()
      return reply(response, 200, changed)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${port}/api/v1`,
    token,
    requests,
    models,
    fault: (name, fits, times = 1) => faults.push({ name, fits, left: times }),
    add,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
