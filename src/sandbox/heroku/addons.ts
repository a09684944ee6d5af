/** Add-ons: services with plans, provisioned in their own time; Postgres and Redis add-ons are real servers. */
import { randomBytes, randomUUID } from 'node:crypto'
import { ApiError } from './http.ts'
import { release } from './releases.ts'
import type { Addon, App, Attachment } from './state.ts'
import { background, findApp, type World } from './world.ts'

interface Service {
  id: string
  human: string
  attachment: string
  plans: Record<string, number>
  sharing: boolean
  values(options: Record<string, unknown>): Record<string, string>
}

const token = (bytes = 12): string => randomBytes(bytes).toString('hex')
const service = (
  human: string,
  attachment: string,
  plans: Record<string, number>,
  values: (options: Record<string, unknown>) => Record<string, string>,
  sharing = true,
): Service => ({ id: randomUUID(), human, attachment, plans, sharing, values })

const services: Record<string, Service> = {
  'heroku-postgresql': service(
    'Heroku Postgres',
    'DATABASE',
    { 'essential-0': 500, 'essential-1': 900, 'essential-2': 2000, 'standard-0': 5000 },
    () => ({}),
  ),
  'heroku-redis': service('Heroku Key-Value Store', 'REDIS', { mini: 300, 'premium-0': 1500 }, () => ({
    _URL: `rediss://:p${token()}@127.0.0.1:6379`,
  })),
  redistogo: service('Redis To Go', 'REDISTOGO', { nano: 0, micro: 900 }, () => ({
    _URL: `redis://redistogo:${token()}@127.0.0.1:6379/`,
  })),
  memcachier: service('MemCachier', 'MEMCACHIER', { dev: 0, '100': 1500 }, () => ({
    _SERVERS: 'mc1.example.com:11211',
    _USERNAME: token(4),
    _PASSWORD: token(),
  })),
  bonsai: service('Bonsai Elasticsearch', 'BONSAI', { sandbox: 0, staging: 1000 }, () => ({
    _URL: `https://u:${token()}@search.example.com`,
  })),
  papertrail: service('Papertrail', 'PAPERTRAIL', { choklad: 0, fixa: 700 }, () => ({ _API_TOKEN: token() })),
  newrelic: service('New Relic APM', 'NEW_RELIC', { wayne: 0 }, () => ({ _LICENSE_KEY: token(), _LOG: 'stdout' })),
  sentry: service('Sentry', 'SENTRY', { f1: 0 }, () => ({ _DSN: `https://${token()}@errors.example.com/1` })),
  librato: service('Librato', 'LIBRATO', { development: 0 }, () => ({ _USER: 'app@example.com', _TOKEN: token() })),
  mailgun: service('Mailgun', 'MAILGUN', { starter: 0 }, () => ({ _API_KEY: token(), _DOMAIN: 'mail.example.com' })),
  bucketeer: service('Bucketeer', 'BUCKETEER', { hobbyist: 500, micro: 1000 }, (options) => ({
    _BUCKET_NAME: String(options['bucket-name'] ?? `bucketeer-${token(6)}`),
    _AWS_ACCESS_KEY_ID: token(8),
    _AWS_SECRET_ACCESS_KEY: token(),
  })),
  scheduler: service('Heroku Scheduler', 'SCHEDULER', { standard: 0 }, () => ({}), false),
}

/** Those with a Redis server behind them, and how it is spoken to; the platform's own is over TLS. */
const redisServices: Readonly<Record<string, 'tls' | 'plain'>> = { 'heroku-redis': 'tls', redistogo: 'plain' }

export function findAddon(world: World, identity: string, app?: App): Addon {
  const { state } = world
  const live = state.addons.filter((each) => each.state !== 'deprovisioned')
  const direct = live.find((each) => each.id === identity || each.name === identity)
  if (direct) return direct
  const attached = state.attachments.filter(
    (each) =>
      (!app || each.app === app) && (each.name === identity || `${each.name}_URL` === identity || each.id === identity),
  )
  const byService = live.filter(
    (each) => (!app || each.app === app) && (each.service === identity || each.plan === identity),
  )
  const found = [...new Set([...attached.map((each) => each.addon), ...byService])]
  if (found.length > 1)
    throw new ApiError(
      422,
      'multiple_matches',
      `Ambiguous identifier; multiple matching add-ons found: ${found.map((each) => each.name).join(', ')}.`,
    )
  if (!found[0]) throw new ApiError(404, 'not_found', "Couldn't find that add-on.", { resource: 'addon' })
  return found[0]
}

export function addonRoutes(world: World): void {
  const { api, state, faults } = world

  const planId = (plan: string): string =>
    `00000000-0000-4000-a000-${Buffer.from(plan).toString('hex').slice(-12).padStart(12, '0')}`
  const price = (cents: number): unknown => ({ cents, contract: false, unit: 'month' })
  const show = (addon: Addon, expanded = false): unknown => {
    const cents = services[addon.service]?.plans[addon.plan.split(':')[1]!] ?? 0
    return {
      id: addon.id,
      name: addon.name,
      actions: [],
      addon_service: {
        id: services[addon.service]!.id,
        name: addon.service,
        ...(expanded ? { human_name: services[addon.service]!.human } : {}),
      },
      plan: {
        id: planId(addon.plan),
        name: addon.plan,
        ...(expanded ? { price: price(cents), human_name: addon.plan } : {}),
      },
      app: { id: addon.app.id, name: addon.app.name },
      billing_entity: { id: addon.app.id, name: addon.app.name, type: 'app' },
      billed_price: price(cents),
      config_vars: state.attachments
        .filter((each) => each.addon === addon && each.app === addon.app)
        .flatMap((each) => Object.keys(addon.values).map((suffix) => `${each.name}${suffix}`)),
      provider_id: addon.id,
      provision_message: addon.message,
      state: addon.state,
      web_url: dashboardOf(addon),
      created_at: addon.createdAt,
      updated_at: addon.updatedAt,
    }
  }
  const dashboardOf = (addon: Addon): string => `https://addons-sso.heroku.com/apps/${addon.app.id}/addons/${addon.id}`

  const showAttachment = (each: Attachment, withPlan = false): Record<string, unknown> => ({
    id: each.id,
    name: each.name,
    namespace: null,
    addon: {
      id: each.addon.id,
      name: each.addon.name,
      app: { id: each.addon.app.id, name: each.addon.app.name },
      ...(withPlan ? { plan: { id: planId(each.addon.plan), name: each.addon.plan } } : {}),
    },
    app: { id: each.app.id, name: each.app.name },
    config_vars: Object.keys(each.addon.values).map((suffix) => `${each.name}${suffix}`),
    web_url: dashboardOf(each.addon),
    log_input_url: null,
    created_at: each.createdAt,
    updated_at: each.createdAt,
  })

  const parsePlan = (given: unknown): { service: string; plan: string } => {
    const text = typeof given === 'string' ? given : (given as { name?: string } | undefined)?.name
    const [name = '', wanted] = (text ?? '').split(':')
    const known = services[name]
    const plan = wanted ?? Object.keys(known?.plans ?? {})[0]
    if (!known || plan === undefined || !(plan in known.plans)) {
      throw new ApiError(404, 'not_found', `Couldn't find either the add-on service or the add-on plan of "${text}".`, {
        resource: 'plan',
      })
    }
    return { service: name, plan: `${name}:${plan}` }
  }
  const attach = (addon: Addon, app: App, name: string): Attachment => {
    const made: Attachment = { id: randomUUID(), name, addon, app, createdAt: faults.timestamp() }
    state.attachments.push(made)
    return made
  }
  const freeName = (app: App, wanted: string, serviceName: string): string => {
    const taken = new Set(state.attachments.filter((each) => each.app === app).map((each) => each.name))
    if (!taken.has(wanted)) return wanted
    const colours = ['BLUE', 'COPPER', 'GRAY', 'JADE', 'ROSE', 'TEAL', 'WHITE', 'YELLOW']
    const prefix = serviceName.toUpperCase().replace(/-/g, '_')
    return (
      colours.map((colour) => `${prefix}_${colour}`).find((each) => !taken.has(each)) ??
      `${prefix}_${token(2).toUpperCase()}`
    )
  }

  const provision = async (addon: Addon, options: Record<string, unknown>): Promise<void> => {
    if (faults.on.stuckProvisioning) return
    if (faults.on.failProvisioning) {
      addon.state = 'deprovisioned'
      return
    }
    if (addon.service === 'heroku-postgresql') {
      try {
        addon.database = await world.postgres.create()
      } catch (error) {
        // As the platform does with what it could not provision: a client waits for it in vain otherwise.
        addon.state = 'deprovisioned'
        throw error
      }
      addon.values = { _URL: addon.database.url }
    } else {
      addon.values = services[addon.service]!.values(options)
      if (addon.service in redisServices) {
        const url = await world.redis.create(addon.id, { tls: redisServices[addon.service] === 'tls' })
        if (url) addon.values = { _URL: url }
      }
    }
    addon.state = 'provisioned'
    addon.updatedAt = faults.timestamp()
    if (Object.keys(addon.values).length > 0) {
      for (const each of state.attachments.filter((attachment) => attachment.addon === addon)) {
        release(world, each.app, { description: `Set ${each.name} config vars`, phase: false })
      }
    }
  }

  api.route('POST', '/apps/:app/addons', async ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const plan = parsePlan(body.plan)
    const known = services[plan.service]!
    if (
      !known.sharing &&
      state.addons.some((each) => each.app === app && each.service === plan.service && each.state !== 'deprovisioned')
    ) {
      throw new ApiError(422, 'invalid_params', `${plan.service} is already installed on ${app.name}.`)
    }
    const name =
      body.name ??
      `${plan.service.replace('heroku-', '')}-${['angular', 'clean', 'deep', 'flat', 'round'][state.addons.length % 5]}-${10000 + state.addons.length}`
    if (state.addons.some((each) => each.name === name))
      throw new ApiError(422, 'invalid_params', `Name ${name} is already taken`)
    const at = faults.timestamp()
    const slow = plan.service === 'heroku-postgresql' || faults.on.stuckProvisioning || faults.on.failProvisioning
    const addon: Addon = {
      id: randomUUID(),
      name,
      service: plan.service,
      plan: plan.plan,
      app,
      state: 'provisioning',
      config: body.config ?? {},
      values: {},
      message: slow ? `${name} is being created in the background` : 'Created',
      createdAt: at,
      updatedAt: at,
    }
    state.addons.push(addon)
    attach(addon, app, freeName(app, body.attachment?.name ?? known.attachment, plan.service))
    if (slow) background(world, () => provision(addon, addon.config))
    else await provision(addon, addon.config)
    return { status: 201, body: show(addon) }
  })
  const expanded = (headers: Record<string, unknown>): boolean => /plan/.test(String(headers['accept-expansion'] ?? ''))
  api.route('GET', '/addons', ({ request }) => ({
    body: state.addons
      .filter((each) => each.state !== 'deprovisioned')
      .map((each) => show(each, expanded(request.headers))),
  }))
  api.route('GET', '/addons/:addon', ({ params, request }) => {
    const gone = state.addons.find((each) => each.id === params['addon'] || each.name === params['addon'])
    return { body: show(gone ?? findAddon(world, params['addon']!), expanded(request.headers)) }
  })
  api.route('GET', '/apps/:app/addons', ({ params, request }) => {
    const app = findApp(world, params['app']!)
    const visible = state.addons.filter(
      (each) =>
        each.state !== 'deprovisioned' &&
        (each.app === app ||
          state.attachments.some((attachment) => attachment.app === app && attachment.addon === each)),
    )
    return { body: visible.map((each) => show(each, expanded(request.headers))) }
  })
  api.route('GET', '/apps/:app/addons/:addon', ({ params, request }) => {
    const app = findApp(world, params['app']!)
    const gone = state.addons.find((each) => each.id === params['addon'] || each.name === params['addon'])
    return { body: show(gone ?? findAddon(world, params['addon']!, app), expanded(request.headers)) }
  })
  api.route('PATCH', '/apps/:app/addons/:addon', ({ params, body }) => {
    const app = findApp(world, params['app']!)
    const addon = findAddon(world, params['addon']!, app)
    const plan = parsePlan(body.plan)
    if (plan.service !== addon.service)
      throw new ApiError(422, 'invalid_params', 'Plans of another service need a new add-on.')
    addon.plan = plan.plan
    addon.updatedAt = faults.timestamp()
    return { body: show(addon) }
  })
  api.route('DELETE', '/apps/:app/addons/:addon', ({ params }) => {
    const app = findApp(world, params['app']!)
    const addon = findAddon(world, params['addon']!, app)
    addon.state = 'deprovisioned'
    const shown = show(addon)
    const apps = state.attachments.filter((each) => each.addon === addon).map((each) => each.app)
    state.attachments = state.attachments.filter((each) => each.addon !== addon)
    for (const each of new Set(apps)) release(world, each, { description: `Detach ${addon.name}`, phase: false })
    if (addon.database) background(world, () => world.postgres.drop(addon.database!))
    if (addon.service in redisServices) background(world, () => world.redis.drop(addon.id))
    return { body: shown }
  })

  api.route('GET', '/addon-attachments', () => ({ body: state.attachments.map((each) => showAttachment(each)) }))
  api.route('GET', '/apps/:app/addon-attachments', ({ params, request }) => {
    const app = findApp(world, params['app']!)
    const withPlan = /addon:plan/.test(String(request.headers['accept-inclusion'] ?? ''))
    return { body: state.attachments.filter((each) => each.app === app).map((each) => showAttachment(each, withPlan)) }
  })
  api.route('GET', '/addons/:addon/addon-attachments', ({ params }) => {
    const addon = findAddon(world, params['addon']!)
    return { body: state.attachments.filter((each) => each.addon === addon).map((each) => showAttachment(each)) }
  })
  api.route('GET', '/apps/:app/addon-attachments/:name', ({ params }) => {
    const app = findApp(world, params['app']!)
    const found = state.attachments.find(
      (each) => each.app === app && (each.name === params['name'] || each.id === params['name']),
    )
    if (!found)
      throw new ApiError(404, 'not_found', "Couldn't find that add-on attachment.", { resource: 'attachment' })
    return { body: showAttachment(found) }
  })
  api.route('POST', '/addon-attachments', ({ body }) => {
    const app = findApp(world, String(body.app?.name ?? body.app?.id ?? body.app))
    const addon = findAddon(world, String(body.addon?.name ?? body.addon?.id ?? body.addon))
    const name = String(body.name ?? freeName(app, services[addon.service]!.attachment, addon.service))
    const same = state.attachments.find((each) => each.app === app && each.name === name)
    if (same) {
      if (same.addon === addon) return { status: 200, body: showAttachment(same) }
      if (body.confirm !== app.name) {
        throw new ApiError(
          423,
          'confirmation_required',
          `Attaching ${addon.name} as ${name} replaces ${same.addon.name} on ${app.name}.`,
        )
      }
      state.attachments = state.attachments.filter((each) => each !== same)
    }
    const made = attach(addon, app, name)
    release(world, app, { description: `Attach ${name} (@ref:${addon.name})`, phase: false })
    return { status: 201, body: showAttachment(made) }
  })
  api.route('DELETE', '/addon-attachments/:attachment', ({ params }) => {
    const found = state.attachments.find((each) => each.id === params['attachment'])
    if (!found)
      throw new ApiError(404, 'not_found', "Couldn't find that add-on attachment.", { resource: 'attachment' })
    const left = state.attachments.filter(
      (each) => each.addon === found.addon && each.app === found.app && each !== found,
    )
    if (left.length === 0 && found.addon.app === found.app) {
      throw new ApiError(
        422,
        'invalid_params',
        `Cannot remove the last attachment to ${found.addon.name} of its own app; destroy the add-on instead.`,
      )
    }
    state.attachments = state.attachments.filter((each) => each !== found)
    release(world, found.app, { description: `Detach ${found.name} (@ref:${found.addon.name})`, phase: false })
    return { body: showAttachment(found) }
  })
  api.route('POST', '/actions/addons/resolve', ({ body, request }) => {
    const app = body.app ? findApp(world, body.app) : undefined
    const addon = findAddon(world, String(body.addon), app)
    if (body.addon_service && addon.service !== body.addon_service)
      throw new ApiError(404, 'not_found', "Couldn't find that add-on.", { resource: 'addon' })
    return { body: [show(addon, expanded(request.headers))] }
  })
  api.route('POST', '/actions/addon-attachments/resolve', ({ body }) => {
    const app = body.app ? findApp(world, body.app) : undefined
    const wanted = String(body.addon_attachment).replace(/_URL$/, '')
    const found = state.attachments.filter(
      (each) =>
        (!app || each.app === app) &&
        (each.name === wanted || each.id === body.addon_attachment || each.addon.name === body.addon_attachment) &&
        (!body.addon_service || each.addon.service === body.addon_service),
    )
    if (found.length === 0)
      throw new ApiError(404, 'not_found', "Couldn't find that add-on attachment.", { resource: 'add_on_attachment' })
    return {
      body: found.map((each) => {
        const shown = showAttachment(each, true)
        return { ...shown, addon: { ...(shown['addon'] as object), ...(show(each.addon, true) as object) } }
      }),
    }
  })

  const showService = (name: string, each: Service): unknown => ({
    id: each.id,
    name,
    human_name: each.human,
    cli_plugin_name: null,
    state: 'ga',
    supports_multiple_installations: each.sharing,
    supports_sharing: each.sharing,
    supported_generations: [{ id: '6d0b7f1c-0f0b-4d6e-9a1a-ceda0ceda000', name: 'cedar' }],
    created_at: '2024-01-01T00:00:00Z',
    updated_at: '2024-01-01T00:00:00Z',
  })
  const showPlan = (name: string, each: Service, plan: string): unknown => ({
    id: planId(`${name}:${plan}`),
    name: `${name}:${plan}`,
    human_name: plan,
    description: `${each.human} ${plan}`,
    addon_service: { id: each.id, name },
    compliance: null,
    default: Object.keys(each.plans)[0] === plan,
    installable_inside_private_network: false,
    installable_outside_private_network: true,
    price: price(each.plans[plan]!),
    space_default: false,
    state: 'ga',
    visible: true,
    created_at: '2024-01-01T00:00:00Z',
    updated_at: '2024-01-01T00:00:00Z',
  })
  const oneService = (name: string): Service => {
    const found = services[name]
    if (!found)
      throw new ApiError(404, 'not_found', "Couldn't find that add-on service.", { resource: 'addon_service' })
    return found
  }
  api.route('GET', '/addon-services', () => ({
    body: Object.entries(services).map(([name, each]) => showService(name, each)),
  }))
  api.route('GET', '/addon-services/:service', ({ params }) => ({
    body: showService(params['service']!, oneService(params['service']!)),
  }))
  api.route('GET', '/addon-services/:service/plans', ({ params }) => {
    const each = oneService(params['service']!)
    return { body: Object.keys(each.plans).map((plan) => showPlan(params['service']!, each, plan)) }
  })
  api.route('GET', '/plans/:plan', ({ params }) => {
    const plan = parsePlan(params['plan'])
    return { body: showPlan(plan.service, services[plan.service]!, plan.plan.split(':')[1]!) }
  })
}
