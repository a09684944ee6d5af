import { Writable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createRun } from '../../../src/events/index.ts'
import { Capture } from '../../../src/hosts/capture.ts'

/** A disk that takes a chunk only when told to. */
function slowDisk() {
  const written: Buffer[] = []
  const waiting: (() => void)[] = []
  const stream = new Writable({
    highWaterMark: 1,
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk)
      waiting.push(done)
    },
  })
  return {
    open: async () => ({ file: '/nowhere/of/slipway/stdout', stream }),
    written,
    /** Everything that is waiting, and what comes after it, is taken. */
    async take() {
      while (waiting.length > 0) {
        waiting.shift()?.()
        await turn()
      }
    },
  }
}

it('has the command wait for a slow disk, and go on when there is room', async () => {
  const disk = slowDisk()
  const capture = new Capture(1000, 'stdout', disk.open)
  let rooms = 0
  capture.onRoom = () => rooms++
  const megabyte = Buffer.alloc(1024 * 1024, 'x')
  const taken = Array.from({ length: 6 }, () => capture.add(megabyte))
  expect(taken).toEqual([true, true, true, true, false, false])
  await turn()
  expect(disk.written).toHaveLength(1)
  expect(rooms).toBe(0)
  await disk.take()
  expect(rooms).toBe(1)
  expect(capture.add(megabyte)).toBe(true)
  const finished = capture.finish(createRun({}))
  await turn()
  await disk.take()
  expect(await finished).toEqual({ text: 'x'.repeat(1000), file: '/nowhere/of/slipway/stdout' })
  expect(Buffer.concat(disk.written)).toHaveLength(7 * 1024 * 1024)
})

it('says so where the disk here does not take it', async () => {
  const full = new Writable({
    write: (_chunk, _encoding, done) => done(new Error('ENOSPC: no space left on device')),
  })
  const capture = new Capture(10, 'stdout', async () => ({ file: '/nowhere/of/slipway/stdout', stream: full }))
  capture.add(Buffer.alloc(100))
  await expect(capture.finish(createRun({}))).rejects.toMatchObject({
    code: 'output-not-kept',
    detail: 'ENOSPC: no space left on device',
  })
})

it('needs no disk for what is short', async () => {
  const capture = new Capture(10, 'stdout', () => Promise.reject(new Error('never')))
  expect(capture.add(Buffer.from('0123456789'))).toBe(true)
  expect(await capture.finish(createRun({}))).toEqual({ text: '0123456789' })
})
