import { describe, expect, it } from 'vitest'
import {
  createRun,
  currentRun,
  type RunEvent,
  StubbedResultError,
  together,
  withRun,
} from '../../../src/events/index.ts'
import { collectTasks } from '../../../src/tasks/collect.ts'
import { nameTask } from '../../../src/tasks/define.ts'
import { choice, exitWith, flag, number, param, string, task } from '../../../src/tasks/index.ts'

async function recorded<T>(fn: () => Promise<T>) {
  const events: RunEvent[] = []
  const run = createRun()
  run.bus.on((event) => events.push(event))
  const result = await withRun(run, () =>
    fn().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    ),
  )
  return { ...result, events } as { value?: T; error?: Error & { code?: string; next?: string }; events: RunEvent[] }
}

const told = (events: RunEvent[]) =>
  events.flatMap((event) => {
    if (event.type === 'task.started')
      return [`${event.id} in ${event.parent ?? '-'}: ${event.name} ${JSON.stringify(event.params)}`]
    if (event.type === 'task.finished') return [`${event.id} ${event.outcome}${event.reused ? ' reused' : ''}`]
    return []
  })

function named<T extends Record<string, unknown>>(tasks: T): T {
  collectTasks(tasks, 'tasks.ts', () => false)
  return tasks
}

describe('a task', () => {
  it('is called as a function, and gets its parameters parsed, given or fallen back', async () => {
    const { hello } = named({
      hello: task({
        about: 'hello',
        params: { name: string(), times: number().default(2), loud: flag() },
        run: ({ name, times, loud }) => `${name} ${times} ${loud}`,
      }),
    })
    expect((await recorded(() => hello({ name: 'a' }))).value).toBe('a 2 false')
    expect((await recorded(() => hello({ name: 'a', times: '3', loud: 'yes' }))).value).toBe('a 3 true')
    expect((await recorded(() => hello({ name: 'a', times: 4, loud: true }))).value).toBe('a 4 true')
  })

  it('shows up nested in the one that called it', async () => {
    const inner = task({ about: 'inner', params: { n: number() }, run: ({ n }) => n + 1 })
    const outer = task({ about: 'outer', run: async () => (await inner({ n: 1 })) + (await inner({ n: 2 })) })
    const { value, events } = await recorded(() => named({ inner, outer }).outer())
    expect(value).toBe(5)
    expect(told(events)).toEqual([
      '1 in -: outer {}',
      '2 in 1: inner {"n":"1"}',
      '2 ok',
      '3 in 1: inner {"n":"2"}',
      '3 ok',
      '1 ok',
    ])
  })

  it('tags the events of its body with its id', async () => {
    const inner = task({ about: 'i', run: () => currentRun().emit({ type: 'note', text: 'inside' }) })
    const { events } = await recorded(() => named({ inner }).inner())
    expect(events.find((event) => event.type === 'note')).toMatchObject({ task: '1' })
  })

  it('passes its error on as it is, and tells it once', async () => {
    const boom = task({ about: 'b', run: () => Promise.reject(new TypeError('no')) })
    const { error, events } = await recorded(() => named({ boom }).boom())
    expect(error).toBeInstanceOf(TypeError)
    expect(events.at(-1)).toMatchObject({
      type: 'task.finished',
      outcome: 'failed',
      error: { code: 'unexpected', message: 'TypeError: no' },
    })
  })

  it('refuses a value, an unknown and a missing parameter before it starts', async () => {
    const { start_app } = named({
      start_app: task({ about: 's', params: { release: choice(['staging', 'production']) }, run: () => {} }),
    })
    const bad = await recorded(() => start_app({ release: 'stagin' as 'staging' }))
    expect(bad.error).toMatchObject({
      code: 'bad-value',
      message: 'start_app: release: "stagin" is not one of staging, production',
      next: 'Did you mean staging?',
    })
    const unknown = await recorded(() => start_app({ relase: 'staging' } as never))
    expect(unknown.error).toMatchObject({ code: 'unknown-parameter', next: 'Did you mean release?' })
    const missing = await recorded(() => (start_app as unknown as () => Promise<unknown>)())
    expect(missing.error).toMatchObject({
      code: 'missing-parameter',
      next: 'For example: tasks start_app:release=staging',
    })
    for (const { events } of [bad, unknown, missing]) expect(events).toEqual([])
  })

  it('says what is wrong when it is called outside a run', async () => {
    await expect(task({ about: 'x', run: () => {} })()).rejects.toMatchObject({ code: 'no-run' })
  })

  it('looks for a fallback inside the task, so that what it reads is shown there', async () => {
    const looked = param<string>({
      placeholder: 'x',
      parse: (text) => text,
      fallback: () => {
        currentRun().emit({ type: 'note', text: 'looking' })
        return 'found'
      },
    })
    const t = task({ about: 't', params: { x: looked }, run: ({ x }) => x })
    const { value, events } = await recorded(() => named({ t }).t())
    expect(value).toBe('found')
    expect(events.map((event) => [event.type, event.task])).toEqual([
      ['task.started', undefined],
      ['note', '1'],
      ['task.finished', undefined],
    ])
  })

  it('is not begun once the run is aborted', async () => {
    let ran = false
    const late = task({
      about: 'l',
      run: () => {
        ran = true
      },
    })
    nameTask(late as never, 'late')
    const controller = new AbortController()
    controller.abort()
    const run = createRun({ signal: controller.signal })
    await expect(withRun(run, () => late())).rejects.toMatchObject({ code: 'aborted', exitCode: 130 })
    expect(ran).toBe(false)
  })
})

describe('once', () => {
  const counted = () => {
    const calls: string[] = []
    const build = task({
      about: 'b',
      once: true,
      params: { of: string().default('all') },
      run: async ({ of }) => {
        const number = calls.push(of)
        await Promise.resolve()
        return number
      },
    })
    return { calls, ...named({ build }) }
  }

  it('runs once for the same parameters, in parallel too, given or fallen back', async () => {
    const { build, calls } = counted()
    const { value, events } = await recorded(() =>
      together([() => build(), () => build({ of: 'all' }), () => build({ of: 'css' })]),
    )
    expect(calls).toEqual(['all', 'css'])
    expect(value).toEqual([1, 1, 2])
    expect(told(events).filter((line) => line.endsWith('reused'))).toHaveLength(1)
  })

  it('runs again in another run', async () => {
    const { build, calls } = counted()
    await recorded(() => build())
    await recorded(() => build())
    expect(calls).toHaveLength(2)
  })

  it('gives later calls the same failure', async () => {
    let calls = 0
    const t = task({ about: 't', once: true, run: () => Promise.reject(new Error(`no ${++calls}`)) })
    named({ t })
    const { value } = await recorded(async () => [await t().catch(String), await t().catch(String)])
    expect(value).toEqual(['Error: no 1', 'Error: no 1'])
  })

  it('does not wait for itself', async () => {
    const a: () => Promise<unknown> = task({ about: 'a', once: true, run: () => b() })
    const b: () => Promise<unknown> = task({ about: 'b', run: () => a() })
    const { error } = await recorded(() => named({ a, b }).a())
    expect(error).toMatchObject({ code: 'once-cycle', message: 'a runs once, and calls itself' })
  })
})

describe('in a dry run', () => {
  const stops = () => Promise.reject(new StubbedResultError('git pull'))

  it('a task that looks at a held-back result stops, and the one that called it goes on', async () => {
    const inner = task({ about: 'i', run: stops })
    const outer = task({
      about: 'o',
      run: async () => {
        await inner()
        return 'went on'
      },
    })
    const { value, events } = await recorded(() => named({ inner, outer }).outer())
    expect(value).toBe('went on')
    expect(told(events)).toContain('2 stopped')
  })

  it('the one that called it stops where it looks at that result', async () => {
    const inner = task({ about: 'i', run: async (): Promise<{ id: string }> => stops() })
    const outer = task({ about: 'o', run: async () => (await inner()).id })
    const { events } = await recorded(() => named({ inner, outer }).outer())
    expect(told(events)).toEqual(['1 in -: outer {}', '2 in 1: inner {}', '2 stopped', '1 stopped'])
    expect(events.at(-1)).toMatchObject({ error: { message: 'depends on the result of the task inner' } })
  })
})

it('exitWith ends a task with that status, and 0 goes on', async () => {
  exitWith(0)
  const t = task({ about: 't', run: () => exitWith(42) })
  expect((await recorded(() => named({ t }).t())).error).toMatchObject({ exitCode: 42 })
})
