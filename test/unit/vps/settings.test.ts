import fc from 'fast-check'
import { expect, test } from 'vitest'
import { setIniValue } from '../../../src/config/edit.ts'
import { differences } from '../../../src/targets/vps/settings.ts'
import { parseSettings, setSetting } from '../../../src/targets/vps/settings-file.ts'
import { fillSettings, placeholders } from '../../../src/targets/vps/settings-text.ts'

const facts = {
  values: { shared: '/srv/shared', port: undefined },
  secret: (name: string) => `<${name}>`,
  generated: (name: string) => `made-${name}`,
}

test('placeholders are filled in, and every other byte stays', () => {
  const template =
    '[a]\nurl = {{ secret:REDIS_URL | suffix:?ssl_cert_reqs=none }}\nkey={{generate:KEY}}\r\ndir = {{ shared }}/x\n%(here)s {not one}\n'
  expect(fillSettings(template, 'config/s.ini', facts)).toBe(
    '[a]\nurl = <REDIS_URL>?ssl_cert_reqs=none\nkey=made-KEY\r\ndir = /srv/shared/x\n%(here)s {not one}\n',
  )
})

test('values with braces and dollars come out as they are', () => {
  const odd = { ...facts, secret: () => '{{ shared }} $& $1 \\n' }
  expect(fillSettings('x = {{ secret:A }}', 'f', odd)).toBe('x = {{ shared }} $& $1 \\n')
})

test('what is not understood is named with its line', () => {
  expect(() => placeholders('\n\nx = {{ a b }}', 'config/s.ini')).toThrow(
    /^config\/s\.ini:3: "\{\{ a b \}\}" is not understood/,
  )
  expect(() => placeholders('x = {{ shared | shout }}', 'config/s.ini')).toThrow(/no filter "shout"/)
  expect(() => fillSettings('x = {{ port }}', 'config/s.ini', facts)).toThrow(
    /config\/s\.ini:1: \{\{ port \}\} is not known/,
  )
})

test('one value of an ini file changes, and comments, order and spacing stay', () => {
  const text =
    '; top\n[app]\nname = pony\n\n[staging]\nrelease = 2026r2      ; the folder\nhosts = a\n\n[production]\nrelease = x\n'
  expect(setIniValue(text, 'staging', 'release', '2026r10')).toBe(text.replace('2026r2      ;', '2026r10     ;'))
  expect(setIniValue(text, 'app', 'source', 'src')).toBe(text.replace('name = pony\n', 'name = pony\nsource = src\n'))
  expect(() => setIniValue(text, 'nope', 'a', 'b')).toThrow(RangeError)
})

test('settings are set, changed and removed by name', () => {
  const ini = '; kept\n[pony]\ntitle = A\n'
  const changed = setSetting(setSetting(ini, 'ini', 'pony.title', 'B'), 'ini', 'mail.from', 'x@y')
  expect(changed).toContain('; kept\n')
  expect(parseSettings(changed, 'ini')).toEqual({ 'pony.title': 'B', 'mail.from': 'x@y' })
  expect(parseSettings(setSetting(changed, 'ini', 'pony.title', null), 'ini')).toEqual({ 'mail.from': 'x@y' })
})

test('a .env value keeps every byte: JSON, newlines, quotes, hashes', () => {
  const texts = [
    '{"type": "service", "key": "-----BEGIN\\nx"}',
    'two\nlines',
    "it's # not",
    'a"b`c',
    '',
    '$HOME',
    ' spaces ',
  ]
  for (const value of texts) {
    const text = setSetting('OTHER=1\nNAME=old\nLAST=2\n', 'env', 'NAME', value)
    expect(parseSettings(text, 'env')).toEqual({ OTHER: '1', NAME: value, LAST: '2' })
  }
})

test('any .env value of printable text without all three quotes survives two changes', () => {
  const value = fc.string({ unit: 'grapheme-ascii' }).filter((text) => !(text.includes("'") && text.includes('`')))
  fc.assert(
    fc.property(value, value, (first, second) => {
      const once = setSetting('A=1\n', 'env', 'NAME', first)
      expect(parseSettings(once, 'env')).toEqual({ A: '1', NAME: first })
      expect(parseSettings(setSetting(once, 'env', 'NAME', second), 'env')).toEqual({ A: '1', NAME: second })
    }),
  )
})

test('a difference says what is added, changed and removed', () => {
  expect(differences({ a: '1', b: '2' }, { a: '1', b: '3', c: '4' })).toEqual([
    { name: 'b', change: 'change' },
    { name: 'c', change: 'add' },
  ])
  expect(differences({ a: '1' }, {})).toEqual([{ name: 'a', change: 'remove' }])
})
