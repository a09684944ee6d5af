/** Ways to fail that take a server, or a network, made for it. Each has its own sentence: host, phase, time, what next. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { host } from '../../../src/hosts/index.ts'
import { failure, inRun, until } from './inrun.ts'
import { beginLogin, clientConfig, type Sshd, type SshdOptions, startSshd } from './sshd.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-failures-'))
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

async function server(options: SshdOptions): Promise<Sshd> {
  const sshd = await startSshd(options)
  cleanups.push(() => sshd.stop())
  return sshd
}

const trueOn = (options: { sshConfigFile: string }) => inRun(options, async () => host('test').$`true`)

/** A port whose queue of connections is full: what asks for another gets no answer at all. */
async function silentPort(): Promise<number> {
  const python = `import socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
print(s.getsockname()[1], flush=True); sys.stdin.read()`
  const child = spawn('/usr/bin/python3', ['-c', python], { stdio: ['pipe', 'pipe', 'inherit'] })
  cleanups.push(() => child.stdin.end())
  const port = Number(await new Promise<Buffer>((resolve) => child.stdout.once('data', resolve)))
  const held: Socket[] = []
  cleanups.push(() => {
    for (const socket of held) socket.destroy()
  })
  for (;;) {
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('error', () => {})
    held.push(socket)
    const answered = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true))
      setTimeout(() => resolve(false), 300)
    })
    if (!answered) return port
  }
}

describe('a host', () => {
  it('that answers nothing at all: TCP, and after how long', async () => {
    const port = await silentPort()
    const sshConfigFile = join(dir, 'silent')
    writeFileSync(
      sshConfigFile,
      clientConfig('test', { address: '127.0.0.1', port, clientKey: '/none', knownHosts: '/none' }, 'ConnectTimeout 1'),
    )
    const startedAt = Date.now()
    const error = await failure(trueOn({ sshConfigFile }))
    expect(error).toMatchObject({
      code: 'host-timeout',
      message: 'test did not answer within 1.0 s',
      detail: expect.stringMatching(
        new RegExp(`^connecting to 127.0.0.1 port ${port}\ngiven up after \\d+(\\.\\d)? s$`),
      ),
      state: 'Nothing was run on it.',
      next: expect.stringContaining('firewall'),
    })
    expect(Date.now() - startedAt).toBeLessThan(14_000)
  })

  it('to which no connection can be made: the address, and the network’s own words', async () => {
    const sshConfigFile = join(dir, 'unreachable')
    // What means everyone on the network is refused here, with nothing sent.
    const at = { address: '255.255.255.255', port: 22, clientKey: '/none', knownHosts: '/none' }
    writeFileSync(sshConfigFile, clientConfig('test', at))
    const error = await failure(trueOn({ sshConfigFile }))
    expect(error).toMatchObject({ code: 'host-unreachable', host: 'test', state: 'Nothing was run on it.' })
    expect(error.message).toMatch(/^(test could not be reached: connect E|there is no route to test \()/)
    expect(error.detail).toMatch(/255\.255\.255\.255[\s\S]*given up after/)
  }, 40_000)

  it('with no room, for connections or for commands: how often it was tried, and what limits it', async () => {
    const noSessions = await server({ config: 'MaxSessions 0' })
    const busy = await server({ config: 'MaxStartups 1:100:1' })
    const idle = await beginLogin(busy)
    cleanups.push(() => idle.destroy())
    const copying = inRun(noSessions, () => host('test').rsync({ source: `${dir}/`, destination: '~/copy' }))
    const [session, startup, copy] = await Promise.all([
      failure(trueOn(noSessions)),
      failure(trueOn(busy)),
      failure(copying),
    ])
    expect(session).toMatchObject({
      code: 'channel-refused',
      message: 'test refused a command channel',
      state: 'That was not started.',
      next: expect.stringContaining('MaxSessions'),
    })
    expect(copy).toMatchObject({ code: 'channel-refused', state: 'That was not started.', next: session.next })
    expect(startup).toMatchObject({
      code: 'handshake-failed',
      message: 'test closed the connection during key exchange',
      detail: expect.stringMatching(/given up after \d+(\.\d)? s and 6 attempts$/),
      next: expect.stringContaining('MaxStartups'),
    })
  }, 40_000)

  it('with no room for commands, and an interrupt meanwhile: it is not asked again', async () => {
    const noSessions = await server({ config: 'MaxSessions 0' })
    const [error, waitedMs] = await inRun(noSessions, async (told) => {
      const asking = failure(host('test').$`true`)
      await until(() => told.of('host.connected').length > 0)
      const abortedAt = performance.now()
      told.abort()
      return [await asking, performance.now() - abortedAt] as const
    })
    expect(error).toMatchObject({ code: 'aborted' })
    expect(waitedMs).toBeLessThan(5000)
  }, 40_000)

  it('that has had enough of wrong keys: which were tried, and not again', async () => {
    const strict = await server({ config: 'MaxAuthTries 1' })
    const other = await server({})
    const another = await server({})
    const sshConfigFile = join(dir, 'tries')
    writeFileSync(
      sshConfigFile,
      clientConfig('test', { ...strict, clientKey: other.clientKey }, `IdentityFile ${another.clientKey}`),
    )
    const error = await failure(trueOn({ sshConfigFile }))
    expect(error).toMatchObject({ code: 'auth-interrupted', next: expect.stringContaining('MaxAuthTries') })
    expect(error.detail).toContain(`key ${another.clientKey}`)
    expect(error.detail).toMatch(/given up after \d+(\.\d)? s$/)
  })

  it('of another age shares no algorithm, not with the system’s ssh either', async () => {
    const old = await server({ config: 'Ciphers 3des-cbc' })
    const error = await failure(trueOn(old))
    expect(error).toMatchObject({ code: 'no-common-algorithm', host: 'test' })
    expect(error.detail).toContain('3des-cbc')
  })
})
