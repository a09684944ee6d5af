import { expect, it } from 'vitest'
import { didYouMean, meantInstead } from '../../src/suggest.ts'

const names = ['start_app', 'stop_app', 'restart_app', 'deploy_staging', 'ps']

it.each([
  ['start_ap', 'Did you mean start_app?'],
  ['start-app', 'Did you mean start_app?'],
  ['app', 'Did you mean start_app, stop_app or restart_app?'],
  ['sotp_app', 'Did you mean stop_app?'],
  ['deploy', 'Did you mean deploy_staging?'],
  ['pss', 'Did you mean ps?'],
  ['migrate', undefined],
  ['', undefined],
])('%s → %s', (typed, expected) => {
  expect(didYouMean(typed, names)).toBe(expected)
})

it('behind a wrong name only a slip is corrected: what merely contains it may be something else', () => {
  expect(meantInstead('prodcution', ['staging', 'production'])).toBe(' (did you mean production?)')
  expect(meantInstead('prod', ['staging', 'production'])).toBe('')
})
