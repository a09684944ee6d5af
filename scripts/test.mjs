/**
 * `npm test`: installs what is missing, then builds, checks types, format and lint, runs all tests on real servers,
 * and a part of them once more on the newest Node. Each runs even where one before it failed, so that one run tells
 * all. The last line is the sum; the exit status is 0 when nothing failed.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build, installDependencies, root, run } from './dependencies.mjs'
import { testOnNewestNode } from './newest-node.mjs'
import { setup } from './setup.mjs'
import { counted } from './vitest-report.mjs'

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const failures = []
const failedTests = []
const sum = { passed: 0, failed: 0, skipped: 0 }

/** A part of the run, under a heading; it returns what went wrong with it, if anything. */
async function part(name, action) {
  const begun = Date.now()
  console.log(`\n== ${name}`)
  let problem
  try {
    problem = await action()
  } catch (error) {
    problem = error.message
  }
  const seconds = `${((Date.now() - begun) / 1000).toFixed(1)} s`
  if (problem === undefined) console.log(`== ${name}: done in ${seconds}`)
  else {
    console.log(`== ${name}: FAILED after ${seconds}: ${problem}`)
    failures.push(name)
  }
  return problem === undefined
}

const bin = (name) => join(root, 'node_modules/.bin', name)
const unless = (done, problem) => (done ? undefined : problem)

function vitest() {
  const dir = mkdtempSync('/tmp/slipway-test-')
  try {
    const report = join(dir, 'report.json')
    const reporter = process.stdout.isTTY ? 'default' : 'verbose'
    const args = [
      'run',
      `--reporter=${reporter}`,
      '--reporter=json',
      `--outputFile.json=${report}`,
      ...process.argv.slice(2),
    ]
    // NODE_EXTRA_CA_CERTS makes every start of Node slower, and the tests measure starts.
    const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env
    const ran = spawnSync(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), ...args], {
      cwd: root,
      env,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    const counts = counted(report)
    if (!counts) return 'vitest ended without a report'
    add(counts)
    if (counts.failed === 0 && ran.status !== 0) return 'vitest reports an error outside the tests: see above'
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function newestNode() {
  const result = testOnNewestNode()
  if (typeof result.skipped === 'string') console.log(`Left out: ${result.skipped}`)
  else if (result.passed !== undefined) {
    console.log(`Node ${result.version}: ${result.passed} passed, ${result.failed} failed`)
    add(result)
  }
  return result.problem
}

function add({ passed, failed, skipped, failures: tests = [] }) {
  failedTests.push(...tests)
  sum.passed += passed
  sum.failed += failed
  sum.skipped += skipped
}

if (major < 20 || (major === 20 && minor < 19))
  failures.push(`Node ${process.versions.node} is too old: 20.19 or later`)
else {
  const ready =
    (await part('Debian packages', () => setup('test'))) &&
    (await part('npm packages', () => void installDependencies()))
  if (ready) {
    await part('build', () => unless(build(), 'tsdown failed'))
    await part('types', () => unless(run(bin('tsc'), []), 'tsc found mistakes'))
    await part('format and lint', () => unless(run(bin('biome'), ['ci', '.']), 'biome found something: npm run format'))
    await part('tests', vitest)
    await part('tests on the newest Node', newestNode)
  }
}

// Once more at the end, in a line each: whoever sees only the last lines of a log sees what to look at.
for (const test of failedTests) console.log(`\nFAILED: ${test}`)
for (const name of failures) console.log(`\nFAILED: ${name}`)
// What failed beside the tests counts as one failure each, so that the line agrees with the exit status.
const failed = sum.failed + failures.length
console.log(`\n${sum.passed} passed, ${failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`)
process.exitCode = failed > 0 ? 1 : 0
