/** What takes long tells how far it is: a dump while it grows on the host, and a file while it comes. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RunEvent } from '../../../src/events/index.ts'
import { host } from '../../../src/hosts/index.ts'
import { sh } from '../../../src/shell/index.ts'
import { watching } from '../../../src/targets/vps/database/watch.ts'
import { createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
}, 30_000)
afterAll(() => project.stop())

const progressOf = (events: readonly RunEvent[]) =>
  events.flatMap((event) => (event.type === 'progress' ? [event] : []))

test('a file that grows on a host is told of while it does, and its bar is taken away', async () => {
  const { events } = await project.run(() =>
    watching(
      host('pony-host'),
      [{ file: 'growing', label: 'copy main', source: 'source' }],
      async () =>
        await host('pony-host').run(
          sh`head -c 5000 /dev/zero >source; head -c 2000 /dev/zero >growing; until [ -e seen ]; do sleep 0.05; [ "$(stat -c %X growing)" ] && n=$((n + 1)); [ "$n" -lt 60 ] || touch seen; done`,
        ),
    ),
  )
  const told = progressOf(events)
  expect(told[0]).toMatchObject({ label: 'copy main', host: 'pony-host', done: 2000, total: 5000, unit: 'bytes' })
  expect(told.at(-1)).toMatchObject({ done: 2000, total: 2000 })
  expect(new Set(told.map(({ id }) => id)).size).toBe(1)
}, 30_000)

test('work that is over within a second is not looked at, and its failure goes on as it is', async () => {
  const failing = project.run(() =>
    watching(host('pony-host'), [{ file: 'none', label: 'x' }], async () => {
      throw new Error('the work failed')
    }),
  )
  await expect(failing).rejects.toThrow('the work failed')
})

test('a long download tells how much has come', async () => {
  const file = join(project.dir, 'fetched')
  const { events } = await project.run(async () => {
    await host('pony-host').run(sh`head -c 300000000 /dev/zero >large`)
    await host('pony-host').download('large', file)
  })
  expect(statSync(file).size).toBe(300_000_000)
  const told = progressOf(events)
  expect(told.length).toBeGreaterThan(1)
  expect(told.at(-1)).toMatchObject({ label: 'download large', done: 300_000_000, total: 300_000_000 })
  expect(told.slice(0, -1).every(({ total }) => total === undefined)).toBe(true)
}, 60_000)
