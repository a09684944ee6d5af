import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { counted } from '../../../scripts/vitest-report.mjs'

const dir = mkdtempSync('/tmp/slipway-report-')
afterAll(() => rmSync(dir, { recursive: true }))

function report(fields: Record<string, unknown>): string {
  const file = join(dir, 'report.json')
  const numbers = { numPassedTests: 3, numFailedTests: 1, numPendingTests: 2, numTodoTests: 1, testResults: [] }
  writeFileSync(file, JSON.stringify({ ...numbers, ...fields }))
  return file
}

describe('the count of a report', () => {
  test('has what passed, failed and was skipped', () => {
    expect(counted(report({}))).toMatchObject({ passed: 3, failed: 1, skipped: 3 })
  })

  test('takes a file that could not be loaded for a failure, and names what failed, a line each', () => {
    const name = join(process.cwd(), 'test/a.test.ts')
    const failed = { status: 'failed', fullName: 'adds up', failureMessages: ['Error: 1 is not 2\n    at a.ts:1'] }
    const testResults = [
      {
        name: join(process.cwd(), 'test/b.test.ts'),
        status: 'failed',
        assertionResults: [],
        message: 'no such module',
      },
      { name, status: 'failed', assertionResults: [failed, { status: 'passed', fullName: 'runs' }] },
      { name, status: 'passed', assertionResults: [] },
    ]
    expect(counted(report({ testResults }))).toMatchObject({
      failed: 2,
      failures: ['test/b.test.ts: no such module', 'test/a.test.ts > adds up: Error: 1 is not 2'],
    })
  })

  test('is undefined where there is no report, or half of one', () => {
    expect(counted(join(dir, 'none.json'))).toBeUndefined()
    const file = join(dir, 'half.json')
    writeFileSync(file, '{"numPassedTests": 3, ')
    expect(counted(file)).toBeUndefined()
  })
})
