import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const repository = join(import.meta.dirname, '../../..')
const rows = readFileSync(join(repository, 'docs/heroku.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (by hand|-)/.test(line))
  .map((line) =>
    line
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )

test('every row of the table names tests that are there', () => {
  expect(rows.length).toBeGreaterThan(35)
  const missing = rows.flatMap((cells) =>
    (cells.at(-1) ?? '')
      .replace(/\(.*?\)/g, '')
      .split(',')
      .map((name) => name.trim())
      .filter((name) => !existsSync(join(repository, `test/integration/heroku/${name}.test.ts`)))
      .map((name) => `${cells[0]}: ${name || 'none'}`),
  )
  expect(missing).toEqual([])
})

test('every task that the table names is in the task file', () => {
  const taskFile = readFileSync(join(repository, 'tasks.ts'), 'utf8')
  const named = rows.flatMap((cells) =>
    [
      ...(cells[1] ?? '').matchAll(
        /`([a-z]+(?:_[a-z]+)+|status|ps|scale|open|logs|run|versions|rollback|settings|backups)[`:]/g,
      ),
    ].map(([, name]) => name),
  )
  expect(named.length).toBeGreaterThan(35)
  expect(
    named.filter((name) => !name?.startsWith('after_') && !taskFile.includes(`export const ${name} = task(`)),
  ).toEqual([])
})
