import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, it, vi } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { hasKerberosTicket } from '../../../src/hosts/choose.ts'
import type { SshConfig } from '../../../src/hosts/ssh-config.ts'

/** A folder where no program is, so that there is no klist (kerberos.test.ts has the real one). */
const dir = mkdtempSync(join(tmpdir(), 'slipway-ticket-'))
const ticket = join(dir, 'ticket')
writeFileSync(ticket, 'a ticket')
afterEach(() => vi.unstubAllEnvs())
afterAll(() => rmSync(dir, { recursive: true }))

const asked = (cache: string, gssapi = 'yes'): Promise<boolean> => {
  vi.stubEnv('PATH', dir)
  vi.stubEnv('KRB5CCNAME', cache)
  const config = { all: new Map([['gssapiauthentication', [gssapi]]]) } as unknown as SshConfig
  return withRun(createRun(), () => hasKerberosTicket(config))
}

it('goes by the cache where klist is not installed', async () => {
  expect(await asked(ticket)).toBe(true)
  expect(await asked(`FILE:${ticket}`)).toBe(true)
  expect(await asked(join(dir, 'none'))).toBe(false)
  expect(await asked('KCM:')).toBe(true)
  expect(await asked(`DIR:${dir}`)).toBe(true)
})

it('asks for none where GSSAPI is not configured', async () => {
  expect(await asked(ticket, 'no')).toBe(false)
})
