/** The pages that are made from the source say what the source says, and a code means one failure. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findErrors } from '../../../scripts/docs-errors.mjs'
import { madePages } from '../../../scripts/docs-pages.mjs'
import { repository } from './blocks.ts'

const errors = findErrors(join(repository, 'src'))

test.each([
  'troubleshooting.md',
  'guide/events.md',
  'guide/configuration.md',
  ...['events', 'tasks', 'doctor', 'history', 'sandbox'].map((name) => `../schemas/${name}.schema.json`),
])('docs/%s is what the source makes (else: node scripts/docs.mjs)', async (page) => {
  expect(readFileSync(join(repository, 'docs', page), 'utf8') === (await madePages())[page]).toBe(true)
})

test('the page on events, and their schema, have what the comments say of an event and of a field', () => {
  const page = readFileSync(join(repository, 'docs/guide/events.md'), 'utf8')
  const schema = readFileSync(join(repository, 'schemas/events.schema.json'), 'utf8')
  for (const text of [page, schema]) {
    expect(text).toContain('A write that a dry run held back.')
    expect(text).toContain('The total is an estimate.')
  }
})

describe('the catalogue of failures', () => {
  test('has codes in kebab case', () => {
    expect(errors.length).toBeGreaterThan(200)
    expect(errors.filter(({ code }) => !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(code))).toEqual([])
  })

  test('has no sentence with a value that would show as undefined or an object', () => {
    const wrong = errors.filter(({ messages }) => messages.some((text) => /undefined|\[object|NaN/.test(text)))
    expect(wrong.map(({ file, line }) => `${file}:${line}`)).toEqual([])
  })

  test('uses no code for two unrelated failures', () => {
    const codes = new Map<string, typeof errors>()
    for (const error of errors) codes.set(error.code, [...(codes.get(error.code) ?? []), error])
    const unrelated = [...codes].filter(([code, uses]) => !families.has(code) && !related(code, uses))
    expect(unrelated.map(([code, uses]) => [code, ...uses.map(({ messages }) => messages.join(' / '))])).toEqual([])
  })
})

/**
 * Codes whose uses share no word, looked at: each is one failure, or one kind of mistake, told of in several ways. What
 * fails here is either one more of them, or needs a code of its own.
 */
const families = new Set(
  `bad-option bad-task bad-value settings disk-full never-live no-deployment no-hosts no-release no-template no-version
  not-confirmed not-stopped rsync-source-missing undo-failed database-unreachable file-denied heroku-rendezvous
  host-unreachable no-process-type same-app bad-plan database-kind unhealthy`.split(/\s+/),
)

/** Whether what every use says shares a word with the code, or with another use. */
function related(code: string, uses: typeof errors): boolean {
  const all = uses
    .filter(({ messages }) => messages.length > 0)
    .map(({ messages, state, next }) => stems([...messages, ...state, ...next].join(' ')))
  if (all.length < 2) return true
  const codeStems = stems(code.replaceAll('-', ' '))
  return all.every((each, index) =>
    [...each].some((stem) => codeStems.has(stem) || all.some((other, at) => at !== index && other.has(stem))),
  )
}

function stems(text: string): Set<string> {
  const words =
    text
      .toLowerCase()
      .replace(/‹[^›]*›/g, ' ')
      .match(/[a-z]{3,}/g) ?? []
  return new Set(words.filter((word) => !common.has(word)).map((word) => word.slice(0, 5)))
}

const common = new Set(
  'the and for that this which what with has have had not but are was were from its into there then than they one can cannot could would will may'.split(
    ' ',
  ),
)
