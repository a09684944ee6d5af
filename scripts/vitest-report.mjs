/** What vitest's JSON report counts. */
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'

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
    failures: report.testResults.flatMap((suite) => failuresOf(suite)),
  }
}

/** `file > test: the first line of what went wrong`, of each test that failed for good. */
function failuresOf(suite) {
  const file = relative(process.cwd(), suite.name)
  if (suite.status === 'failed' && suite.assertionResults.length === 0) return [`${file}: ${firstLine(suite.message)}`]
  return suite.assertionResults
    .filter((test) => test.status === 'failed')
    .map((test) => `${file} > ${test.fullName}: ${firstLine(test.failureMessages[0])}`)
}

const firstLine = (text) => (text ?? '').trim().split('\n')[0].slice(0, 300)
