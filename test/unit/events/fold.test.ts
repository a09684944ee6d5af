import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { foldNames } from '../../../src/events/fold.ts'
import { unfoldNames } from '../../../src/events/unfold.ts'

describe('names of hosts', () => {
  it.each([
    [['web1', 'web2', 'web3', 'web5', 'db'], 'web[1-3,5], db'],
    [['web01.example.org', 'web02.example.org'], 'web[01-02].example.org'],
    [['web9', 'web10', 'web11'], 'web[9-11]'],
    [['one'], 'one'],
    [['10.0.0.1', '10.0.0.2', '10.0.1.1'], '10.0.0.[1-2], 10.0.1.1'],
    [['deploy@web1:2222', 'deploy@web2:2222', 'web3'], 'deploy@web[1-2]:2222, web3'],
    [['2001:db8::1', '2001:db8::2'], '2001:db8::1, 2001:db8::2'],
    [['web2', 'web1', 'web1a', 'web3'], 'web[1-3], web1a'],
  ])('%j as %s', (given, folded) => {
    expect(foldNames(given)).toBe(folded)
  })

  it.each([
    ['web1, web2;db', ['web1', 'web2', 'db']],
    ['web[1-3,7],db[08-10]', ['web1', 'web2', 'web3', 'web7', 'db08', 'db09', 'db10']],
    ['deploy@web[1-2].example.org:2222', ['deploy@web1.example.org:2222', 'deploy@web2.example.org:2222']],
    ['r[1-2]n[1-2]', ['r1n1', 'r1n2', 'r2n1', 'r2n2']],
    ['[::1]:22,web[a-c]', ['[::1]:22', 'web[a-c]']],
    [' , ', []],
  ])('%j written out', (given, names) => {
    expect(unfoldNames(given)).toEqual(names)
  })

  it('are the same after they were folded and written out', () => {
    const name = fc.tuple(
      fc.constantFrom('web', 'db-', 'deploy@n', '10.0.0.'),
      fc.nat(1200),
      fc.constantFrom('', ':22'),
    )
    fc.assert(
      fc.property(
        fc.uniqueArray(
          name.map((parts) => parts.join('')),
          { minLength: 1, maxLength: 60 },
        ),
        (names) => {
          expect(unfoldNames(foldNames(names)).sort()).toEqual([...names].sort())
        },
      ),
    )
  })

  it.each([
    ['web[9-1]', '[9-1] in web[9-1] goes backwards'],
    ['web[1-6000,7001-12000]', '[7001-12000] in web[1-6000,7001-12000] is too many names'],
    ['web[1-999999999]', '[1-999999999] in web[1-999999999] is too many names'],
  ])('refuse %s', (given, message) => {
    expect(() => unfoldNames(given)).toThrow(message)
  })
})
