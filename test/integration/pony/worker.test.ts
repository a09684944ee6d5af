import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ask, createPony, type Pony } from '../../servers/pony.ts'

let pony: Pony
let socketPath: string
beforeEach(async () => {
  pony = await createPony()
  socketPath = join(pony.dir, 'web.sock')
  await pony.command('initialize_db')
  await pony.start('web', { SLIPWAY_SOCKET: socketPath })
})
afterEach(() => pony.remove())

async function register(...keys: string[]): Promise<void> {
  for (const key of keys) {
    const body = JSON.stringify({ name: key, email: `${key}@example.org`, key })
    const headers = { 'content-type': 'application/json' }
    const answer = await ask({ socketPath }, { method: 'POST', path: '/brevets/200/riders', headers, body })
    expect(answer.status).toBe(201)
  }
}
const sent = async () => {
  const log = await pony.file('shared/mail/sent.log').catch(() => '')
  return log
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ')[0])
}
const mails = async () => {
  const { body } = await ask({ socketPath }, { path: '/up' })
  return (JSON.parse(body) as { mails: Record<string, number> }).mails
}
const eventually = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 25_000, interval: 20 })

test('a worker sends the mail of each registration', async () => {
  await register('ada', 'grace')
  await pony.start('worker')
  await eventually(async () => expect(await sent()).toEqual(['ada', 'grace']))
  await eventually(async () => expect(await mails()).toEqual({ sent: 2 }))
  expect(await pony.file('shared/mail/sent/ada.eml')).toContain('To: ada@example.org')
  expect(await readdir(join(pony.dir, 'shared/mail/outgoing'))).toEqual([])
})

test('on TERM a worker finishes the mail in hand and takes no other', async () => {
  await register('in-hand', 'next')
  const worker = await pony.start('worker', { PONY_DELIVER_SECONDS: '0.5' })
  await eventually(async () => expect(await mails()).toMatchObject({ sending: 1 }))
  expect(await worker.stop()).toBe(0)
  expect(await sent()).toEqual(['in-hand'])
  expect(await mails()).toEqual({ sent: 1, queued: 1 })
})

test('a mail whose worker was killed is sent by the next one, once', async () => {
  await register('unlucky')
  const worker = await pony.start('worker', { PONY_DELIVER_SECONDS: '60' })
  await eventually(async () => expect(await mails()).toEqual({ sending: 1 }))
  await worker.stop('SIGKILL')
  await pony.start('worker')
  await eventually(async () => expect(await mails()).toEqual({ sent: 1 }))
  expect(await sent()).toEqual(['unlucky'])
})

test('several workers send each mail once', async () => {
  const keys = Array.from({ length: 40 }, (_, index) => `rider-${index}`)
  await register(...keys)
  await Promise.all([1, 2, 3].map(() => pony.start('worker', { PONY_DELIVER_SECONDS: '0.01' })))
  await eventually(async () => expect(await mails()).toEqual({ sent: 40 }))
  expect((await sent()).sort()).toEqual([...keys].sort())
})

test('a worker takes up what a killed web process left in the outbox', async () => {
  await register('ada')
  const insert = "INSERT INTO outbox VALUES ('orphan', 'orphan@example.org', 'You ride', 'Bon courage')"
  const { execFileSync } = await import('node:child_process')
  execFileSync('/usr/bin/sqlite3', [join(pony.dir, 'shared/db/pony.sqlite'), insert])
  await pony.start('worker')
  await eventually(async () => expect((await sent()).sort()).toEqual(['ada', 'orphan']))
})
