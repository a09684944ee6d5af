import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { Secret } from '../../../src/shell/index.ts'
import { type DomainProvider, opalstack } from '../../../src/targets/domains/index.ts'
import { type Opalstack, startOpalstack } from '../../emulators/opalstack/index.ts'

const domain = 'pony.example.org'
let there: Opalstack
let oldApp: string
let site: string
beforeEach(async () => {
  there = await startOpalstack()
  there.add('osuser', { name: 'pony' })
  there.add('ip', { name: 'main', ip: '203.0.113.7', primary: true })
  const app = there.add('app', { name: 'pony2026r1', port: 19301 })
  const media = there.add('app', { name: 'media' })
  there.add('app', { name: 'pony2026r2', port: 19302 })
  const name = there.add('domain', { name: domain })
  oldApp = app.id
  site = there.add('site', {
    name: 'pony',
    domains: [name.id],
    routes: [
      { id: 'x', app: app.id, uri: '/' },
      { id: 'y', app: media.id, uri: '/media' },
    ],
  }).id
})
afterEach(() => there.close())

const using = <T>(work: (provider: DomainProvider) => Promise<T>, token = there.token): Promise<T> =>
  withRun(createRun(), () =>
    work(opalstack({ token: new Secret(token, 'OPALSTACK_TOKEN'), url: there.url, timeoutMs: 500 })),
  )
const routes = (): string[] => {
  const found = there.models['site']?.find((each) => each.id === site)
  return ((found?.['routes'] ?? []) as { app: string; uri: string }[]).map((each) => each.uri)
}

describe('Opalstack', () => {
  it('leads the domain to another app, and leaves the site and its other routes as they are', async () => {
    await using(async (provider) => {
      const before = await provider.current(domain)
      expect(before).toMatchObject({ app: 'pony2026r1', path: '/' })
      await provider.attach(domain, 'pony2026r2', before)
      await provider.settled(domain, 'pony2026r2', 3000)
      expect((await provider.current(domain))?.app).toBe('pony2026r2')
      expect(routes().sort()).toEqual(['/', '/media'])
    })
  })

  it('puts back exactly what there was', async () => {
    await using(async (provider) => {
      const before = await provider.current(domain)
      await provider.attach(domain, 'pony2026r2', before)
      await provider.restore(before!)
      await provider.settled(domain, 'pony2026r1', 3000)
      expect((await provider.current(domain))?.app).toBe('pony2026r1')
    })
  })

  it('does nothing where it is so already, and refuses where somebody else has changed it', async () => {
    await using(async (provider) => {
      await provider.attach(domain, 'pony2026r1', null)
      expect(there.requests.filter((each) => each.startsWith('POST'))).toEqual([])
      await expect(
        provider.attach(domain, 'pony2026r2', { domain, app: 'media', path: '/', raw: null }),
      ).rejects.toMatchObject({ code: 'domain-changed' })
      await expect(provider.attach(domain, 'pony2026r9', null)).rejects.toMatchObject({ code: 'provider-app' })
    })
  })

  it('tells what it would do, and does not do it', async () => {
    const plan = await using((provider) => provider.plan(domain, 'pony2026r2'))
    expect(plan.calls).toEqual(['POST site/update: pony.example.org/ → pony2026r2 (was pony2026r1)'])
    expect(there.requests.every((each) => each.startsWith('GET'))).toBe(true)
  })

  it('makes app, domain and site where there are none', async () => {
    await using(async (provider) => {
      await expect(provider.create('new.example.org', 'pony2027r1')).resolves.toEqual({ port: 19306 })
      expect((await provider.current('new.example.org'))?.app).toBe('pony2027r1')
      const posts = there.requests.filter((each) => each.startsWith('POST')).length
      await provider.create('new.example.org', 'pony2027r1')
      expect(there.requests.filter((each) => each.startsWith('POST')).length).toBe(posts)
      expect(await provider.addresses()).toEqual(['203.0.113.7'])
    })
  })

  it('is refused with a wrong token, which is never shown', async () => {
    const error = await using((provider) => provider.current(domain), 'wrong-token').catch((each: Error) => each)
    expect(error).toMatchObject({ code: 'provider-unauthorized', next: 'Set OPALSTACK_TOKEN in .env.' })
    expect(JSON.stringify(error) + String(error)).not.toContain('wrong-token')
  })

  it('waits where there are too many requests, and reads again after an error', async () => {
    there.fault('too-many-requests', /GET .*site/, 2)
    there.fault('server-error', /GET .*app/, 2)
    expect((await using((provider) => provider.current(domain)))?.app).toBe('pony2026r1')
  })

  it('does not send a change again whose answer was lost, but looks whether it was done', async () => {
    there.fault('lost-answer', /POST/)
    await using(async (provider) => {
      await provider.attach(domain, 'pony2026r2', await provider.current(domain))
      expect(there.requests.filter((each) => each.startsWith('POST'))).toHaveLength(1)
    })
    there.fault('server-error', /POST/)
    await expect(
      using(async (provider) => provider.attach(domain, 'pony2026r1', await provider.current(domain))),
    ).rejects.toMatchObject({ code: 'provider-failed' })
  })

  it('gives up on what never becomes ready, and on an answer that never comes', async () => {
    there.fault('never-ready', /POST/)
    await using(async (provider) => {
      await provider.attach(domain, 'pony2026r2', await provider.current(domain))
      await expect(provider.settled(domain, 'pony2026r2', 400)).rejects.toMatchObject({
        code: 'domain-unsettled',
        message: expect.stringContaining('PENDING_UPDATE'),
      })
    })
    there.fault('no-answer', /GET/, 99)
    await expect(using((provider) => provider.current(domain))).rejects.toMatchObject({ code: 'provider-failed' })
  }, 20_000)

  it('does not believe a success that is none', async () => {
    there.fault('success-that-is-not', /POST/)
    await using(async (provider) => {
      await provider.attach(domain, 'pony2026r2', await provider.current(domain))
      await expect(provider.settled(domain, 'pony2026r2', 400)).rejects.toMatchObject({
        code: 'domain-unsettled',
        message: expect.stringContaining('it leads to pony2026r1'),
      })
    })
    expect(oldApp).toBeTruthy()
  })
})
