import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createScrubber } from '../../../src/events/scrub.ts'
import { quote } from '../../../src/shell/quote.ts'

const secretsOf = (...values: string[]) => new Set(values.map((value) => ({ reveal: () => value })))
const scrub = (text: string, ...values: string[]) => createScrubber(secretsOf(...values)).text(text)

describe('a secret is taken out', () => {
  const value = `p4ss'w"rd $x/é+`
  it.each<[string, string]>([
    ['as it is', value],
    ['quoted for the shell', quote(value)],
    ['in a JSON string', JSON.stringify({ password: value })],
    ['in JSON inside JSON', JSON.stringify(JSON.stringify(value))],
    ['in a URL', `postgres://u:${encodeURIComponent(value)}@h/db`],
    ['in a form', new URLSearchParams({ p: value }).toString()],
    ['in base64', Buffer.from(value).toString('base64')],
    ['in base64 after one byte', Buffer.from(`:${value}`).toString('base64')],
    ['in base64 after two bytes', Buffer.from(`u:${value}:x`).toString('base64')],
    ['in URL-safe base64', Buffer.from(`u:${value}`).toString('base64url')],
  ])('%s', (_how, text) => {
    const clean = scrub(text, value)
    expect(clean).toContain('•••')
    for (const piece of [
      "p4ss'w",
      'p4ss%27',
      'rd%20',
      'cDRzcyd3',
      'Om1pdA',
      Buffer.from(value).toString('base64').slice(4, 16),
    ]) {
      expect(clean).not.toContain(piece)
    }
  })
})

const secret = fc
  .string({ minLength: 6, maxLength: 30, unit: 'grapheme-ascii' })
  .filter((text) => /^\S.*\S$/.test(text) && !text.includes('•'))

describe('in a stream', () => {
  it('a secret is found wherever the chunks are cut', () => {
    fc.assert(
      fc.property(
        secret,
        fc.string(),
        fc.string(),
        fc.array(fc.nat(100), { maxLength: 6 }),
        (value, before, after, cuts) => {
          const text = `${before}${value}${after}`
          const places = [...new Set([0, ...cuts.map((cut) => cut % (text.length + 1)), text.length])].sort(
            (a, b) => a - b,
          )
          const scrubber = createScrubber(secretsOf(value))
          let shown = ''
          places.slice(1).forEach((end, index) => {
            shown += scrubber.chunk('s', text.slice(places[index], end))
          })
          shown += scrubber.end('s')
          expect(shown).not.toContain(value)
          expect(shown).toContain('•••')
        },
      ),
    )
  })

  it('everything else passes as it came', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'h', 'u', 'n', '\n') })), (chunks) => {
        const scrubber = createScrubber(secretsOf('hunter2-hunter2'))
        const shown = chunks.map((chunk) => scrubber.chunk('s', chunk)).join('') + scrubber.end('s')
        expect(shown).toBe(chunks.join(''))
      }),
    )
  })

  it('a line that does not end like a secret is not kept back', () => {
    const scrubber = createScrubber(secretsOf('hunter2'))
    expect(scrubber.chunk('s', 'Password: ')).toBe('Password: ')
    expect(scrubber.chunk('s', 'a hunt')).toBe('a ')
    expect(scrubber.chunk('s', 'ed fox')).toBe('hunted fox')
  })

  it('streams do not mix', () => {
    const scrubber = createScrubber(secretsOf('hunter2'))
    expect(scrubber.chunk('a', 'hunt') + scrubber.chunk('b', 'er2')).toBe('er2')
    expect(scrubber.chunk('a', 'er2')).toBe('•••')
  })

  it('of two secrets that begin alike the longer one is waited for', () => {
    const scrubber = createScrubber(secretsOf('hunter2', 'hunter2-and-more'))
    expect(scrubber.chunk('s', 'hunter2')).toBe('')
    expect(scrubber.chunk('s', '-and-more!')).toBe('•••!')
  })
})

it('a secret resolved later is taken out from then on', () => {
  const secrets = secretsOf()
  const scrubber = createScrubber(secrets)
  expect(scrubber.text('hunter2')).toBe('hunter2')
  secrets.add({ reveal: () => 'hunter2' })
  expect(scrubber.text('hunter2')).toBe('•••')
})

it('each line of a key is taken out', () => {
  const key = '-----BEGIN KEY-----\nAAAABBBBCCCC\nDDDDEEEEFFFF\n-----END KEY-----\n'
  expect(scrub('DDDDEEEEFFFF', key)).toBe('•••')
  expect(scrub(key.replaceAll('\n', '\r\n'), key)).not.toContain('AAAA')
})

it('a very short secret is taken out as a word, and an empty one is none', () => {
  expect(scrub('pw pwd', 'pw')).toBe('••• pwd')
  expect(scrub('anything', '')).toBe('anything')
})
