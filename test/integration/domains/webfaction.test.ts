import { afterEach, describe, expect, it } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { Secret } from '../../../src/shell/index.ts'
import { type DomainProvider, webfaction } from '../../../src/targets/domains/index.ts'
import { startWebfaction, type Webfaction } from '../../emulators/webfaction/index.ts'

const domain = 'pony.example.org'
let there: Webfaction | undefined
afterEach(async () => {
  await there?.close()
  there = undefined
})

async function using<T>(
  version: 1 | 2,
  faults: Record<string, string>,
  work: (provider: DomainProvider) => Promise<T>,
  password = 'allons-y',
): Promise<T> {
  there = await startWebfaction(version, faults)
  const { url } = there
  return withRun(createRun(), () =>
    work(
      webfaction({ user: 'u', password: new Secret(password, 'WEBFACTION_PASSWORD'), version, url, timeoutMs: 3000 }),
    ),
  )
}

describe.each([1, 2] as const)('Webfaction, version %i', (version) => {
  it('leads the domain to another app, keeps the other paths, and goes back', async () => {
    await using(version, {}, async (provider) => {
      const before = await provider.current(domain)
      expect(before?.app).toBe('pony2026r1')
      const after = await provider.attach(domain, 'pony2026r2', before)
      expect((after.raw as { website_apps: unknown }).website_apps).toEqual([
        ['static', '/media'],
        ['pony2026r2', '/'],
      ])
      await provider.settled(domain, 'pony2026r2', 1000)
      await provider.restore(before!)
      expect(await provider.current(domain)).toEqual(before)
    })
  })

  it('makes app, domain and site where there are none', async () => {
    await using(version, {}, async (provider) => {
      const made = await provider.create('new.example.org', 'pony2027r1')
      expect(made.port).toBeGreaterThan(0)
      expect((await provider.current('new.example.org'))?.app).toBe('pony2027r1')
      expect(await provider.addresses()).toEqual(['203.0.113.7'])
    })
  })

  it('refuses where somebody else has changed it', async () => {
    await using(version, {}, async (provider) => {
      await expect(provider.attach(domain, 'pony2026r2', null)).rejects.toMatchObject({ code: 'domain-changed' })
      await expect(provider.attach(domain, 'pony1999', null)).rejects.toMatchObject({ code: 'provider-app' })
    })
  })
})

describe('Webfaction', () => {
  it('is refused with a wrong password, which is never shown', async () => {
    const error = await using(1, {}, (provider) => provider.current(domain), 'geronimo').catch((each: Error) => each)
    expect(error).toMatchObject({ code: 'provider-unauthorized' })
    expect(JSON.stringify(error) + String(error)).not.toContain('geronimo')
  })

  it('says so where it is asked too often, and where no answer comes: nothing was changed', async () => {
    for (const [fault, message] of [
      ['busy', 'update_website answered 429'],
      ['silent', 'no answer to update_website'],
    ] as const) {
      await using(1, { update_website: fault }, async (provider) => {
        const before = await provider.current(domain)
        await expect(provider.attach(domain, 'pony2026r2', before)).rejects.toMatchObject({
          code: 'provider-failed',
          message: `Webfaction: ${message}`,
        })
        expect(await provider.current(domain)).toEqual(before)
      })
      await there?.close()
      there = undefined
    }
  })

  it('says what a refused call was refused for', async () => {
    await using(1, { update_website: 'fault' }, async (provider) => {
      await expect(provider.attach(domain, 'pony2026r2', await provider.current(domain))).rejects.toMatchObject({
        code: 'provider-failed',
        detail: expect.stringContaining('it is not allowed'),
      })
    })
  })

  it('looks whether a change was done whose answer was lost', async () => {
    await using(1, { update_website: 'lost' }, async (provider) => {
      await provider.attach(domain, 'pony2026r2', await provider.current(domain))
      expect((await provider.current(domain))?.app).toBe('pony2026r2')
    })
  })

  it('does not believe a success that is none, nor an error of the server', async () => {
    await using(1, { update_website: 'ignored' }, async (provider) => {
      await provider.attach(domain, 'pony2026r2', await provider.current(domain))
      await expect(provider.settled(domain, 'pony2026r2', 300)).rejects.toMatchObject({ code: 'domain-unsettled' })
    })
    await there?.close()
    await using(1, { list_websites: 'error500' }, async (provider) => {
      await expect(provider.current(domain)).rejects.toMatchObject({
        code: 'provider-failed',
        message: expect.stringContaining('500'),
      })
    })
  })
})
