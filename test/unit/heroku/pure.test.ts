import { isDeepStrictEqual } from 'node:util'
import type * as official from '@heroku-cli/schema'
import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { Faults, namedFaults } from '../../../src/sandbox/heroku/faults.ts'
import { apiError } from '../../../src/targets/heroku/errors.ts'
import { parseLine } from '../../../src/targets/heroku/logs.ts'
import { StatusFinder } from '../../../src/targets/heroku/one-off.ts'
import { parseProcfile } from '../../../src/targets/heroku/operator.ts'
import { transferName } from '../../../src/targets/heroku/postgres.ts'
import { connectionEnvironment } from '../../../src/targets/heroku/psql.ts'
import type * as resource from '../../../src/targets/heroku/resources.ts'
import { ignoreRules } from '../../../src/targets/heroku/source.ts'
import { netrcPassword } from '../../../src/targets/heroku/token.ts'

describe('the exit status behind the output', () => {
  const mark = '\uFFFF heroku-command-exit-status: '
  test('is found wherever the chunks end, and the output is whole', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.integer({ min: 0, max: 255 }),
        fc.array(fc.integer({ min: 1, max: 9 })),
        (output, status, sizes) => {
          const all = `${output}${mark}${status}\r\n`
          const finder = new StatusFinder()
          let shown = ''
          let at = 0
          for (const size of [...sizes, all.length]) {
            shown += finder.push(all.slice(at, at + size))
            at += size
          }
          expect(shown + finder.end()).toBe(output)
          expect(finder.status).toBe(status)
        },
      ),
    )
  })
  test('is unknown where the connection ended before it, and nothing of the output is lost', () => {
    const finder = new StatusFinder()
    expect(finder.push('half \uFFFF her') + finder.end()).toBe('half \uFFFF her')
    expect(finder.status).toBeUndefined()
  })
})

test.each([
  [
    '2026-11-27T10:00:00.000000+00:00 app[web.1]: hello: [x]',
    { at: '2026-11-27T10:00:00.000000+00:00', source: 'web.1', text: 'hello: [x]' },
  ],
  ['2026-11-27T10:00:00.000000+00:00 heroku[router]: at=info', { source: 'heroku/router', text: 'at=info' }],
  ['no such form', { source: 'app', text: 'no such form' }],
])('the log line %s', (line, expected) => {
  expect(parseLine(line)).toMatchObject(expected)
})

test.each([
  ['*.pyc', 'a/b/c.pyc', true],
  ['*.pyc', 'a/b/c.py', false],
  ['/docs/', 'docs/a.md', true],
  ['/docs/', 'src/docs/a.md', false],
  ['docs/', 'src/docs/a.md', true],
  ['node_modules', 'node_modules/x/y', true],
  ['a/**/z', 'a/b/c/z', true],
  ['.env', '.env', true],
  ['.env', '.env.example', false],
  ['# comment', '# comment', false],
])('the rule %s for %s: left out %s', (rule, path, out) => {
  expect(ignoreRules([rule])(path)).toBe(out)
})
test('a later ! brings a file back', () => {
  expect(ignoreRules(['*.log', '!keep.log'])('keep.log')).toBe(false)
})

test('netrc: the password of the machine, whatever surrounds it', () => {
  const text =
    '# api.heroku.com old\nmachine example.com login a password b\nmacdef x\nmachine api.heroku.com\n\nmachine api.heroku.com login me password s3cr#t\n'
  expect(netrcPassword(text, 'api.heroku.com')).toBe('s3cr#t')
  expect(netrcPassword('machine other login a password b', 'api.heroku.com')).toBeUndefined()
})

test('a database URL becomes variables, and asks for TLS unless it is local', () => {
  expect(connectionEnvironment('postgres://u%40x:p%2F1@db.example.com:5433/name')).toMatchObject({
    PGHOST: 'db.example.com',
    PGPORT: '5433',
    PGUSER: 'u@x',
    PGPASSWORD: 'p/1',
    PGDATABASE: 'name',
    PGSSLMODE: 'require',
  })
  expect(connectionEnvironment('postgres://u:p@127.0.0.1/name')['PGSSLMODE']).toBe('prefer')
})

test('transfers have the names that people know', () => {
  const transfer = { num: 7, from_type: 'pg_dump', to_type: 'gof3r' } as Parameters<typeof transferName>[0]
  expect([
    transferName(transfer),
    transferName({ ...transfer, schedule: { uuid: 'x' } }),
    transferName({ ...transfer, to_type: 'pg_restore' }),
    transferName({ ...transfer, from_type: 'gof3r', to_type: 'pg_restore' }),
  ]).toEqual(['b007', 'a007', 'c007', 'r007'])
})

test('a Procfile has a command for each type', () => {
  expect(parseProcfile('web: python web.py --x: y\n# no\nworker:  w \n')).toEqual({
    web: 'python web.py --x: y',
    worker: 'w',
  })
})

test.each([
  [401, 'unauthorized', 'GET', '/apps', 'heroku-unauthorized'],
  [403, 'two_factor', 'POST', '/apps', 'heroku-two-factor'],
  [403, 'forbidden', 'GET', '/apps/x', 'heroku-no-access'],
  [404, 'not_found', 'GET', '/apps/x', 'heroku-app-not-found'],
  [429, 'rate_limit', 'GET', '/apps/x', 'heroku-rate-limit'],
  [503, 'unavailable', 'GET', '/apps/x', 'heroku-down'],
  [409, 'conflict', 'POST', '/apps/x/dynos', 'heroku-conflict'],
])('%i %s is a sentence with its code', (status, id, method, path, code) => {
  expect(apiError({ status, id, method, path, message: 'm' })).toMatchObject({ code, failure: { status } })
})

/** Without the index signature that lets every name be a field. */
type Named<T> = { [Key in keyof T as string extends Key ? never : Key]: T[Key] }
/** Paths of what a parser wants and the platform's published type does not have, or has otherwise. */
type Misfit<Taken, Official> = {
  [Key in keyof Taken & string]-?: Key extends keyof Named<Official>
    ? Exclude<Official[Key], undefined> extends Taken[Key]
      ? never
      : NonNullable<Taken[Key]> extends readonly unknown[] | string | number | boolean
        ? Key
        : null extends Official[Key]
          ? null extends Taken[Key]
            ? Inner<Key, NonNullable<Taken[Key]>, NonNullable<Official[Key]>>
            : Key
          : Inner<Key, NonNullable<Taken[Key]>, NonNullable<Official[Key]>>
    : Key
}[keyof Taken & string]
type Inner<Key extends string, Taken, Official> = `${Key}.${Misfit<Taken, Official>}`
interface Official {
  Account: official.Account
  AddOn: official.AddOn
  AddOnAttachment: official.AddOnAttachment
  App: official.App
  AppFeature: official.AppFeature
  Build: official.Build
  BuildpackInstallations: official.BuildpackInstallations
  Domain: official.Domain
  Dyno: official.Dyno
  DynoSize: official.DynoSize
  Formation: official.Formation
  LogSession: official.LogSession
  Pipeline: official.Pipeline
  PipelineCoupling: official.PipelineCoupling
  PipelinePromotion: official.PipelinePromotion
  PipelinePromotionTarget: official.PipelinePromotionTarget
  Plan: official.Plan
  Release: official.Release
  Slug: official.Slug
  SNIEndpoint: official.SNIEndpoint
  Source: official.Source
}
type Misfits = { [Name in keyof resource.Taken]: Misfit<resource.Taken[Name], Official[Name]> }

test('what is parsed is what the official types say, field by field', () => {
  // Two that replies have, and the published types do not; both may be missing.
  expectTypeOf<Misfits[keyof Misfits]>().toEqualTypeOf<'eligible_for_rollback' | 'addon.plan'>()
})

test('each fault that users can name changes something, and none is left when they are ended', () => {
  const faults = new Faults()
  const calm = structuredClone(faults.on)
  for (const name of Object.keys(namedFaults)) {
    faults.only([name])
    expect([name, faults.rules.length > 0 || !isDeepStrictEqual(faults.on, calm)]).toEqual([name, true])
  }
  expect(() => faults.only(['earthquake'])).toThrow('earthquake')
  faults.only([])
  expect([faults.rules, faults.on]).toEqual([[], calm])
})
