import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { AbortedError } from '../../../src/events/index.ts'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { type Ground, makeGround } from '../../faults/ground.ts'
import { hostIsBusy, killAll, programs, until } from '../../faults/inject.ts'
import { ask } from '../../servers/pony.ts'

let world: Ground
beforeAll(async () => {
  world = await makeGround('sockets')
}, 120_000)
beforeEach(() => world.again(), 60_000)
afterAll(() => world?.remove())

/** Those that take their time: `npm run test:long`. */
const itLong = it.skipIf(!process.env['SLIPWAY_TEST_LONG'])

const crontab = () => world.crontab().split('\n')

/** Promotes as far as `place`, and restarts the host there: nothing of it runs any more. */
async function killedAt(place: string): Promise<void> {
  const controller = new AbortController()
  const promoting = world
    .run((from, to) => promote(from, to, { onFailure: 'stop' }), { signal: controller.signal })
    .catch((error: unknown) => error)
  const changes = `${world.home}/.slipway/pony/changes`
  await until(
    () => existsSync(changes) && readdirSync(changes).some((id) => existsSync(`${changes}/${id}/spec.json`)),
    'it begins',
  )
  const folder = `${changes}/${readdirSync(changes)[0]}`
  writeFileSync(`${folder}/pause`, place)
  await until(() => existsSync(`${folder}/paused`), `it stands still at ${place}`)
  killAll(world)
  await until(() => programs(world).length === 0, 'nothing runs any more')
  rmSync(`${folder}/paused`, { force: true })
  // The operator's machine went with it: nothing is taken back from there.
  controller.abort(new AbortedError('gone'))
  await promoting
}

/** What cron starts at boot: the promotion's line, if there is one, and each release's. */
async function boot(): Promise<Record<string, string>> {
  const line = crontab().find((each) => each.startsWith('@reboot ') && each.includes('window.py recover'))
  if (line) {
    await world.run(async (_, to) => {
      await to.home().run(line.replace('@reboot ', '').replaceAll('\\%', '%'), { label: 'what cron starts at boot' })
    })
  }
  await until(() => !hostIsBusy(world), 'the host has made it good')
  const said: Record<string, string> = {}
  for (const release of readdirSync(`${world.home}/webapps`)) {
    const command = `sh ${world.home}/webapps/${release}/bin/boot 2>&1 || :`
    said[release] = execFileSync('ssh', ['-F', world.sandbox.sshConfigFile, 'localhost', command], { encoding: 'utf8' })
  }
  return said
}

const answeredBy = async () => {
  const answer = await ask({ port: world.sandbox.httpPort }, { path: '/up', headers: { host: 'pony.example.org' } })
  return `${answer.status} ${String(answer.headers['x-release']).split('/')[0]}`
}
const running = () => [...new Set(programs(world).map(({ name }) => name))].sort()

describe('a host that is restarted in the window', () => {
  it('goes back by itself while requests waited, and is as it was once it is undone', {
    timeout: 180_000,
  }, async () => {
    await killedAt('copy after')
    expect(crontab().join('\n')).toContain('window.py recover')
    await boot()
    expect(await answeredBy()).toBe('200 pony2026r1')
    await world.run((from, to) => promote(from, to, { undo: true }))
    expect(await answeredBy()).toBe('200 pony2026r1')
    expect(crontab().join('\n')).not.toContain('slipway promotion')
  })

  itLong('goes on by itself once requests had reached the new release', { timeout: 180_000 }, async () => {
    await killedAt('flip after')
    await boot()
    expect(await answeredBy()).toBe('200 pony2026r2')
    expect(world.roles()).toMatchObject({ production: 'pony2026r2' })
    const result = await world.run((from, to) => promote(from, to, { resume: true }))
    expect(result?.result).toBe('done')
    expect(crontab().join('\n')).not.toContain('slipway promotion')
  })
})

describe('a host that is restarted in a promotion', () => {
  itLong(
    'brings production back before the window, and nothing of the release that was on its way',
    {
      timeout: 180_000,
    },
    async () => {
      await killedAt('rehearse after')
      expect(await boot()).toMatchObject({ pony2026r2: expect.stringContaining('a change was not finished') })
      expect(running()).toEqual(['pony2026r1:app-a', 'pony2026r1:mailer-1'])
      expect(await answeredBy()).toBe('200 pony2026r1')
      const result = await world.run((from, to) => promote(from, to, { resume: true }))
      expect(result?.result).toBe('done')
      expect(await answeredBy()).toBe('200 pony2026r2')
    },
  )

  it.skipIf(!process.env['SLIPWAY_TEST_LONG'])(
    'brings the new production back after the window, though the promotion has not ended',
    {
      timeout: 180_000,
    },
    async () => {
      await killedAt('tidy before')
      expect(await boot()).toEqual({ pony2026r1: '', pony2026r2: expect.not.stringContaining('not started') })
      expect(running()).toEqual(['pony2026r2:app-a', 'pony2026r2:mailer-1'])
      expect(await answeredBy()).toBe('200 pony2026r2')
      const result = await world.run((from, to) => promote(from, to, { resume: true }))
      expect(result?.result).toBe('done')
    },
  )
})
