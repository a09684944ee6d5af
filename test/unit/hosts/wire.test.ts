import { execFileSync, spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
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

it('sends text too long for an argument by standard input', () => {
  const long = 'x'.repeat(200_000)
  const wire = wireCommand(`printf %s ${quote(long)} | wc -c`, false, { env: {} }, nonce)
  expect(wire.line.length).toBeLessThan(1000)
  expect(loginShell(['dash'], wire).stdout.trim()).toBe('200000')
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
