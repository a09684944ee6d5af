import { expect, test } from 'vitest'
import { appKeys } from '../../../src/config/keys.ts'
import { parseConfig } from '../../../src/config/load.ts'
import { configurationManual } from '../../../src/config/manual.ts'

test('the manual has every key, each a row of its table', () => {
  const manual = configurationManual()
  for (const name of Object.keys(appKeys)) expect(manual).toContain(`| \`${name}\` |`)
  const widths = manual
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.match(/(?<!\\)\|/g)?.length)
  expect(new Set(widths)).toEqual(new Set([4, 5]))
})

test('the examples in the table are right themselves', () => {
  const lines = Object.entries(appKeys)
    .filter(([name]) => name !== 'migrations')
    .map(([name, key]) => `${name} = ${key.example}`)
  const { mistakes } = parseConfig(
    `[app]\n${lines.join('\n')}\n[staging]\ntarget = vps\nhosts = a\nrelease = r1\n`,
    '/p',
  )
  expect(mistakes).toEqual([])
})
