import { describe, expect, it } from 'vitest'
import { foldNames } from '../../../src/events/fold.ts'

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
})
