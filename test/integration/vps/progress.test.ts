/** What takes long tells how far it is: a dump while it grows on the host, and a file while it comes. */
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { currentRun, type RunEvent } from '../../../src/events/index.ts'
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
  expect(told[0]).toMatchObject({ label: 'copy main', host: 'pony-host', done: 2000, total: 5000, about: true })
  expect(told.at(-1)).toMatchObject({ done: 2000, total: 2000 })
  expect(new Set(told.map(({ id }) => id)).size).toBe(1)
}, 30_000)

test('a file that is read on a host is told of by what its readers have had, each time that it is read', async () => {
  // Each pass reads a part, and goes on when it has been looked at.
  const pass = (bytes: number) =>
    sh`(head -c ${bytes} >/dev/null; until [ -e ${`seen-${bytes}`} ]; do sleep 0.05; done) <dump`
  const home = project.home
  const { events } = await project.run(async () => {
    await host('pony-host').run(sh`head -c 900000 /dev/zero >dump`)
    currentRun().bus.on((event) => {
      if (event.type === 'progress') writeFileSync(join(home, `seen-${event.done > 500_000 ? 600_000 : 100_000}`), '')
    })
    await watching(host('pony-host'), [{ read: 'dump', label: 'put main in place' }], async () => {
      await host('pony-host').run(pass(600_000))
      await host('pony-host').run(pass(100_000))
    })
  })
  const told = progressOf(events)
  expect(told.every(({ label, total, about }) => label === 'put main in place' && total !== undefined && !about)).toBe(
    true,
  )
  expect(new Set(told.map(({ id }) => id)).size).toBe(2)
  expect(told[0]?.total).toBe(900_000)
}, 60_000)

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
