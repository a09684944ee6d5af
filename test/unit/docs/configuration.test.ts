/** Every ini block of the docs is one that config/deploy.ini may hold; those titled otherwise are well-formed. */
import { expect, test } from 'vitest'
import { readIni } from '../../../src/config/ini.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { allBlocks, type Block } from './blocks.ts'

test('every ini block is accepted', () => {
  const blocks = allBlocks('ini')
  expect(blocks.length).toBeGreaterThan(5)
  expect(blocks.flatMap(mistakesIn)).toEqual([])
})

test('a key that there is not is found', () => {
  const block = { page: 'docs/wrong.md', line: 4, language: 'ini', text: '[staging]\nhostss = a\n' }
  expect(mistakesIn(block).join()).toContain('hostss')
})

function mistakesIn({ page, line, title, text }: Block): string[] {
  const ini = readIni(text)
  const at = `${page}:${line}`
  if (title !== undefined && title !== 'config/deploy.ini')
    return ini.mistakes.map(({ message }) => `${at}: ${message}`)
  return parseConfig(completed(text), '/project').mistakes.map((mistake) => `${at}: ${mistake}`)
}

/** A fragment with what every configuration has to have. */
function completed(text: string): string {
  const { sections, entries } = readIni(text)
  const has = (section: string, key: string) => entries.some((each) => each.section === section && each.key === key)
  const names = new Set(sections.map(({ name }) => name.split('.')[0]!))
  const deployments = [...names].filter((name) => !['app', 'domains', 'notify', 'secret_commands'].includes(name))
  const required: Record<string, [string, string][]> = {
    app: [
      ['name', 'pony'],
      ['server', 'exec pony'],
    ],
  }
  for (const name of deployments.length > 0 ? deployments : ['staging']) {
    const heroku = entries.some(({ section, key, value }) => section === name && key === 'target' && value === 'heroku')
    required[name] = heroku
      ? [['app', `pony-${name}`]]
      : [
          ['target', 'vps'],
          ['hosts', 'web1.example.org'],
        ]
  }
  let complete = text
  for (const [section, keys] of Object.entries(required)) {
    const missing = keys.filter(([key]) => !has(section, key)).map(([key, value]) => `${key} = ${value}\n`)
    if (missing.length === 0) continue
    const heading = `[${section}]`
    complete = sections.some(({ name }) => name === section)
      ? complete.replace(heading, `${heading}\n${missing.join('')}`.trimEnd())
      : `${complete}\n${heading}\n${missing.join('')}`
  }
  return complete
}
