import { expect, test } from 'vitest'
import { readIni } from '../../../src/config/ini.ts'

const entries = (text: string) =>
  readIni(text).entries.map(({ section, key, value, line }) => [section, key, value, line])

test('entries know their section and line', () => {
  expect(entries('[a]\nx = 1\n\n[b.c]\ny=2\n')).toEqual([
    ['a', 'x', '1', 2],
    ['b.c', 'y', '2', 5],
  ])
})

test('a comment starts after white space, so that ; and # inside words stay', () => {
  expect(entries('[a]\nx = one ; two\ny = a; b\nz = op://vault#key # why\n; whole line\n# too\n')).toEqual([
    ['a', 'x', 'one', 2],
    ['a', 'y', 'a; b', 3],
    ['a', 'z', 'op://vault#key', 4],
  ])
})

test('a quoted value is taken as it stands', () => {
  expect(entries('[a]\nx = "a ; \\"b\\" # c"   ; comment\n')).toEqual([['a', 'x', 'a ; "b" # c', 2]])
})

test('an indented line continues the value above', () => {
  expect(entries('[a]\ninstall = one\n  two ; why\n  three\nx = y\n')).toEqual([
    ['a', 'install', 'one\ntwo\nthree', 2],
    ['a', 'x', 'y', 5],
  ])
})

test('equal signs after the first belong to the value', () => {
  expect(entries('[a]\nx = postgres pony host=db1\n')).toEqual([['a', 'x', 'postgres pony host=db1', 2]])
})

test('every malformed line is named', () => {
  expect(readIni('x = 1\n[a]\nnonsense\nk = 1\nk = 2\n[a]\n[broken\n').mistakes).toEqual([
    { line: 1, message: '"x = 1" is above the first [section]' },
    { line: 3, message: '"nonsense" is neither [section] nor key = value' },
    { line: 5, message: '[a] k is set twice; first on line 4' },
    { line: 6, message: '[a] is there twice; first on line 2' },
    { line: 7, message: '"[broken" is neither [section] nor key = value' },
  ])
})
