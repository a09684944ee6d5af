/** Releases: what an app runs. Each one may have a release phase; only one that succeeds becomes current. */
import { randomUUID } from 'node:crypto'
import { reconcile, startDyno } from './dynos.ts'
import { ApiError } from './http.ts'
import { log } from './logs.ts'
import { type App, currentRelease, type Release, type Slug } from './state.ts'
import { background, findApp, newStream, streamUrl, type World } from './world.ts'

export interface ReleaseRequest {
  description: string
  slug?: Slug | null
  /** The app's variables from now on; the present ones unless given. */
  config?: Record<string, string>
  /** Attaching and detaching add-ons runs no release phase. */
  phase?: boolean
}

/** Makes a release. `done` resolves once it succeeded or failed. */
export function release(world: World, app: App, request: ReleaseRequest): { release: Release; done: Promise<Release> } {
  const at = world.faults.timestamp()
  const before = currentRelease(app)
  const slug = request.slug === undefined ? (before?.slug ?? null) : request.slug
  const config = request.config ?? { ...app.config }
  const command = request.phase === false ? undefined : slug?.processTypes['release']
  const made: Release = {
    id: randomUUID(),
    version: (app.releases[app.releases.length - 1]?.version ?? 0) + 1,
    description: request.description,
    status: 'pending',
    current: false,
    slug,
    config,
    stream: command ? newStream(world) : null,
    createdAt: at,
    updatedAt: at,
  }
  app.releases.push(made)
  log(world, app, 'app', 'api', `Release v${made.version} created by user ${world.state.account.email}`)
  const activate = (): Release => {
    for (const each of app.releases) each.current = false
    made.current = true
    made.status = 'succeeded'
    made.updatedAt = world.faults.timestamp()
    app.config = { ...config }
    app.releasedAt = made.updatedAt
    formationOf(world, app, slug)
    reconcile(world, app)
    return made
  }
  if (!command) return { release: made, done: Promise.resolve(activate()) }
  const done: Promise<Release> = app.chain.then(async () => {
    const failing = world.faults.on.failRelease
    const dyno = startDyno(world, app, {
      name: `release.${1000 + (app.nextDyno++ % 9000)}`,
      type: 'release',
      command: failing ? 'echo "release phase: configured to fail" >&2; exit 1' : command,
      release: made,
      output: (chunk) => made.stream?.write(chunk),
    })
    const status = await dyno.exited
    if (status !== 0) {
      made.status = 'failed'
      made.updatedAt = world.faults.timestamp()
      log(world, app, 'app', 'api', `Release v${made.version} command failed`)
    } else {
      activate()
    }
    made.stream?.end()
    return made
  })
  app.chain = done
  background(world, () => done)
  return { release: made, done }
}

/** Process types come and go with the slug; a first `web` gets one dyno. */
function formationOf(world: World, app: App, slug: Slug | null): void {
  if (!slug) return
  for (const type of app.formation.keys()) {
    if (!(type in slug.processTypes)) app.formation.delete(type)
  }
  const first = app.formation.size === 0
  for (const [type, command] of Object.entries(slug.processTypes)) {
    if (type === 'release') continue
    const known = app.formation.get(type)
    if (known) known.command = command
    else {
      const at = world.faults.timestamp()
      const quantity = first && type === 'web' ? 1 : 0
      app.formation.set(type, { id: randomUUID(), type, quantity, size: 'Basic', command, createdAt: at })
    }
  }
}

function showRelease(world: World, app: App, each: Release): unknown {
  return {
    id: each.id,
    version: each.version,
    description: each.description,
    status: each.status,
    current: each.current,
    // The current one too: clients take the second of those that are eligible.
    eligible_for_rollback: each.status === 'succeeded' && each.slug !== null,
    output_stream_url: each.stream ? streamUrl(world, each.stream) : null,
    slug: each.slug ? { id: each.slug.id } : null,
    artifacts: each.slug ? [{ type: 'slug', id: each.slug.id }] : [],
    app: { id: app.id, name: app.name },
    addon_plan_names: world.state.addons.filter((addon) => addon.app === app).map((addon) => addon.plan),
    user: { id: world.state.account.id, email: world.state.account.email },
    created_at: each.createdAt,
    updated_at: each.updatedAt,
  }
}

function findRelease(app: App, identity: string): Release {
  const found = app.releases.find((each) => each.id === identity || String(each.version) === identity.replace(/^v/, ''))
  if (!found) throw new ApiError(404, 'not_found', "Couldn't find that release.", { resource: 'release' })
  return found
}

export function releaseRoutes(world: World): void {
  const { api } = world
  api.route('GET', '/apps/:app/releases', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: app.releases.map((each) => showRelease(world, app, each)) }
  })
  api.route('GET', '/apps/:app/releases/:release', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: showRelease(world, app, findRelease(app, params['release']!)) }
  })
  api.route('GET', '/apps/:app/releases/:release/config-vars', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: findRelease(app, params['release']!).config }
  })
  api.route('POST', '/apps/:app/releases', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    if (body.release !== undefined) {
      const to = app.releases.find((each) => each.id === body.release)
      if (!to) throw new ApiError(422, 'invalid_params', 'release must be the id of a release of this app')
      if (!to.slug || to.status !== 'succeeded') {
        throw new ApiError(422, 'invalid_params', `Release v${to.version} is not eligible for rollback.`)
      }
      const { release: made } = release(world, app, {
        description: `Rollback to v${to.version}`,
        slug: to.slug,
        config: to.config,
      })
      return { status: 201, body: showRelease(world, app, made) }
    }
    const slug = world.state.slugs.get(String(body.slug))
    if (!slug) throw new ApiError(422, 'invalid_params', 'slug not found')
    const { release: made } = release(world, app, { description: body.description ?? 'Deploy', slug })
    return { status: 201, body: showRelease(world, app, made) }
  })
  api.route('GET', '/apps/:app/slugs/:slug', ({ params }) => {
    findApp(world, params['app']!)
    const slug = world.state.slugs.get(params['slug']!)
    if (!slug) throw new ApiError(404, 'not_found', "Couldn't find that slug.", { resource: 'slug' })
    return {
      body: {
        id: slug.id,
        blob: { method: 'get', url: `${world.url}/_slugs/${slug.id}` },
        buildpack_provided_description: 'Python',
        checksum: null,
        commit: slug.commit,
        commit_description: null,
        process_types: slug.processTypes,
        size: slug.size,
        stack: { id: stackId('heroku-24'), name: 'heroku-24' },
        created_at: slug.createdAt,
        updated_at: slug.createdAt,
      },
    }
  })

  api.route(
    'GET',
    '/_streams/:id',
    ({ params, response, request }) => {
      const stream = world.state.streams.get(params['id']!)
      if (!stream) throw new ApiError(404, 'not_found', 'no such stream')
      if (stream.missing > 0) {
        stream.missing -= 1
        throw new ApiError(404, 'not_found', 'the stream has not started yet')
      }
      let at = Number(/bytes=(\d+)-/.exec(String(request.headers['range'] ?? ''))?.[1] ?? 0)
      const start = at
      response.writeHead(start > 0 ? 206 : 200, { 'Content-Type': 'text/plain; charset=utf-8' })
      response.flushHeaders()
      const send = (): void => {
        const cut = world.faults.on.cutStreamsAfter
        let chunk = stream.text.subarray(at)
        if (cut !== undefined && at - start + chunk.length > cut) {
          world.faults.on.cutStreamsAfter = undefined
          chunk = chunk.subarray(0, Math.max(0, cut - (at - start)))
          at += chunk.length
          response.write(chunk, () => response.destroy())
          stream.off('data', send)
          return
        }
        at += chunk.length
        if (chunk.length > 0) response.write(chunk)
        if (stream.ended) {
          stream.off('data', send)
          response.end()
        }
      }
      stream.on('data', send)
      response.on('close', () => stream.off('data', send))
      send()
      return undefined
    },
    { open: true },
  )
}

const stacks: Record<string, string> = {
  'heroku-22': '3a3a9a52-7f4b-4f0b-8d5a-0a4f5f3c2200',
  'heroku-24': '3a3a9a52-7f4b-4f0b-8d5a-0a4f5f3c2400',
  container: '3a3a9a52-7f4b-4f0b-8d5a-0a4f5f3cc000',
}

export const stackNames = Object.keys(stacks)
export const stackId = (name: string): string => stacks[name] ?? stacks['heroku-24']!
