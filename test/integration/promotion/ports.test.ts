import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { startOpalstack } from '../../emulators/opalstack/index.ts'
import { startWebfaction } from '../../emulators/webfaction/index.ts'
import { audit, type LoadReport } from '../../faults/load.ts'
import { makeWorld, marksIn, type World, type WorldOptions } from '../../faults/world.ts'
import { type Front, startFront } from '../../servers/front.ts'
import { freePort } from '../../servers/ports.ts'

const domain = 'pony.example.org'
const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const each of cleanup.splice(0).reverse()) await each()
})

interface Place {
  world: World
  /** Where the provider leads the domain. */
  leads(): string | number | undefined
  front?: Front
}

async function world(options: WorldOptions & { provider: string; domains?: string }): Promise<World> {
  const { provider, domains = '', ...rest } = options
  const port = await freePort()
  const made = await makeWorld({
    ...rest,
    initApps: true,
    ini: (text) =>
      text
        .replace('listen = socket', `listen = port ${port}`)
        .replace('provider = nginx', `provider = ${provider}\n${domains};`),
  })
  cleanup.push(() => made.remove())
  return made
}

async function front(portOf: () => number | undefined): Promise<Front> {
  const made = await startFront(portOf)
  cleanup.push(() => made.close())
  return made
}

const places: Record<string, () => Promise<Place>> = {
  async opalstack() {
    const emulator = await startOpalstack()
    cleanup.push(() => emulator.close())
    emulator.add('osuser', { name: 'pony', server: 's' })
    for (const name of ['pony2026r1', 'pony2026r2']) emulator.add('app', { name, port: await freePort(), type: 'CUS' })
    const app = () => {
      const id = emulator.models['domain']?.find((each) => each.name === domain)?.id
      const site = emulator.models['site']?.find((each) => (each['domains'] as string[]).includes(id ?? ''))
      const [route] = (site?.['routes'] ?? []) as { app: string }[]
      return emulator.models['app']?.find((each) => each.id === route?.app)
    }
    const made = await world({
      provider: 'opalstack',
      domains: `url = ${emulator.url}\n`,
      env: `OPALSTACK_TOKEN=${emulator.token}\n`,
    })
    return { world: made, leads: () => app()?.name, front: await front(() => app()?.['port'] as number) }
  },
  async uberspace() {
    const made = await world({
      provider: 'uberspace',
      prepare: async (sandbox) => {
        const bin = `${sandbox.root}/bin`
        copyFileSync(fileURLToPath(new URL('../../emulators/uberspace/uberspace', import.meta.url)), `${bin}/uberspace`)
      },
    })
    const port = () => {
      const file = `${made.home}/.uberspace-emulator/backends`
      const line = existsSync(file) && readFileSync(file, 'utf8').match(new RegExp(`^${domain} (\\d+)$`, 'm'))
      return line ? Number(line[1]) : undefined
    }
    const release = () =>
      ['pony2026r1', 'pony2026r2'].find(
        (name) => Number(readFileSync(`${made.release(name)}/.slipway/port`, 'utf8')) === port(),
      )
    return { world: made, leads: release, front: await front(port) }
  },
  async webfaction() {
    const emulator = await startWebfaction(1, {}, [await freePort(), await freePort()])
    cleanup.push(() => emulator.close())
    const made = await world({
      provider: 'webfaction',
      domains: `url = ${emulator.url}\nuser = u\n`,
      env: 'WEBFACTION_PASSWORD=allons-y\n',
    })
    const answer = async () =>
      (await (await fetch(`${emulator.url}leads/${domain}`)).json()) as { app: string; port: number }
    let now = await answer()
    const looking = setInterval(async () => {
      now = await answer().catch(() => now)
    }, 20)
    cleanup.push(async () => clearInterval(looking))
    return { world: made, leads: () => now.app, front: await front(() => now.port) }
  },
  async nginx() {
    const made = await world({ provider: 'nginx' })
    const release = () => {
      const conf = readFileSync(`${made.home}/.slipway/pony/sites/production/nginx.conf`, 'utf8')
      const port = /_current \{\s*server 127\.0\.0\.1:(\d+);/.exec(conf)?.[1]
      return ['pony2026r1', 'pony2026r2'].find(
        (name) => readFileSync(`${made.release(name)}/.slipway/port`, 'utf8').trim() === port,
      )
    }
    return { world: made, leads: release }
  },
}

/** In `npm test` the web server of one's own, and the provider whose API is the oldest; the others in `npm run test:long`. */
const tried = process.env['SLIPWAY_TEST_LONG'] ? Object.keys(places) : ['webfaction', 'nginx']

describe.each(tried)('a promotion of an app on ports, at %s', (provider) => {
  it('leads the domain to the new release, and back, and loses no write', { timeout: 240_000 }, async () => {
    const { world, leads, front } = await (places[provider] as () => Promise<Place>)()
    expect(leads()).toBe('pony2026r1')
    const reports: LoadReport[] = []
    const underLoad = async (work: () => Promise<unknown>) => {
      const load = world.load({
        connections: 8,
        ...(front ? { port: front.port } : {}),
        // The stated loss: what comes in the moment when the old port changes hands.
        allow: (status, headers) => status === 502 || (status === 503 && headers['retry-after'] !== undefined),
      })
      await load.reached(200)
      await work()
      await load.reached(load.report.requests + 200)
      reports.push(await load.stop())
      return reports.at(-1) as LoadReport
    }
    const first = await underLoad(() => world.run((from, to) => promote(from, to), { sandbox: true }))
    expect(leads()).toBe('pony2026r2')
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
    // A reload of nginx closes connections that are kept alive, and a request may be on its way on one.
    expect(first.failed.filter((each) => provider !== 'nginx' || !each.what.includes('hang up'))).toEqual([])
    expect(first.failed.length).toBeLessThanOrEqual(8)
    expect(first.allowed).toBeLessThan(first.requests / 10)
    expect(audit(first, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
    process.stdout.write(`${provider}: ${first.allowed} of ${first.requests} requests refused\n`)

    const told = JSON.stringify(world.events)
    expect(told.includes('through the web server, on the way that only this check can take')).toBe(provider === 'nginx')
    for (const secret of ['f'.repeat(40), 'OPALSTACK_TOKEN=']) expect(told).not.toContain(secret)
    if (provider === 'uberspace' || provider === 'webfaction') return
    await underLoad(() => world.run((from, to) => demote(from, to), { sandbox: true }))
    expect(leads()).toBe('pony2026r1')
    for (const report of reports) expect(audit(report, marksIn(world, 'pony2026r1')).missing).toEqual([])
  })
})
