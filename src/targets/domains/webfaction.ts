/**
 * Webfaction's XML-RPC interface, versions 1 and 2. The service was closed in 2021: kept for task files from then, and
 * for panels that speak the same. An update replaces a whole site; name, address and https together are its key.
 */
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Secret } from '../../shell/index.ts'
import { decodeResponse, encodeCall, RpcFault, type RpcValue } from '../vps/xmlrpc.ts'
import { changed, failed, noSite, unauthorized, unknownApp, unsettled, untilSettled } from './errors.ts'
import type { Binding, DomainProvider } from './provider.ts'

export interface WebfactionOptions {
  user: string
  password: Secret
  /** The machine, for accounts that have several. */
  machine?: string
  version?: 1 | 2
  /** `https://api.webfaction.com/` unless given. */
  url?: string
  timeoutMs?: number
}

interface Website {
  id: number
  name: string
  ip: string
  https: boolean
  subdomains: string[]
  website_apps: [string, string][]
  certificate?: string
}

const path = '/'

export function webfaction(options: WebfactionOptions): DomainProvider {
  const url = options.url ?? 'https://api.webfaction.com/'
  const version = options.version ?? 1
  let session: string | undefined

  async function call(method: string, params: readonly RpcValue[]): Promise<RpcValue> {
    const signal = AbortSignal.any([currentRun().signal, AbortSignal.timeout(options.timeoutMs ?? 60_000)])
    let answer: Response
    try {
      answer = await fetch(url, {
        method: 'POST',
        signal,
        headers: { 'content-type': 'text/xml' },
        body: encodeCall(method, params),
      })
    } catch (error) {
      currentRun().signal.throwIfAborted()
      throw failed('Webfaction', `no answer to ${method}`, (error as Error).message)
    }
    if (!answer.ok) throw failed('Webfaction', `${method} answered ${answer.status}`)
    try {
      return decodeResponse(await answer.text())
    } catch (error) {
      if (!(error instanceof RpcFault))
        throw failed('Webfaction', `the answer to ${method} can't be read`, (error as Error).message)
      if (error.message.includes('LoginError')) throw unauthorized('Webfaction', 'WEBFACTION_PASSWORD')
      throw failed('Webfaction', `${method} was refused`, error.message)
    }
  }
  /** A call within a session, which is begun when it is needed and lasts an hour. */
  async function ask(method: string, ...params: RpcValue[]): Promise<RpcValue> {
    if (session === undefined) {
      const machine = options.machine ?? ''
      const login = [
        options.user,
        options.password.reveal(),
        ...(version === 2 || machine ? [machine] : []),
        ...(version === 2 ? [2] : []),
      ]
      session = String(((await call('login', login)) as readonly RpcValue[])[0])
    }
    return call(method, [session, ...params])
  }
  const websites = async () => (await ask('list_websites')) as unknown as Website[]
  async function siteOf(domain: string): Promise<Website | undefined> {
    const found = (await websites()).filter((site) => site.subdomains.includes(domain))
    if (found.length > 1)
      throw failed('Webfaction', `several sites have ${domain}: ${found.map((site) => site.name).join(', ')}`)
    return found[0]
  }
  /** The whole of a site with other apps: as documented, apps go in one after another. */
  const parameters = (site: Omit<Website, 'id'>, apps: readonly [string, string][]): RpcValue[] => [
    site.name,
    site.ip,
    site.https,
    site.subdomains,
    ...(version === 2 ? [site.certificate ?? ''] : []),
    ...apps.map(([app, at]): RpcValue => [app, at]),
  ]
  const bindingOf = (domain: string, site: Website): Binding | null => {
    const root = site.website_apps.find(([, at]) => at === path)
    return root ? { domain, app: root[0], path, raw: site } : null
  }
  async function current(domain: string): Promise<Binding | null> {
    const site = await siteOf(domain)
    return site ? bindingOf(domain, site) : null
  }
  async function update(site: Website, apps: readonly [string, string][]): Promise<void> {
    try {
      await ask('update_website', ...parameters(site, apps))
    } catch (error) {
      if (!(error instanceof SlipwayError) || error.code !== 'provider-failed') throw error
      // The answer was lost, perhaps: what is there now says whether it was done.
      const now = (await websites()).find(
        (each) => each.name === site.name && each.ip === site.ip && each.https === site.https,
      )
      if (JSON.stringify(now?.website_apps) !== JSON.stringify(apps)) throw error
    }
  }

  return {
    name: 'webfaction',
    capabilities: { atomicFlip: true, async: true, needsRoot: false },
    current,
    async create(domain, name) {
      const apps = (await ask('list_apps')) as unknown as { name: string; port: number }[]
      let app = apps.find((each) => each.name === name)
      if (!app)
        app = (await ask('create_app', name, 'custom_app_with_port', false, '', false)) as unknown as {
          name: string
          port: number
        }
      const [label, ...rest] = domain.split('.') as [string, ...string[]]
      const known = (await ask('list_domains')) as unknown as { domain: string; subdomains: string[] }[]
      const parent = known.find((each) => each.domain === rest.join('.'))
      if (!known.some((each) => each.domain === domain) && !parent?.subdomains.includes(label)) {
        await ask('create_domain', parent ? parent.domain : rest.join('.'), label)
      }
      if (!(await siteOf(domain))) {
        const addresses = (await ask('list_ips')) as unknown as { ip: string; is_main: boolean }[]
        const ip = addresses.find((each) => each.is_main)?.ip ?? addresses[0]?.ip
        if (ip === undefined) throw failed('Webfaction', 'the account has no address')
        const site = { name, ip, https: false, subdomains: [domain], website_apps: [] }
        await ask('create_website', ...parameters(site, [[name, path]]))
      }
      return { port: app.port }
    },
    async addresses() {
      const found = (await ask('list_ips')) as unknown as { ip: string; is_main: boolean }[]
      return found.filter((each) => each.is_main).map((each) => each.ip)
    },
    async plan(domain, app) {
      const before = await current(domain)
      return {
        before,
        calls:
          before?.app === app ? [] : [`update_website: ${domain}${path} → ${app} (was ${before?.app ?? 'nothing'})`],
      }
    },
    async attach(domain, app, ifCurrent) {
      const apps = (await ask('list_apps')) as unknown as { name: string }[]
      if (!apps.some((each) => each.name === app)) throw unknownApp('Webfaction', app)
      const site = await siteOf(domain)
      if (!site) throw noSite('Webfaction', domain)
      const now = bindingOf(domain, site)
      if (now?.app === app) return now
      if (now?.app !== ifCurrent?.app) throw changed(domain, ifCurrent, now)
      const replaced: [string, string][] = [...site.website_apps.filter(([, at]) => at !== path), [app, path]]
      await update(site, replaced)
      return { domain, app, path, raw: { ...site, website_apps: replaced } }
    },
    async restore(binding) {
      const before = binding.raw as Website
      await update(before, before.website_apps)
    },
    settled: (domain, app, deadlineMs) =>
      untilSettled(
        async () => {
          const now = await current(domain)
          return now?.app === app ? undefined : `it leads to ${now?.app ?? 'nothing'}`
        },
        deadlineMs,
        (detail) => unsettled(domain, app, detail),
        currentRun().signal,
      ),
  }
}
