/**
 * When it is the system's ssh that logs in, without a security key (security-key.test.ts has one): an `ssh` on the path
 * stands in for it. It notes that it was asked to connect, and connects with a key that the configuration lacks.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parseIdentities } from '../../../src/hosts/agent-keys.ts'
import { host } from '../../../src/hosts/index.ts'
import { failure, inRun, until } from './inrun.ts'
import { clientConfig, type Sshd, startSshd } from './sshd.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-beyond-'))
const { PATH } = process.env
const calls = join(dir, 'calls')
let sshd: Sshd
let agent: Server | undefined

const field = (bytes: Buffer | string) => {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(Buffer.byteLength(bytes))
  return Buffer.concat([length, Buffer.from(bytes)])
}
const skType = 'sk-ssh-ed25519@openssh.com'
const skBlob = Buffer.concat([field(skType), field(Buffer.alloc(32, 7)), field('ssh:')])

/** An agent that holds a security key, and cannot sign. */
async function startAgent(): Promise<string> {
  const path = join(dir, 'agent')
  const answer = field(Buffer.concat([Buffer.from([12, 0, 0, 0, 1]), field(skBlob), field('my key')]))
  agent = createServer((socket) => socket.on('data', () => socket.write(answer)).on('error', () => {}))
  await new Promise<void>((resolve) => agent?.listen(path, resolve))
  return path
}

beforeAll(async () => {
  sshd = await startSshd()
  mkdirSync(join(dir, 'bin'))
  writeFileSync(
    join(dir, 'bin/ssh'),
    `#!/bin/sh
case " $* " in *" -M "*) echo "$*" >>${calls}; exec /usr/bin/ssh -i ${sshd.clientKey} "$@";; esac
exec /usr/bin/ssh "$@"
`,
  )
  chmodSync(join(dir, 'bin/ssh'), 0o755)
})
beforeEach(() => {
  writeFileSync(calls, '')
  process.env.PATH = `${dir}/bin:${PATH}`
})
afterEach(() => {
  Object.assign(process.env, { PATH })
  agent?.close()
})
afterAll(async () => {
  await sshd.stop()
  rmSync(dir, { recursive: true, force: true })
})

let files = 0
const config = (clientKey: string, extra = '') => {
  const sshConfigFile = join(dir, `config${files++}`)
  writeFileSync(sshConfigFile, clientConfig('test', { ...sshd, clientKey }, extra))
  return { sshConfigFile }
}

const connected = (options: object) =>
  inRun(options, async (told) => {
    expect(await host('test').$`echo in`.text()).toBe('in')
    return told.of('host.connected')
  })

describe('the system’s ssh takes a host', () => {
  it('for a security key in a file', async () => {
    const file = join(dir, 'id_ed25519_sk')
    // The key's handle is on the token; what is here ssh would read only with the token at hand.
    const body = Buffer.concat([Buffer.from('openssh-key-v1\0'), field('none'), field('none'), field(''), skBlob])
    writeFileSync(
      file,
      `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`,
      { mode: 0o600 },
    )
    const found = await connected(config(file))
    expect(found).toMatchObject([{ transport: 'openssh', why: expect.stringContaining('id_ed25519_sk') }])
    expect(readFileSync(calls, 'utf8')).toContain('-M -N')
  })

  it('for a security key that an agent holds', async () => {
    const found = await connected(config('/none', `IdentityAgent ${await startAgent()}\n  IdentitiesOnly no`))
    expect(found).toMatchObject([{ transport: 'openssh', why: expect.stringContaining(`agent key ${skType}`) }])
  })

  it('not for one that the configuration does not name, with IdentitiesOnly', async () => {
    const error = await failure(connected(config('/none', `IdentityAgent ${await startAgent()}`)))
    expect(error).toMatchObject({ code: 'auth-failed' })
    expect(readFileSync(calls, 'utf8')).toBe('')
  })

  it('and a command there has a terminal of our size, which changes as ours does', async () => {
    const clientKey = join(dir, 'certified')
    const ca = join(dir, 'ca')
    for (const file of [clientKey, ca]) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
    execFileSync('ssh-keygen', ['-q', '-s', ca, '-I', 'me', '-n', 'nobody', `${clientKey}.pub`])
    const { columns, rows } = process.stdout
    try {
      await inRun(config(clientKey), async (told) => {
        Object.assign(process.stdout, { columns: 90, rows: 30 })
        const running = host('test').run(
          'trap "stty size; exit 5" WINCH; stty size; i=0; while [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done',
          { pty: true, okCodes: [5] },
        )
        const shown = () =>
          told
            .of('command.output')
            .map(({ text }) => text)
            .join('')
        await until(() => shown().includes('30 90'), 15_000)
        expect(told.of('host.connected')).toMatchObject([{ transport: 'openssh' }])
        Object.assign(process.stdout, { columns: 101, rows: 41 })
        process.stdout.emit('resize')
        expect((await running).stdout.trim().split(/\s*\n/)).toEqual(['30 90', '41 101'])
      })
    } finally {
      Object.assign(process.stdout, { columns, rows })
    }
  })
})

it('reads an agent’s list as far as it is one', () => {
  const whole = Buffer.concat([Buffer.from([12, 0, 0, 0, 2]), field(skBlob), field('a'), field(skBlob), field('b')])
  expect(parseIdentities(whole).map(({ type }) => type)).toEqual([skType, skType])
  expect(parseIdentities(whole.subarray(0, whole.length - 3))).toHaveLength(1)
  expect(parseIdentities(Buffer.from([5]))).toEqual([])
})
