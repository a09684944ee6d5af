import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleTool } from '../../faults/bundle.ts'
import { allCases, type Case, runCase } from '../../faults/cases.ts'

/** A sample of `npm run test:faults`, which puts every fault at every step. */
const sample: [string, Case][] = [
  [
    'the tool is killed within the window, and it is resumed',
    { step: 'copy', when: 'after', fault: 'kill-tool', round: 'resume' },
  ],
  [
    "the host's script is killed while requests wait",
    { step: 'fence', when: 'after', fault: 'kill-script-and-guard', round: 'undo' },
  ],
]

let tool: string
beforeAll(async () => {
  tool = await bundleTool()
})
afterAll(() => rmSync(tool, { force: true }))

describe('a promotion in which something dies', () => {
  it.each(sample)('keeps every request, write and job: %s', { timeout: 240_000 }, async (_, test) => {
    const { ok, problem, failed } = await runCase(tool, test)
    expect({ ok, problem, failed }).toEqual({ ok: true, problem: undefined, failed: 0 })
  })

  it('is tried with every fault at every step, before and after its action, resumed and undone', () => {
    const cases = allCases()
    expect(cases.length).toBeGreaterThan(600)
    expect(new Set(cases.map((each) => each.step)).size).toBe(34)
    expect(new Set(cases.map((each) => each.fault)).size).toBe(9)
  })
})
