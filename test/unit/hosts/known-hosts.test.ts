import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { fingerprint, judgeHostKey, knownHostsLine, knownKeyTypes, linesFor } from '../../../src/hosts/known-hosts.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-known-hosts-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function makeKey(name: string, type: string) {
  const file = join(dir, name)
  execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', '', '-f', file])
  const [kind, base64] = readFileSync(`${file}.pub`, 'utf8').trim().split(' ') as [string, string]
  return { text: `${kind} ${base64}`, blob: Buffer.from(base64, 'base64'), file: `${file}.pub` }
}
const ed = makeKey('ed', 'ed25519')
const otherEd = makeKey('ed2', 'ed25519')
const rsa = makeKey('rsa', 'rsa')

const judge = (text: string, host: string, port = 22, key = ed.blob) =>
  judgeHostKey([{ path: 'kh', text }], host, port, key).verdict

describe('judgeHostKey', () => {
  it.each([
    ['plain', `example.org ${ed.text}`, 'example.org', 22, 'known'],
    ['several names', `a,example.org,b ${ed.text}`, 'example.org', 22, 'known'],
    ['upper case', `Example.ORG ${ed.text}`, 'example.org', 22, 'known'],
    ['a wildcard', `*.example.org ${ed.text}`, 'web1.example.org', 22, 'known'],
    ['a question mark', `web?.example.org ${ed.text}`, 'web1.example.org', 22, 'known'],
    ['a negated name', `*.example.org,!bad.example.org ${ed.text}`, 'bad.example.org', 22, 'unknown'],
    ['a port', `[example.org]:2222 ${ed.text}`, 'example.org', 2222, 'known'],
    ['another port', `[example.org]:2222 ${ed.text}`, 'example.org', 22, 'unknown'],
    ['no port on record', `example.org ${ed.text}`, 'example.org', 2222, 'unknown'],
    ['a comment', `#example.org ${ed.text}`, 'example.org', 22, 'unknown'],
    ['a changed key', `example.org ${otherEd.text}`, 'example.org', 22, 'changed'],
    ['a key of another type', `example.org ${rsa.text}`, 'example.org', 22, 'changed'],
    ['one of several keys', `example.org ${rsa.text}\nexample.org ${ed.text}`, 'example.org', 22, 'known'],
    ['a revoked key', `example.org ${ed.text}\n@revoked * ${ed.text}`, 'example.org', 22, 'revoked'],
    ['an authority only', `@cert-authority *.example.org ${ed.text}`, 'a.example.org', 22, 'unknown'],
    ['a broken line', `example.org\n\nexample.org ${ed.text} a comment`, 'example.org', 22, 'known'],
  ])('%s', (_name, text, host, port, verdict) => {
    expect(judge(text, host, port)).toBe(verdict)
  })

  it('knows a hashed name that it wrote, and ssh-keygen knows it too', () => {
    const line = knownHostsLine('Web1.example.org', 2222, ed.blob, true)
    expect(judge(line, 'web1.example.org', 2222)).toBe('known')
    const file = join(dir, 'hashed')
    writeFileSync(file, `${line}\n`)
    expect(spawnSync('ssh-keygen', ['-F', '[web1.example.org]:2222', '-f', file]).status).toBe(0)
  })

  it('says where a changed key is on record', () => {
    const judged = judgeHostKey([{ path: '/kh', text: `\nexample.org ${otherEd.text}` }], 'example.org', 22, ed.blob)
    expect(judged).toMatchObject({ verdict: 'changed', lines: [{ file: '/kh', line: 2 }] })
  })

  it('prefers the types on record', () => {
    expect(knownKeyTypes([{ path: 'kh', text: `h ${rsa.text}\nh ${ed.text}` }], 'h', 22)).toEqual([
      'ssh-rsa',
      'ssh-ed25519',
    ])
  })

  it('has the fingerprint that ssh-keygen prints', () => {
    expect(execFileSync('ssh-keygen', ['-l', '-f', ed.file]).toString()).toContain(fingerprint(ed.blob))
  })
})

it('finds the lines that ssh-keygen -F finds', () => {
  const label = fc.string({ unit: fc.constantFrom('a', 'b', '1', '-', '.'), minLength: 1, maxLength: 6 })
  const name = label.filter((text) => !text.startsWith('-') && !text.startsWith('.'))
  const pattern = fc.oneof(
    name,
    name.map((text) => `*${text}`),
    name.map((text) => `${text}*`),
    name.map((text) => `${text.slice(0, -1)}?`),
    name.map((text) => `!${text}`),
    name.map((text) => `[${text}]:2222`),
  )
  const line = fc.array(pattern, { minLength: 1, maxLength: 3 }).map((names) => `${names.join(',')} ${ed.text}`)
  const file = join(dir, 'property')
  fc.assert(
    fc.property(
      fc.array(line, { minLength: 1, maxLength: 5 }),
      name,
      fc.constantFrom(22, 2222),
      (lines, host, port) => {
        writeFileSync(file, `${lines.join('\n')}\n`)
        const shown = spawnSync('ssh-keygen', ['-F', port === 22 ? host : `[${host}]:${port}`, '-f', file])
        const theirs = [...String(shown.stdout).matchAll(/found: line (\d+)/g)].map(([, number]) => Number(number))
        const ours = linesFor([{ path: file, text: readFileSync(file, 'utf8') }], host, port)
        expect(ours.map((each) => each.line)).toEqual(theirs)
      },
    ),
    { numRuns: 150 },
  )
}, 30_000)
