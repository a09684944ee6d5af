/** No block of the docs is without a check: those of other tools are at least what their languages can read. */
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { allBlocks, type Block, blocksOf, pages } from './blocks.ts'

/** Checked by what they do: types, settings, commands. */
const elsewhere = ['ts', 'ini']
/** What is wrong with a block; undefined where it can be read. */
const readers: Readonly<Record<string, (text: string) => string | undefined>> = {
  json: (text) => thrown(() => JSON.parse(text)),
  yaml: (text) => parseAllDocuments(text).flatMap(({ errors }) => errors)[0]?.message,
  python: (text) => complaintOf('/usr/bin/python3', ['-c', 'import ast, sys; ast.parse(sys.stdin.read())'], text),
  ruby: (text) => complaintOf('ruby', ['-c'], text),
  bash: (text) => complaintOf('bash', ['-n'], text),
  sh: (text) => complaintOf('sh', ['-n'], text),
}

test('every block has a language that is checked', () => {
  const known = [...elsewhere, ...Object.keys(readers), '']
  const blocks = pages().flatMap((page) => blocksOf(page))
  expect(blocks.filter(({ language }) => !known.includes(language)).map(place)).toEqual([])
})

test.each(Object.keys(readers))('every %s block can be read', (language) => {
  const blocks = allBlocks(language)
  expect(blocks.length).toBeGreaterThan(0)
  const unreadable = blocks.flatMap((block) => {
    const complaint = readers[language]?.(block.text)
    return complaint === undefined ? [] : [`${place(block)}: ${complaint}`]
  })
  expect(unreadable).toEqual([])
})

test('a block that can not be read is found', () => {
  const broken = { json: '{', yaml: 'a: [', python: 'def', bash: 'if', sh: 'if' }
  for (const [language, text] of Object.entries(broken)) expect(readers[language]?.(text)).toEqual(expect.any(String))
})

const place = ({ page, line, language }: Block) => `${page}:${line}: ${language}`

function thrown(read: () => unknown): string | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    return String(error)
  }
}

/** Where the program is not installed (Ruby is nobody's dependency here), nothing is said. */
function complaintOf(program: string, args: string[], input: string): string | undefined {
  const { status, stderr, error } = spawnSync(program, args, { input, encoding: 'utf8' })
  return error || status === 0 ? undefined : stderr || `status ${status}`
}
