import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { createRun, withRun } from '../../../src/events/index.ts'
import { visit } from '../../../src/targets/vps/outside.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

async function ask(answer: (response: ServerResponse) => void, withinMs?: number) {
  const listening = createServer((_, response) => answer(response))
  server = listening
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  const { port } = listening.address() as AddressInfo
  return withRun(createRun(), () => visit({ domain: '127.0.0.1', tls: false, port, path: '/up' }, withinMs))
}

test('an answer is its status, headers and body', async () => {
  const answer = await ask((response) => response.writeHead(200, { 'X-Release': 'ponyr1/v1' }).end('well'))
  expect(answer).toMatchObject({ status: 200, headers: { 'x-release': 'ponyr1/v1' }, body: 'well' })
})

test('one whose body never ends is none, however steadily it comes', async () => {
  const endless = (response: ServerResponse) => {
    response.writeHead(200)
    const timer = setInterval(() => response.write('x'), 20)
    response.on('close', () => clearInterval(timer))
  }
  await expect(ask(endless, 300)).rejects.toThrow('no answer within 0.3 s')
})
