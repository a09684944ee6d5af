import { expect, test } from 'vitest'
import { type Kept, olderThanNewest } from '../../../src/targets/vps/database/replaced.ts'

const kept = (name: string, at: string, ...databases: string[]): Kept => ({ name, at, databases })
const names = (list: readonly Kept[]) => list.map((each) => each.name)
const known = ['main', 'queue']

test('the newest of each database stays, wherever the others went', () => {
  const all = [
    kept('a', '1', 'main', 'queue'),
    kept('b', '2', 'main'),
    kept('c', '3', 'main'),
    kept('d', '3', 'queue'),
    kept('empty', '4'),
  ]
  expect(names(olderThanNewest(all, 1, known))).toEqual(['a', 'b', 'empty'])
  expect(names(olderThanNewest(all, 2, known))).toEqual(['empty'])
})

test('a set goes only when every database in it has newer ones', () => {
  const all = [kept('a', '1', 'main', 'queue'), kept('b', '2', 'main')]
  expect(olderThanNewest(all, 1, known)).toEqual([])
})

test('two of one second are told apart by their names, so that one of them stays', () => {
  const all = [kept('a', '1', 'main'), kept('b', '1', 'main')]
  expect(names(olderThanNewest(all, 1, known))).toEqual(['a'])
})

test('what holds a database that is not configured stays: what replaced it could not be looked at', () => {
  const all = [kept('a', '1', 'gone'), kept('b', '2', 'gone')]
  expect(olderThanNewest(all, 1, known)).toEqual([])
})
