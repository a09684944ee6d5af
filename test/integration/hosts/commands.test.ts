import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AbortedError, currentRun, type RunOptions, scoped, withRun } from '../../../src/events/index.ts'
import { type Host, host } from '../../../src/hosts/index.ts'
import { Secret, sh } from '../../../src/shell/index.ts'
import { everyKind, startEveryKind } from './every-kind.ts'
import { failure, type InRun, inRun, until } from './inrun.ts'
import { certifiedConfig, startSshd } from './sshd.ts'

let servers: Awaited<ReturnType<typeof startEveryKind>>
const scratch = mkdtempSync(join(tmpdir(), 'slipway-commands-'))

beforeAll(async () => {
  servers = await startEveryKind('SetEnv FROM_CLIENT=no')
})
afterAll(async () => {
  await servers.stop()
  rmSync(scratch, { recursive: true, force: true })
})

const alive = (pid: number) => {
  try {
    process.kill(pid, 0)
    // A zombie that its parent has not waited for yet is no longer running.
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe.each(everyKind)('a command, %s', (kind) => {
  const on = <T>(fn: (h: Host, told: InRun) => Promise<T>, more: RunOptions = {}) => servers.on(kind, fn, more)

  it('gives stdout, stderr and status apart', () =>
    on(async (h) => {
      const result = await h.$`echo out; echo err >&2; exit 3`.nothrow()
      expect(result).toMatchObject({ stdout: 'out\n', stderr: 'err\n', exitCode: 3, signal: null, truncated: false })
      // What is said on stderr makes no failure.
      expect(await h.$`echo warning >&2`).toMatchObject({ stderr: 'warning\n', exitCode: 0 })
    }))

  it('fails with its command, status and last output', () =>
    on(async (h) => {
      const error = await failure(h.$`echo about to fail; exit 3`)
      expect(error).toMatchObject({ code: 'command-failed', detail: 'about to fail' })
      expect(error.message).toContain(`failed with exit status 3 on ${h.name}`)
    }))

  it('fails when a signal ends it', () =>
    on(async (h) => {
      const error = await failure(h.$`exec sh -c 'kill -KILL $$'`)
      // All but dropbear have a shell in between, which tells 128 and the signal's number.
      expect(error).toMatchObject(
        kind === 'dropbear'
          ? { code: 'command-signalled', result: { exitCode: null, signal: 'KILL' } }
          : { code: 'command-failed', result: { exitCode: 137, signal: null } },
      )
      expect(await h.$`kill -TERM $$`.ok()).toBe(false)
    }))

  it('takes other statuses for success where told', () =>
    on(async (h) => {
      expect((await h.$`exit 4`.okCodes(0, 4)).exitCode).toBe(4)
      expect(await h.$`exit 1`.ok()).toBe(false)
      expect(await h.probe`true`.ok()).toBe(true)
    }))

  it('tells a command that is not there from one that fails', () =>
    on(async (h) => {
      expect((await failure(h.$`no-such-command-here`)).code).toBe('command-not-found')
    }))

  it('gives text, lines and JSON', () =>
    on(async (h) => {
      expect(await h.probe`printf 'a\n\n'`.text()).toBe('a')
      expect(await h.probe`printf 'a\nb\n'`.lines()).toEqual(['a', 'b'])
      expect(await h.probe`true`.lines()).toEqual([])
      expect(await h.probe`echo ${'{"a":[1]}'}`.json()).toEqual({ a: [1] })
    }))

  it('gets every interpolated value byte for byte', () =>
    on(async (h) => {
      const word = fc.string({ unit: fc.constantFrom(...`'"\\$\`!;&|<>(){}*?~# \t\n\ré€😀a`), maxLength: 25 })
      await fc.assert(
        fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 4 }), async (words) => {
          const { stdout } = await h.probe`printf '%s\\0' ${words}`
          expect(stdout.split('\0').slice(0, -1)).toEqual(words)
        }),
        { numRuns: 30 },
      )
    }))

  it('never decodes half a character', () =>
    on(async (h) => {
      const { stdout } = await h.probe`i=0; while [ $i -lt 400 ]; do printf '%s' ${'é€😀'.repeat(60)}; i=$((i+1)); done`
      expect(stdout).toBe('é€😀'.repeat(24_000))
    }))

  it('runs in a directory, with an environment, and changes neither for others', () =>
    on(async (h) => {
      const there = h.cd('/usr').env({ A: "it's", B: 1 })
      expect(await there.cd('lib').probe`echo "$PWD $A $B"`.text()).toBe("/usr/lib it's 1")
      expect(await h.probe`echo "$PWD \${A-unset}"`.text()).toMatch(/ unset$/)
    }))

  it('does not run where its directory is not there', () =>
    on(async (h) => {
      const file = join(scratch, `ran-${kind}`)
      await failure(h.cd('/no/such/place').$`touch ${file}; true`)
      expect(await h.exists(file)).toBe(false)
    }))

  it('gets its input: text, bytes, a stream, a secret', () =>
    on(async (h) => {
      expect(await h.probe`cat`.input('text').text()).toBe('text')
      expect(await h.probe`wc -c`.input(new Uint8Array([0, 255, 10])).text()).toMatch(/^\s*3$/)
      expect(await h.probe`wc -c`.input(Readable.from([Buffer.alloc(1000), Buffer.alloc(24)])).text()).toMatch(/1024$/)
      expect(await h.probe`cat | wc -c`.input(new Secret('hush')).text()).toMatch(/4$/)
      expect(await h.probe`cat`.text()).toBe('')
    }))

  it('say what they were to be given where that cannot be read, before they begin or later', () =>
    on(async (h) => {
      const missing = createReadStream(join(scratch, 'not-there'))
      const broken = Readable.from(
        (function* () {
          yield 'a part'
          throw new Error('the disk is gone')
        })(),
      )
      for (const [input, says] of [
        [missing, 'no such file'],
        [broken, 'the disk is gone'],
      ] as const) {
        const error = await failure(h.probe`cat >/dev/null`.input(input))
        expect(error).toMatchObject({ code: 'input-unreadable', message: expect.stringContaining(says) })
      }
    }))

  it('takes no more of its input than it reads', () =>
    on(async (h) => {
      const go = join(scratch, `go-${kind}`)
      const total = 96
      let taken = 0
      async function* megabytes() {
        for (; taken < total; taken++) yield Buffer.alloc(1024 * 1024, 'x')
      }
      const running = h.probe`while [ ! -e ${go} ]; do sleep 0.05; done; wc -c`.input(Readable.from(megabytes()))
      const counted = running.text()
      // Until what lies between is full, and nothing more is taken.
      let before = -1
      let since = Date.now()
      await until(() => {
        if (taken === before) return taken > 0 && Date.now() - since > 400
        before = taken
        since = Date.now()
        return false
      }, 15_000)
      expect(taken).toBeLessThan(24)
      writeFileSync(go, '')
      expect((await counted).trim()).toBe(String(total * 1024 * 1024))
    }))

  it('streams bytes both ways unchanged', () =>
    on(async (h) => {
      const bytes = Buffer.from(Array.from({ length: 3_000_000 }, (_each, index) => (index * 7919) >> 3))
      const running = h.probe`cat`.input(Readable.from([bytes]))
      const hash = createHash('sha256')
      for await (const chunk of running.stdout()) hash.update(chunk as Buffer)
      expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'))
      expect((await running).exitCode).toBe(0)
    }))

  it('keeps what fits in memory, and all of it on disk', () =>
    on(async (h) => {
      const result = await h.run('head -c 300000 /dev/zero | tr "\\0" x', { kind: 'probe', captureBytes: 1000 })
      expect(result.truncated).toBe(true)
      expect(result.stdout).toBe('x'.repeat(1000))
      expect(readFileSync(result.files?.stdout as string).length).toBe(300_000)
      expect(() => result.text()).toThrow(/longer than what is kept/)
    }))

  it('ends the whole process group when it takes too long', () =>
    on(async (h) => {
      const file = join(scratch, `pids-${kind}`)
      const error = await failure(h.$`sleep 300 & echo $! >${file}; sleep 301 & echo $! >>${file}; wait`.timeout(400))
      expect(error).toMatchObject({ code: 'command-timeout' })
      expect(error.state).toContain('were ended')
      const pids = readFileSync(file, 'utf8').trim().split('\n').map(Number)
      expect(pids).toHaveLength(2)
      expect(pids.filter(alive)).toEqual([])
    }))

  it('ends it when it says nothing for too long, not while it speaks', () =>
    on(async (h) => {
      const speaking = h.$`for i in 1 2 3 4 5; do echo $i; sleep 0.1; done`.idleTimeout(400)
      expect((await speaking).stdout).toBe('1\n2\n3\n4\n5\n')
      expect((await failure(h.$`echo once; sleep 300`.idleTimeout(300))).code).toBe('command-idle')
    }))

  it('ends one that ignores TERM', () =>
    on(async (h) => {
      const file = join(scratch, `stubborn-${kind}`)
      await failure(h.$`echo $$ >${file}; trap '' TERM; while :; do sleep 0.2; done`.timeout(300))
      expect(alive(Number(readFileSync(file, 'utf8')))).toBe(false)
    }))

  it('is interrupted with its scope, and says so', () =>
    on(async (h) => {
      const controller = new AbortController()
      const file = join(scratch, `interrupted-${kind}`)
      const run = scoped(currentRun(), { signal: controller.signal })
      const waiting = failure(withRun(run, async () => h.$`echo $$ >${file}; sleep 300`))
      await until(() => {
        try {
          return readFileSync(file, 'utf8') !== ''
        } catch {
          return false
        }
      })
      const startedAt = Date.now()
      controller.abort(new AbortedError())
      const error = await waiting
      expect(error).toBeInstanceOf(AbortedError)
      expect(error.state).toContain('were ended')
      expect(Date.now() - startedAt).toBeLessThan(2000)
      expect(alive(Number(readFileSync(file, 'utf8')))).toBe(false)
    }))

  it('can be killed', () =>
    on(async (h) => {
      const running = h.$`echo started; sleep 300`.nothrow()
      const startedAt = Date.now()
      let killed: Promise<void> | undefined
      currentRun().bus.on((event) => {
        if (event.type === 'command.output' && event.text.includes('started')) killed ??= running.kill()
      })
      await running.catch(() => undefined)
      await killed
      expect(Date.now() - startedAt).toBeLessThan(5000)
    }))

  it('comes back when a background job holds its output', () =>
    on(async (h, told) => {
      const startedAt = Date.now()
      const { stdout } = await h.$`sleep 30 & echo $!`
      expect(Date.now() - startedAt).toBeLessThan(8000)
      // Dropbear does not wait for it: its channel ends with the command.
      expect(told.of('warning').map((event) => event.text)).toEqual(
        kind === 'dropbear' ? [] : [expect.stringContaining('still holds its output')],
      )
      process.kill(Number(stdout))
    }))

  it('tells its beginning, output and end', () =>
    on(async (h, told) => {
      await h.$`echo hello`
      expect(told.of('command.started')).toMatchObject([{ host: h.name, display: 'echo hello', kind: 'write' }])
      expect(told.of('command.output')).toMatchObject([{ stream: 'stdout', text: 'hello\n' }])
      expect(told.of('command.finished')).toMatchObject([{ exitCode: 0, signal: null }])
    }))

  it('is held back in a dry run, where its result cannot be looked at', () =>
    on(
      async (h, told) => {
        const file = join(scratch, `dry-${kind}`)
        const result = await h.$`touch ${file}`
        expect(() => result.stdout).toThrow(/depends on the result of touch/)
        await expect(h.$`echo x`.text()).rejects.toThrow(/depends on the result/)
        expect(await h.probe`echo read`.text()).toBe('read')
        expect(await h.exists(file)).toBe(false)
        expect(told.of('held-back').map((event) => event.display)).toEqual([`touch ${file}`, 'echo x'])
      },
      { dryRun: true },
    ))

  it('has a terminal where asked', () =>
    on(async (h) => {
      expect(await h.probe`test -t 0 && test -t 1 && echo terminal`.pty().text()).toBe('terminal')
    }))

  it('keeps secrets out of the process list, the events and the errors', () =>
    on(async (h, told) => {
      const value = `s3cr3t'"$\`\\ !&<é\nx`
      const secret = new Secret(value, 'TOKEN')
      const there = h.env({ TOKEN: secret })
      const seen = await there.$`ps -eo args; printf %s "$TOKEN" | wc -c`
      expect(seen.stdout).not.toContain('s3cr3t')
      expect(seen.lines().at(-1)?.trim()).toBe(String(Buffer.byteLength(value)))
      const error = await failure(there.$`exit 1`)
      expect(JSON.stringify([told.events, error, error.message, String(error.stack)])).not.toContain('s3cr3t')
      expect(() => h.$`echo ${secret}`).toThrow(/given as an argument/)
      await h.script([{ name: 'use it', command: sh`test ${secret} = ${secret}; ps -eo args >${join(scratch, 'ps')}` }])
      expect(readFileSync(join(scratch, 'ps'), 'utf8')).not.toContain('s3cr3t')
    }))

  it('becomes another user, files too', () =>
    on(async (h) => {
      const dir = join(scratch, `as-${kind}`)
      execFileSync('install', ['-d', '-o', 'nobody', dir])
      execFileSync('chmod', ['755', scratch])
      const other = h
        .as('nobody')
        .cd(dir)
        .env({ X: new Secret('y z', 'X') })
      expect(await other.$`id -un; pwd; printf %s "$X"`.lines()).toEqual(['nobody', dir, 'y z'])
      expect(await other.write('f', 'theirs')).toBe(true)
      expect(await h.probe`stat -c %U ${join(dir, 'f')}`.text()).toBe('nobody')
      writeFileSync(join(scratch, 'to send'), 'sent')
      await other.upload(join(scratch, 'to send'), 'g')
      expect(await h.probe`stat -c %U ${join(dir, 'g')}`.text()).toBe('nobody')
      const word = fc.string({ unit: fc.constantFrom(...`'"\\$\`!;&|<>(){}*?~# \t\n\ré€😀a`), maxLength: 25 })
      await fc.assert(
        fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 4 }), async (words) => {
          const { stdout } = await other.probe`printf '%s\\0' ${words}`
          expect(stdout.split('\0').slice(0, -1)).toEqual(words)
        }),
        { numRuns: 15 },
      )
      expect((await failure(h.as('no-such-user-here').$`true`)).code).toBe('sudo-refused')
      expect(() => h.as(`nobody; touch ${dir}/made`)).toThrow(/is not a user name/)
    }))

  it('gives each step of a script its own output, status and time', () =>
    on(async (h, told) => {
      const results = await h.cd('/usr').script([
        { name: 'one', command: sh`pwd; echo err >&2` },
        { name: 'two', command: sh`printf partial; exit 5`, nothrow: true },
        { name: 'three', command: sh`sleep 0.1` },
      ])
      expect(results).toMatchObject([
        { name: 'one', stdout: '/usr\n', stderr: 'err\n', exitCode: 0 },
        { name: 'two', stdout: 'partial', exitCode: 5 },
        { name: 'three', exitCode: 0 },
      ])
      expect(results[2]?.durationMs).toBeGreaterThan(80)
      expect(told.of('step.finished').map((event) => event.outcome)).toEqual(['ok', 'failed', 'ok'])
      const error = await failure(
        h.script([
          { name: 'first', command: sh`true` },
          { name: 'second', command: sh`echo why >&2; false` },
          { name: 'third', command: sh`true` },
        ]),
      )
      expect(error).toMatchObject({ code: 'step-failed', detail: 'why', step: { name: 'second' } })
      expect(error.state).toBe('The step before it is done. The ones after it were not begun.')
    }))

  it('stops a script whose guard fails', () =>
    on(async (h) => {
      const file = join(scratch, `guarded-${kind}`)
      const steps = [{ name: 'change', command: sh`touch ${file}` }]
      const error = await failure(h.script(steps, { guard: sh`echo not yours >&2; exit 1` }))
      expect(error).toMatchObject({ code: 'guard-refused', detail: 'not yours' })
      expect(await h.exists(file)).toBe(false)
      await h.script(steps, { guard: sh`true` })
      expect(await h.exists(file)).toBe(true)
    }))

  it('gathers probes, each of which may fail on its own', () =>
    on(
      async (h) => {
        const found = await h.probes({ yes: sh`echo here`, no: sh`ls /no/such/file` })
        expect(found.yes).toMatchObject({ stdout: 'here\n', exitCode: 0 })
        expect(found.no.exitCode).not.toBe(0)
      },
      { dryRun: true },
    ))
})

it('runs 200 commands at once over one connection, within MaxSessions', () =>
  servers.on('ssh2', async (h, told) => {
    const results = await Promise.all(Array.from({ length: 200 }, (_each, index) => h.probe`echo ${index}`.text()))
    expect(results).toEqual(Array.from({ length: 200 }, (_each, index) => String(index)))
    expect(told.of('host.connected')).toHaveLength(1)
  }))

it('works under ForceCommand and without one', async () => {
  const plain = await startSshd({ forceCommand: false })
  try {
    await inRun({ sshConfigFile: certifiedConfig(plain) }, async () => {
      const error = await failure(host('test').$`echo said >&2; kill -KILL $$`)
      expect(error).toMatchObject({ code: 'command-failed', result: { signal: null, exitCode: 137, stderr: 'said\n' } })
    })
    await inRun({ sshConfigFile: plain.sshConfigFile }, async () => {
      const error = await failure(host('test').$`kill -KILL $$`)
      expect(error).toMatchObject({ code: 'command-signalled', result: { signal: 'KILL', exitCode: null } })
      const late = await failure(host('test').$`sleep 300`.timeout(200))
      expect(late.state).toContain('were ended')
    })
  } finally {
    await plain.stop()
  }
})
