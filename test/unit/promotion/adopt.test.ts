import { describe, expect, it } from 'vitest'
import { placeOf } from '../../../src/targets/vps/promotion/adopt.ts'

const main = { name: 'main', kind: 'sqlite', path: 'db/pony.sqlite' } as const
const mail = { name: 'mail', kind: 'tree', path: 'mail' } as const
const found = (...paths: string[]) => ({ files: Object.fromEntries(paths.map((path) => [path, 1])), folders: paths })

describe('data of an app that was deployed by hand', () => {
  it.each([
    ['where the configuration has it', found('db/pony.sqlite', 'old/pony.sqlite'), 'db/pony.sqlite'],
    ['in a folder that releases share', found('shared/db/pony.sqlite', 'x/pony.sqlite'), 'shared/db/pony.sqlite'],
    ['by its name, where there is one of it', found('data/pony.sqlite', 'data/queue.sqlite'), 'data/pony.sqlite'],
  ])('is found %s', (_, there, place) => {
    expect(placeOf(main, there)).toBe(place)
  })

  it('is not guessed at: not of two of its name, not of another name', () => {
    expect(placeOf(main, found('a/pony.sqlite', 'b/pony.sqlite'))).toBeUndefined()
    expect(placeOf(main, found('RandoPony-production.sqlite'))).toBeUndefined()
  })

  it('is where it is said to be, or nowhere', () => {
    expect(placeOf(main, found('RandoPony-production.sqlite'), 'RandoPony-production.sqlite')).toBe(
      'RandoPony-production.sqlite',
    )
    expect(placeOf(main, found('db/pony.sqlite'), 'elsewhere.sqlite')).toBeUndefined()
  })

  it('is an empty spool where none was made yet', () => {
    expect(placeOf(mail, found())).toBe('mail')
    expect(placeOf(mail, found('var/mail'))).toBe('var/mail')
  })
})
