/** What the user's OpenSSH configuration asks of a login beyond keys: passwords, variables, agents, no ssh at all. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import ssh2, { type AuthContext, type Connection } from 'ssh2'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { noPrompter, type Prompter } from '../../../src/events/index.ts'
import { host } from '../../../src/hosts/index.ts'
import { failure, inRun, until } from './inrun.ts'
import { clientConfig, type Sshd, startSshd } from './sshd.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-login-'))
const cleanups: (() => unknown)[] = []
afterAll(() => rmSync(dir, { recursive: true, force: true }))
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/**
 * A server that lets in by password alone. OpenSSH's checks passwords of the machine's own accounts, which a test must
 * not change, so this one is ssh2's: real in the protocol, its own in the judgement.
 */
async function passwordServer(judge: (context: AuthContext) => void): Promise<{ sshConfigFile: string }> {
  const hostKey = join(mkdtempSync(join(dir, 'server-')), 'key')
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', hostKey])
  const connections = new Set<Connection>()
  const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey)] }, (connection) => {
    connections.add(connection)
    connection.on('error', () => {})
    connection.on('authentication', judge)
    connection.on('session', (accept) => {
      accept().on('exec', (take, refuse, { command }) => {
        if (command.includes('refuse me')) return refuse()
        const stream = take()
        const child = spawn('sh', ['-c', command])
        child.stdout.pipe(stream, { end: false })
        child.stderr.pipe(stream.stderr, { end: false })
        stream.pipe(child.stdin)
        child.on('close', (code) => {
          // Some servers end a channel and never say how the command ended.
          if (code !== 99) stream.exit(code ?? 1)
          stream.end()
        })
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    for (const connection of connections) connection.end()
    server.close()
  })
  const { port } = server.address() as { port: number }
  const knownHosts = `${hostKey}.known`
  writeFileSync(knownHosts, `[127.0.0.1]:${port} ${readFileSync(`${hostKey}.pub`, 'utf8')}`)
  const sshConfigFile = `${hostKey}.config`
  writeFileSync(sshConfigFile, clientConfig('test', { address: '127.0.0.1', port, clientKey: '/none', knownHosts }))
  return { sshConfigFile }
}

function answering(answers: Record<string, string>): Prompter & { asked: string[] } {
  const asked: string[] = []
  const answer = async (message: string) => {
    asked.push(message)
    return Object.entries(answers).find(([part]) => message.includes(part))?.[1] ?? ''
  }
  return { ...noPrompter, interactive: true, asked, password: answer, text: answer }
}

describe('a server that wants a password', () => {
  const right = `pässw"'\\ord $x`
  const byPassword = (context: AuthContext) =>
    context.method === 'password' && context.password === right ? context.accept() : context.reject(['password'])

  it('has it asked once for two commands, and it is shown nowhere', async () => {
    const options = await passwordServer(byPassword)
    const prompter = answering({ Password: right })
    await inRun(
      options,
      async ({ events }) => {
        expect(await host('test').$`echo in`.text()).toBe('in')
        expect(await host('test').$`echo again`.text()).toBe('again')
        expect(JSON.stringify(events)).not.toContain(JSON.stringify(right).slice(1, -1))
      },
      { prompter },
    )
    expect(prompter.asked).toEqual([`Password of ${userInfo().username} on test`])
  })

  it('is given up after three wrong ones, and the failure says what was tried', async () => {
    const options = await passwordServer(byPassword)
    const prompter = answering({ Password: 'wrong one' })
    const error = await inRun(options, () => failure(host('test').$`true`), { prompter })
    expect(error.code).toBe('auth-failed')
    expect(String(error.detail).match(/password/g)).toHaveLength(3)
    expect(JSON.stringify(error)).not.toContain('wrong one')
    expect(prompter.asked).toHaveLength(3)
  })

  it('asks nobody where nobody is', async () => {
    const error = await inRun(await passwordServer(byPassword), () => failure(host('test').$`true`))
    expect(error.code).toBe('auth-failed')
    expect(error.detail).toContain('there is no terminal to ask for one')
  })
})

it('a command whose server never says how it ended has failed', async () => {
  const options = await passwordServer((context) =>
    context.method === 'password' ? context.accept() : context.reject(['password']),
  )
  await inRun(
    options,
    async () => {
      const h = host('test')
      expect((await h.$`echo said`).stdout).toBe('said\n')
      expect(await failure(h.$`echo said; exit 99`)).toMatchObject({ code: 'command-no-status', detail: 'said' })
    },
    { prompter: answering({ '': 'open' }) },
  )
})

it('a command whose server does not say that it began has an unknown outcome', async () => {
  const options = await passwordServer((context) =>
    context.method === 'password' ? context.accept() : context.reject(['password']),
  )
  await inRun(
    options,
    async () => {
      const error = await failure(host('test').$`echo refuse me`)
      expect(error).toMatchObject({ name: 'OutcomeUnknownError', code: 'channel-unanswered', host: 'test' })
      expect((await host('test').$`echo said`).stdout).toBe('said\n')
    },
    { prompter: answering({ '': 'open' }) },
  )
})

it('answers every question of keyboard-interactive', async () => {
  const options = await passwordServer((context) => {
    if (context.method !== 'keyboard-interactive') return context.reject(['keyboard-interactive'])
    const questions = [
      { prompt: 'Token: ', echo: true },
      { prompt: 'PIN: ', echo: false },
    ]
    context.prompt(questions, (answers) =>
      answers.join(' ') === '123 456' ? context.accept() : context.reject(['keyboard-interactive']),
    )
  })
  const prompter = answering({ Token: '123', PIN: '456' })
  expect(await inRun(options, () => host('test').$`echo in`.text(), { prompter })).toBe('in')
  expect(prompter.asked).toEqual(['test: Token:', 'test: PIN:'])
})

it('is tried in OpenSSH’s order: the agent’s keys, key files, questions, a password', async () => {
  const [held, filed] = ['held', 'filed'].map((name) => {
    const file = join(dir, name)
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file])
    return file
  }) as [string, string]
  const socket = join(dir, 'order-agent')
  const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' })
  cleanups.push(() => agent.kill())
  await until(() => {
    try {
      execFileSync('ssh-add', ['-q', held], { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
  const asked: string[] = []
  const blob = (file: string) => readFileSync(`${file}.pub`, 'utf8').split(' ')[1]
  const options = await passwordServer((context) => {
    const how = context.method === 'publickey' ? context.key.data.toString('base64') : context.method
    if (asked.at(-1) !== how) asked.push(how)
    if (context.method === 'keyboard-interactive') {
      return context.prompt([{ prompt: 'Token: ', echo: false }], () => context.reject(['password']))
    }
    if (context.method === 'password' && context.password === 'last') return context.accept()
    context.reject(['publickey', 'keyboard-interactive', 'password'])
  })
  const text = readFileSync(options.sshConfigFile, 'utf8')
  writeFileSync(
    options.sshConfigFile,
    text.replace('Host test', `Host test\n  IdentityAgent ${socket}\n  IdentitiesOnly no\n  IdentityFile ${filed}`),
  )
  const prompter = answering({ Token: 'no', Password: 'last' })
  expect(await inRun(options, () => host('test').$`echo in`.text(), { prompter })).toBe('in')
  expect(asked.filter((how) => how !== 'none')).toEqual([blob(held), blob(filed), 'keyboard-interactive', 'password'])
})

describe('an OpenSSH server', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await startSshd({ config: 'AcceptEnv BENCH_*' })
  })
  afterAll(() => sshd.stop())

  let files = 0
  const config = (extra: string, to: Sshd = sshd) => {
    const sshConfigFile = join(dir, `config${files++}`)
    writeFileSync(sshConfigFile, clientConfig('test', to, extra))
    return { sshConfigFile }
  }

  it('gets the variables of SetEnv and SendEnv, for every command', async () => {
    process.env.BENCH_SENT = `sent 'quoted' ü`
    cleanups.push(() => {
      delete process.env.BENCH_SENT
    })
    await inRun(config('SetEnv BENCH_SET=set\nSendEnv BENCH_SE*'), async () => {
      for (let command = 0; command < 4; command++) {
        expect(await host('test').$`printf '%s|%s' "$BENCH_SET" "$BENCH_SENT"`.text()).toBe(`set|sent 'quoted' ü`)
      }
    })
  })

  async function startAgent(): Promise<string> {
    const socket = join(dir, `agent${files++}`)
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' })
    cleanups.push(() => agent.kill())
    const env = { ...process.env, SSH_AUTH_SOCK: socket }
    await until(() => {
      try {
        execFileSync('ssh-add', ['-q', sshd.clientKey], { env, stdio: 'ignore' })
        return true
      } catch {
        return false
      }
    })
    return socket
  }

  it('may ask the agent where ForwardAgent says so, and otherwise not', async () => {
    const socket = await startAgent()
    const listed = (extra: string) =>
      inRun(config(extra), async () => {
        const keys: string[] = []
        for (let command = 0; command < 3; command++)
          keys.push(await host('test').$`ssh-add -L 2>/dev/null | cut -d ' ' -f 1`.nothrow().text())
        return keys
      })
    const key = 'ssh-ed25519'
    expect(await listed(`IdentityAgent ${socket}\nForwardAgent yes`)).toEqual([key, key, key])
    expect(await listed(`ForwardAgent ${socket}`)).toEqual([key, key, key])
    expect(await listed(`IdentityAgent ${socket}`)).toEqual(['', '', ''])
  })

  it('that refuses the agent runs the command all the same, with a warning', async () => {
    const strict = await startSshd({ config: 'AllowAgentForwarding no', like: sshd })
    cleanups.push(() => strict.stop())
    const socket = await startAgent()
    await inRun(config(`IdentityAgent ${socket}\nForwardAgent yes`, strict), async (told) => {
      expect(await host('test').$`echo once`.text()).toBe('once')
      expect(await host('test').$`echo twice`.text()).toBe('twice')
      expect(told.of('warning').map(({ text }) => text)).toEqual([
        'test does not let the agent be forwarded (AllowAgentForwarding)',
      ])
    })
  })

  it('is reached with OpenSSH’s defaults where there is no ssh client, and a note says so', async () => {
    const home = join(dir, 'home')
    mkdirSync(join(home, '.ssh'), { recursive: true })
    writeFileSync(join(home, '.ssh/id_ed25519'), readFileSync(sshd.clientKey), { mode: 0o600 })
    writeFileSync(join(home, '.ssh/known_hosts'), readFileSync(sshd.knownHosts))
    const { HOME, PATH, SSH_AUTH_SOCK } = process.env
    cleanups.push(() => {
      Object.assign(process.env, { HOME, PATH, ...(SSH_AUTH_SOCK === undefined ? {} : { SSH_AUTH_SOCK }) })
    })
    delete process.env.SSH_AUTH_SOCK
    Object.assign(process.env, { HOME: home, PATH: join(dir, 'nothing') })
    await inRun({}, async (told) => {
      const destination = `ssh://${userInfo().username}@127.0.0.1:${sshd.port}`
      expect(await host(destination).$`echo in`.text()).toBe('in')
      expect(told.of('note').map(({ text }) => text)).toEqual([
        'there is no ssh client here, so ~/.ssh/config was not read',
      ])
    })
  })

  it('learns the new size of a terminal', async () => {
    const { columns, rows } = process.stdout
    cleanups.push(() => Object.assign(process.stdout, { columns, rows }))
    await inRun({ sshConfigFile: sshd.sshConfigFile }, async (told) => {
      Object.assign(process.stdout, { columns: 90, rows: 30 })
      const running = host('test').run(
        'trap "stty size; exit" WINCH; stty size; i=0; while [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done',
        { pty: true },
      )
      const shown = () =>
        told
          .of('command.output')
          .map(({ text }) => text)
          .join('')
      await until(() => shown().includes('30 90'))
      Object.assign(process.stdout, { columns: 101, rows: 41 })
      process.stdout.emit('resize')
      expect((await running).stdout).toContain('41 101')
    })
  })
})
