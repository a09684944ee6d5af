import { describe, expect, it } from 'vitest'
import type { Gathered, Measures } from '../../../src/targets/vps/promotion/facts.ts'
import { notesOf, refusals, refuseTooLong, size } from '../../../src/targets/vps/promotion/preflight.ts'
import { factsOf } from './facts.ts'

function gathered(measures: Partial<Measures> = {}, facts = factsOf()): Gathered {
  const usual = {
    bytes: { 'db/pony.sqlite': 277e6 },
    freeBytes: 5e9,
    requestsPerSecond: 100,
    wantedBytes: 831e6,
    queued: { mail: 3 },
  }
  return { facts, measures: { ...usual, ...measures }, sides: {} as never }
}
const codes = (...given: Parameters<typeof refusals>) => refusals(...given).map((error) => error.code)

describe('before a promotion', () => {
  it('sizes, the expected wait and the waiting requests are told', () => {
    expect(notesOf(gathered())).toEqual([
      'data: db/pony.sqlite 277 MB; free: 5.0 GB',
      'spooled now: 3 in mail',
      'writes wait for about 1.9 s by the sizes; the rehearsal measures it',
      'requests that come then: about 193; room for 4096',
      'the site and its certificates stay as they are: only what it points at changes',
    ])
  })

  it('nothing stands in the way of an ordinary one', () => {
    expect(codes(gathered())).toEqual([])
  })

  it('too many requests for the queue refuse it', () => {
    expect(codes(gathered({ requestsPerSecond: 5000 }))).toEqual(['backlog'])
    expect(codes(gathered({}, factsOf({ backlog: 16 })), 64)).toEqual(['backlog'])
  })

  it('a disk without room for the copies refuses it', () => {
    expect(codes(gathered({ freeBytes: 100e6 }))).toEqual(['disk-full'])
  })

  it('a home too deep for the socket at which requests wait refuses it, unless they are answered 503', () => {
    const deepest = `/home/${'x'.repeat(40)}`
    expect(codes(gathered({}, factsOf({ home: deepest })))).toEqual([])
    expect(refusals(gathered({}, factsOf({ home: `/home/${'x'.repeat(60)}` })))).toEqual([
      expect.objectContaining({
        code: 'hold-socket-path',
        message: expect.stringMatching(/whose path is \d+ bytes too long$/),
        state: 'Nothing was changed.',
      }),
    ])
    expect(codes(gathered({}, factsOf({ home: `/home/${'x'.repeat(60)}`, hold: false })))).toEqual([])
  })

  it('a web server that gives up before all could have gone back refuses it, unless requests are answered 503', () => {
    const patience = (timeoutSeconds: number) => ({ site: { ...factsOf().site, timeoutSeconds } })
    expect(codes(gathered({}, factsOf(patience(19))))).toEqual(['hold-timeout'])
    expect(codes(gathered({}, factsOf(patience(20))))).toEqual([])
    expect(codes(gathered({}, factsOf({ ...patience(19), hold: false })))).toEqual([])
  })

  it('a window that would not end before the deadline refuses it, once that is measured', () => {
    expect(() => refuseTooLong(factsOf(), 45_000)).not.toThrow()
    expect(() => refuseTooLong(factsOf(), 46_000)).toThrow('requests would wait for about 46 s, and can for 45 s')
    expect(() => refuseTooLong(factsOf({ hold: false }), 46_000)).not.toThrow()
  })

  it('a site without a gate refuses it', () => {
    const { gateToken: _, ...site } = factsOf().site
    expect(codes(gathered({}, factsOf({ site })))).toEqual(['no-gate'])
  })

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1500, '1.5 kB'],
    [277_000_000, '277 MB'],
    [Number.POSITIVE_INFINITY, 'unknown'],
  ])('%d bytes are %s', (bytes, text) => expect(size(bytes)).toBe(text))
})
