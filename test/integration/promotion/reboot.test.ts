import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { promote } from '../../../src/targets/vps/promotion/index.ts'
import { hostIsBusy, killAll, until } from '../../faults/inject.ts'
import { makeWorld, type World } from '../../faults/world.ts'
import { ask } from '../../servers/pony.ts'

let world: World
beforeEach(async () => {
  world = await makeWorld()
}, 120_000)
afterEach(() => world?.remove())

const crontab = () => world.run((_, to) => to.home().run('crontab -l 2>/dev/null || :', { kind: 'probe' }).lines())

/** Promotes as far as `place`, restarts the host there, and lets its crontab do what it does at boot. */
async function restartAt(place: string): Promise<void> {
  const promoting = world.run((from, to) => promote(from, to, { onFailure: 'stop' })).catch((error: unknown) => error)
  const changes = `${world.home}/.slipway/pony/changes`
  await until(
    () => existsSync(changes) && readdirSync(changes).some((id) => existsSync(`${changes}/${id}/spec.json`)),
    'it begins',
  )
  const folder = `${changes}/${readdirSync(changes)[0]}`
  writeFileSync(`${folder}/pause`, place)
  await until(() => existsSync(`${folder}/paused`), `it stands still at ${place}`)
  killAll(world)
  rmSync(`${folder}/paused`, { force: true })
  const line = (await crontab()).find((each) => each.startsWith('@reboot ')) ?? ''
  expect(line).toContain('window.py recover')
  await world.run(async (_, to) => {
    await to.home().run(line.replace('@reboot ', '').replaceAll('\\%', '%'), { label: 'what cron starts at boot' })
  })
  await promoting
  await until(() => !hostIsBusy(world), 'the host has made it good')
}

const answeredBy = async () => {
  const answer = await ask({ port: world.sandbox.httpPort }, { path: '/up', headers: { host: 'pony.example.org' } })
  return `${answer.status} ${String(answer.headers['x-release']).split('/')[0]}`
}

describe('a host that is restarted in the window', () => {
  it('goes back by itself while requests waited, and is as it was once it is undone', {
    timeout: 180_000,
  }, async () => {
    await restartAt('copy after')
    expect(await answeredBy()).toBe('200 pony2026r1')
    await world.run((from, to) => promote(from, to, { undo: true }))
    expect(await answeredBy()).toBe('200 pony2026r1')
    expect((await crontab()).join('\n')).not.toContain('slipway promotion')
  })

  it('goes on by itself once requests had reached the new release', { timeout: 180_000 }, async () => {
    await restartAt('flip after')
    expect(await answeredBy()).toBe('200 pony2026r2')
    expect(world.roles()).toMatchObject({ production: 'pony2026r2' })
    const result = await world.run((from, to) => promote(from, to, { resume: true }))
    expect(result?.result).toBe('done')
    expect((await crontab()).join('\n')).not.toContain('slipway promotion')
  })
})
