/** What connecting to another kind of server is like; what runs and lies there is tested on every kind of host. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPrompter, type Prompter } from '../../../src/events/index.ts'
import { forward, host } from '../../../src/hosts/index.ts'
import { canNamespace, type Dropbear, startDropbear } from './dropbear.ts'
import { failure, inRun } from './inrun.ts'
import { clientConfig, type Sshd, startSshd } from './sshd.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-dropbear-'))
let files = 0
const file = (text: string) => {
  const path = join(dir, `file${files++}`)
  writeFileSync(path, text)
  return path
}

describe.skipIf(!canNamespace)('dropbear, with busybox as sh', () => {
  let server: Dropbear
  let sshd: Sshd
  beforeAll(async () => {
    ;[server, sshd] = await Promise.all([startDropbear(), startSshd()])
  })
  afterAll(async () => {
    await Promise.all([server.stop(), sshd.stop()])
    rmSync(dir, { recursive: true, force: true })
  })

  /** A client configuration in which `test` is dropbear. */
  const config = (extra = '', more = '', knownHosts = server.knownHosts) => ({
    sshConfigFile: file(clientConfig('test', { ...server, address: '127.0.0.1', knownHosts }, extra) + more),
  })
  const trueOn = (options: object, prompter: Prompter = noPrompter) =>
    inRun(options, async () => host('test').probe`echo in`.text(), { prompter })

  it('has busybox as its shell', async () => {
    await inRun(config(), async () => expect(await host('test').probe`sh --help 2>&1`.text()).toContain('BusyBox'))
  })

  it('has its host key asked about, remembered hashed, and refused once it has changed', async () => {
    const knownHosts = file('')
    const ask = config('StrictHostKeyChecking ask\nHashKnownHosts yes', '', knownHosts)
    expect((await failure(trueOn(ask))).code).toBe('host-key-unknown')
    const asked: string[] = []
    const confirm = async (message: string) => asked.push(message) > 0
    expect(await trueOn(ask, { ...noPrompter, interactive: true, confirm })).toBe('in')
    expect(asked).toEqual([expect.stringMatching(/is not known.*SHA256:/)])
    expect(readFileSync(knownHosts, 'utf8')).toMatch(/^\|1\|\S+ ssh-ed25519 \S+\n$/)
    expect(await trueOn(ask)).toBe('in')
    const other = readFileSync(sshd.knownHosts, 'utf8').replace(/^\S+/, `[127.0.0.1]:${server.port}`)
    const changed = await failure(trueOn(config('StrictHostKeyChecking no', '', file(other))))
    expect(changed).toMatchObject({ code: 'host-key-changed', detail: expect.stringMatching(/SHA256:[\s\S]*SHA256:/) })
  })

  it('refuses a key it does not know, and what was tried is told', async () => {
    const stranger = join(dir, 'stranger')
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', stranger])
    const sshConfigFile = file(clientConfig('test', { ...server, address: '127.0.0.1', clientKey: stranger }))
    const error = await failure(trueOn({ sshConfigFile }))
    expect(error.code).toBe('auth-failed')
    expect(`${error.message} ${error.detail}`).toContain(stranger)
  })

  it.each([
    ['before an OpenSSH server', () => [clientConfig('test', sshd, 'ProxyJump hop'), clientConfig('hop', at())]],
    ['behind one', () => [clientConfig('test', at(), 'ProxyJump hop'), clientConfig('hop', sshd)]],
    ['behind itself', () => [clientConfig('test', at(), 'HostKeyAlias two\nProxyJump hop'), clientConfig('hop', at())]],
  ] as [string, () => string[]][])('is jumped through and to: %s', async (_where, hosts) => {
    const known = file(readFileSync(server.knownHosts, 'utf8').replace(/^\S+/, (name) => `${name},two`))
    const sshConfigFile = file(hosts().join('').replaceAll(server.knownHosts, known))
    await inRun({ sshConfigFile }, async (told) => {
      const source = mkdtempSync(join(dir, 'through-'))
      writeFileSync(join(source, 'f'), 'x')
      const sent = await host('test').rsync({ source: `${source}/`, destination: `${source}-there` })
      expect(sent.changed).toEqual(['f'])
      expect(told.of('host.connected').map((event) => event.host)).toEqual(['hop', 'test'])
    })
  })
  const at = () => ({ ...server, address: '127.0.0.1' })

  it('forwards a port', async () => {
    const behind: Server = createServer((socket) => socket.end('hello from behind'))
    await new Promise<void>((resolve) => behind.listen(0, '127.0.0.1', resolve))
    try {
      await inRun(config(), async () => {
        const { port } = await forward(host('test'), { to: `127.0.0.1:${(behind.address() as { port: number }).port}` })
        let text = ''
        for await (const part of connect(port, '127.0.0.1')) text += part
        expect(text).toBe('hello from behind')
        // It knows no sockets.
        expect((await failure(host('test').openStream('/no/such.sock'))).code).toBe('channel-refused')
      })
    } finally {
      behind.close()
    }
  })

  it('runs as many commands at once as are asked for, over one connection', async () => {
    await inRun(config(), async (told) => {
      const numbers = Array.from({ length: 40 }, (_each, index) => String(index))
      expect(await Promise.all(numbers.map((number) => host('test').probe`echo ${number}`.text()))).toEqual(numbers)
      expect(told.of('host.connected')).toHaveLength(1)
      // What takes long keeps nobody waiting.
      const startedAt = Date.now()
      const [long] = await Promise.all([failure(host('test').$`sleep 60`.timeout('2500ms')), host('test').$`true`])
      expect(long.code).toBe('command-timeout')
      expect(Date.now() - startedAt).toBeLessThan(20_000)
    })
  })
})
