import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { abandon, execute, resume, stepRecords, undo } from '../../../src/engine/index.ts'
import { memoryStore } from './memory-store.ts'
import { inRun, newWorld, ownerNamed, planOf, switchStep, type World } from './world.ts'

const names = ['a', 'b', 'c', 'd', 'e']
const allOn = (world: World) => planOf(names.map((name) => switchStep(world, name)))

describe('a change', () => {
  it('does its steps in order, each begun before and concluded after, and ends done', async () => {
    const world = newWorld()
    const store = memoryStore()
    const result = await inRun(() => execute(allOn(world), store, ownerNamed('r1')))
    expect(world.history).toEqual(['+a', '+b', '+c', '+d', '+e'])
    const entries = await (await store.open(result.journal)).entries()
    const told = entries.map((entry) => ('step' in entry ? `${entry.entry} ${entry.step}` : entry.entry))
    expect(told.slice(0, 4)).toEqual(['begin', 'intent a', 'outcome a', 'intent b'])
    expect(told.at(-1)).toBe('end')
  })

  it('keeps what undo needs with the intent, and what do returned with the outcome', async () => {
    const world = newWorld()
    const store = memoryStore()
    const { journal } = await inRun(() => execute(allOn(world), store, ownerNamed('r1')))
    const records = stepRecords(await (await store.open(journal)).entries())
    expect(records.get('a')?.data).toEqual({ was: false, mark: 'a' })
  })

  it('releases its locks at the end', async () => {
    const store = memoryStore()
    await inRun(() => execute(allOn(newWorld()), store, ownerNamed('r1')))
    expect(store.locks.size).toBe(0)
  })

  it('leaves alone what was found done, and leaves it when going back', async () => {
    const world = newWorld()
    world.on.add('a')
    const steps = [switchStep(world, 'a'), switchStep(world, 'b'), failing(world, 'c')]
    await expect(inRun(() => execute(planOf(steps), memoryStore(), ownerNamed('r1')))).rejects.toMatchObject({
      undone: true,
    })
    expect([...world.on]).toEqual(['a'])
  })

  it('takes everything back when a step fails, and says so', async () => {
    const world = newWorld()
    const store = memoryStore()
    const plan = planOf([switchStep(world, 'a'), switchStep(world, 'b'), failing(world, 'c')])
    await expect(inRun(() => execute(plan, store, ownerNamed('r1')))).rejects.toMatchObject({
      code: 'step-failed',
      step: 'c',
      undone: true,
      message: 'turn c on: the lamp is broken',
    })
    expect(world.history).toEqual(['+a', '+b', '-b', '-a'])
    expect((await store.list())[0]?.result).toBe('undone')
  })

  it('does not say to go back with --undo where all is back as it was: what it finds in its way is to be looked at', async () => {
    const world = newWorld()
    const strange = switchStep(world, 'b', { check: async () => 'unclear', undo: async () => {} })
    const plan = planOf([switchStep(world, 'a'), strange])
    const error = await inRun(() => execute(plan, memoryStore(), ownerNamed('r1'))).catch((thrown) => thrown)
    expect(error).toMatchObject({ undone: true, cause: { code: 'step-unclear' } })
    expect(error.next).not.toMatch(/--undo|--resume/)
    expect(error.next).toContain('begin again')
    expect([...world.on]).toEqual([])
  })

  it('takes nothing back of a step that failed before it was begun: what it looked at is not its own', async () => {
    const world = newWorld()
    const store = memoryStore()
    const taken: string[] = []
    const strange = (check: 'unclear' | 'todo') =>
      switchStep(world, 'b', {
        check: async () => (taken.length > 0 ? 'todo' : check),
        prepare: async () => {
          throw new Error('nobody can read it')
        },
        undo: async () => void taken.push('b'),
      })
    const plan = (check: 'unclear' | 'todo') => planOf([switchStep(world, 'a'), strange(check), switchStep(world, 'c')])
    const stop = { onFailure: 'stop' } as const
    await expect(inRun(() => execute(plan('unclear'), store, ownerNamed('r1'), stop))).rejects.toThrow('be told')
    await expect(inRun(() => resume('r1', plan('unclear'), store, ownerNamed('r2'), stop))).rejects.toThrow('be told')
    await expect(inRun(() => resume('r1', plan('todo'), store, ownerNamed('r3'), stop))).rejects.toThrow('can read it')
    await inRun(() => undo('r1', plan('unclear'), store, ownerNamed('r4')))
    expect(taken).toEqual([])
    expect(world.history).toEqual(['+a', '-a'])
  })

  it('takes back a step that did its work and could not be verified', async () => {
    const world = newWorld()
    const unproved = switchStep(world, 'b', {
      verify: async () => {
        throw new Error('it flickers')
      },
    })
    const plan = planOf([switchStep(world, 'a'), unproved])
    await expect(inRun(() => execute(plan, memoryStore(), ownerNamed('r1')))).rejects.toThrow('it flickers')
    expect(world.on.size).toBe(0)
  })

  it('stops where it failed, if told to, and can be resumed', async () => {
    const world = newWorld()
    const store = memoryStore()
    const broken = planOf([switchStep(world, 'a'), failing(world, 'b')])
    await expect(inRun(() => execute(broken, store, ownerNamed('r1'), { onFailure: 'stop' }))).rejects.toMatchObject({
      undone: false,
      next: expect.stringContaining('--resume'),
    })
    const mended = planOf([switchStep(world, 'a'), switchStep(world, 'b')])
    await inRun(() => resume('r1', mended, store, ownerNamed('r2')))
    expect(world.history).toEqual(['+a', '+b'])
  })

  it('does not go back past the point of no return', async () => {
    const world = newWorld()
    const store = memoryStore()
    const steps = [switchStep(world, 'a'), switchStep(world, 'b'), failing(world, 'c')]
    const plan = planOf(steps, { pointOfNoReturn: 'b', afterwards: 'tasks demote' })
    await expect(inRun(() => execute(plan, store, ownerNamed('r1')))).rejects.toMatchObject({ undone: false })
    expect([...world.on]).toEqual(['a', 'b'])
    await expect(inRun(() => undo('r1', plan, store, ownerNamed('r2')))).rejects.toMatchObject({
      code: 'past-return',
      next: 'tasks demote',
    })
  })

  it('may be undone while the point of no return was begun and nothing of it happened', async () => {
    const world = newWorld()
    const store = memoryStore()
    const plan = planOf([switchStep(world, 'a'), failing(world, 'b')], { pointOfNoReturn: 'b' })
    await expect(inRun(() => execute(plan, store, ownerNamed('r1')))).rejects.toMatchObject({ undone: true })
    expect(world.on.size).toBe(0)
  })

  it('is refused when the facts have changed since it was planned', async () => {
    const store = memoryStore()
    const world = newWorld()
    const facts = async () => ({ lamp: 'new' })
    await expect(inRun(() => execute(allOn(world), store, ownerNamed('r1'), { facts }))).rejects.toMatchObject({
      code: 'facts-changed',
      detail: 'lamp: "old" when planned, "new" now',
    })
    expect(world.history).toEqual([])
    expect(store.locks.size).toBe(0)
    expect(await store.list()).toEqual([])
  })

  it('is refused while another one is unfinished, and told whose it is', async () => {
    const store = memoryStore()
    const world = newWorld()
    store.linesLeft = 3
    await expect(inRun(() => execute(allOn(world), store, ownerNamed('r1')))).rejects.toThrow()
    store.linesLeft = Number.POSITIVE_INFINITY
    await expect(inRun(() => execute(allOn(world), store, ownerNamed('r2')))).rejects.toMatchObject({
      code: 'unfinished-change',
      message: expect.stringContaining('ann on laptop'),
    })
    await inRun(() => abandon('r1', store))
    await inRun(() => execute(allOn(newWorld()), store, ownerNamed('r1')))
  })

  it('leaves alone what a later step has built upon, whatever is there now', async () => {
    const world = newWorld()
    const store = memoryStore()
    const plan = () => planOf([switchStep(world, 'a'), switchStep(world, 'b'), switchStep(world, 'c')])
    store.linesLeft = 5
    await expect(inRun(() => execute(plan(), store, ownerNamed('r1')))).rejects.toThrow()
    store.linesLeft = Number.POSITIVE_INFINITY
    world.on.delete('a')
    await inRun(() => resume('r1', plan(), store, ownerNamed('r2')))
    expect(world.history).toEqual(['+a', '+b', '+c'])
  })

  it('takes back what was half done, and does it from its beginning', async () => {
    const world = newWorld()
    const store = memoryStore()
    let half = false
    const step = switchStep(world, 'b', {
      check: async () => (half ? 'unclear' : world.on.has('b') ? 'done' : 'todo'),
      do: async () => {
        if (half) throw new Error('done twice')
        half = true
        if (!world.history.includes('undo b')) throw new Error('the lamp broke halfway')
        half = false
        world.on.add('b')
        return {}
      },
      undo: async () => {
        half = false
        world.history.push('undo b')
      },
    })
    const plan = planOf([switchStep(world, 'a'), step])
    await expect(inRun(() => execute(plan, store, ownerNamed('r1'), { onFailure: 'stop' }))).rejects.toThrow('halfway')
    await inRun(() => resume('r1', plan, store, ownerNamed('r2')))
    expect([...world.on]).toEqual(['a', 'b'])
  })

  it('stops between steps when it is interrupted, and stays to be resumed', async () => {
    const world = newWorld()
    const store = memoryStore()
    const controller = new AbortController()
    const interrupting = switchStep(world, 'b', { verify: async () => controller.abort() })
    const plan = planOf([switchStep(world, 'a'), interrupting, switchStep(world, 'c')])
    await expect(inRun(() => execute(plan, store, ownerNamed('r1')), controller.signal)).rejects.toMatchObject({
      exitCode: 130,
      next: expect.stringContaining('--undo'),
    })
    expect([...world.on]).toEqual(['a', 'b'])
    await inRun(() => resume('r1', plan, store, ownerNamed('r2')))
    expect([...world.on]).toEqual(['a', 'b', 'c'])
  })

  it('that has ended can be neither resumed nor undone', async () => {
    const store = memoryStore()
    const plan = allOn(newWorld())
    await inRun(() => execute(plan, store, ownerNamed('r1')))
    await expect(inRun(() => resume('r1', plan, store, ownerNamed('r2')))).rejects.toMatchObject({
      code: 'journal-ended',
    })
    await expect(inRun(() => undo('r1', plan, store, ownerNamed('r2')))).rejects.toMatchObject({
      code: 'journal-ended',
    })
  })
})

/** Where the tool dies: after so many lines of the journal, or in the middle of so many actions. */
const death = fc.record({ lines: fc.integer({ min: 0, max: 14 }), actions: fc.integer({ min: 0, max: 24 }) })

async function dieIn(
  world: World,
  store: ReturnType<typeof memoryStore>,
  at: { lines: number; actions: number },
  work: () => Promise<unknown>,
) {
  store.linesLeft = at.lines
  world.actionsLeft = at.actions / 2 + 0.25
  await inRun(work).catch(() => {})
  store.linesLeft = Number.POSITIVE_INFINITY
  world.actionsLeft = Number.POSITIVE_INFINITY
}

async function unfinished(store: ReturnType<typeof memoryStore>): Promise<boolean> {
  return (await store.list())[0]?.result === 'unfinished'
}

describe('a change whose tool is killed anywhere', () => {
  it('is completed by resume, each step having been done', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(death, { minLength: 1, maxLength: 4 }), async (deaths) => {
        const world = newWorld()
        const store = memoryStore()
        await dieIn(world, store, deaths[0]!, () => execute(allOn(world), store, ownerNamed('r0')))
        for (const [index, at] of deaths.slice(1).entries()) {
          if (!(await unfinished(store))) break
          await dieIn(world, store, at, () => resume('r0', allOn(world), store, ownerNamed(`r${index + 1}`)))
        }
        if (store.journals.size === 0) return
        if (await unfinished(store)) await inRun(() => resume('r0', allOn(world), store, ownerNamed('last')))
        expect([...world.on]).toEqual(names)
        expect(world.history).toEqual(names.map((name) => `+${name}`))
      }),
      { numRuns: 400 },
    )
  })

  it('is taken back whole by undo, even when undo is killed as well', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(death, { minLength: 1, maxLength: 4 }), async (deaths) => {
        const world = newWorld()
        const store = memoryStore()
        await dieIn(world, store, deaths[0]!, () => execute(allOn(world), store, ownerNamed('r0')))
        for (const [index, at] of deaths.slice(1).entries()) {
          if (!(await unfinished(store))) break
          await dieIn(world, store, at, () => undo('r0', allOn(world), store, ownerNamed(`r${index + 1}`)))
        }
        if (store.journals.size === 0) return
        const wasDone = (await store.list())[0]?.result === 'done'
        if (await unfinished(store)) await inRun(() => undo('r0', allOn(world), store, ownerNamed('last')))
        expect([...world.on]).toEqual(wasDone ? names : [])
      }),
      { numRuns: 400 },
    )
  })

  it('past its point of no return can only be completed', async () => {
    await fc.assert(
      fc.asyncProperty(death, async (at) => {
        const world = newWorld()
        const store = memoryStore()
        const plan = planOf(
          names.map((name) => switchStep(world, name)),
          { pointOfNoReturn: 'c' },
        )
        await dieIn(world, store, at, () => execute(plan, store, ownerNamed('r0')))
        if (!(await unfinished(store))) return
        const past = world.on.has('c')
        const outcome = await inRun(() => undo('r0', plan, store, ownerNamed('r1'))).then(
          () => 'undone',
          (error) => error.code as string,
        )
        expect(outcome).toBe(past ? 'past-return' : 'undone')
        expect(world.on.size).toBe(past ? world.on.size : 0)
      }),
      { numRuns: 300 },
    )
  })
})

function failing(world: World, id: string) {
  return switchStep(world, id, {
    do: async () => {
      throw new Error('the lamp is broken')
    },
  })
}
