/** What vitest's JSON report counts. */
import { readFileSync } from 'node:fs'

/** Undefined where there is no report: vitest did not get that far. A file that could not be loaded counts as failed. */
export function counted(file) {
  let report
  try {
    report = JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
  const unloadable = report.testResults.filter(
    (suite) => suite.status === 'failed' && suite.assertionResults.length === 0,
  )
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + unloadable.length,
    skipped: report.numPendingTests + report.numTodoTests,
  }
}
