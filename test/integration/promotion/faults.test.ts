import { mkdtempSync, rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleTool } from '../../faults/bundle.ts'
import { type CaseResult, runCase } from '../../faults/case.ts'
import { allCases, byDanger, type Case, keyOf } from '../../faults/cases.ts'
import { type Ground, makeGround } from '../../faults/ground.ts'
import { countsOf, readResults, record, tableOf } from '../../faults/results.ts'

/** A sample of `npm run test:faults`, which puts every fault at every step. */
const sample: [string, Case][] = [
  [
    'the tool is killed within the window, and it is resumed',
    { ground: 'sockets', step: 'copy', when: 'after', fault: 'kill-tool', round: 'resume' },
  ],
  [
    "the host's script is killed while requests wait",
    { ground: 'sockets', step: 'fence', when: 'after', fault: 'kill-script-and-guard', round: 'undo' },
  ],
]

let tool: string
let world: Ground
beforeAll(async () => {
  tool = await bundleTool()
  world = await makeGround('sockets')
}, 120_000)
afterAll(async () => {
  rmSync(tool, { force: true })
  await world?.remove()
})

describe('a promotion in which something dies', () => {
  it.each(sample)('keeps every request, write and job: %s', { timeout: 240_000 }, async (_, test) => {
    const results = await runCase(tool, world, test)
    expect(results.map(({ round }) => round)).toContain(test.round)
    for (const { ok, problem, failed } of results)
      expect({ ok, problem, failed }).toEqual({ ok: true, problem: undefined, failed: 0 })
  })
})

describe('the cases of npm run test:faults', () => {
  const cases = allCases()

  it('are every fault at every step, before, in the midst of and after its action, resumed and undone', () => {
    expect(new Set(cases.map(keyOf)).size).toBe(cases.length)
    const values = (of: keyof Case) => new Set(cases.map((each) => each[of]))
    expect(values('ground')).toEqual(
      new Set(['sockets', 'reads', 'ports', 'postgres', 'mysql', 'handover', 'elsewhere']),
    )
    expect(values('when')).toEqual(new Set(['before', 'during', 'after']))
    expect(values('round')).toEqual(new Set(['resume', 'undo']))
    expect(values('fault').size).toBe(9)
    for (const step of values('step')) {
      const at = cases.filter((each) => each.step === step)
      for (const fault of ['kill-tool', 'cut-connection', 'kill-app', 'kill-supervisord', 'kill-nginx']) {
        for (const round of ['resume', 'undo'])
          expect(at.filter((each) => each.fault === fault && each.round === round).length).toBeGreaterThanOrEqual(2)
      }
    }
  })

  it('are run so that each fault is at each step once before any is there again, the most dangerous first', () => {
    const ordered = byDanger(cases)
    expect(ordered.toSorted(byKey)).toEqual(cases.toSorted(byKey))
    const places = new Set(cases.map(placeOf))
    expect(new Set(ordered.slice(0, places.size).map(placeOf))).toEqual(places)
    expect(ordered[0]).toMatchObject({ step: 'hold', fault: 'kill-tool' })
  })

  it('are known from run to run, the last of each, and counted by what became of them', () => {
    const dir = mkdtempSync('/tmp/slipway-faults-')
    try {
      const file = `${dir}/results/faults.jsonl`
      const [first, second, third] = cases.filter((each) => each.step === 'hold' && each.fault === 'kill-app') as [
        Case,
        Case,
        Case,
      ]
      const result = (test: Case, ok: boolean, failed: number): CaseResult => {
        return { ...test, ok, way: 'resumed', failed, outage: 0, longestMs: 1, seconds: 1, times: {} }
      }
      const note = (each: CaseResult) => record(file, { ...each, at: '2026-11-27T12:00:00Z', version: 'abc' })
      note(result(first, false, 3))
      note(result(first, true, 2))
      note(result(second, false, 0))
      const results = readResults(file)
      expect(results.get(keyOf(first))).toMatchObject({ ok: true, version: 'abc' })
      expect(countsOf([first, second, third], results)).toBe('3 cases: 1 passed, 1 failed, 1 not run')
      expect(tableOf([first, second, third], results)).toContain('| sockets: hold | 1/3 ✗1 (2) |')
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})

const placeOf = ({ ground, step, fault }: Case) => `${ground} ${step} ${fault}`
const byKey = (one: Case, other: Case) => (keyOf(one) < keyOf(other) ? -1 : 1)
