/** Bytes to a host and back, by every way that much data goes. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { host } from '../../../src/hosts/index.ts'
import type { Sshd } from './sshd.ts'

export const hash = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')

/** `bytes`, which are in `tree/big` of the project, arrive as input, as a tree, and as output. */
export async function arriveWhole(sshd: Sshd, bytes: Uint8Array): Promise<void> {
  const h = host('test')
  expect((await h.run('sha256sum', { kind: 'probe' }).input(bytes).text()).split(' ')[0]).toBe(hash(bytes))
  await h.rsync({ source: 'tree/', destination: '~/tree' })
  expect(hash(readFileSync(join(sshd.home, 'tree', 'big')))).toBe(hash(bytes))
  const parts: Buffer[] = []
  for await (const part of h.run('cat tree/big', { kind: 'probe' }).stdout()) parts.push(part as Buffer)
  expect(hash(Buffer.concat(parts))).toBe(hash(bytes))
}
