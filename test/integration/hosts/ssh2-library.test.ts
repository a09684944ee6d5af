/** The build's one file of node-ssh and ssh2, and what V8 made of it: used where they fit, and left where they don't. */
import { execFile } from 'node:child_process'
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { BundleNote } from '../../../src/hosts/ssh2-library.ts'
import { type Built, buildSlipway } from '../../built.ts'
import { type Sshd, startSshd } from './sshd.ts'

const exec = promisify(execFile)

let built: Built
let server: Sshd
let work: string
let cache: string

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'slipway-library-'))
  ;[built, server] = await Promise.all([buildSlipway(), startSshd()])
})
afterAll(async () => {
  await server?.stop()
  built?.remove()
  rmSync(work, { recursive: true, force: true })
})
beforeEach(() => {
  cache = mkdtempSync(join(work, 'cache-'))
})

/** Runs `echo there` on the host; what else it says goes to stderr. */
async function onHost(tasks = built.tasks): Promise<string> {
  const words = [tasks, '-S', server.sshConfigFile, '-q', '-H', 'test', '--', 'echo', 'there']
  const { stdout } = await exec(process.execPath, words, {
    cwd: work,
    env: { ...process.env, XDG_CACHE_HOME: cache },
  })
  return stdout
}

/** The kept file; one alone, besides `other`. */
const kept = (other?: string) => {
  const names = readdirSync(join(cache, 'slipway')).filter((name) => name.startsWith('ssh2-') && name !== other)
  expect(names).toHaveLength(1)
  return join(cache, 'slipway', names[0]!)
}

test('what V8 made of it is kept for the user alone, and used by the next run as it is', async () => {
  expect(await onHost()).toBe('there\n')
  const file = kept()
  const { ino, mode } = statSync(file)
  expect(mode & 0o777).toBe(0o600)

  expect(await onHost()).toBe('there\n')
  expect(statSync(kept()).ino).toBe(ino)
})

test.each<[string, (file: string) => void]>([
  ['cut short', (file) => truncateSync(file, statSync(file).size / 2)],
  ['empty', (file) => truncateSync(file, 0)],
  [
    'changed',
    (file) => {
      const bytes = readFileSync(file)
      bytes.fill(0x5a, bytes.length / 2, bytes.length / 2 + 4096)
      writeFileSync(file, bytes)
    },
  ],
])('a kept file that was %s is passed over, and written anew', async (_what, spoil) => {
  await onHost()
  const whole = statSync(kept()).size
  spoil(kept())
  const spoiled = readFileSync(kept())

  expect(await onHost()).toBe('there\n')
  expect(readFileSync(kept()).equals(spoiled)).toBe(false)
  expect(statSync(kept()).size).toBeGreaterThan(whole / 2)
})

test('what versions of long ago left is taken away', async () => {
  await onHost()
  const old = join(cache, 'slipway', 'ssh2-0123-abc')
  writeFileSync(old, '')
  utimesSync(old, 1e9, 1e9)
  await onHost()
  expect(statSync(old).size).toBe(0)

  truncateSync(kept('ssh2-0123-abc'), 0)
  await onHost()
  expect(kept()).not.toBe(old)
})

test.each<[string, (dist: string) => void]>([
  ['there is no such file', (dist) => rmSync(join(dist, 'ssh2.cjs'))],
  ['there is no note of it', (dist) => rmSync(join(dist, 'ssh2.json'))],
  [
    'another ssh2 is installed than went into it',
    (dist) => {
      const note = JSON.parse(readFileSync(join(dist, 'ssh2.json'), 'utf8')) as BundleNote
      writeFileSync(join(dist, 'ssh2.json'), JSON.stringify({ ...note, versions: { ...note.versions, ssh2: '0.0.1' } }))
    },
  ],
])('the packages themselves are loaded where %s', async (_where, change) => {
  const copy = mkdtempSync(join(work, 'copy-'))
  cpSync(built.root, copy, { recursive: true, verbatimSymlinks: true })
  change(join(copy, 'dist'))

  expect(await onHost(join(copy, 'dist/bin/tasks.js'))).toBe('there\n')
  expect(readdirSync(cache)).toEqual([])
})
