import { execFileSync, spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { quote, quoteAll, Secret, sh } from '../../../src/shell/index.ts'

const shells: [string, string[]][] = [
  ['sh', ['sh', '-c']],
  ['dash', ['dash', '-c']],
  ['bash', ['bash', '-c']],
  ['busybox sh', ['busybox', 'sh', '-c']],
  ['sudo around sh', ['sudo', '-n', '--', 'sh', '-c']],
]
const canSudo = spawnSync('sudo', ['-n', 'true']).status === 0

/** Any text an argument can hold: no NUL, no lone surrogates (they are not UTF-8). */
const word = fc
  .oneof(
    fc.string({ unit: 'grapheme', maxLength: 30 }),
    fc.string({ unit: fc.constantFrom(...`'"\\$\`!;&|<>(){}[]*?~#= \t\n\r%^-éñ€😀`), maxLength: 20 }),
  )
  .map((text) => text.replaceAll('\0', ''))

const printEach = `for a in "$@"; do printf '%s\\0' "$a"; done`

describe('quote', () => {
  for (const [name, command] of shells) {
    it.skipIf(name.startsWith('sudo') && !canSudo)(`gives ${name} each word byte for byte`, () => {
      fc.assert(
        fc.property(fc.array(word, { minLength: 1, maxLength: 12 }), (words) => {
          const [program, ...args] = command as [string, ...string[]]
          const output = execFileSync(program, [...args, `set -- ${quoteAll(words)}; ${printEach}`])
          expect(output.toString('utf8').split('\0').slice(0, -1)).toEqual(words)
        }),
        { numRuns: 60 },
      )
    })
  }

  it('survives a shell within a shell', () => {
    fc.assert(
      fc.property(word, (text) => {
        const inner = `printf %s ${quote(text)}`
        expect(execFileSync('dash', ['-c', `bash -c ${quote(inner)}`]).toString('utf8')).toBe(text)
      }),
      { numRuns: 60 },
    )
  })

  it('refuses NUL, which no argument can hold', () => {
    expect(() => quote('a\0b')).toThrow(TypeError)
  })

  it('keeps an empty word', () => {
    expect(quote('')).toBe("''")
  })
})

describe('sh', () => {
  it.each([
    [sh`ls ${'a b'}`, "ls 'a b'"],
    [sh`rm -- ${['x y', 'z']}`, "rm -- 'x y' z"],
    [sh`kill ${42}`, 'kill 42'],
    [sh`${sh`echo ${'it’s'}`} | wc`, "echo 'it’s' | wc"],
  ])('renders %s', (command, text) => {
    expect(command.render()).toBe(text)
  })

  it('refuses a secret as an argument, and never shows it', () => {
    const command = sh`mysql -p${new Secret('hunter2', 'DB')}`
    expect(() => command.render()).toThrow(/secret DB was given as an argument/)
    expect(String(command)).toBe('mysql -p•••')
  })
})
