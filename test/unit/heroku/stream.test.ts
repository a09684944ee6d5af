/** Output of builds and releases: it starts late, is cut, and is gone once it was read; none of it is shown twice. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import type { HerokuClient } from '../../../src/targets/heroku/client.ts'
import { outputStream } from '../../../src/targets/heroku/stream.ts'

const output = 'building ä\nreleased\n'
const bytes = Buffer.from(output)
let close = () => {}
afterEach(() => close())

/** Answers one call after the other; resolves with what was read, and the ranges that were asked for. */
async function read(...answers: ((from: number) => { status: number; body?: Buffer; cut?: boolean })[]) {
  const asked: (string | undefined)[] = []
  const server = createServer((request, response) => {
    const range = request.headers.range
    asked.push(range)
    const answer = answers[Math.min(asked.length, answers.length) - 1]
    const { status, body, cut } = answer?.(Number(/=(\d+)-/.exec(range ?? '')?.[1] ?? 0)) ?? { status: 500 }
    response.writeHead(status)
    if (!cut) return response.end(body)
    return response.write(body, () => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  close = () => server.close()
  const client = { open: (url: string, headers = {}) => fetch(url, { headers }) } as unknown as HerokuClient
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const text = await withRun(createRun(), async () => {
    let all = ''
    for await (const part of outputStream(client, url)) all += part
    return all
  })
  return { text, asked }
}

const missing = () => ({ status: 404 })

test('that is not there at first is waited for', async () => {
  expect(await read(missing, missing, () => ({ status: 200, body: bytes }))).toMatchObject({
    text: output,
    asked: [undefined, undefined, undefined],
  })
})

test('that is cut, inside a character too, goes on where it stopped', async () => {
  const { text, asked } = await read(
    () => ({ status: 200, body: bytes.subarray(0, 10), cut: true }),
    (from) => ({ status: 206, body: bytes.subarray(from) }),
  )
  expect({ text, asked }).toEqual({ text: output, asked: [undefined, 'bytes=10-'] })
})

test('that begins again from its start, or is gone by then, is shown once', async () => {
  const cut = () => ({ status: 200, body: bytes.subarray(0, 10), cut: true })
  expect((await read(cut, () => ({ status: 200, body: bytes }))).text).toBe(output)
  const whole = () => ({ status: 200, body: bytes, cut: true })
  expect((await read(whole, missing)).text).toBe(output)
})
