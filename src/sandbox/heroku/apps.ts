/** Apps and what belongs to them: variables, formation, features, buildpacks, domains, certificates. */
import { randomBytes, randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { Server } from 'node:http'
import { reconcile, stopDyno } from './dynos.ts'
import { ApiError } from './http.ts'
import { log } from './logs.ts'
import { release, stackId, stackNames } from './releases.ts'
import { type App, currentRelease, type Domain, type Formation, fullConfig, type SniEndpoint } from './state.ts'
import { startRouter } from './web.ts'
import { findApp, type World } from './world.ts'

export const regionIds: Record<string, string> = {
  us: '59accabd-516d-4f0e-83e6-6e3757701145',
  eu: 'ed30241c-ed8c-4bb6-9714-61953675d0b4',
}

const featureNames = ['log-runtime-metrics', 'runtime-dyno-metadata', 'preboot', 'http-session-affinity']
const sizes = ['Eco', 'Basic', 'Standard-1X', 'Standard-2X', 'Performance-M', 'Performance-L']

export function appRoutes(world: World, routers: Map<App, Server>): void {
  const { api, state, faults } = world
  const account = { id: state.account.id, email: state.account.email }

  const show = (app: App): unknown => ({
    id: app.id,
    name: app.name,
    acm: app.acm,
    archived_at: null,
    buildpack_provided_description: currentRelease(app)?.slug ? 'Python' : null,
    build_stack: { id: stackId(app.buildStack), name: app.buildStack },
    stack: { id: stackId(app.stack), name: app.stack },
    generation: { id: '6d0b7f1c-0f0b-4d6e-9a1a-ceda0ceda000', name: 'cedar' },
    git_url: `https://git.heroku.com/${app.name}.git`,
    internal_routing: false,
    maintenance: app.maintenance,
    owner: app.team ? { id: teamId(app.team), email: `${app.team}@herokumanager.com` } : account,
    organization: app.team ? { id: teamId(app.team), name: app.team } : null,
    team: app.team ? { id: teamId(app.team), name: app.team } : null,
    region: { id: regionIds[app.region], name: app.region },
    space: null,
    repo_size: 0,
    slug_size: currentRelease(app)?.slug?.size ?? null,
    // A real app's is https://NAME-HASH.herokuapp.com/; here it is where the router of the app listens.
    web_url: `http://127.0.0.1:${app.port}/`,
    created_at: app.createdAt,
    updated_at: app.updatedAt,
    released_at: app.releasedAt,
  })

  const create = async (body: Record<string, unknown>): Promise<{ status: number; body: unknown }> => {
    const name = (body['name'] as string | undefined) ?? `quiet-meadow-${randomBytes(3).readUIntBE(0, 3) % 100000}`
    if (!/^[a-z][a-z0-9-]{1,28}[a-z0-9]$/.test(name)) {
      throw new ApiError(
        422,
        'invalid_params',
        'Name must start with a letter, end with a letter or digit and can only contain lowercase letters, digits, and dashes.',
      )
    }
    if (state.apps.has(name) || state.takenNames.has(name) || state.foreignApps.has(name)) {
      throw new ApiError(422, 'invalid_params', `Name ${name} is already taken`)
    }
    const region = named(body['region']) ?? 'us'
    if (!(region in regionIds)) throw new ApiError(422, 'invalid_params', `Region ${region} is not available`)
    const stack = named(body['stack']) ?? 'heroku-24'
    if (!stackNames.includes(stack)) throw new ApiError(422, 'invalid_params', `Stack ${stack} is not available`)
    const team = (named(body['team']) ?? null) as string | null
    if (team && !state.teams.includes(team))
      throw new ApiError(403, 'forbidden', `You do not have access to the team ${team}.`)
    const at = faults.timestamp()
    const logEvents = new EventEmitter()
    logEvents.setMaxListeners(0)
    const app: App = {
      id: randomUUID(),
      name,
      stack,
      buildStack: stack,
      region,
      team,
      maintenance: false,
      acm: false,
      config: {},
      releases: [],
      builds: [],
      formation: new Map(),
      dynos: [],
      domains: [],
      sni: [],
      features: new Set(),
      buildpacks: [],
      nextDyno: 1 + Math.floor(Math.random() * 5000),
      logs: [],
      logEvents,
      port: 0,
      createdAt: at,
      updatedAt: at,
      releasedAt: at,
      chain: Promise.resolve(),
    }
    state.apps.set(name, app)
    routers.set(app, await startRouter(world, app))
    app.domains.push(makeDomain(world, `${name}.herokuapp.com`, 'heroku'))
    await release(world, app, { description: 'Initial release', slug: null }).done
    await release(world, app, { description: 'Enable Logplex', slug: null }).done
    return { status: 201, body: show(app) }
  }
  api.route('POST', '/apps', ({ body }) => create(body))
  api.route('POST', '/teams/apps', ({ body }) => create(body))
  api.route('GET', '/apps', () => ({ body: [...state.apps.values()].map(show) }))
  api.route('GET', '/users/:user/apps', () => ({ body: [...state.apps.values()].filter((app) => !app.team).map(show) }))
  api.route('GET', '/teams/:team/apps', ({ params }) => {
    if (!state.teams.includes(params['team']!))
      throw new ApiError(404, 'not_found', "Couldn't find that team.", { resource: 'team' })
    return { body: [...state.apps.values()].filter((app) => app.team === params['team']).map(show) }
  })
  api.route('GET', '/apps/:app', ({ params }) => ({ body: show(findApp(world, params['app']!)) }))
  api.route('POST', '/filters/apps', ({ body }) => {
    const ids = new Set<string>([...(body.in?.id ?? []), ...(body.in?.name ?? [])])
    return { body: [...state.apps.values()].filter((app) => ids.has(app.id) || ids.has(app.name)).map(show) }
  })
  api.route('PATCH', '/apps/:app', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    if (body.name !== undefined && body.name !== app.name) {
      if (state.apps.has(body.name) || state.takenNames.has(body.name))
        throw new ApiError(422, 'invalid_params', `Name ${body.name} is already taken`)
      state.apps.delete(app.name)
      app.name = body.name
      state.apps.set(app.name, app)
    }
    if (body.maintenance !== undefined) app.maintenance = body.maintenance
    const stack = named(body.build_stack)
    if (stack !== undefined) {
      if (!stackNames.includes(stack)) throw new ApiError(422, 'invalid_params', `Stack ${stack} is not available`)
      app.buildStack = stack
    }
    app.updatedAt = faults.timestamp()
    return { body: show(app) }
  })
  api.route('DELETE', '/apps/:app', async ({ params }) => {
    const app = findApp(world, params['app']!)
    const shown = show(app)
    await closeApp(world, app, routers)
    state.apps.delete(app.name)
    state.attachments = state.attachments.filter((each) => each.app !== app)
    state.couplings = state.couplings.filter((each) => each.app !== app)
    return { body: shown }
  })
  api.route('GET', '/apps/:app/collaborators', ({ params }) => {
    const app = findApp(world, params['app']!)
    const at = app.createdAt
    return {
      body: [
        {
          id: app.id,
          app: { id: app.id, name: app.name },
          user: { ...account, federated: false },
          permissions: [],
          role: 'owner',
          created_at: at,
          updated_at: at,
        },
      ],
    }
  })

  api.route('GET', '/apps/:app/config-vars', ({ params }) => ({
    body: fullConfig(state, findApp(world, params['app']!)),
  }))
  api.route('PATCH', '/apps/:app/config-vars', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const config = { ...app.config }
    const fromAddons = new Set(Object.keys(fullConfig(state, app)).filter((name) => !(name in app.config)))
    const changed: string[] = []
    for (const [name, value] of Object.entries(body as Record<string, string | null>)) {
      if (!/^\w+$/.test(name)) throw new ApiError(422, 'invalid_params', `Config var key ${name} is invalid.`)
      if (fromAddons.has(name)) throw new ApiError(422, 'invalid_params', `Cannot overwrite attachment values ${name}.`)
      if (value === null) delete config[name]
      else config[name] = String(value)
      changed.push(name)
    }
    if (JSON.stringify(Object.entries(config).sort()) !== JSON.stringify(Object.entries(app.config).sort())) {
      app.config = config
      release(world, app, { description: `Set ${changed.join(', ')} config vars`, config })
    }
    return { body: { ...fullConfig(state, app), ...config } }
  })

  const showFormation = (app: App, each: Formation): unknown => ({
    id: each.id,
    type: each.type,
    quantity: each.quantity,
    size: each.size,
    dyno_size: { id: '01234567-89ab-4def-8123-456789abcdef', name: each.size },
    command: each.command,
    app: { id: app.id, name: app.name },
    created_at: each.createdAt,
    updated_at: each.createdAt,
  })
  api.route('GET', '/apps/:app/formation', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: [...app.formation.values()].map((each) => showFormation(app, each)) }
  })
  const scale = (
    app: App,
    updates: { type: string; quantity?: number | string; size?: string; dyno_size?: { name: string } | string }[],
  ): Formation[] => {
    const planned = updates.map((update) => {
      const formation = app.formation.get(update.type)
      if (!formation)
        throw new ApiError(404, 'not_found', `Couldn't find that process type (${update.type}).`, {
          resource: 'formation',
        })
      // The official command line sends "2", "+1" and size; the schema says 2 and dyno_size.
      const text = update.quantity === undefined ? String(formation.quantity) : String(update.quantity)
      const quantity = /^[+-]/.test(text) ? Math.max(0, formation.quantity + Number(text)) : Number(text)
      if (!Number.isInteger(quantity)) throw new ApiError(422, 'invalid_params', 'quantity must be an integer')
      const size = update.size ?? named(update.dyno_size) ?? formation.size
      const known = sizes.find((each) => each.toLowerCase() === size.toLowerCase())
      if (!known) throw new ApiError(422, 'invalid_params', `No such dyno size as ${size}.`)
      return { formation, quantity, size: known }
    })
    const others = [...app.formation.values()].filter((each) => !planned.some((plan) => plan.formation === each))
    const total =
      planned.reduce((sum, plan) => sum + plan.quantity, 0) + others.reduce((sum, each) => sum + each.quantity, 0)
    if (total > faults.on.dynoQuota) {
      throw new ApiError(422, 'invalid_params', `Cannot run more than ${faults.on.dynoQuota} Standard-1X size dynos.`)
    }
    const resized = new Set<string>()
    for (const plan of planned) {
      if (plan.formation.size !== plan.size) resized.add(plan.formation.type)
      plan.formation.quantity = plan.quantity
      plan.formation.size = plan.size
    }
    log(
      world,
      app,
      'app',
      'api',
      `Scaled to ${planned.map((plan) => `${plan.formation.type}@${plan.quantity}:${plan.size}`).join(' ')} by user ${state.account.email}`,
    )
    reconcile(world, app, (dyno) => resized.has(dyno.type))
    return planned.map((plan) => plan.formation)
  }
  api.route('GET', '/apps/:app/available-dyno-sizes', ({ params }) => {
    findApp(world, params['app']!)
    return {
      body: sizes.map((name, n) => ({
        id: `00000000-0000-4000-8000-00000000000${n}`,
        name,
        architecture: 'x86_64',
        compute: n + 1,
        cost: null,
        dedicated: name.startsWith('Performance'),
        memory: 0.5 * 2 ** n,
        precise_dyno_units: 1,
        private_space_only: false,
      })),
    }
  })
  api.route('PATCH', '/apps/:app/formation', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    return { body: scale(app, body.updates ?? []).map((each) => showFormation(app, each)) }
  })
  api.route('PATCH', '/apps/:app/formation/:type', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    return { body: showFormation(app, scale(app, [{ ...body, type: params['type']! }])[0]!) }
  })

  const showFeature = (app: App, name: string): unknown => ({
    id: `00000000-0000-4000-8000-${Buffer.from(name).toString('hex').slice(0, 12).padEnd(12, '0')}`,
    name,
    display_name: name,
    description: name,
    doc_url: 'https://devcenter.heroku.com/categories/labs',
    enabled: app.features.has(name),
    feedback_email: 'labs-feedback@example.com',
    state: 'general',
    created_at: app.createdAt,
    updated_at: app.updatedAt,
  })
  api.route('GET', '/apps/:app/features', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: featureNames.map((name) => showFeature(app, name)) }
  })
  const feature = (_app: App, name: string): string => {
    if (!featureNames.includes(name))
      throw new ApiError(404, 'not_found', "Couldn't find that feature.", { resource: 'app_feature' })
    return name
  }
  api.route('GET', '/apps/:app/features/:feature', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: showFeature(app, feature(app, params['feature']!)) }
  })
  api.route('PATCH', '/apps/:app/features/:feature', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const name = feature(app, params['feature']!)
    if (body.enabled) app.features.add(name)
    else app.features.delete(name)
    return { body: showFeature(app, name) }
  })

  const showBuildpacks = (app: App): unknown[] =>
    app.buildpacks.map((name, ordinal) => ({
      ordinal,
      buildpack: { url: /:\/\//.test(name) ? name : `urn:buildpack:${name}`, name },
    }))
  api.route('GET', '/apps/:app/buildpack-installations', ({ params }) => ({
    body: showBuildpacks(findApp(world, params['app']!)),
  }))
  api.route('PUT', '/apps/:app/buildpack-installations', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    app.buildpacks = (body.updates ?? []).map((each: { buildpack: string }) =>
      each.buildpack.replace(/^urn:buildpack:/, ''),
    )
    return { body: showBuildpacks(app) }
  })

  const showDomain = (app: App, each: Domain): unknown => ({
    id: each.id,
    hostname: each.hostname,
    kind: each.kind,
    cname: each.cname,
    status: each.status,
    acm_status: each.acmStatus,
    acm_status_reason: null,
    sni_endpoint:
      app.sni.filter((sni) => sni.name === each.sniEndpoint).map((sni) => ({ id: sni.id, name: sni.name }))[0] ?? null,
    app: { id: app.id, name: app.name },
    created_at: each.createdAt,
    updated_at: each.createdAt,
  })
  const oneDomain = (app: App, identity: string): Domain => {
    const found = app.domains.find((each) => each.hostname === identity || each.id === identity)
    if (!found) throw new ApiError(404, 'not_found', "Couldn't find that domain name.", { resource: 'domain' })
    return found
  }
  api.route('GET', '/apps/:app/domains', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: app.domains.map((each) => showDomain(app, each)) }
  })
  api.route('GET', '/apps/:app/domains/:domain', ({ params }) => {
    const app = findApp(world, params['app']!)
    const domain = oneDomain(app, params['domain']!)
    if (domain.status === 'pending') domain.status = 'succeeded'
    return { body: showDomain(app, domain) }
  })
  api.route('POST', '/apps/:app/domains', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    if (body.sni_endpoint === undefined) throw new ApiError(422, 'invalid_params', 'sni_endpoint is required')
    const taken = [...state.apps.values()].find((each) =>
      each.domains.some((domain) => domain.hostname === body.hostname),
    )
    if (taken) {
      throw new ApiError(
        422,
        'invalid_params',
        taken === app
          ? `${body.hostname} is already added to this app.`
          : `${body.hostname} is currently in use by another app.`,
      )
    }
    const domain = makeDomain(world, body.hostname, 'custom')
    domain.sniEndpoint = body.sni_endpoint
    if (app.acm) domain.acmStatus = 'cert issued'
    app.domains.push(domain)
    return { status: 201, body: showDomain(app, domain) }
  })
  api.route('PATCH', '/apps/:app/domains/:domain', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const domain = oneDomain(app, params['domain']!)
    const sni = app.sni.find((each) => each.id === body.sni_endpoint || each.name === body.sni_endpoint)
    if (body.sni_endpoint && !sni) throw new ApiError(404, 'not_found', "Couldn't find that SNI endpoint.")
    domain.sniEndpoint = sni?.name ?? null
    return { body: showDomain(app, domain) }
  })
  api.route('DELETE', '/apps/:app/domains/:domain', ({ params }) => {
    const app = findApp(world, params['app']!)
    const domain = oneDomain(app, params['domain']!)
    app.domains = app.domains.filter((each) => each !== domain)
    return { body: showDomain(app, domain) }
  })
  for (const method of ['POST', 'PATCH', 'DELETE']) {
    api.route(method, '/apps/:app/acm', ({ params }) => {
      const app = findApp(world, params['app']!)
      app.acm = method !== 'DELETE'
      for (const domain of app.domains) if (domain.kind === 'custom') domain.acmStatus = app.acm ? 'cert issued' : null
      return { body: show(app) }
    })
  }
  const showSni = (app: App, each: SniEndpoint): unknown => ({
    id: each.id,
    name: each.name,
    display_name: null,
    certificate_chain: each.certificateChain,
    domains: app.domains.filter((domain) => domain.sniEndpoint === each.name).map((domain) => domain.id),
    app: { id: app.id, name: app.name },
    created_at: each.createdAt,
    updated_at: each.createdAt,
  })
  api.route('GET', '/apps/:app/sni-endpoints', ({ params }) => {
    const app = findApp(world, params['app']!)
    return { body: app.sni.map((each) => showSni(app, each)) }
  })
  const certificate = (body: { certificate_chain?: string; private_key?: string }): string => {
    if (!/BEGIN CERTIFICATE/.test(body.certificate_chain ?? ''))
      throw new ApiError(422, 'invalid_params', 'certificate_chain is not a PEM certificate')
    if (!/PRIVATE KEY/.test(body.private_key ?? ''))
      throw new ApiError(422, 'invalid_params', 'private_key is not a PEM key')
    return body.certificate_chain!
  }
  api.route('POST', '/apps/:app/sni-endpoints', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const sni: SniEndpoint = {
      id: randomUUID(),
      name: `${app.name}-cert-${app.sni.length + 1}`,
      certificateChain: certificate(body),
      createdAt: faults.timestamp(),
    }
    app.sni.push(sni)
    return { status: 201, body: showSni(app, sni) }
  })
  api.route('PATCH', '/apps/:app/sni-endpoints/:sni', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const sni = app.sni.find((each) => each.name === params['sni'] || each.id === params['sni'])
    if (!sni) throw new ApiError(404, 'not_found', "Couldn't find that SNI endpoint.")
    sni.certificateChain = certificate(body)
    return { body: showSni(app, sni) }
  })
}

export async function closeApp(world: World, app: App, routers: Map<App, Server>): Promise<void> {
  for (const formation of app.formation.values()) formation.quantity = 0
  await Promise.all(app.dynos.map((dyno) => stopDyno(world, app, dyno)))
  const router = routers.get(app)
  routers.delete(app)
  router?.closeAllConnections()
  await new Promise<void>((resolve) => (router ? router.close(() => resolve()) : resolve()))
}

function makeDomain(world: World, hostname: string, kind: 'heroku' | 'custom'): Domain {
  return {
    id: randomUUID(),
    hostname,
    kind,
    cname: kind === 'custom' ? `${randomBytes(4).toString('hex')}-dns.herokudns.com` : null,
    status: kind === 'custom' ? 'pending' : 'none',
    acmStatus: null,
    sniEndpoint: null,
    createdAt: world.faults.timestamp(),
  }
}

/** A name given as text, or as `{ name }`. */
function named(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'object' && value !== null) return (value as { name?: string }).name
  return undefined
}

const teamId = (team: string): string =>
  `00000000-0000-4000-9000-${Buffer.from(team).toString('hex').slice(0, 12).padEnd(12, '0')}`
