import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { currentRun, type RunOptions } from '../../../src/events/index.ts'
import { type FleetError, type Host, host, hostGroup, hosts } from '../../../src/hosts/index.ts'
import { failure, inRun, until } from './inrun.ts'
import { clientConfig, freePort, type Sshd, startSshd } from './sshd.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-fleet-'))
const servers: Sshd[] = []
const names: string[] = []
let options: RunOptions

beforeAll(async () => {
  const config: string[] = []
  for (let server = 0; server < 2; server++) {
    const addresses = Array.from({ length: 15 }, (_each, index) => `127.0.${40 + server}.${index + 1}`)
    const sshd: Sshd = await startSshd({ address: `127.0.${40 + server}.100`, addresses })
    servers.push(sshd)
    for (const address of addresses) {
      const name = `web${names.length + 1}`
      names.push(name)
      config.push(clientConfig(name, { ...sshd, address }))
    }
  }
  config.push(clientConfig('dead', { ...(servers[0] as Sshd), port: await freePort() }))
  const sshConfigFile = join(dir, 'config')
  writeFileSync(sshConfigFile, config.join(''))
  options = { sshConfigFile }
})
afterAll(async () => {
  for (const server of servers) await server.stop()
  rmSync(dir, { recursive: true, force: true })
})

const fleet = () => hosts(...names)

describe('each', () => {
  it('reaches thirty hosts, one connection each', () =>
    inRun(options, async (told) => {
      const outcomes = await fleet().each((h) => h.probe`echo ${h.name}`.text())
      expect([...outcomes.keys()].map((h) => h.name)).toEqual(names)
      expect([...outcomes.values()].map((outcome) => outcome.ok && outcome.value)).toEqual(names)
      expect(told.of('host.connected')).toHaveLength(30)
    }))

  it('tries every host, and tells which failed in a table', () =>
    inRun(options, async () => {
      const group = hosts('web1', 'dead', 'web2', 'web3')
      const error = (await failure(group.each((h) => h.$`test ${h.name} != web2`))) as unknown as FleetError
      expect(error.code).toBe('hosts-failed')
      expect(error.message).toContain('2 of 4 hosts')
      expect(error.retry).toEqual(['dead', 'web2'])
      expect(error.outcomes.size).toBe(4)
      const lines = String(error.detail).split('\n')
      expect(lines).toHaveLength(3)
      expect(lines[0]).toMatch(/^web\[1,3\] +ok, up to [\d.]+ s$/)
      expect(lines[1]).toMatch(/^dead +failed: dead refused the connection/)
      expect(lines[2]).toMatch(/^web2 +failed: .* failed with exit status 1/)
    }))

  it('tells when it began on which, and how it ended on each', () =>
    inRun(options, async (told) => {
      await hosts('web1', 'dead', 'web3').each((h) => h.$`true`, { nothrow: true })
      await hosts('web1').each((h) => h.$`true`)
      expect(told.of('hosts.started')).toMatchObject([{ hosts: ['web1', 'dead', 'web3'] }])
      expect(told.of('hosts.finished')).toMatchObject([
        {
          id: told.of('hosts.started')[0]?.id,
          outcomes: [
            { host: 'web1', outcome: 'ok' },
            { host: 'dead', outcome: 'failed', error: expect.stringContaining('dead refused the connection') },
            { host: 'web3', outcome: 'ok' },
          ],
        },
      ])
    }))

  it('gives outcomes instead of failing where asked', () =>
    inRun(options, async () => {
      const outcomes = await hosts('web1', 'dead').each((h) => h.$`true`, { nothrow: true })
      expect([...outcomes.values()].map((outcome) => outcome.ok)).toEqual([true, false])
    }))

  it('gives the error of a lone host as it is', () =>
    inRun(options, async () => {
      expect((await failure(hosts('web1').each((h) => h.$`exit 3`))).code).toBe('command-failed')
    }))

  it('stops beginning after too many failures', () =>
    inRun(options, async () => {
      const begun: string[] = []
      const error = (await failure(
        fleet().each(
          (h) => {
            begun.push(h.name)
            return h.$`false`
          },
          { parallel: false, maxFailures: 2 },
        ),
      )) as unknown as FleetError
      expect(begun).toEqual(['web1', 'web2', 'web3'])
      expect(error.state).toBe('27 hosts were not begun.')
      expect(error.retry).toHaveLength(30)
    }))

  it('keeps within its pool, batch after batch', () =>
    inRun(options, async () => {
      let now = 0
      const most: number[] = []
      const watch = async (_host: Host) => {
        now++
        most.push(now)
        await new Promise((resolve) => setTimeout(resolve, 5))
        now--
      }
      await fleet().each(watch, { poolSize: 7 })
      expect(Math.max(...most)).toBe(7)
      most.length = 0
      await fleet().each(watch, { parallel: false })
      expect(Math.max(...most)).toBe(1)
      const order: number[] = []
      await fleet().each(
        async () => {
          order.push(now++)
          await new Promise((resolve) => setTimeout(resolve, 2))
        },
        { batch: [1, '50%'] },
      )
      expect(order).toHaveLength(30)
    }))

  it('refuses an empty group', () =>
    inRun(options, async () => {
      const error = await failure(hosts().each((h) => h.$`true`))
      expect(error).toMatchObject({ code: 'no-hosts', exitCode: 2, state: 'Nothing was run, here or anywhere.' })
      expect(() => hosts().first()).toThrow(/no hosts/)
    }))

  it('is interrupted as a whole', () =>
    inRun(options, async (told) => {
      const waiting = failure(hosts('web1', 'web2', 'web3').each((h) => h.$`echo up; sleep 300`))
      await until(() => told.of('command.output').length === 3)
      told.abort()
      expect((await waiting).name).toMatch(/Abort/)
    }))
})

describe('a selection', () => {
  const chosen = (selection: RunOptions['selection'], group = () => hosts('web1', 'me@web2', 'web30')) =>
    inRun({ ...options, selection }, async () => {
      const outcomes = await group().each(async (h) => h.name)
      return { names: [...outcomes.keys()].map((h) => h.name), used: currentRun().usedSelection }
    })

  it.each([
    [{ hosts: ['web1'] }, ['web1']],
    [{ hosts: ['web2'] }, ['me@web2']],
    [{ hosts: ['web*'], exclude: ['web3?'] }, ['web1', 'me@web2']],
    [{ exclude: ['me@web2'] }, ['web1', 'web30']],
  ])('%j', async (selection, expected) => {
    expect(await chosen(selection)).toEqual({ names: expected, used: true })
  })

  it('of roles narrows a group that knows them', async () => {
    const roles = new Map([
      ['web1', ['web']],
      ['web30', ['worker']],
    ])
    const group = () => hostGroup('production', [host('web1'), host('web30')], roles)
    expect((await chosen({ roles: ['worker'] }, group)).names).toEqual(['web30'])
    expect((await chosen({ roles: ['worker'] })).used).toBe(false)
  })

  it('that leaves nothing is an error', async () => {
    expect((await failure(chosen({ hosts: ['nowhere'] }))).code).toBe('no-hosts')
  })

  it('paces', async () => {
    expect((await chosen({ parallel: false })).used).toBe(true)
    expect((await chosen({ poolSize: 2 })).used).toBe(true)
  })

  it('can be excepted in code', () => {
    expect([...hosts('web1', 'web2').except('web1')].map((h) => h.name)).toEqual(['web2'])
  })
})
