import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { deployByHand, isUp, markedEnvironment } from '../../faults/by-hand.ts'
import { programs, until } from '../../faults/inject.ts'
import { around, audit, type LoadReport } from '../../faults/load.ts'
import { makeWorld, marksIn, type World } from '../../faults/world.ts'
import { type Front, startFront } from '../../servers/front.ts'
import { freePort } from '../../servers/ports.ts'
import { bringUp } from '../vps/host.ts'

/**
 * An app that was deployed by hand on a port, with a worker, to which a provider leads the domain: taken over, and the
 * release after it promoted in the usual way.
 */
const domain = 'pony.example.org'
let world: World
let front: Front
let folder: string
const reports: LoadReport[] = []

const leadsTo = (): number | undefined => {
  const file = `${world.home}/.uberspace-emulator/backends`
  const line = existsSync(file) && new RegExp(`^${domain} (\\d+)$`, 'm').exec(readFileSync(file, 'utf8'))
  return line ? Number(line[1]) : undefined
}
const portOf = (release: string) => Number(readFileSync(`${world.release(release)}/.slipway/port`, 'utf8'))

/** What runs of the app by hand: server and worker. */
const byHand = (): string[] =>
  execFileSync('pgrep', ['-af', 'pony.(web|worker)'], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => {
      const pid = line.split(' ')[0]
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`SLIPWAY_SHARED=${folder}\0`)
      } catch {
        return false
      }
    })
    .map((line) => line.replace(/.*pony\./, ''))
    .sort()

beforeAll(async () => {
  const port = await freePort()
  world = await makeWorld({
    production: false,
    initApps: true,
    ini: (text) =>
      text.replace('listen = socket', `listen = port ${port}`).replace('provider = nginx', 'provider = uberspace'),
    prepare: (sandbox) => {
      const emulator = fileURLToPath(new URL('../../emulators/uberspace/uberspace', import.meta.url))
      copyFileSync(emulator, `${sandbox.root}/bin/uberspace`)
    },
  })
  folder = `${world.home}/webapps/pony2013r1`
  const own = await freePort()
  deployByHand(world, {
    folder,
    port: own,
    start:
      'python3 -m pony.web </dev/null >>../web.log 2>&1 &\npython3 -m pony.worker </dev/null >>../worker.log 2>&1 &',
  })
  const emulated = (...words: string[]) =>
    execFileSync(`${world.sandbox.root}/bin/uberspace`, words, {
      env: { ...markedEnvironment(world), HOME: world.home },
    })
  emulated('web', 'domain', 'add', domain)
  emulated('web', 'backend', 'set', domain, '--http', '--port', String(own))
  front = await startFront(leadsTo)
  await until(() => isUp(own) && byHand().length === 2, 'the app that was deployed by hand answers')
}, 180_000)
afterAll(async () => {
  await front?.close()
  await world?.remove()
})

async function underLoad(work: () => Promise<unknown>): Promise<void> {
  // The stated loss: what comes in the moment when the old port changes hands.
  const load = world.load({ connections: 6, port: front.port, allow: (status) => status === 502 })
  const { client: report } = await around(load, 100, work)
  reports.push(report)
  expect(report.failed).toEqual([])
  expect(report.allowed).toBeLessThan(report.requests / 10)
}

const workers = (release: string) => programs(world).filter(({ name }) => name.startsWith(`${release}:mailer`))

it('is taken over with its writes and its worker, and the domain is led to the new release', {
  timeout: 120_000,
}, async () => {
  expect(byHand()).toEqual(['web', 'worker'])
  await underLoad(() =>
    world.run((from, to) => promote(from, to, { adopt: { from: folder, start: 'bin/start' } }), { sandbox: true }),
  )
  expect(world.roles()).toEqual({ production: 'pony2026r2' })
  expect(leadsTo()).toBe(portOf('pony2026r2'))
  expect(byHand()).toEqual([])
  expect(workers('pony2026r2').length).toBeGreaterThan(0)
  expect(audit(reports[0] as LoadReport, marksIn(world, 'pony2026r2'))).toEqual({ missing: [], twice: [] })
})

it('is followed by the next release as any other', { timeout: 180_000 }, async () => {
  const ini = `${world.dir}/config/deploy.ini`
  writeFileSync(ini, readFileSync(ini, 'utf8').replace('release = 2026r2', 'release = 2026r3'))
  await world.run(
    async (from) => {
      const staging = createVpsDeployment(from.config, from.deployment)
      await staging.initApp()
      await bringUp(staging)
    },
    { sandbox: true },
  )
  await underLoad(() => world.run((from, to) => promote(from, to), { sandbox: true }))
  expect(world.roles()).toEqual({ production: 'pony2026r3', former: 'pony2026r2' })
  expect(leadsTo()).toBe(portOf('pony2026r3'))
  for (const report of reports) {
    expect(audit(report, marksIn(world, 'pony2026r3'))).toEqual({ missing: [], twice: [] })
  }
})
