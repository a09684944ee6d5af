/**
 * Opalstack's REST interface: bodies of writes are arrays, changes are accepted and take effect later (`ready`), and
 * a state of failure does not exist, so that there is a deadline for everything.
 */
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Secret } from '../../shell/index.ts'
import { changed, failed, noSite, unauthorized, unknownApp, unsettled, untilSettled } from './errors.ts'
import type { Binding, DomainProvider } from './provider.ts'

export interface OpalstackOptions {
  token: Secret
  /** `https://my.opalstack.com/api/v1` unless given. */
  url?: string
  /** Milliseconds for one answer. */
  timeoutMs?: number
}

interface Thing {
  id: string
  state: string
  ready: boolean
  name: string
}
interface App extends Thing {
  port?: number
}
interface Route {
  id?: string
  app: string
  uri: string
}
interface Site extends Thing {
  domains: string[]
  routes: Route[]
}
interface Ip {
  ip: string
  primary: boolean
}

const path = '/'

export function opalstack(options: OpalstackOptions): DomainProvider {
  const base = options.url ?? 'https://my.opalstack.com/api/v1'
  const timeoutMs = options.timeoutMs ?? 30_000

  async function send<T>(method: 'GET' | 'POST', what: string, body?: unknown): Promise<T> {
    const attempts = method === 'GET' ? 5 : 1
    for (let attempt = 1; ; attempt++) {
      const outcome = await once(method, what, body)
      if ('value' in outcome) return outcome.value as T
      // Writes are not sent again: whether they were done is for the caller to look at.
      if (attempt >= attempts && !outcome.limited) throw outcome.error
      if (attempt >= 8) throw outcome.error
      await new Promise((resolve) => setTimeout(resolve, outcome.waitMs ?? 100 * 2 ** attempt))
    }
  }

  type Outcome = { value: unknown } | { error: SlipwayError; limited?: boolean; waitMs?: number }
  async function once(method: string, what: string, body: unknown): Promise<Outcome> {
    const signal = AbortSignal.any([currentRun().signal, AbortSignal.timeout(timeoutMs)])
    let answer: Response
    try {
      answer = await fetch(`${base}/${what}`, {
        method,
        signal,
        headers: { authorization: `Token ${options.token.reveal()}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    } catch (error) {
      currentRun().signal.throwIfAborted()
      return { error: failed('Opalstack', `no answer to ${method} ${what}`, (error as Error).message) }
    }
    if (answer.status === 401 || answer.status === 403) throw unauthorized('Opalstack', 'OPALSTACK_TOKEN')
    const text = await answer.text()
    if (answer.status === 429) {
      // Refused before it was done: safe to send again.
      const waitMs = Number(answer.headers.get('retry-after') ?? 1) * 1000
      return { error: failed('Opalstack', 'too many requests'), limited: true, waitMs }
    }
    if (answer.status >= 500)
      return { error: failed('Opalstack', `${method} ${what} answered ${answer.status}`, text.slice(0, 300)) }
    if (!answer.ok) throw failed('Opalstack', `${method} ${what} answered ${answer.status}`, text.slice(0, 300))
    return { value: text === '' ? undefined : JSON.parse(text) }
  }

  const list = <T>(model: string) => send<T[]>('GET', `${model}/list/`)
  const ready = async (model: string, id: string, deadlineMs: number): Promise<void> => {
    const check = async () => {
      const thing = await send<Thing>('GET', `${model}/read/${id}`)
      return thing.ready ? undefined : thing.state
    }
    const late = (state: string) => failed('Opalstack', `${model} ${id} is still ${state}`)
    await untilSettled(check, deadlineMs, late, currentRun().signal)
  }
  const appNamed = async (name: string) => (await list<App>('app')).find((app) => app.name === name)
  async function siteOf(domain: string): Promise<{ site?: Site; domainId?: string; apps: App[] }> {
    const [domains, sites, apps] = await Promise.all([list<Thing>('domain'), list<Site>('site'), list<App>('app')])
    const domainId = domains.find((each) => each.name === domain)?.id
    const claiming = sites.filter((each) => domainId !== undefined && each.domains.includes(domainId))
    if (claiming.length > 1)
      throw failed(
        'Opalstack',
        `${claiming.length} sites have ${domain}: ${claiming.map((each) => each.name).join(', ')}`,
      )
    return { apps, ...(claiming[0] ? { site: claiming[0] } : {}), ...(domainId ? { domainId } : {}) }
  }
  async function current(domain: string): Promise<Binding | null> {
    const { site, apps } = await siteOf(domain)
    const route = site?.routes.find((each) => each.uri === path)
    if (!site || !route) return null
    return {
      domain,
      app: apps.find((app) => app.id === route.app)?.name ?? route.app,
      path,
      raw: { site: site.id, routes: site.routes },
    }
  }
  /** Replaces the routes; where the answer does not come, what is there says whether it was done. */
  async function setRoutes(site: string, routes: readonly Route[]): Promise<void> {
    const wanted = routes.map(({ app, uri }) => ({ app, uri }))
    try {
      await send('POST', 'site/update/', [{ id: site, routes: wanted }])
    } catch (error) {
      if (!(error instanceof SlipwayError) || error.code !== 'provider-failed') throw error
      const now = await send<Site>('GET', `site/read/${site}`)
      const same = JSON.stringify(now.routes.map(({ app, uri }) => ({ app, uri }))) === JSON.stringify(wanted)
      if (!same) throw error
    }
  }

  return {
    name: 'opalstack',
    capabilities: { atomicFlip: true, async: true, needsRoot: false },
    current,
    async create(domain, name) {
      const [apps, users] = await Promise.all([list<App>('app'), list<Thing & { server: string }>('osuser')])
      let app = apps.find((each) => each.name === name)
      if (!app) {
        const user = users[0]
        if (!user) throw failed('Opalstack', 'there is no shell user')
        const made = await send<App[]>('POST', 'app/create/', [{ name, osuser: user.id, type: 'CUS' }])
        app = made[0] as App
        await ready('app', app.id, 300_000)
      }
      const found = await siteOf(domain)
      let { domainId } = found
      if (domainId === undefined) {
        const made = await send<Thing[]>('POST', 'domain/create/', [{ name: domain }])
        domainId = (made[0] as Thing).id
        await ready('domain', domainId, 300_000)
      }
      if (!found.site) {
        const ip = (await list<Ip & { id: string }>('ip')).find((each) => each.primary)
        const site = { name, domains: [domainId], routes: [{ app: app.id, uri: path }], ...(ip ? { ip4: ip.id } : {}) }
        const made = await send<Site[]>('POST', 'site/create/', [site])
        await ready('site', (made[0] as Site).id, 300_000)
      }
      return app.port === undefined ? {} : { port: app.port }
    },
    addresses: async () => (await list<Ip>('ip')).filter((each) => each.primary).map((each) => each.ip),
    async plan(domain, app) {
      const before = await current(domain)
      return {
        before,
        calls:
          before?.app === app ? [] : [`POST site/update: ${domain}${path} → ${app} (was ${before?.app ?? 'nothing'})`],
      }
    },
    async attach(domain, name, ifCurrent) {
      const app = await appNamed(name)
      if (!app) throw unknownApp('Opalstack', name)
      const { site } = await siteOf(domain)
      if (!site) throw noSite('Opalstack', domain)
      const now = await current(domain)
      if (now?.app === name) return now
      if (now?.app !== ifCurrent?.app) throw changed(domain, ifCurrent, now)
      const routes = [...site.routes.filter((route) => route.uri !== path), { app: app.id, uri: path }]
      await setRoutes(site.id, routes)
      return { domain, app: name, path, raw: { site: site.id, routes } }
    },
    async restore(binding) {
      const { site, routes } = binding.raw as { site: string; routes: Route[] }
      await setRoutes(site, routes)
    },
    settled: (domain, app, deadlineMs) =>
      untilSettled(
        async () => {
          const { site } = await siteOf(domain)
          if (!site) return 'its site is gone'
          if (!site.ready) return site.state
          const now = await current(domain)
          // Ready, and yet something else: an answer of success that was none.
          return now?.app === app ? undefined : `it leads to ${now?.app ?? 'nothing'}`
        },
        deadlineMs,
        (detail) => unsettled(domain, app, detail),
        currentRun().signal,
      ),
  }
}
