import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { descendants, endProcesses, identify, isRunning, withEnvironment } from '../../../src/sandbox/process.ts'

async function start(script: string, env: Record<string, string> = {}) {
  const child = spawn('/bin/sh', ['-c', script], {
    env: { PATH: '/usr/bin:/bin', ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await once(child.stdout, 'data')
  const identity = await identify(child.pid as number)
  if (!identity) throw new Error('it has ended')
  return { child, identity }
}

describe('a process', () => {
  test('is known by its pid and its start time', async () => {
    const { child, identity } = await start('echo; exec sleep 1000')
    expect(await isRunning(identity)).toBe(true)
    expect(await isRunning({ ...identity, startTime: '1' })).toBe(false)
    child.kill()
    await once(child, 'exit')
    expect(await isRunning(identity)).toBe(false)
  })

  test('is ended, and killed when it will not end', async () => {
    const willing = await start('echo; exec sleep 1000')
    const stubborn = await start('trap "" TERM; echo; while :; do sleep 1; done')
    const killed = await endProcesses([willing.identity, stubborn.identity], { graceMs: 100 })
    expect(killed).toEqual([stubborn.identity])
    expect(await Promise.all([willing.identity, stubborn.identity].map(isRunning))).toEqual([false, false])
  })

  test('of another start time is left alone', async () => {
    const { child, identity } = await start('echo; exec sleep 1000')
    await endProcesses([{ ...identity, startTime: '1' }])
    expect(await isRunning(identity)).toBe(true)
    child.kill()
  })

  test('is found by a variable it was started with, and below its parent', async () => {
    const mark = { SLIPWAY_TEST_MARK: `${process.pid}-${Date.now()}` }
    const { identity } = await start('sleep 1000 & echo; wait', mark)
    const found = await withEnvironment(mark)
    expect(found).toHaveLength(2)
    expect(found).toContainEqual(identity)
    expect(await descendants([identity.pid])).toEqual(found.filter(({ pid }) => pid !== identity.pid))
    expect(await withEnvironment({ ...mark, OTHER: 'x' })).toEqual([])
    await endProcesses(found)
  })
})
