/**
 * Runs the unit tests and a part of the rest on the newest Node, which the npm package `node` brings:
 * `node scripts/newest-node.mjs`; all of them with `--all` (`npm run test:newest`), as long as on this Node.
 * SLIPWAY_NEWEST_NODE=skip leaves it out, for where there is no registry.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './dependencies.mjs'
import { counted } from './vitest-report.mjs'

const fetchMs = 3 * 60_000
const testMs = 8 * 60_000
const allMs = 60 * 60_000
/** What `timeout` of coreutils ends with, the second where it had to kill. */
const timedOut = [124, 137]
// Where Node itself matters: the commands as built, connections and streams, a deploy to a real host.
const sample = [
  'test/unit',
  'test/integration/cli/tasks.test.ts',
  'test/integration/hosts/connect.test.ts',
  'test/integration/vps/main-job.test.ts',
]

/** Resolves with what passed and failed there, or why it could not be done. */
export function testOnNewestNode({ all = false, log = console.log } = {}) {
  const tests = all ? ['test'] : sample
  const timeout = all ? allMs : testMs
  if (process.env.SLIPWAY_NEWEST_NODE === 'skip') return { skipped: 'SLIPWAY_NEWEST_NODE=skip' }
  // Fetched first and alone, so that a slow registry is told apart from slow tests.
  const asked = onNewest(['--version'], { timeout: fetchMs, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  if (asked.status !== 0) {
    const why = timedOut.includes(asked.status) ? `not there after ${fetchMs / 60_000} minutes` : asked.stderr.trim()
    return {
      problem: `the newest Node could not be fetched from the registry (SLIPWAY_NEWEST_NODE=skip leaves it out): ${why}`,
    }
  }
  const version = asked.stdout.trim()
  if (version === process.version) return { skipped: `${version} is what the tests ran on` }
  log(`Tests on Node ${version}: ${tests.join(', ')}`)
  const dir = mkdtempSync('/tmp/slipway-newest-')
  try {
    const report = join(dir, 'report.json')
    const vitest = join(root, 'node_modules/vitest/vitest.mjs')
    const args = [vitest, 'run', ...tests, '--reporter=dot', '--reporter=json', `--outputFile.json=${report}`]
    const ran = onNewest(args, { timeout, stdio: ['ignore', 'inherit', 'inherit'] })
    const counts = counted(report)
    if (timedOut.includes(ran.status))
      return { version, ...counts, problem: `not done after ${timeout / 60_000} minutes` }
    if (!counts) return { version, problem: 'the tests could not be run' }
    if (ran.status !== 0 && counts.failed === 0)
      return { version, ...counts, problem: 'something failed outside the tests' }
    return { version, ...counts }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Ends what npm has started too: killed alone, it would leave that running. */
function onNewest(args, { timeout, ...options }) {
  const words = ['exec', '--yes', '--package=node@latest', '--', 'node', ...args]
  return spawnSync('timeout', ['--kill-after=10', String(timeout / 1000), 'npm', ...words], { cwd: root, ...options })
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const {
    version,
    passed = 0,
    failed = 0,
    skipped,
    problem,
  } = testOnNewestNode({ all: process.argv.includes('--all') })
  console.log(
    problem ?? (typeof skipped === 'string' ? skipped : `Node ${version}: ${passed} passed, ${failed} failed`),
  )
  process.exitCode = problem || failed > 0 ? 1 : 0
}
