/**
 * What became of cases, in a file of one line a run of a case: kept from run to run, whatever ends one. The last line of
 * a case is what counts. The code that a promotion is made of is told apart by a checksum of its files.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { CaseResult } from './case.ts'
import { type Case, keyOf } from './cases.ts'

export interface Recorded extends CaseResult {
  /** The day and time at which it ended. */
  at: string
  version: string
}

/** Of the engine, the scripts on the host, and what plans and starts them. */
export function codeVersion(root: string): string {
  const sum = createHash('sha256')
  for (const folder of ['src/engine', 'src/targets/vps', 'templates/hold']) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).sort(byPath)) {
      if (!entry.isFile() || !/\.(ts|py)$/.test(entry.name)) continue
      sum
        .update(entry.name)
        .update('\0')
        .update(readFileSync(join(entry.parentPath, entry.name)))
    }
  }
  return sum.digest('hex').slice(0, 12)
}

const byPath = (one: { parentPath: string; name: string }, other: { parentPath: string; name: string }) =>
  join(one.parentPath, one.name) < join(other.parentPath, other.name) ? -1 : 1

/** The last of each case, by its key. A line that was cut off is none. */
export function readResults(file: string): Map<string, Recorded> {
  const found = new Map<string, Recorded>()
  if (!existsSync(file)) return found
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    try {
      const result = JSON.parse(line) as Recorded
      found.set(keyOf(result), result)
    } catch {
      // Empty, or written by a run that was killed.
    }
  }
  return found
}

export function record(file: string, result: Recorded): void {
  mkdirSync(dirname(file), { recursive: true })
  appendFileSync(file, `${JSON.stringify(result)}\n`)
}

/**
 * A row a ground and step, a column a fault. In a cell, how many of its cases passed of those that there are; those
 * that failed; and the most requests that failed in one of them.
 */
export function tableOf(cases: readonly Case[], results: ReadonlyMap<string, CaseResult>): string {
  const names = [...new Set(cases.map((each) => each.fault))]
  const rows = [...new Set(cases.map((each) => `${each.ground}: ${each.step}`))]
  const cell = (row: string, fault: string): string => {
    const there = cases.filter((each) => `${each.ground}: ${each.step}` === row && each.fault === fault)
    if (there.length === 0) return ''
    const ran = there.flatMap((each) => results.get(keyOf(each)) ?? [])
    const bad = ran.filter((each) => !each.ok).length
    const requests = Math.max(0, ...ran.map((each) => each.failed))
    const failed = requests > 0 ? ` (${requests})` : ''
    return `${ran.length - bad}/${there.length}${bad > 0 ? ` ✗${bad}` : ''}${failed}`
  }
  return [
    `| | ${names.join(' | ')} |`,
    `|---|${names.map(() => '---|').join('')}`,
    ...rows.map((row) => `| ${row} | ${names.map((name) => cell(row, name)).join(' | ')} |`),
  ].join('\n')
}

/** How many of the cases passed, failed, and were not run. */
export function countsOf(cases: readonly Case[], results: ReadonlyMap<string, CaseResult>): string {
  const ran = cases.flatMap((each) => results.get(keyOf(each)) ?? [])
  const passed = ran.filter((each) => each.ok).length
  return `${cases.length} cases: ${passed} passed, ${ran.length - passed} failed, ${cases.length - ran.length} not run`
}
