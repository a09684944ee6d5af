/** What Heroku's API refuses is told as a sentence with its own next step; what is wrong with its files, with its place. */
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../../src/events/index.ts'
import { wantedAddons } from '../../../src/targets/heroku/addons.ts'
import { apiError } from '../../../src/targets/heroku/errors.ts'
import { fromAppJson } from '../../../src/targets/heroku/manifest.ts'

const failure = { method: 'PATCH', path: '/apps/pony/formation', status: 422, id: 'invalid_params', message: 'No.' }

describe('what the API refuses', () => {
  test.each<[string, Partial<typeof failure> & { resource?: string }]>([
    ['heroku-unauthorized', { status: 401, id: 'unauthorized' }],
    ['heroku-two-factor', { status: 403, id: 'two_factor' }],
    ['heroku-rate-limit', { status: 429, id: 'rate_limit' }],
    ['heroku-no-access', { status: 403, id: 'forbidden' }],
    ['heroku-app-not-found', { status: 404, path: '/apps/pony' }],
    ['heroku-name-taken', { message: 'Name pony is already taken' }],
    ['heroku-domain-taken', { message: 'pony.example.org is currently in use by another app.' }],
    ['heroku-plan-gone', { status: 404, path: '/apps/pony/addons', resource: 'plan' }],
    ['heroku-quota', { message: 'You cannot run more than 5 dynos' }],
    ['heroku-region', { message: 'Region mars is not available' }],
    ['heroku-stack', { message: 'Stack cedar is not available' }],
    ['heroku-container', { message: 'This is for the container stack' }],
    [
      'heroku-not-in-pipeline',
      { status: 404, path: '/apps/pony/pipeline-couplings', message: 'App is not in the pipeline.' },
    ],
    ['heroku-not-found', { status: 404, path: '/addons/x', message: "Couldn't find that add-on." }],
    ['heroku-down', { status: 503, id: 'unavailable' }],
    ['heroku-invalid-params', {}],
  ])('%s', (code, more) => {
    const error = apiError({ ...failure, ...more })
    expect(error).toMatchObject({ code, state: 'Heroku refused the call, so it changed nothing.' })
    expect(error.detail).toMatch(/^PATCH \/.* → \d+ \w+$/)
    expect(`${error.message} ${error.next ?? ''}`).not.toMatch(/\bundefined\b|\[object/)
    expect(error.message.length).toBeGreaterThan(10)
  })

  test('a reading call claims nothing about changes', () => {
    expect(apiError({ ...failure, method: 'GET' }).state).toBeUndefined()
  })
})

const refusal = (body: () => unknown) => {
  try {
    body()
  } catch (error) {
    return error as UsageError
  }
  throw new Error('it was not refused')
}

describe('what is written wrongly', () => {
  test('app.json that is no JSON', () => {
    const error = refusal(() => fromAppJson('{'))
    expect(error).toBeInstanceOf(UsageError)
    expect(error).toMatchObject({ code: 'bad-app-json', state: 'Nothing was changed.' })
  })

  test('an add-on’s word that is no option', () => {
    const context = { deployment: { name: 'staging', addons: { postgres: 'heroku-postgresql:mini fast' } } }
    const error = refusal(() => wantedAddons(context as never, fromAppJson('{}')))
    expect(error).toMatchObject({
      code: 'bad-addon',
      message: '[staging.addons] postgres: "fast" is not option=value',
    })
  })
})
