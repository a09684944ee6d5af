/** Who is asking: tokens, the account, two-factor, and what of the platform is the same for all. */
import { createHash, randomUUID } from 'node:crypto'
import { regionIds } from './apps.ts'
import { ApiError } from './http.ts'
import { stackId, stackNames } from './releases.ts'
import { findApp, type World } from './world.ts'

/** Bearer TOKEN, or Basic with the token as the password: both are sent by clients that people use. */
export function tokenOf(authorization: string): string | undefined {
  const bearer = /^Bearer (.+)$/.exec(authorization)?.[1]
  if (bearer) return bearer
  const basic = /^Basic (.+)$/.exec(authorization)?.[1]
  return basic ? Buffer.from(basic, 'base64').toString('utf8').split(':').pop() : undefined
}

export function accountRoutes(world: World): void {
  const { api, state } = world

  api.authorize = (call) => {
    const token = tokenOf(String(call.request.headers['authorization'] ?? ''))
    if (!token) throw new ApiError(401, 'unauthorized', 'There were no credentials in your `Authorization` header.')
    if (!state.tokens.has(token)) throw new ApiError(401, 'unauthorized', 'Invalid credentials provided.')
    if (
      state.account.twoFactor &&
      call.method !== 'GET' &&
      call.request.headers['heroku-two-factor-code'] !== '123456'
    ) {
      throw new ApiError(403, 'two_factor', 'A second authentication factor is required.')
    }
  }

  api.route('GET', '/account', () => ({
    body: {
      id: state.account.id,
      email: state.account.email,
      name: state.account.name,
      allow_tracking: false,
      beta: false,
      country_of_residence: 'Norway',
      default_organization: null,
      default_team: null,
      delinquent_at: null,
      federated: false,
      identity_provider: null,
      last_login: '2026-01-01T00:00:00Z',
      sms_number: null,
      suspended_at: null,
      two_factor_authentication: state.account.twoFactor,
      verified: true,
      created_at: '2020-01-01T00:00:00Z',
      updated_at: '2020-01-01T00:00:00Z',
    },
  }))
  api.route('GET', '/account/rate-limits', () => ({ body: { remaining: api.remaining } }))
  api.route('GET', '/account/features', () => ({ body: [] }))
  api.route('POST', '/account/keys', ({ body }) => {
    const [kind, key, comment = ''] = String(body.public_key ?? '')
      .trim()
      .split(/\s+/)
    if (!kind || !key) throw new ApiError(422, 'invalid_params', 'Public key is invalid.')
    const at = world.faults.timestamp()
    const hash = createHash('md5').update(Buffer.from(key, 'base64')).digest('hex')
    return {
      status: 201,
      body: {
        id: randomUUID(),
        comment,
        email: comment,
        fingerprint: hash.replace(/..(?=.)/g, '$&:'),
        public_key: body.public_key,
        created_at: at,
        updated_at: at,
      },
    }
  })
  api.route('PUT', '/apps/:app/pre-authorizations', ({ params }) => {
    findApp(world, params['app']!)
    return { body: {} }
  })
  const showStack = (name: string): unknown => ({
    id: stackId(name),
    name,
    state: 'public',
    default: name === 'heroku-24',
    created_at: '2024-01-01T00:00:00Z',
    updated_at: '2024-01-01T00:00:00Z',
  })
  api.route('GET', '/stacks', () => ({ body: stackNames.map(showStack) }))
  api.route('GET', '/regions', () => ({
    body: Object.entries(regionIds).map(([name, id]) => ({
      id,
      name,
      country: name === 'us' ? 'United States' : 'Ireland',
      locale: name === 'us' ? 'Virginia' : 'Dublin',
      description: name,
      private_capable: false,
      provider: { name: 'amazon-web-services', region: name === 'us' ? 'us-east-1' : 'eu-west-1' },
      created_at: '2024-01-01T00:00:00Z',
      updated_at: '2024-01-01T00:00:00Z',
    })),
  }))
  api.route('GET', '/teams', () => ({
    body: state.teams.map((name) => ({
      id: `00000000-0000-4000-9000-${Buffer.from(name).toString('hex').slice(0, 12).padEnd(12, '0')}`,
      name,
      credit_card_collections: false,
      default: false,
      enterprise_account: null,
      identity_provider: null,
      membership_limit: null,
      provisioned_licenses: false,
      role: 'admin',
      type: 'team',
      created_at: '2024-01-01T00:00:00Z',
      updated_at: '2024-01-01T00:00:00Z',
    })),
  }))
  api.route('POST', '/oauth/authorizations', ({ body }) => {
    const token = `HRKU-${randomUUID()}`
    state.tokens.add(token)
    const at = world.faults.timestamp()
    return {
      status: 201,
      body: {
        id: randomUUID(),
        access_token: { id: randomUUID(), token, expires_in: body.expires_in ?? null },
        client: null,
        description: body.description ?? '',
        grant: null,
        refresh_token: null,
        scope: body.scope ?? ['global'],
        session: null,
        user: { id: state.account.id, email: state.account.email, full_name: state.account.name },
        created_at: at,
        updated_at: at,
      },
    }
  })
}
