/** An upload of what the host has already is made there, of links; whatever differs is sent. */
import {
  appendFileSync,
  existsSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  await install()
}, 90_000)
afterAll(() => project.stop())

/** Uploads and installs; resolves with how the upload told of itself. */
async function install(): Promise<string> {
  const { events } = await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
  })
  const sent = events.flatMap((event) =>
    event.type === 'step.finished' && /files sent|files linked/.test(event.detail ?? '')
      ? [event.detail as string]
      : [],
  )
  return sent[0] ?? ''
}
const current = () => join(project.release, readlinkSync(join(project.release, 'current')))
const inode = (file: string) => statSync(join(current(), file)).ino

test('nothing has changed: every file is a link to the one there is, but for those with a mode of their own', async () => {
  const before = inode('pony/web.py')
  const folder = current()
  expect(await install()).toMatch(/^nothing has changed: \d+ files linked$/)
  expect(current()).not.toBe(folder)
  expect(inode('pony/web.py')).toBe(before)
  expect(statSync(join(current(), 'pony/private_credentials.py')).mode & 0o777).toBe(0o400)
}, 30_000)

test('a change here is sent, and nothing else', async () => {
  const before = inode('pony/web.py')
  project.edit('app/pony/pages.py', (text) => `${text}# one more line\n`)
  expect(await install()).toMatch(/^\d+ of \d+ files sent/)
  expect(readFileSync(join(current(), 'pony/pages.py'), 'utf8')).toContain('# one more line')
  expect(inode('pony/web.py')).toBe(before)
}, 30_000)

test('a file that somebody changed on the host does not come along', async () => {
  const file = join(current(), 'pony/pages.py')
  const text = readFileSync(file, 'utf8')
  appendFileSync(file, '# changed on the host\n')
  expect(await install()).toMatch(/files sent/)
  expect(readFileSync(join(current(), 'pony/pages.py'), 'utf8')).toBe(text)
  expect(await install()).toMatch(/^nothing has changed/)
}, 30_000)

test('the same size at another time is a change, and a removed file is gone', async () => {
  const extra = join(project.dir, 'app/extra.txt')
  writeFileSync(extra, 'aaaa')
  await install()
  writeFileSync(extra, 'bbbb')
  utimesSync(extra, new Date(), new Date(Date.now() + 60_000))
  expect(await install()).toMatch(/files sent/)
  expect(readFileSync(join(current(), 'extra.txt'), 'utf8')).toBe('bbbb')
  rmSync(extra)
  await install()
  expect(existsSync(join(current(), 'extra.txt'))).toBe(false)
}, 30_000)
