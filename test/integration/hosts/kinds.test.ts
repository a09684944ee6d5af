import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { noPrompter, type Prompter } from '../../../src/events/index.ts'
import { host, hosts, local } from '../../../src/hosts/index.ts'
import { interact, type Terminal } from '../../../src/hosts/interactive.ts'
import { reach } from '../../../src/hosts/reach.ts'
import { Secret, sh } from '../../../src/shell/index.ts'
import { failure, inRun, until } from './inrun.ts'
import { clientConfig, type Sshd, startSshd } from './sshd.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-kinds-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('an OpenSSH server', () => {
  let sshd: Sshd
  beforeAll(async () => {
    sshd = await startSshd()
    mkdirSync(join(sshd.dir, 'bin'), { recursive: true })
  })
  afterAll(() => sshd.stop())

  /** A program that stands in for the real one on that host. */
  const standIn = (name: string, text: string) => {
    writeFileSync(join(sshd.dir, 'bin', name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(sshd.dir, 'bin', name), 0o755)
  }
  const typing = (answers: string[]): Prompter & { asked: string[] } => {
    const asked: string[] = []
    return {
      ...noPrompter,
      interactive: true,
      asked,
      password: async (message) => {
        asked.push(message)
        return answers.shift() ?? ''
      },
    }
  }
  const password = 'open;sesame "$(id)` \\&'
  // Behaves like sudo for a user who has to give a password: no cache (-k), prompt on stderr, one line of input.
  const strictSudo = `
for a in "$@"; do case $a in -n) echo 'sudo: a password is required' >&2; exit 1;; esac; done
prompt=; while [ $# -gt 0 ]; do case $1 in -p) prompt=$2; shift 2;; -u) shift 2;; --) shift; break;; -*) shift;; *) break;; esac; done
tries=0
while :; do
  printf %s "$prompt" >&2
  IFS= read -r given || { echo 'sudo: no password was provided' >&2; exit 1; }
  [ "$given" = 'open;sesame "$(id)\` \\&' ] && break
  tries=$((tries+1)); echo 'Sorry, try again.' >&2; [ $tries -lt 3 ] || exit 1
done
exec "$@"`

  it('has its sudo password asked once, tried, and never shown', async () => {
    standIn('sudo', strictSudo)
    const prompter = typing(['wrong', password])
    await inRun(
      sshd,
      async (told) => {
        const h = host('test').as('root')
        expect(await h.$`echo in; cat`.input('the input').text()).toBe('in\nthe input')
        expect(await h.write(join(dir, 'by sudo'), 'x')).toBe(true)
        const result = await h.env({ S: new Secret('x y') }).$`printf %s "$S"; echo err >&2; ps -eo args`
        expect(result.stdout.startsWith('x y')).toBe(true)
        expect(result.stderr).toBe('err\n')
        expect(result.stdout + JSON.stringify(told.events)).not.toContain('sesame')
        expect((await h.script([{ name: 's', command: sh`echo script` }]))[0]?.stdout).toBe('script\n')
      },
      { prompter },
    )
    expect(prompter.asked).toHaveLength(2)
  })

  it('has its sudo password fed to rsync too, where that needs one', async () => {
    standIn('sudo', strictSudo)
    const source = join(dir, 'sudo tree')
    mkdirSync(source)
    // Larger than what is under way before sudo has read its line.
    writeFileSync(join(source, 'f'), randomBytes(3_000_000))
    const prompter = typing(['wrong', password])
    try {
      await inRun(
        sshd,
        async (told) => {
          const h = host('test').as('root')
          const up = await h.rsync({ source: `${source}/`, destination: join(dir, 'sudo up') })
          expect(up.changed).toEqual(['f'])
          await h.rsync({ direction: 'down', source: `${join(dir, 'sudo up')}/`, destination: join(dir, 'sudo down') })
          execFileSync('cmp', [join(source, 'f'), join(dir, 'sudo down', 'f')])
          const missing = await failure(h.rsync({ direction: 'down', source: '/no/such/tree/', destination: dir }))
          expect(missing).toMatchObject({ code: 'rsync-source-missing' })
          expect(missing.detail).not.toMatch(/slipway-[0-9a-f]{18}/)
          expect(JSON.stringify([told.events, missing])).not.toContain('sesame')
        },
        { prompter },
      )
    } finally {
      rmSync(join(sshd.dir, 'bin/sudo'))
    }
    expect(prompter.asked).toHaveLength(2)
  })

  it('has one password asked for all of a fleet, and another for the host that does not take it', async () => {
    standIn('sudo', strictSudo)
    const other = await startSshd()
    mkdirSync(join(other.dir, 'bin'), { recursive: true })
    writeFileSync(join(other.dir, 'bin/sudo'), `#!/bin/sh\n${strictSudo.replace('open;sesame', 'other;sesame')}\n`)
    chmodSync(join(other.dir, 'bin/sudo'), 0o755)
    const sshConfigFile = join(dir, 'fleet_config')
    const alias = (name: string, at: Sshd) => clientConfig(name, at, `HostKeyAlias [${at.address}]:${at.port}`)
    writeFileSync(
      sshConfigFile,
      ['web1', 'web2', 'web3'].map((name) => alias(name, sshd)).join('') + alias('db', other),
    )
    const asked: string[] = []
    const answer = async (message: string) => {
      asked.push(message)
      return message.includes(' db') ? password.replace('open', 'other') : password
    }
    const prompter: Prompter = { ...noPrompter, interactive: true, password: answer }
    try {
      await inRun(
        { sshConfigFile },
        async () => {
          const outcomes = await hosts('web1', 'web2', 'web3', 'db').each((h) => h.as('root').$`echo in`.text())
          expect([...outcomes.values()].map((outcome) => outcome.ok && outcome.value)).toEqual(['in', 'in', 'in', 'in'])
        },
        { prompter },
      )
    } finally {
      rmSync(join(sshd.dir, 'bin/sudo'))
      await other.stop()
    }
    expect(asked.sort()).toEqual([expect.stringMatching(/on db$/), expect.stringMatching(/on web\d$/)])
  })

  it('has it fed to rsync on this machine just so', async () => {
    standIn('sudo', strictSudo)
    const { PATH } = process.env
    const prompter = typing([password])
    const source = join(dir, 'local sudo tree')
    mkdirSync(source)
    writeFileSync(join(source, 'f'), 'text')
    process.env.PATH = `${join(sshd.dir, 'bin')}:${PATH}`
    try {
      await inRun(
        {},
        async () => {
          const copied = await local()
            .as('root')
            .rsync({ source: `${source}/`, destination: join(dir, 'local sudo copy') })
          expect(copied.changed).toEqual(['f'])
        },
        { prompter },
      )
    } finally {
      process.env.PATH = PATH
      rmSync(join(sshd.dir, 'bin/sudo'))
    }
    expect(prompter.asked).toHaveLength(1)
  })

  it('asks nobody for rsync’s sudo password where nobody is', async () => {
    standIn('sudo', strictSudo)
    try {
      await inRun(sshd, async () => {
        const error = await failure(
          host('test')
            .as('root')
            .rsync({ source: `${dir}/`, destination: '/tmp/never' }),
        )
        expect(error).toMatchObject({ code: 'sudo-password', state: 'Nothing was run as root.' })
      })
    } finally {
      rmSync(join(sshd.dir, 'bin/sudo'))
    }
  })

  it('stops after a second wrong sudo password, and asks nobody where nobody is', async () => {
    standIn('sudo', strictSudo)
    const prompter = typing(['wrong', 'wrong too', password])
    const error = await failure(inRun(sshd, () => Promise.resolve(host('test').as('root').$`true`), { prompter }))
    expect(error).toMatchObject({ code: 'sudo-wrong-password' })
    expect(prompter.asked).toHaveLength(2)
    const alone = await failure(inRun(sshd, () => Promise.resolve(host('test').as('root').$`true`)))
    expect(alone).toMatchObject({ code: 'sudo-password', state: 'Nothing was run as root.' })
    rmSync(join(sshd.dir, 'bin/sudo'))
  })

  it('is rebooted, and waited for until it has a new boot id', async () => {
    const state = join(dir, 'boot')
    writeFileSync(state, 'first')
    standIn('cat', `case $1 in /proc/sys/kernel/random/boot_id) exec /bin/cat ${state};; *) exec /bin/cat "$@";; esac`)
    standIn('reboot', `printf second >${state}`)
    await inRun(sshd, async (told) => {
      await host('test').reboot({ deadlineMs: 20_000 })
      expect(readFileSync(state, 'utf8')).toBe('second')
      expect(told.of('changed')[0]?.what).toContain('rebooted')
    })
    standIn('reboot', ':')
    await inRun(sshd, async () => {
      const error = await failure(host('test').reboot({ deadlineMs: 1500 }))
      expect(error).toMatchObject({ code: 'reboot-timeout', state: 'It answers, but has not rebooted.' })
    })
    await inRun({ sshConfigFile: sshd.sshConfigFile, dryRun: true }, async (told) => {
      await host('test').reboot()
      expect(told.of('held-back')).toHaveLength(1)
    })
    for (const name of ['cat', 'reboot']) rmSync(join(sshd.dir, 'bin', name))
  })

  it('says so where its rsync fails after its last word to the one here', async () => {
    standIn('rsync', '/usr/bin/rsync "$@"; echo "the disk said no" >&2; exit 11')
    const source = join(dir, 'failing at the end')
    mkdirSync(source)
    writeFileSync(join(source, 'f'), 'there')
    try {
      await inRun(sshd, async () => {
        const up = await failure(host('test').rsync({ source: `${source}/`, destination: join(dir, 'failed up') }))
        expect(up).toMatchObject({ code: 'rsync-failed', host: 'test' })
        expect(up.message).toContain('status 11')
        expect(up.detail).toContain('the disk said no')
        expect(up.state).toContain('What was copied before it stopped is there')
        const options = { direction: 'down', source: `${source}/`, destination: join(dir, 'failed down') } as const
        expect((await failure(host('test').rsync(options))).message).toContain('status 11')
      })
    } finally {
      rmSync(join(sshd.dir, 'bin/rsync'))
    }
  })

  it('without rsync is copied to and from by SFTP, and what is left out is spared', async () => {
    standIn('rsync', "echo 'sh: 1: rsync: not found' >&2; exit 127")
    const source = join(dir, 'sftp source')
    mkdirSync(join(source, 'sub/deep'), { recursive: true })
    for (const name of ['plain', "it's", 'é€', 'new\nline', 'sub/deep/f', 'x.pyc'])
      writeFileSync(join(source, name), name)
    chmodSync(join(source, 'plain'), 0o750)
    symlinkSync('plain', join(source, 'link'))
    const up = join(dir, 'sftp up')
    const same = () => execFileSync('diff', ['-r', '--no-dereference', '-x', '*.pyc', '-x', '*.sqlite', source, up])
    try {
      await inRun(sshd, async (told) => {
        const h = host('test')
        const options = { source: `${source}/`, destination: up, exclude: ['*.pyc', '*.sqlite'], delete: true }
        const sent = await h.rsync(options)
        expect(sent.changed).toEqual(["it's", 'link', 'new\nline', 'plain', 'sub/deep/f', 'é€'])
        same()
        expect(statSync(join(up, 'plain')).mode & 0o777).toBe(0o750)
        expect((await h.rsync(options)).changed).toEqual([])
        mkdirSync(join(up, 'old/inner'), { recursive: true })
        writeFileSync(join(up, 'old/inner/f'), '')
        mkdirSync(join(up, 'data'))
        writeFileSync(join(up, 'data/live.sqlite'), 'precious')
        const planned = await h.rsync({ ...options, dryRun: true })
        expect(planned.deleted).toContain('old/inner/f')
        expect(statSync(join(up, 'old/inner/f')).size).toBe(0)
        expect((await h.rsync(options)).deleted.sort()).toEqual(['old/', 'old/inner/', 'old/inner/f'])
        expect(readFileSync(join(up, 'data/live.sqlite'), 'utf8')).toBe('precious')
        const back = join(dir, 'sftp back')
        await h.rsync({ source: `${up}/`, destination: back, direction: 'down', exclude: ['data'] })
        execFileSync('diff', ['-r', '--no-dereference', '-x', 'data', up, back])
        expect(told.of('note')[0]?.text).toContain('goes by SFTP')
        expect(told.of('host.connected')).toHaveLength(1)
      })
    } finally {
      rmSync(join(sshd.dir, 'bin/rsync'))
    }
  })

  it('passes an interactive command’s input, output and status on', () =>
    inRun(sshd, async () => {
      const input = new PassThrough()
      const output = new PassThrough()
      const errors = new PassThrough()
      let shown = ''
      output.on('data', (chunk) => {
        shown += chunk
      })
      const terminal = { input, output, errors } as unknown as Terminal
      const transport = await reach(host('test')).transport()
      const running = interact(transport, 'read a; echo "got $a"; exit 5', terminal)
      input.write('typed\n')
      expect(await running).toBe(5)
      expect(shown).toBe('got typed\n')
    }))

  it('reaches a socket over the same connection', async () => {
    const path = join(dir, 'app.sock')
    const server = createServer((socket) => socket.on('data', (chunk) => socket.end(`echo ${chunk}`)))
    await new Promise<void>((resolve) => server.listen(path, resolve))
    try {
      await inRun(sshd, async (told) => {
        const h = host('test').cd(dir)
        for (const name of ['app.sock', path]) {
          const stream = await h.openStream(name)
          stream.write('hello')
          let text = ''
          for await (const chunk of stream) text += chunk
          expect(text).toBe('echo hello')
        }
        expect(told.of('host.connected')).toHaveLength(1)
      })
    } finally {
      server.close()
    }
  })

  it('that hangs in its ForceCommand is ended by the timeout', async () => {
    const hanging = await startSshd({ config: 'ForceCommand sleep 15', forceCommand: false })
    try {
      await inRun(hanging, async () => {
        const startedAt = Date.now()
        const error = await failure(host('test').$`true`.timeout(300))
        expect(error.code).toBe('command-timeout')
        // It never said who it is, so it cannot be found there.
        expect(error.state).toContain('may still be running')
        expect(Date.now() - startedAt).toBeLessThan(10_000)
      })
    } finally {
      await hanging.stop()
    }
  })

  it('killed in the middle of a stream leaves the outcome unknown', async () => {
    const doomed = await startSshd()
    try {
      await inRun(doomed, async (told) => {
        const running = failure(host('test').$`while :; do echo line; sleep 0.05; done`)
        await until(() => told.of('command.output').length > 2)
        for (const pid of sessionsOf(doomed.pid)) process.kill(pid, 'SIGKILL')
        expect(await running).toMatchObject({ name: 'OutcomeUnknownError', code: 'connection-lost' })
      })
    } finally {
      await doomed.stop()
    }
  })
})

/** The processes that an sshd has started for its connections. */
function sessionsOf(pid: number): number[] {
  return execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)])
    .toString()
    .trim()
    .split(/\s+/)
    .map(Number)
}
