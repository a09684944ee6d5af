import { execFileSync, spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StatusMarkFilter, withStatusMark } from '../../../src/hosts/status-mark.ts'
import { AnnouncementFilter, pathWord, quoteForAnyShell, resolvePath, wireCommand } from '../../../src/hosts/wire.ts'
import { quote, Secret } from '../../../src/shell/index.ts'

const nonce = 'abc123'
const text = fc.string({ unit: fc.constantFrom(...`'"\\$\`!;&|<>(){}[]*?~#= \t\n\r%^-aé€`), maxLength: 30 })

/** What a login shell makes of a command line, and the command of its input. */
function loginShell(shell: string[], wire: { line: string; prelude: string }, input = '') {
  const [program, ...args] = shell as [string, ...string[]]
  const { stdout, status, stderr } = spawnSync(program, [...args, '-c', wire.line], {
    input: wire.prelude + input,
    // bash reads ~/.bashrc when its input is a socket, as it is here.
    env: { ...process.env, HOME: '/nonexistent' },
  })
  const filter = new AnnouncementFilter(nonce)
  const own = filter.push(stdout) ?? filter.flush() ?? Buffer.alloc(0)
  return { stdout: own.toString(), stderr: String(stderr), status, pid: filter.pid }
}

const logins: string[][] = [['dash'], ['bash'], ['busybox', 'sh']]
for (const other of ['fish', 'tcsh', 'csh', 'zsh']) {
  if (spawnSync('sh', ['-c', `command -v ${other}`]).status === 0) logins.push([other])
}

describe.each(logins)('a command through the login shell %s', (...shell) => {
  it('arrives byte for byte, with directory and environment', () => {
    fc.assert(
      fc.property(text, text, (value, variable) => {
        const command = `printf '%s|%s|%s' ${quote(value)} "$V" "$PWD"`
        const wire = wireCommand(command, false, { directory: '/usr', env: { V: variable } }, nonce)
        expect(loginShell(shell, wire).stdout).toBe(`${value}|${variable}|/usr`)
      }),
      { numRuns: 60 },
    )
  })

  it('does not run in a directory that is not there', () => {
    const wire = wireCommand('echo ran', false, { directory: '/no/such/place', env: {} }, nonce)
    const { stdout, status } = loginShell(shell, wire)
    expect(stdout).toBe('')
    expect(status).not.toBe(0)
  })

  it('keeps a secret out of the command line, and the input for the command', () => {
    fc.assert(
      fc.property(text, (value) => {
        const secret = new Secret(`s3cr3t${value}`)
        const wire = wireCommand('printf %s "$S"; cat', false, { env: { S: secret } }, nonce)
        expect(wire.line).not.toContain('s3cr3t')
        expect(loginShell(shell, wire, 'the input').stdout).toBe(`s3cr3t${value}the input`)
      }),
      { numRuns: 40 },
    )
  })
})

it.each([
  ['x', 200_000],
  // Longer in bytes, and once it is quoted.
  ['é', 70_000],
  ["'", 30_000],
  ['!', 30_000],
])('sends text too long for an argument by standard input: %s, %i times', (char, times) => {
  const wire = wireCommand(
    `printf %s ${quote(char.repeat(times))} | wc -m`,
    false,
    { env: { LC_ALL: 'C.UTF-8' } },
    nonce,
  )
  expect(wire.line.length).toBeLessThan(1000)
  expect(loginShell(['dash'], wire).stdout.trim()).toBe(String(times))
})

it('sends what is not as long within the command', () => {
  const wire = wireCommand(`printf %s ${quote('é'.repeat(40_000))} | wc -c`, false, { env: {} }, nonce)
  expect(wire.prelude).toBe('')
  expect(loginShell(['dash'], wire).stdout.trim()).toBe('80000')
  expect(withStatusMark(wire.line, 'abc').length).toBeLessThan(131_072)
  const long = wireCommand(`: ${"'a' ".repeat(8000)}`, false, { env: {} }, nonce).line
  expect(long.length).toBeGreaterThan(80_000)
  expect(withStatusMark(long, 'abc')).toBe(long)
})

it('says which process the command is, behind the noise of start-up files', () => {
  const filter = new AnnouncementFilter(nonce)
  expect(filter.push(Buffer.from('Welcome!\n\x1eabc'))).toBeUndefined()
  expect(filter.push(Buffer.from('123 42\nout'))?.toString()).toBe('out')
  expect(filter.pid).toBe(42)
})

it('lets everything through where there is no announcement', () => {
  const filter = new AnnouncementFilter(nonce)
  expect(filter.push(Buffer.from('This account is not available.'))).toBeUndefined()
  expect(filter.flush()?.toString()).toBe('This account is not available.')
})

describe('paths', () => {
  it.each([
    ['~', '"$HOME"'],
    ['~/a b', `"$HOME"/'a b'`],
    ['/etc', '/etc'],
    ['-rf', './-rf'],
    ['~root/x', `'./~root/x'`],
  ])('%s is the word %s', (path, word) => {
    expect(pathWord(path)).toBe(word)
  })

  it.each([
    [undefined, 'a', 'a'],
    ['/srv', 'a', '/srv/a'],
    ['/srv/', '/etc', '/etc'],
    ['~/app', '~/x', '~/x'],
    ['~/app', '.', '~/app'],
  ])('from %s, %s is %s', (directory, path, resolved) => {
    expect(resolvePath(directory, path)).toBe(resolved)
  })
})

it('needs no octal for ordinary commands', () => {
  expect(quoteForAnyShell(`echo "a" 'b' $HOME`)).toBe(`'echo "a" '\\''b'\\'' $HOME'`)
  expect(execFileSync('sh', ['-c', `echo ${quoteForAnyShell("it's")}`]).toString()).toBe("it's\n")
})

describe('a beginning and a status told in standard error', () => {
  const run = (command: string, shell = 'sh') =>
    spawnSync(shell, ['-c', withStatusMark(command, 'abc')], { encoding: 'buffer' })

  it.each([
    ['exit 3', 3],
    ['true', 0],
    ['echo err >&2; exit 255', 255],
    ["sh -c 'kill -KILL $$'", 137],
    ["sh -c 'kill -TERM $$'", 143],
  ])('of %s is %i, and nothing else is said', (command, status) => {
    for (const shell of ['dash', 'bash']) {
      const { stderr, status: told } = run(command, shell)
      expect(told).toBe(status)
      const filter = new StatusMarkFilter('abc')
      const own = Buffer.concat([filter.push(stderr), filter.flush()]).toString()
      expect(own).toBe(command.includes('err') ? 'err\n' : '')
      expect(filter.status).toBe(status)
    }
  })

  it('is found wherever it is cut, and what only looks like it is let through', () => {
    const text = Buffer.from('\x1eabc begun\na\x1eb\x1eabd 7\n\x1eabc 12\nlate')
    for (let cut = 0; cut <= text.length; cut++) {
      for (const width of [1, 3, text.length]) {
        const filter = new StatusMarkFilter('abc')
        const parts = [filter.push(text.subarray(0, cut))]
        for (let at = cut; at < text.length; at += width) parts.push(filter.push(text.subarray(at, at + width)))
        parts.push(filter.flush())
        expect(Buffer.concat(parts).toString()).toBe('a\x1eb\x1eabd 7\nlate')
        expect(filter.status).toBe(12)
      }
    }
    const none = new StatusMarkFilter('abc')
    expect(Buffer.concat([none.push(Buffer.from('x\x1eab')), none.flush()]).toString()).toBe('x\x1eab')
    expect(none.status).toBeUndefined()
  })
})
