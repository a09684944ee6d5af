import { describe, expect, it } from 'vitest'
import type { VpsContext } from '../../../src/targets/vps/context.ts'
import { readingOf } from '../../../src/targets/vps/promotion/reading.ts'
import { factsOf } from './facts.ts'

const app = { readOnly: { name: 'READ_ONLY', value: '1' }, listen: { kind: 'socket' } }
const context = (more: object = {}, provider = 'nginx') =>
  ({
    deployment: { name: 'production', app: { ...app, ...more } },
    config: { domains: { provider } },
  }) as unknown as VpsContext
const facts = { host: 'pony', old: factsOf().old as never, servers: 0, splits: true, knowsMode: true }
const refusal = (to: VpsContext, more: object = {}) => {
  try {
    return readingOf(to, { ...facts, ...more })
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('reads go on in a promotion', () => {
  it('where the app has a read-only mode, and there is an old one', () => {
    expect(readingOf(context(), facts)).toEqual({ name: 'READ_ONLY', value: '1' })
    expect(readingOf(context({ readOnly: undefined }), facts)).toBeUndefined()
    expect(readingOf(context(), { ...facts, old: undefined as never })).toBeUndefined()
  })

  it.each([
    ['the app listens on a port', context({ listen: { kind: 'port', port: 1 } }), {}],
    ['nobody here configures the web server', context({}, 'none'), {}],
    ['its database is on a server', context(), { servers: 1 }],
  ])('and is refused where %s', (_, to, more) => {
    expect(refusal(to, more)).toBe('read-only-layout')
  })

  it('and is refused where the site or the start script is from before, or nothing runs that could answer', () => {
    expect(refusal(context(), { splits: false })).toBe('read-only-site')
    expect(refusal(context(), { knowsMode: false })).toBe('read-only-start')
    expect(refusal(context(), { old: { ...factsOf().old, live: undefined } })).toBe('read-only-stopped')
  })
})
