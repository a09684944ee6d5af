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
    expect(counted(report({}))).toEqual({ passed: 3, failed: 1, skipped: 3 })
  })

  test('takes a file that could not be loaded for a failure', () => {
    const testResults = [
      { status: 'failed', assertionResults: [] },
      { status: 'failed', assertionResults: [{ status: 'failed' }] },
      { status: 'passed', assertionResults: [] },
    ]
    expect(counted(report({ testResults }))?.failed).toBe(2)
  })

  test('is undefined where there is no report, or half of one', () => {
    expect(counted(join(dir, 'none.json'))).toBeUndefined()
    const file = join(dir, 'half.json')
    writeFileSync(file, '{"numPassedTests": 3, ')
    expect(counted(file)).toBeUndefined()
  })
})
