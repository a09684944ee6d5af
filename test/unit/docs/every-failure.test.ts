/** Every failure that the source can tell of has a next step, is fit to be read, and is asserted by a test. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findErrors } from '../../../scripts/docs-errors.mjs'
import { nextSteps } from '../../../src/cli/next-steps.ts'
import { repository } from './blocks.ts'

const errors = findErrors(join(repository, 'src'))
const codes = [...new Set(errors.map(({ code }) => code))]

describe('every failure', () => {
  test('says what to do next, itself or by its code', () => {
    const silent = errors.filter(({ code, next }) => next.length === 0 && nextSteps[code] === undefined)
    expect(silent.map(({ code, file, line }) => `${code} ${file}:${line}`)).toEqual([])
  })

  test('no next step is kept for a code that there isn’t', () => {
    expect(Object.keys(nextSteps).filter((code) => !codes.includes(code))).toEqual([])
  })

  test('names only tasks and commands that there are', () => {
    const steps = [...errors.flatMap(({ next }) => next), ...Object.values(nextSteps)]
    const tasks = [...readFileSync(join(repository, 'tasks.ts'), 'utf8').matchAll(/^export const (\w+) = task/gm)]
    const known = new Set(tasks.map(([, name]) => name))
    const named = steps.flatMap((step) =>
      [...step.matchAll(/(?:^|[`(]|: )tasks ([a-z][a-z_]*\b)(?!‹)/g)].map(([, name]) => name!),
    )
    expect(named.length).toBeGreaterThan(20)
    expect([...new Set(named)].filter((name) => !known.has(name))).toEqual([])
  })

  test('is fit to be read in the catalogue: no value that is none, no object, no empty sentence', () => {
    const page = readFileSync(join(repository, 'docs/troubleshooting.md'), 'utf8')
    expect(page.split('\n').filter((line) => /\bundefined\b|\[object|\bNaN\b|‹…›‹…›|^Do: *$/.test(line))).toEqual([])
  })

  test('is asserted by a test: by its code, or by what it says', () => {
    const untested = codes.filter((code) => !asserted(code))
    expect(
      untested.map((code) => [code, ...errors.filter((each) => each.code === code).map(({ file }) => file)]),
    ).toEqual([])
  })
})

/** All test files as one text, but those that only play the other side, and this one. */
const tests = readdirSync(join(repository, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.ts$/.test(file) && !/^(emulators|servers|fixtures)\/|every-failure/.test(file))
  .map((file) => readFileSync(join(repository, 'test', file), 'utf8'))
  .join('\n')
const unescaped = tests.replaceAll('\\', '')

/** Whether some test names the code in quotes, or a run of words of what it says. */
function asserted(code: string): boolean {
  if (["'", '"', '`'].some((quote) => tests.includes(`${quote}${code}${quote}`))) return true
  return errors
    .filter((each) => each.code === code)
    .flatMap(({ messages }) => messages)
    .flatMap((text) => text.split(/‹[^›]*›|\[[^\]]*\]|\|/))
    .some((part) => part.trim().length >= 14 && unescaped.includes(part.trim()))
}
