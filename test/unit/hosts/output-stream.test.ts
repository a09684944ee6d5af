import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { OutputStream } from '../../../src/hosts/output-stream.ts'

it('gives what came as it came, and its end', async () => {
  const stream = new OutputStream()
  const read = (async () => {
    const parts: string[] = []
    for await (const part of stream) parts.push(String(part))
    return parts.join('')
  })()
  for (const part of ['one ', 'two ', 'three']) {
    stream.add(Buffer.from(part))
    await turn()
  }
  stream.finish()
  expect(await read).toBe('one two three')
})

it('puts together what comes while the reader is busy', async () => {
  const stream = new OutputStream()
  const parts: string[] = []
  stream.on('data', (part) => parts.push(String(part)))
  await turn()
  stream.pause()
  for (const part of ['a', 'b', 'c', 'd']) stream.add(Buffer.from(part))
  stream.resume()
  await turn()
  // What was asked for before it paused comes alone.
  expect(parts).toEqual(['a', 'bcd'])
})

it('has the command wait when a megabyte is unread, and go on when it is read', async () => {
  const stream = new OutputStream()
  let rooms = 0
  stream.on('room', () => rooms++)
  const chunk = Buffer.alloc(256 * 1024)
  const taken = Array.from({ length: 4 }, () => stream.add(chunk))
  expect(taken).toEqual([true, true, true, false])
  expect(rooms).toBe(0)
  let bytes = 0
  stream.on('data', (part: Buffer) => {
    bytes += part.length
  })
  await turn()
  expect(bytes).toBe(1024 * 1024)
  expect(rooms).toBe(1)
  expect(stream.add(chunk)).toBe(true)
})

it('wants nothing more once its reader has gone', async () => {
  const stream = new OutputStream()
  for (let count = 0; count < 5; count++) stream.add(Buffer.alloc(256 * 1024))
  const room = new Promise((resolve) => stream.once('room', resolve))
  stream.destroy()
  await room
  expect(stream.add(Buffer.alloc(2 ** 21))).toBe(true)
})
