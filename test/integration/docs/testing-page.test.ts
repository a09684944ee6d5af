/** The example of docs/guide/testing.md is a test file that passes. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { blocksOf, repository } from '../../unit/docs/blocks.ts'

const dir = mkdtempSync(join(tmpdir(), 'slipway-testing-page-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

test('the tests on the page pass', { timeout: 120_000 }, async () => {
  const files = blocksOf('docs/guide/testing.md').filter(({ title }) => title !== undefined)
  expect(files.map(({ title }) => title)).toEqual(['tasks.ts', 'tasks.test.ts'])
  mkdirSync(join(dir, 'test'))
  for (const { title, text } of files) writeFileSync(join(dir, 'test', title!), text)
  symlinkSync(join(repository, 'node_modules'), join(dir, 'node_modules'))

  const vitest = join(repository, 'node_modules/vitest/vitest.mjs')
  const words = ['run', '--root', dir, '--config', join(repository, 'vitest.config.ts'), '--reporter', 'json']
  const { stdout } = await promisify(execFile)(process.execPath, [vitest, ...words], { cwd: dir })
  const { numPassedTests, success } = JSON.parse(stdout.slice(stdout.indexOf('{')))
  expect({ success, numPassedTests }).toEqual({ success: true, numPassedTests: 4 })
})
