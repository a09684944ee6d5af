import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPrompter, type Prompter } from '../../../src/events/index.ts'
import { forward, host, local } from '../../../src/hosts/index.ts'
import { reach } from '../../../src/hosts/reach.ts'
import { Secret } from '../../../src/shell/index.ts'
import { failure, inRun, until } from './inrun.ts'
import { beginLogin, certifiedConfig, clientConfig, freePort, type Sshd, startSshd } from './sshd.ts'

let sshd: Sshd
const dir = mkdtempSync(join(tmpdir(), 'slipway-connect-'))
const cleanups: (() => unknown)[] = []

beforeAll(async () => {
  sshd = await startSshd()
})
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
  await sshd.stop()
  rmSync(dir, { recursive: true, force: true })
})

let files = 0
/** A client configuration for `to`, with lines of its own first. */
function config(
  to: Pick<Sshd, 'address' | 'port' | 'clientKey' | 'knownHosts'>,
  extra = '',
  more = '',
): { sshConfigFile: string } {
  const sshConfigFile = join(dir, `config${files++}`)
  writeFileSync(sshConfigFile, `${clientConfig('test', to, extra)}${more}`)
  return { sshConfigFile }
}

function key(name: string, type = 'ed25519', passphrase = ''): string {
  const file = join(dir, name)
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-f', file])
  return file
}

/** Passes bytes on to sshd, and can stop doing so, or cut. */
async function proxy(
  to: Sshd,
): Promise<{ port: number; cut(): void; freeze(): void; server: Server; accepted: () => number }> {
  const sockets = new Set<Socket>()
  let frozen = false
  let accepted = 0
  const server = createServer((here) => {
    accepted++
    const there = connect({ host: to.address, port: to.port })
    for (const socket of [here, there]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    here.on('data', (chunk) => frozen || there.write(chunk))
    there.on('data', (chunk) => frozen || here.write(chunk))
    here.on('close', () => there.destroy())
    there.on('close', () => here.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  cleanups.push(() => {
    cut()
    server.close()
  })
  return {
    port: (server.address() as { port: number }).port,
    cut,
    freeze: () => {
      frozen = true
    },
    server,
    accepted: () => accepted,
  }
}

const answering = (answers: Partial<Record<'confirm' | 'password', unknown[]>>): Prompter & { asked: string[] } => {
  const asked: string[] = []
  const next = (kind: 'confirm' | 'password') => async (message: string) => {
    asked.push(message)
    return answers[kind]?.shift() as never
  }
  return { ...noPrompter, interactive: true, confirm: next('confirm'), password: next('password'), asked }
}

const trueOn = (options: object, setup = {}) => inRun(options, async () => host('test').probe`echo in`.text(), setup)

describe('a host that cannot be reached', () => {
  it('has a name that does not resolve', async () => {
    const error = await failure(trueOn(config(sshd, 'HostName no-such-host.invalid')))
    expect(['host-unresolvable', 'host-dns-unavailable']).toContain(error.code)
    expect(error.host).toBe('test')
  })

  it('refuses', async () => {
    const error = await failure(trueOn(config({ ...sshd, port: await freePort() })))
    expect(error).toMatchObject({ code: 'host-refused', state: 'Nothing was run on it.' })
    expect(error.message).toContain('nothing listens on 127.0.0.1 port')
  })

  it('accepts, and then says nothing', async () => {
    const server = createServer(() => {})
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => server.close())
    const { port } = server.address() as { port: number }
    const startedAt = Date.now()
    const error = await failure(trueOn(config({ ...sshd, port }, 'ConnectTimeout 1')))
    expect(error).toMatchObject({
      code: 'handshake-timeout',
      detail: expect.stringMatching(/^during key exchange\ngiven up after \d+(\.\d)? s$/),
    })
    expect(Date.now() - startedAt).toBeLessThan(15_000)
  })

  it('is something else than an SSH server', async () => {
    const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanups.push(() => server.close())
    const error = await failure(trueOn(config({ ...sshd, port: (server.address() as { port: number }).port })))
    // Asking again would change nothing.
    expect(error).toMatchObject({
      code: 'not-ssh',
      detail: expect.stringMatching(/^it said: HTTP\/1.1 400 Bad Request\ngiven up after \d+\.\d s$/),
    })
  })

  it('is not what its configuration says', async () => {
    const sshConfigFile = join(dir, 'broken')
    writeFileSync(sshConfigFile, 'Host test\n  NoSuchOption yes\n')
    const error = await failure(trueOn({ sshConfigFile }))
    expect(error).toMatchObject({ code: 'ssh-config', exitCode: 2 })
    expect(error.detail).toContain('nosuchoption')
    await inRun({}, async () => {
      expect((await failure(host('-oProxyCommand=id').$`true`)).code).toBe('bad-destination')
    })
  })
})

describe('a host key', () => {
  const unknown = (extra: string) => {
    const knownHosts = join(dir, `known${files++}`)
    writeFileSync(knownHosts, '')
    return { ...config({ ...sshd, knownHosts }, extra), knownHosts }
  }

  it('that is not known fails without a terminal, and shows its fingerprint', async () => {
    const error = await failure(trueOn(unknown('StrictHostKeyChecking ask')))
    expect(error.code).toBe('host-key-unknown')
    const shown = execFileSync('ssh-keygen', ['-l', '-f', join(sshd.dir, 'host_key.pub')]).toString()
    expect(shown).toContain(/SHA256:\S+/.exec(String(error.detail))?.[0])
  })

  it('is asked about on a terminal, remembered, and then known', async () => {
    const options = unknown('StrictHostKeyChecking ask')
    const prompter = answering({ confirm: [true] })
    expect(await trueOn(options, { prompter })).toBe('in')
    expect(prompter.asked[0]).toMatch(/is not known.*SHA256:/)
    expect(readFileSync(options.knownHosts, 'utf8')).toContain(`[127.0.0.1]:${sshd.port} ssh-ed25519 `)
    expect(await trueOn(options)).toBe('in')
    const refused = await failure(
      trueOn(unknown('StrictHostKeyChecking ask'), { prompter: answering({ confirm: [false] }) }),
    )
    expect(refused.code).toBe('host-key-unknown')
  })

  it('is remembered hashed where HashKnownHosts says so', async () => {
    const options = unknown('StrictHostKeyChecking accept-new\nHashKnownHosts yes')
    expect(await trueOn(options)).toBe('in')
    expect(readFileSync(options.knownHosts, 'utf8')).toMatch(/^\|1\|/)
    expect(await trueOn({ sshConfigFile: options.sshConfigFile })).toBe('in')
  })

  it.each(['yes', 'ask', 'accept-new', 'no'])(
    'that has changed always fails (StrictHostKeyChecking %s)',
    async (strict) => {
      const knownHosts = join(dir, `known${files++}`)
      const other = key(`other${files++}`)
      writeFileSync(knownHosts, `\n[127.0.0.1]:${sshd.port} ${readFileSync(`${other}.pub`, 'utf8')}`)
      const error = await failure(
        trueOn(config({ ...sshd, knownHosts }, `StrictHostKeyChecking ${strict}`), {
          prompter: answering({ confirm: [true] }),
        }),
      )
      expect(error.code).toBe('host-key-changed')
      expect(String(error.detail).match(/SHA256:/g)).toHaveLength(2)
      expect(error.detail).toContain(`${knownHosts}:2`)
      expect(error.next).toContain(`ssh-keygen -R '[127.0.0.1]:${sshd.port}' -f ${knownHosts}`)
    },
  )

  it('that is revoked fails', async () => {
    const knownHosts = join(dir, `known${files++}`)
    const pub = readFileSync(join(sshd.dir, 'host_key.pub'), 'utf8')
    writeFileSync(knownHosts, `[127.0.0.1]:${sshd.port} ${pub}@revoked * ${pub}`)
    expect((await failure(trueOn(config({ ...sshd, knownHosts })))).code).toBe('host-key-revoked')
  })

  it('on record as RSA is asked for as RSA', async () => {
    const rsa = await startSshd({ config: `HostKey ${key('rsa_host', 'rsa')}` })
    cleanups.push(() => rsa.stop())
    writeFileSync(rsa.knownHosts, `[127.0.0.1]:${rsa.port} ${readFileSync(join(dir, 'rsa_host.pub'), 'utf8')}`)
    expect(await trueOn(rsa)).toBe('in')
  })

  it('is found in a GlobalKnownHostsFile, of which there may be several', async () => {
    const global = join(dir, `global${files++}`)
    writeFileSync(global, readFileSync(sshd.knownHosts))
    const mine = join(dir, `known${files++}`)
    writeFileSync(mine, '')
    const asked = (known: string) =>
      config({ ...sshd, knownHosts: mine }, `GlobalKnownHostsFile ${known}\nStrictHostKeyChecking accept-new`)
    expect(await trueOn(asked(`/none/such ${global}`))).toBe('in')
    expect(readFileSync(mine, 'utf8')).toBe('')
    // What it holds is held against the server, too.
    const other = key(`other${files++}`)
    writeFileSync(global, `[127.0.0.1]:${sshd.port} ${readFileSync(`${other}.pub`, 'utf8')}`)
    const error = await failure(trueOn(asked(`/none/such ${global}`)))
    expect(error).toMatchObject({ code: 'host-key-changed', detail: expect.stringContaining(`${global}:1`) })
  })

  it('is looked up under HostKeyAlias', async () => {
    const knownHosts = join(dir, `known${files++}`)
    writeFileSync(knownHosts, `stands-for ${readFileSync(join(sshd.dir, 'host_key.pub'), 'utf8')}`)
    expect(await trueOn(config({ ...sshd, knownHosts }, 'HostKeyAlias stands-for'))).toBe('in')
  })
})

describe('ssh_config', () => {
  it('may include other files, match, use tokens, and have defaults behind what is said first', async () => {
    const included = join(dir, `included${files++}`)
    writeFileSync(included, clientConfig('test', { ...sshd, clientKey: `${dir}/key-of-%n`, knownHosts: '/none' }))
    writeFileSync(join(dir, 'key-of-test'), readFileSync(sshd.clientKey), { mode: 0o600 })
    writeFileSync(join(dir, 'key-of-other'), readFileSync(key(`other${files++}`)), { mode: 0o600 })
    writeFileSync(join(dir, `known-${sshd.port}`), readFileSync(sshd.knownHosts))
    const sshConfigFile = join(dir, `config${files++}`)
    const text = (matched: string) =>
      [
        `Match originalhost test exec "${matched}"`,
        // The second file has the key; a third is not there.
        `  UserKnownHostsFile /none/such ${dir}/known-%p /none/other`,
        'Host other',
        '  Hostname %h.invalid',
        'Match all',
        `Include ${included}`,
        'Host *',
        '  User nobody-at-all',
        '  Port 1',
        '',
      ].join('\n')
    writeFileSync(sshConfigFile, text('true'))
    expect(await trueOn({ sshConfigFile })).toBe('in')
    writeFileSync(sshConfigFile, text('false'))
    expect((await failure(trueOn({ sshConfigFile }))).code).toBe('host-key-unknown')
    const elsewhere = await failure(inRun({ sshConfigFile }, async () => host('other').$`true`))
    expect(['host-unresolvable', 'host-dns-unavailable']).toContain(elsewhere.code)
  })
})

describe('authentication', () => {
  it('that fails lists what was tried', async () => {
    const wrong = key('wrong_key')
    const error = await failure(trueOn(config({ ...sshd, clientKey: wrong })))
    expect(error.code).toBe('auth-failed')
    expect(error.detail).toContain(`key ${wrong}`)
  })

  it('asks for a passphrase once a run', async () => {
    const clientKey = join(dir, 'locked_key')
    execFileSync('cp', [sshd.clientKey, clientKey])
    execFileSync('ssh-keygen', ['-p', '-q', '-N', 'open sesame', '-P', '', '-f', clientKey])
    const options = config(
      { ...sshd, clientKey },
      '',
      `Host other\n${clientConfig('', { ...sshd, clientKey })
        .split('\n')
        .slice(1)
        .join('\n')}  HostKeyAlias [127.0.0.1]:${sshd.port}\n`,
    )
    const prompter = answering({ password: ['wrong', 'open sesame'] })
    await inRun(
      options,
      async (told) => {
        expect(await host('test').probe`echo in`.text()).toBe('in')
        expect(await host('other').probe`echo in`.text()).toBe('in')
        expect(told.of('host.connected')).toHaveLength(2)
        expect(JSON.stringify(told.events)).not.toContain('sesame')
      },
      { prompter },
    )
    expect(prompter.asked).toEqual([`Passphrase of ${clientKey}`, `Passphrase of ${clientKey}`])
    const error = await failure(trueOn(options))
    expect(error.detail).toContain('it has a passphrase, and there is no terminal')
  })

  it('takes keys from the agent, one at a time, those of the configuration first', async () => {
    const socket = join(dir, 'agent')
    const agent: ChildProcess = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' })
    cleanups.push(() => agent.kill())
    await until(() => {
      try {
        execFileSync('ssh-add', ['-q', key(`agent${files++}`)], {
          env: { ...process.env, SSH_AUTH_SOCK: socket },
          stdio: 'ignore',
        })
        return true
      } catch {
        return false
      }
    })
    execFileSync('ssh-add', ['-q', sshd.clientKey], { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: 'ignore' })
    expect(await trueOn(config({ ...sshd, clientKey: '/none' }, `IdentityAgent ${socket}\nIdentitiesOnly no`))).toBe(
      'in',
    )
    const filtered = await failure(
      trueOn(config({ ...sshd, clientKey: '/none' }, `IdentityAgent ${socket}\nIdentitiesOnly yes`)),
    )
    expect(filtered.code).toBe('auth-failed')
    const publicOnly = join(dir, 'public_only')
    writeFileSync(`${publicOnly}.pub`, readFileSync(`${sshd.clientKey}.pub`))
    expect(
      await trueOn(config({ ...sshd, clientKey: publicOnly }, `IdentityAgent ${socket}\nIdentitiesOnly yes`)),
    ).toBe('in')
  })

  it('takes RSA and ECDSA keys', async () => {
    for (const type of ['rsa', 'ecdsa']) {
      const clientKey = key(`user_${type}`, type)
      appendFileSync(join(sshd.dir, 'authorized_keys'), readFileSync(`${clientKey}.pub`))
      expect(await trueOn(config({ ...sshd, clientKey }))).toBe('in')
    }
  })
})

describe('one connection', () => {
  it('serves two names for one endpoint', async () => {
    const options = config(sshd, '', clientConfig('alias', sshd))
    await inRun(options, async (told) => {
      await Promise.all(['test', 'alias', `${userInfo().username}@test`].map((name) => host(name).$`true`))
      expect(told.of('host.connected')).toHaveLength(1)
    })
  })

  it('is enough where sshd allows only two sessions', async () => {
    const narrow = await startSshd({ config: 'MaxSessions 2' })
    cleanups.push(() => narrow.stop())
    await inRun(narrow, async () => {
      await Promise.all(Array.from({ length: 12 }, () => host('test').$`true`))
    })
  })

  it('is retried when sshd has too many beginning at once', async () => {
    const busy = await startSshd({ config: 'MaxStartups 1:100:1\nLogLevel DEBUG1' })
    cleanups.push(() => busy.stop())
    const idle = await beginLogin(busy)
    const turnedAway = () => readFileSync(busy.log, 'utf8').split('past MaxStartups').length
    const before = turnedAway()
    const trying = trueOn(busy)
    await until(() => turnedAway() > before, 10_000)
    idle.destroy()
    expect(await trying).toBe('in')
  })

  it('lost during a command is "outcome unknown", the command is not sent again, and the next connects anew', async () => {
    const through = await proxy(sshd)
    const options = config({ ...sshd, port: through.port }, `HostKeyAlias [127.0.0.1]:${sshd.port}`)
    const file = join(dir, 'sent')
    await inRun(options, async (told) => {
      const h = host('test')
      const running = failure(h.$`echo once >>${file}; sleep 5`)
      await until(
        () =>
          told.of('command.started').length > 0 &&
          execFileSync('sh', ['-c', `cat ${file} 2>/dev/null || :`]).length > 0,
      )
      through.cut()
      const error = await running
      expect(error).toMatchObject({ name: 'OutcomeUnknownError', code: 'connection-lost', host: 'test' })
      expect(error.detail).toMatch(/, \d+(\.\d)? s after it began$/)
      expect(error.state).toContain('not sent again')
      expect(await h.probe`cat ${file}`.text()).toBe('once')
      expect(told.of('host.connected')).toHaveLength(2)
    })
  })

  it('lost while nothing runs is told of nobody, and the next command connects anew', async () => {
    const through = await proxy(sshd)
    const options = config({ ...sshd, port: through.port }, `HostKeyAlias [127.0.0.1]:${sshd.port}`)
    await inRun(options, async (told) => {
      const h = host('test')
      expect(await h.probe`echo one`.text()).toBe('one')
      const { lost } = await reach(h).transport()
      through.cut()
      await lost
      expect(await h.probe`echo two`.text()).toBe('two')
      expect(told.of('host.connected')).toHaveLength(2)
    })
  })

  it('that is swallowed by the network is given up by keepalive', async () => {
    const through = await proxy(sshd)
    const options = config(
      { ...sshd, port: through.port },
      `HostKeyAlias [127.0.0.1]:${sshd.port}\nServerAliveInterval 1\nServerAliveCountMax 2`,
    )
    await inRun(options, async (told) => {
      const running = failure(host('test').$`echo begun; sleep 60`)
      await until(() => told.of('command.output').length > 0)
      through.freeze()
      const startedAt = Date.now()
      expect((await running).code).toBe('connection-lost')
      expect(Date.now() - startedAt).toBeLessThan(8000)
    })
  }, 20_000)

  it('goes through jump hosts in the order written', async () => {
    const hops = await Promise.all([startSshd({ alias: 'hop1' }), startSshd({ alias: 'hop2' })])
    for (const hop of hops) cleanups.push(() => hop.stop())
    const sshConfigFile = join(dir, `config${files++}`)
    writeFileSync(
      sshConfigFile,
      [
        clientConfig('test', sshd, 'ProxyJump hop1,hop2'),
        ...hops.map((hop, index) => clientConfig(`hop${index + 1}`, hop)),
      ].join(''),
    )
    await inRun({ sshConfigFile }, async (told) => {
      const h = host('test')
      expect(await h.probe`echo in`.text()).toBe('in')
      // A tree goes the same way: what the configuration says of the host holds for rsync too.
      const source = mkdtempSync(join(dir, 'through-'))
      writeFileSync(join(source, 'f'), 'x')
      expect((await h.rsync({ source: `${source}/`, destination: `${source}-there` })).changed).toEqual(['f'])
      expect(told.of('host.connected').map((event) => event.host)).toEqual(['hop1', 'hop2', 'test'])
    })
  })

  it('notices that the host behind a jump host has gone', async () => {
    const hop = await startSshd({ alias: 'hop' })
    cleanups.push(() => hop.stop())
    await inRun(config(sshd, 'ProxyJump hop', clientConfig('hop', hop)), async (told) => {
      const h = host('test')
      // Its session ends there without a word, as when it is switched off: the jump host passes on but the end of it.
      const session = h.$`p=$$; while [ "$(cat /proc/$p/comm)" != sshd ]; do p=$(cut -d ' ' -f 4 /proc/$p/stat); done; kill -KILL $p; sleep 60`
      expect((await failure(session)).code).toBe('connection-lost')
      expect(await h.probe`echo again`.text()).toBe('again')
      expect(told.of('host.connected').filter((event) => event.host === 'test')).toHaveLength(2)
    })
  })

  it('names the jump host that cannot be reached, not the host behind it', async () => {
    const hop = clientConfig('hop', { ...sshd, port: await freePort() })
    const error = await failure(trueOn(config(sshd, 'ProxyJump hop', hop)))
    expect(error).toMatchObject({ code: 'host-refused', host: 'hop', state: 'Nothing was run on it.' })
  })

  it('is given up at once by an interrupt where it stands still: direct, behind a jump host, by the system ssh', async () => {
    const through = await proxy(sshd)
    through.freeze()
    const at = { ...sshd, port: through.port }
    const hop = await startSshd({ alias: 'hop' })
    cleanups.push(() => hop.stop())
    const ways = [
      config(at),
      config(at, 'ProxyJump hop', clientConfig('hop', hop)),
      { sshConfigFile: certifiedConfig({ ...at, dir: mkdtempSync(join(dir, 'certified-')) }) },
    ]
    for (const [index, options] of ways.entries()) {
      let startedAt = 0
      const error = await failure(
        inRun(options, async (told) => {
          const running = host('test').probe`true`.text()
          running.catch(() => {})
          await until(() => through.accepted() > index)
          startedAt = Date.now()
          told.abort()
          await running
        }),
      )
      expect(error.name).toMatch(/^Abort/)
      expect(Date.now() - startedAt).toBeLessThan(5000)
    }
  })

  it('begins few logins at once at one server, so that none is turned away', async () => {
    const counting = await startSshd({ config: 'MaxStartups 10:100:10\nLogLevel DEBUG1' })
    cleanups.push(() => counting.stop())
    const names = Array.from({ length: 24 }, (_each, index) => `name${index}`)
    const sshConfigFile = join(dir, `config${files++}`)
    const known = readFileSync(counting.knownHosts, 'utf8').replace(/^\S+/, '*')
    writeFileSync(counting.knownHosts, known)
    // An alias of its own makes each an endpoint of its own.
    writeFileSync(sshConfigFile, names.map((name) => clientConfig(name, counting, `HostKeyAlias ${name}`)).join(''))
    await inRun({ sshConfigFile }, async (told) => {
      const said = await Promise.all(names.map((name) => host(name).probe`echo ${name}`.text()))
      expect(said).toEqual(names)
      expect(told.of('host.connected')).toHaveLength(names.length)
    })
    expect(readFileSync(counting.log, 'utf8')).not.toContain('MaxStartups')
  }, 60_000)

  it('says so when jump hosts lead in a circle', async () => {
    const error = await failure(trueOn(config(sshd, 'ProxyJump test')))
    expect(error.code).toBe('proxy-loop')
  })

  it('goes through a proxy command, and shows what it complains of', async () => {
    expect(await trueOn(config(sshd, 'ProxyCommand socat - TCP:%h:%p'))).toBe('in')
    const error = await failure(trueOn(config(sshd, 'ProxyCommand echo no way through >&2; exit 1')))
    expect(error).toMatchObject({
      code: 'proxy-failed',
      detail: expect.stringMatching(/^no way through\ngiven up after /),
    })
  }, 20_000)

  it('forwards a port to a port and to a socket there', async () => {
    const server = createServer((socket) => socket.end('hello from behind'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const path = join(dir, 'behind.sock')
    const unix = createServer((socket) => socket.end('hello from a socket'))
    await new Promise<void>((resolve) => unix.listen(path, resolve))
    cleanups.push(
      () => server.close(),
      () => unix.close(),
    )
    const fetchText = (port: number) =>
      new Promise<string>((resolve, reject) => {
        let text = ''
        connect(port, '127.0.0.1')
          .setEncoding('utf8')
          .on('data', (part) => (text += part))
          .on('end', () => resolve(text))
          .on('error', reject)
      })
    const ports: number[] = []
    await inRun(config(sshd), async () => {
      const one = await forward(host('test'), { to: `127.0.0.1:${(server.address() as { port: number }).port}` })
      const two = await forward(host('test'), { to: path })
      ports.push(one.port, two.port)
      expect(await fetchText(one.port)).toBe('hello from behind')
      expect(await fetchText(two.port)).toBe('hello from a socket')
      expect((await failure(forward(host('test'), { port: one.port, to: '1' }))).code).toBe('forward-port')
      expect((await failure(host('test').openStream('/no/such.sock'))).code).toBe('stream-refused')
      await expect(local().openStream('/no/such.sock')).rejects.toMatchObject({ code: 'channel-refused' })
    })
    await expect(fetchText(ports[0] as number)).rejects.toThrow(/ECONNREFUSED/)
  })
})

describe('the system’s ssh takes a host', () => {
  const works = async (options: { sshConfigFile: string }, why: RegExp) =>
    inRun(options, async (told) => {
      const h = host('test')
      expect(await h.cd('/usr').env({ A: "it's" }).probe`echo "$PWD $A"`.text()).toBe("/usr it's")
      expect((await failure(h.$`exit 7`)).code).toBe('command-failed')
      expect(await h.probe`cat | wc -c`.input('x'.repeat(500_000)).text()).toMatch(/500000$/)
      expect((await failure(h.$`sleep 300`.timeout(400))).state).toContain('were ended')
      const results = await Promise.all(Array.from({ length: 12 }, (_each, index) => h.probe`echo ${index}`.text()))
      expect(results).toHaveLength(12)
      const target = mkdtempSync(join(dir, 'tree-'))
      expect(await h.write(`${target}/f`, 'text')).toBe(true)
      expect((await h.rsync({ source: `${target}/`, destination: `${target}-up` })).changed).toEqual(['f'])
      expect(
        (await h.rsync({ source: `${target}-up/`, destination: `${target}-down`, direction: 'down' })).changed,
      ).toEqual(['f'])
      const path = join(target, 's')
      const unix = createServer((socket) => socket.end('socket'))
      await new Promise<void>((resolve) => unix.listen(path, resolve))
      const stream = await h.openStream(path)
      let text = ''
      for await (const chunk of stream) text += chunk
      unix.close()
      expect(text).toBe('socket')
      expect(told.of('host.connected')).toMatchObject([{ transport: 'openssh', why: expect.stringMatching(why) }])
    })

  it('for a certificate beside the key', async () => {
    const ca = key('user_ca')
    const clientKey = key('certified')
    execFileSync('ssh-keygen', ['-q', '-s', ca, '-I', 'me', '-n', userInfo().username, `${clientKey}.pub`])
    const certs = await startSshd({ config: `TrustedUserCAKeys ${ca}.pub` })
    cleanups.push(() => certs.stop())
    await works(config({ ...certs, clientKey }), /certificate/)
  }, 30_000)

  it('for a CertificateFile elsewhere, in a TMPDIR whose path is too long for a socket', async () => {
    const ca = key('file_ca')
    const clientKey = key('file_certified')
    execFileSync('ssh-keygen', ['-q', '-s', ca, '-I', 'me', '-n', userInfo().username, `${clientKey}.pub`])
    const certificate = join(dir, 'a certificate')
    renameSync(`${clientKey}-cert.pub`, certificate)
    const certs = await startSshd({ config: `TrustedUserCAKeys ${ca}.pub` })
    cleanups.push(() => certs.stop())
    const { TMPDIR } = process.env
    process.env.TMPDIR = join(dir, 'long'.repeat(25))
    mkdirSync(process.env.TMPDIR)
    try {
      await inRun(config({ ...certs, clientKey }, `CertificateFile "${certificate}"`), async (told) => {
        expect(await host('test').probe`echo in`.text()).toBe('in')
        expect(told.of('host.connected')).toMatchObject([{ transport: 'openssh' }])
      })
    } finally {
      if (TMPDIR === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = TMPDIR
    }
  })

  it('over one connection for two names, and within the two sessions that sshd allows', async () => {
    const narrow = await startSshd({ config: 'MaxSessions 2' })
    cleanups.push(() => narrow.stop())
    const options = { sshConfigFile: certifiedConfig(narrow) }
    writeFileSync(
      options.sshConfigFile,
      readFileSync(options.sshConfigFile, 'utf8').replace('Host test', 'Host test alias'),
    )
    await inRun(options, async (told) => {
      const names = Array.from({ length: 12 }, (_each, index) => (index % 2 ? 'test' : 'alias'))
      expect(await Promise.all(names.map((name, index) => host(name).$`echo ${index}`.text()))).toEqual(
        names.map((_name, index) => String(index)),
      )
      expect(told.of('host.connected')).toMatchObject([{ transport: 'openssh' }])
    })
  }, 60_000)

  it('while another command runs, with a secret that is sent where nobody sees it', async () => {
    await inRun({ sshConfigFile: certifiedConfig(sshd) }, async (told) => {
      const hidden = async () => {
        await until(() => told.of('command.started').length === 1)
        const there = host('test').env({ WORD: new Secret('nobody sees it') })
        return (await there.run('echo "$WORD" | tr a-z A-Z', { timeoutMs: 20_000 })).stdout
      }
      const [said] = await Promise.all([hidden(), host('test').$`sleep 2`])
      expect(said).toBe('NOBODY SEES IT\n')
      expect(told.of('host.connected')).toMatchObject([{ transport: 'openssh' }])
    })
  }, 60_000)

  it('through jump hosts, too', async () => {
    const hops = await Promise.all([startSshd({ alias: 'hop1' }), startSshd({ alias: 'hop2' })])
    for (const hop of hops) cleanups.push(() => hop.stop())
    const ca = key('behind_ca')
    const clientKey = key('behind_certified')
    execFileSync('ssh-keygen', ['-q', '-s', ca, '-I', 'me', '-n', userInfo().username, `${clientKey}.pub`])
    const behind = await startSshd({ config: `TrustedUserCAKeys ${ca}.pub\nLogLevel VERBOSE` })
    cleanups.push(() => behind.stop())
    const more = hops.map((hop, index) => clientConfig(`hop${index + 1}`, hop)).join('')
    await inRun(config({ ...behind, clientKey }, 'ProxyJump hop1,hop2', more), async (told) => {
      expect(await host('test').probe`echo in`.text()).toBe('in')
      expect(told.of('host.connected')).toMatchObject([{ host: 'test', transport: 'openssh' }])
    })
    for (const hop of hops) expect(readFileSync(hop.log, 'utf8')).toContain('Accepted publickey')
  }, 30_000)

  it('for a server that takes only post-quantum key exchange', async () => {
    const quantum = await startSshd({ config: 'KexAlgorithms sntrup761x25519-sha512@openssh.com' })
    cleanups.push(() => quantum.stop())
    await works(quantum, /key exchange|algorithm|kex/i)
  }, 30_000)

  it('for a host certificate', async () => {
    const ca = key('host_ca')
    const hostKey = key('host_certified')
    execFileSync('ssh-keygen', ['-q', '-h', '-s', ca, '-I', 'host', '-n', '127.0.0.1', `${hostKey}.pub`])
    const certs = await startSshd({ config: `HostKey ${hostKey}\nHostCertificate ${hostKey}-cert.pub` })
    cleanups.push(() => certs.stop())
    writeFileSync(certs.knownHosts, `@cert-authority [127.0.0.1]:* ${readFileSync(`${ca}.pub`, 'utf8')}`)
    await works(certs, /certificate authority/)
  }, 30_000)

  it.each(['yes', 'ask', 'accept-new', 'no'])(
    'and a changed key fails all the same (StrictHostKeyChecking %s)',
    async (strict) => {
      const ca = key(`strict_ca_${strict}`)
      const clientKey = key(`strict_${strict}`)
      execFileSync('ssh-keygen', ['-q', '-s', ca, '-I', 'me', '-n', 'me', `${clientKey}.pub`])
      const knownHosts = join(dir, `strict_known_${strict}`)
      writeFileSync(knownHosts, `\n[127.0.0.1]:${sshd.port} ${readFileSync(`${ca}.pub`, 'utf8')}`)
      const error = await failure(trueOn(config({ ...sshd, clientKey, knownHosts }, `StrictHostKeyChecking ${strict}`)))
      expect(error).toMatchObject({ code: 'host-key-changed', state: expect.stringContaining('Nothing was sent') })
      expect(String(error.detail).match(/SHA256:/g)).toHaveLength(2)
      expect(error.detail).toContain(`${knownHosts}:2`)
      expect(error.next).toContain('ssh-keygen')
    },
  )

  it('and a refusal has the same sentence', async () => {
    const ca = key('other_ca')
    const clientKey = key('mis_certified')
    execFileSync('ssh-keygen', ['-q', '-s', ca, '-I', 'me', '-n', 'nobody', `${clientKey}.pub`])
    expect((await failure(trueOn(config({ ...sshd, clientKey })))).code).toBe('auth-failed')
  })
})
