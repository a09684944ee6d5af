import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { local } from '../../../src/hosts/index.ts'
import { type DomainProvider, uberspace } from '../../../src/targets/domains/index.ts'

const domain = 'pony.example.org'
const folder = fileURLToPath(new URL('../../emulators/uberspace', import.meta.url))
let home: string
beforeEach(() => {
  home = mkdtempSync('/tmp/slipway-uberspace-')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const there = () => local().env({ HOME: home, PATH: `${folder}:${process.env['PATH']}` })
const using = <T>(work: (provider: DomainProvider) => Promise<T>): Promise<T> =>
  withRun(createRun(), () => work(uberspace(there())))
const state = (name: string) => writeFileSync(`${home}/.uberspace-emulator/${name}`, '')

describe('Uberspace', () => {
  it('makes the domain, leads it to another port, and goes back', async () => {
    await using(async (provider) => {
      await provider.create(domain, '9001')
      const before = await provider.current(domain)
      expect(before?.app).toBe('9001')
      await provider.attach(domain, '9002', before)
      expect((await provider.current(domain))?.app).toBe('9002')
      await provider.restore(before!)
      expect(await provider.current(domain)).toEqual(before)
    })
  })

  it('is settled once something listens there', async () => {
    await using(async (provider) => {
      await provider.create(domain, '9001')
      await expect(provider.settled(domain, '9001', 200)).rejects.toMatchObject({
        code: 'domain-unsettled',
        message: expect.stringContaining('no service'),
      })
      state('listening-9001')
      await provider.settled(domain, '9001', 1000)
    })
  })

  it('refuses where somebody else has changed it, and tells what it would do', async () => {
    await using(async (provider) => {
      await provider.create(domain, '9001')
      await expect(provider.attach(domain, '9002', null)).rejects.toMatchObject({ code: 'domain-changed' })
      expect((await provider.plan(domain, '9002')).calls).toEqual([
        'uberspace web backend set pony.example.org --http --port 9002 (was 9001)',
      ])
    })
  })

  it('gives up on a command that does not end, and does what follows once that does', async () => {
    await using(async (provider) => {
      await provider.create(domain, '9001')
      const before = await provider.current(domain)
      state('hang')
      const impatient = uberspace(there(), { timeoutMs: 300 })
      await expect(impatient.attach(domain, '9002', before)).rejects.toMatchObject({
        code: 'provider-failed',
        message: expect.stringContaining('took longer than 0.3 s'),
      })
      rmSync(`${home}/.uberspace-emulator/hang`)
      expect(await provider.current(domain)).toEqual(before)
      await provider.attach(domain, '9002', before)
      expect((await provider.current(domain))?.app).toBe('9002')
    })
  })

  it('does not believe a success that is none, and tells what its command said', async () => {
    await using(async (provider) => {
      await provider.create(domain, '9001')
      state('ignore')
      await provider.attach(domain, '9002', await provider.current(domain))
      await expect(provider.settled(domain, '9002', 200)).rejects.toMatchObject({ code: 'domain-unsettled' })
      state('fail')
      await expect(provider.current(domain)).rejects.toMatchObject({
        code: 'provider-failed',
        detail: expect.stringContaining('contact support'),
      })
    })
  })
})
