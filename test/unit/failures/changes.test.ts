/** How a change made of steps fails, each way with its own code; and calls of the command line that can't be made out. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommanderError } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundleTaskFile } from '../../../src/cli/bundle.ts'
import { misuse } from '../../../src/cli/failure.ts'
import { slipwayCommand } from '../../../src/cli/index.ts'
import { loadTaskFile } from '../../../src/cli/load.ts'
import { failedBefore } from '../../../src/cli/retry.ts'
import { sshCommand } from '../../../src/cli/ssh.ts'
import { execute, resume } from '../../../src/engine/index.ts'
import { exitWith } from '../../../src/tasks/record.ts'
import { makeProject, type Project } from '../../integration/cli/project.ts'
import { memoryStore } from '../engine/memory-store.ts'
import { inRun, newWorld, ownerNamed, planOf, switchStep } from '../engine/world.ts'

/** The codes of what `body` rejects with, and of what caused it. */
async function codes(body: () => unknown): Promise<string[]> {
  try {
    await body()
  } catch (error) {
    const found: string[] = []
    for (let at = error as { code?: string; cause?: unknown } | undefined; at; at = at.cause as typeof at) {
      if (typeof at.code === 'string') found.push(at.code)
    }
    return found
  }
  throw new Error('it did not fail')
}

describe('a change', () => {
  const owner = ownerNamed('r1')

  test('with a fault in its plan is not begun', async () => {
    const world = newWorld()
    const plan = planOf([switchStep(world, 'a'), switchStep(world, 'a')])
    expect(await codes(() => inRun(() => execute(plan, memoryStore(), owner)))).toContain('bad-plan')
    expect(world.history).toEqual([])
  })

  test('whose step can’t be told to be done or not stops there', async () => {
    const world = newWorld()
    const unclear = switchStep(world, 'b', { check: async () => 'unclear' })
    const plan = planOf([switchStep(world, 'a'), unclear])
    expect(await codes(() => inRun(() => execute(plan, memoryStore(), owner)))).toContain('step-unclear')
  })

  test('whose window the host did not go through says where it stopped', async () => {
    const world = newWorld()
    const window = { forward: async () => {}, back: async () => {} } as never
    const plan = planOf([switchStep(world, 'a'), { ...switchStep(world, 'b'), window: true }], { window })
    expect(await codes(() => inRun(() => execute(plan, memoryStore(), owner)))).toContain('window-failed')
  })

  test('whose undo does not take does not claim that it did', async () => {
    const world = newWorld()
    const store = memoryStore()
    const stuck = switchStep(world, 'a', { undo: async () => {} })
    const broken = switchStep(world, 'b', {
      do: async () => {
        throw new Error('the lamp is broken')
      },
    })
    await codes(() => inRun(() => execute(planOf([stuck, broken]), store, owner)))
    const journal = await (await store.open('r1')).entries()
    expect(journal.filter((entry) => entry.entry === 'outcome' && entry.direction === 'undo')).toContainEqual(
      expect.objectContaining({ step: 'a', ok: false, error: 'it is still done after it was undone: turn a on' }),
    )
  })

  test('of which nothing was written down can’t be resumed', async () => {
    const store = memoryStore()
    expect(await codes(() => inRun(() => resume('r9', planOf([]), store, owner)))).toContain('journal-empty')
  })
})

describe('a call', () => {
  let project: Project
  let empty: string
  beforeAll(() => {
    empty = mkdtempSync(join(tmpdir(), 'slipway-empty-'))
    project = makeProject({
      'syntax.ts': "export const a = 'x\n",
      'import.ts': "import { x } from './nowhere.ts'\nexport const a = x\n",
      'throws.ts': "throw new RangeError('too far')\n",
      'copies.ts':
        "throw Object.assign(new Error('two copies of slipway were loaded: a and b'), { code: 'two-copies' })\n",
    })
  })
  afterAll(() => {
    project.remove()
    rmSync(empty, { recursive: true })
  })
  const file = (name: string) => join(project.dir, name)
  const io = { cwd: tmpdir(), env: {}, out() {}, err() {}, stdin: {}, stdout: {}, stderr: {}, onBrokenPipe() {} }

  test.each<[string, () => unknown]>([
    ['task-file-syntax', () => bundleTaskFile(file('syntax.ts'), {})],
    ['task-file-import', () => bundleTaskFile(file('import.ts'), {})],
    ['task-file', () => bundleTaskFile(file('none.ts'), {})],
    ['task-file-threw', () => loadTaskFile(file('throws.ts'))],
    ['two-copies', () => loadTaskFile(file('copies.ts'))],
    ['nothing-failed', () => failedBefore(empty, { core: [], words: [] })],
    ['which-host', () => sshCommand(undefined, [], {}, { ...io, cwd: empty })],
    ['exit-status', () => exitWith(7)],
  ])('%s', async (code, body) => {
    expect(await codes(body)).toContain(code)
  })

  test('that the option parser finds wrong in a way of its own is told all the same', () => {
    const error = misuse(new CommanderError(1, 'commander.somethingNew', "error: option '--x' is odd"), 'slipway')
    expect(error).toMatchObject({
      code: 'wrongly-used',
      message: "slipway can't make out: option '--x' is odd",
      next: 'See `slipway --help`.',
      exitCode: 2,
    })
  })

  test('of slipway run without a command says how', async () => {
    let err = ''
    const write = (text: string) => {
      err += text
    }
    const status = await slipwayCommand(['run', 'staging'], { ...io, err: write })
    expect(status).toBe(2)
    expect(err).toBe('error: no command was given\n  → For example: slipway run staging -- env\n')
  })
})
