/** What can go wrong on a host, each with its own code and sentence: by hosts that answer as told. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { host, hosts } from 'slipway'
import { fakeHosts, recordRun } from 'slipway/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SlipwayError } from '../../../src/events/index.ts'
import { CommandError, connectionLost } from '../../../src/hosts/errors.ts'
import type { Result } from '../../../src/hosts/host.ts'
import { sh } from '../../../src/shell/index.ts'
import { noSite } from '../../../src/targets/domains/errors.ts'
import { decodeResponse } from '../../../src/targets/vps/xmlrpc.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-failures-'))
  writeFileSync(join(dir, 'broken.eta'), '<% nobody.knows() %>\n')
})
afterAll(() => rmSync(dir, { recursive: true }))

/** The error of `body`, with hosts whose every command ends so. */
async function failure(body: () => unknown, answer: { exitCode?: number; stderr?: string; stdout?: string } = {}) {
  const { error } = await recordRun(async () => await body(), {
    hosts: fakeHosts({ answer: () => answer }),
    projectDir: dir,
  })
  if (!(error instanceof SlipwayError)) throw new Error(`no SlipwayError: ${String(error)}`)
  return error
}

describe('used wrongly, and refused before anything connects', () => {
  test.each<[string, string, () => unknown]>([
    ['bad-variable', '"a-b" is not a name for an environment variable', () => host('h').env({ 'a-b': '1' })],
    ['bad-user', '"a b" is not a user name', () => host('h').as('a b')],
    ['bad-duration', '"soon" is not a duration', () => host('h').$`sleep 9`.timeout('soon')],
    ['bad-batch', 'a batch ramp has no steps', () => hosts('a', 'b').each(() => {}, { batch: [] })],
    ['bad-batch', '"0%" is not a batch size', () => hosts('a', 'b').each(() => {}, { batch: '0%' })],
    ['bad-pool-size', 'a pool of 0 hosts cannot work', () => hosts('a', 'b').each(() => {}, { poolSize: 0 })],
    ['tail-nothing', 'there is no file to follow', () => host('h').tail([])],
    [
      'bad-grep',
      '"(" is not a regular expression',
      async () => {
        for await (const _ of host('h').tail('app.log', { grep: '(' })) return
      },
    ],
    ['rsync-empty-path', 'rsync was given an empty path', () => host('h').rsync({ source: '', destination: '~/x' })],
    [
      'rsync-delete-refused',
      'rsync with delete is refused on',
      () => host('h').rsync({ source: '.', destination: '~', delete: true }),
    ],
    ['upload-missing', 'nowhere cannot be read', () => host('h').upload('nowhere', '~/x')],
    ['upload-missing', 'cannot be read', () => host('h').upload('.', '~/x')],
    ['template-missing', 'nowhere.eta cannot be read', () => host('h').template('nowhere.eta', '~/x', {})],
    ['remove-refused', 'is not removed: it is the root, the home, or empty', () => host('h').remove('~')],
  ])('%s: %s', async (code, message, body) => {
    const error = await failure(body)
    expect(error).toMatchObject({ code, exitCode: 2 })
    expect(error.message).toContain(message)
  })
})

describe('said by a host', () => {
  test.each<[string, string, { exitCode?: number; stderr?: string }, () => unknown]>([
    ['command-failed', 'failed with exit status 3 on h', { exitCode: 3 }, () => host('h').$`x`],
    ['command-not-executable', 'could not be executed (exit status 126) on h', { exitCode: 126 }, () => host('h').$`x`],
    ['command-not-found', 'was not found (exit status 127) on h', { exitCode: 127 }, () => host('h').$`x`],
  ])('%s: %s', async (code, message, answer, body) => {
    const error = await failure(body, answer)
    expect(error).toMatchObject({ code, host: 'h' })
    expect(error.message).toContain(message)
  })

  test('a template that throws', async () => {
    expect(await failure(() => host('h').template('broken.eta', '~/x', {}))).toMatchObject({
      code: 'template-failed',
      message: `the template ${join(dir, 'broken.eta')} could not be rendered`,
    })
  })
})

describe('made without a host', () => {
  const result = (more: Partial<Result>) => ({ stdout: '', stderr: '', exitCode: 0, signal: null, ...more }) as Result

  test.each<[string, Partial<Result>, string]>([
    ['command-signalled', { exitCode: null, signal: 'KILL' }, 'backup was ended by SIGKILL on h'],
    ['command-no-status', { exitCode: null }, 'backup ended without an exit status on h'],
  ])('%s', (code, more, message) => {
    expect(new CommandError('h', 'backup', result(more))).toMatchObject({ code, message })
  })

  test('a connection lost before and during', () => {
    expect(connectionLost('h', 'backup', 'reset', false)).toMatchObject({
      code: 'connection-lost-before',
      state: 'Nothing was run on it.',
      next: 'Run it again.',
    })
    expect(connectionLost('h', 'backup', 'reset', true)).toMatchObject({
      code: 'connection-lost',
      state: 'Its outcome is unknown: it may have finished, stopped, or still be running. It was not sent again.',
    })
  })

  test('a fault of supervisord', () => {
    const fault = (text: string) =>
      `<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name><value><int>10</int></value></member><member><name>faultString</name><value><string>${text}</string></value></member></struct></value></fault></methodResponse>`
    expect(() => decodeResponse(fault('BAD_NAME: web'))).toThrow(
      expect.objectContaining({ code: 'supervisor-fault', message: 'supervisord answered: BAD_NAME: web', fault: 10 }),
    )
    expect(() => decodeResponse('<html>')).toThrow(expect.objectContaining({ code: 'xml-rpc' }))
  })

  test('a secret as an argument', async () => {
    const { Secret } = await import('slipway')
    expect(() => sh`mysql -p${new Secret('hunter2-hunter2')}`.toString()).not.toThrow()
    expect(await failure(() => host('h').$`mysql -p${new Secret('hunter2-hunter2')}`)).toMatchObject({
      code: 'secret-argument',
    })
  })

  test('a provider without the site', () => {
    expect(noSite('Opalstack', 'pony.example.org')).toMatchObject({
      code: 'provider-site',
      message: 'Opalstack has no site for pony.example.org',
      next: 'Make it with init_app.',
    })
  })
})
