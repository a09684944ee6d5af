import { describe, expect, it } from 'vitest'
import { specOf } from '../../../src/targets/vps/promotion/index.ts'
import { factsOf } from './facts.ts'

const idsOf = (facts: ReturnType<typeof factsOf>) => specOf(facts, 'c1').steps.map((step) => step.id)
const stepOf = (facts: ReturnType<typeof factsOf>, id: string) =>
  specOf(facts, 'c1').steps.find((step) => step.id === id)

describe('the steps of a promotion', () => {
  it('come in the order that loses nothing', () => {
    expect(idsOf(factsOf())).toEqual([
      'stop-staging-workers',
      'detach-staging',
      'stop-staging',
      'end-staging-supervisord',
      'archive-staging',
      'settings',
      'rehearse',
      'trial',
      'arm',
      'drain-workers',
      'hold',
      'stop-old',
      'fence',
      'copy',
      'migrate',
      'start-new',
      'gate',
      'flip',
      'let-go',
      'roles',
      'start-workers',
      'retire-old',
      'disarm',
      'tidy',
      'outside',
    ])
  })

  it('delete nothing before requests reach the new release', () => {
    const steps = specOf(factsOf(), 'c1').steps
    const flip = steps.findIndex((step) => step.id === 'flip')
    expect(steps.slice(0, flip).map((step) => step.kind)).not.toContain('discard')
  })

  it('can each be undone until requests reach the new release, or have nothing to undo', () => {
    const steps = specOf(factsOf(), 'c1').steps
    const flip = steps.findIndex((step) => step.id === 'flip')
    const without = steps.slice(0, flip).filter((step) => step.undoTitle === undefined)
    // The daemon is started with what runs in it, and a migration is of a copy, which is deleted.
    expect(without.map((step) => step.id)).toEqual(['end-staging-supervisord', 'migrate'])
  })

  it('hold requests only while the host does the work by itself', () => {
    const steps = specOf(factsOf(), 'c1').steps
    const windowed = steps.filter((step) => step.window).map((step) => step.id)
    expect(windowed[0]).toBe('arm')
    expect(windowed).toEqual(expect.arrayContaining(['hold', 'flip', 'let-go', 'roles', 'start-workers']))
  })

  it('copy over the copy of the rehearsal, from what was fenced', () => {
    const items = stepOf(factsOf(), 'copy')?.['items'] as { from: string; to: string; earlier: string }[]
    expect(items[0]).toEqual({
      kind: 'sqlite',
      from: '/home/deploy/webapps/pony2026r1/shared/db/pony.sqlite',
      to: '/home/deploy/webapps/pony2026r2/shared/db/pony.sqlite',
      earlier: '/home/deploy/webapps/pony2026r2/shared/db/pony.sqlite.earlier',
    })
  })

  it('begin with new databases, and hold nothing, where there is no production yet', () => {
    const { old: _, ...first } = factsOf({ data: 'init', roles: { staging: 'pony2026r2' } })
    expect(idsOf(first as never)).toEqual([
      'stop-staging-workers',
      'detach-staging',
      'stop-staging',
      'end-staging-supervisord',
      'archive-staging',
      'settings',
      'initialise',
      'arm',
      'start-new',
      'gate',
      'flip',
      'roles',
      'start-workers',
      'disarm',
      'tidy',
      'outside',
    ])
  })

  it('leave the data of the old production with it, and stop it last, with data=fresh', () => {
    const ids = idsOf(factsOf({ data: 'fresh' }))
    expect(ids).toContain('initialise')
    expect(ids).not.toContain('fence')
    expect(ids.indexOf('retire-old')).toBeGreaterThan(ids.indexOf('flip'))
  })

  it('close the site instead of holding requests, where told to', () => {
    const ids = idsOf(factsOf({ hold: false }))
    expect(ids).not.toContain('hold')
    expect(ids.indexOf('open')).toBe(ids.indexOf('flip') + 1)
    expect(ids.indexOf('close')).toBe(ids.indexOf('stop-old') - 1)
  })

  it('have the old app answer reads, live before writes wait and from snapshots while its data is copied', () => {
    const facts = factsOf({ reads: { name: 'READ_ONLY', value: '1' } })
    const window = idsOf(facts).slice(idsOf(facts).indexOf('drain-workers'), idsOf(facts).indexOf('disarm'))
    expect(window).toEqual([
      'drain-workers',
      'read-live',
      'hold',
      'stop-old',
      'fence',
      'read-snapshots',
      'copy',
      'migrate',
      'start-new',
      'gate',
      'flip',
      'let-go',
      'roles',
      'start-workers',
      'end-reading',
      'retire-old',
    ])
    expect(stepOf(facts, 'read-live')).toMatchObject({ program: 'app-a', mode: 'export READ_ONLY=1\n' })
    expect(stepOf(facts, 'stop-old')).toMatchObject({ kind: 'stop-writer', programs: ['app-b'] })
    // Who may write is led to the new release last: nothing that was half done before that can have reached it.
    const site = '/home/deploy/.slipway/pony/sites/production'
    expect(stepOf(facts, 'flip')?.['links']).toEqual([
      { path: `${site}/reads.sock`, target: 'current.sock' },
      { path: `${site}/current.sock`, target: '/home/deploy/webapps/pony2026r2/run/app-a.sock' },
    ])
    expect(idsOf({ ...facts, hold: false })).toEqual(expect.arrayContaining(['read-live', 'close', 'end-reading']))
    expect(stepOf({ ...facts, hold: false }, 'close')?.['file']).toBe(`${site}/writes.off`)
  })

  it('make the site where there is none', () => {
    expect(idsOf(factsOf({ site: { ...factsOf().site, toMake: ['80'] } }))[0]).toBe('site')
  })

  it('going back, take the schema back with the code that wrote it, on the copy', () => {
    const facts = factsOf({
      kind: 'demote',
      migrate: undefined as never,
      reverse: 'python3 -m pony.migrate --reverse-to 0002',
    })
    const argv = stepOf({ ...facts, staging: undefined as never }, 'migrate')?.['argv'] as string[]
    expect(argv.slice(0, 3)).toEqual(['/bin/sh', '/home/deploy/webapps/pony2026r1/bin/start', 'run'])
    expect(argv[3]).toContain('SLIPWAY_SHARED=/home/deploy/webapps/pony2026r2/shared')
    expect(argv[3]).toContain('--reverse-to 0002')
  })

  it('record the roles that the host will have', () => {
    expect(stepOf(factsOf(), 'roles')).toMatchObject({
      set: { production: 'pony2026r2', former: 'pony2026r1' },
      unset: ['staging'],
    })
  })

  it('have sockets short enough for the kernel', () => {
    const hold = stepOf(factsOf(), 'hold')?.['socket'] as string
    expect(hold.length).toBeLessThan(107)
  })
})
