import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { demote, promote } from '../../../src/targets/vps/promotion/index.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'
import { startFront } from '../../servers/front.ts'
import { freePort } from '../../servers/ports.ts'

const domain = 'pony.example.org'
const cleanup: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const each of cleanup.splice(0).reverse()) await each()
})

async function onPorts(provider: 'nginx' | 'uberspace'): Promise<{ world: World; port?: number }> {
  const port = await freePort()
  const world = await makeWorld({
    initApps: true,
    ini: (text) =>
      text.replace('listen = socket', `listen = port ${port}`).replace('provider = nginx', `provider = ${provider}`),
    prepare: (sandbox) => {
      if (provider !== 'uberspace') return
      const emulator = fileURLToPath(new URL('../../emulators/uberspace/uberspace', import.meta.url))
      copyFileSync(emulator, `${sandbox.root}/bin/uberspace`)
    },
  })
  cleanup.push(() => world.remove())
  if (provider === 'nginx') return { world }
  const front = await startFront(() => {
    const file = `${world.home}/.uberspace-emulator/backends`
    const line = existsSync(file) && new RegExp(`^${domain} (\\d+)$`, 'm').exec(readFileSync(file, 'utf8'))
    return line ? Number(line[1]) : undefined
  })
  cleanup.push(() => front.close())
  return { world, port: front.port }
}

it.each(['uberspace', 'nginx'] as const)(
  'a promotion of an app on ports at %s answers 503 with Retry-After in the window, if told to, and loses no write',
  {
    timeout: 240_000,
  },
  async (provider) => {
    const { world, port } = await onPorts(provider)
    const reports: LoadReport[] = []
    const closed: number[] = []
    const underLoad = async (work: () => Promise<unknown>) => {
      let answered503 = 0
      const load = world.load({
        connections: 6,
        ...(port === undefined ? {} : { port }),
        allow(status, headers) {
          if (status === 503 && headers['retry-after'] !== undefined) answered503 += 1
          // The stated loss: what comes in the moment when the old port changes hands.
          return status === 502 || (status === 503 && headers['retry-after'] !== undefined)
        },
      })
      const { client: report } = await around(load, 100, work)
      reports.push(report)
      closed.push(answered503)
      // A reload of nginx closes connections that are kept alive, and a request may be on its way on one.
      expect(report.failed.filter((each) => provider !== 'nginx' || !each.what.includes('hang up'))).toEqual([])
    }
    await underLoad(() => world.run((from, to) => promote(from, to, { hold: false }), { sandbox: true }))
    expect(world.roles()).toEqual({ production: 'pony2026r2', former: 'pony2026r1' })
    expect(audit(reports[0] as LoadReport, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
    await underLoad(() => world.run((from, to) => demote(from, to, { hold: false }), { sandbox: true }))
    expect(world.roles()).toMatchObject({ production: 'pony2026r1' })
    for (const report of reports) {
      expect(audit(report, marksIn(world, 'pony2026r1'))).toEqual({ missing: [], twice: [] })
    }
    for (const count of closed) expect(count).toBeGreaterThan(0)
    expect(existsSync(`${world.home}/.slipway/pony/sites/production/maintenance.on`)).toBe(false)
  },
)
