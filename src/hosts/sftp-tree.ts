/**
 * Trees by SFTP, for hosts without rsync. Which files, and what is left out, the local rsync decides, so that patterns
 * mean the same; a file is sent when its size or time differs. Slower, and without hard links.
 */
import { spawn } from 'node:child_process'
import { lstat, mkdir, mkdtemp, readlink, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, posix } from 'node:path'
import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2'
import { SlipwayError } from '../events/errors.ts'
import { createGate } from './gate.ts'
import type { RsyncOptions, RsyncResult } from './host.ts'
import { within, withResolvers } from './promises.ts'
import { endsWithinMs } from './rsync.ts'

type Patterns = Pick<RsyncOptions, 'exclude' | 'excludeFrom'>

/** Files sent at once. */
const atOnce = 8
/** What a file is called until it is whole. */
const partSuffix = `.slipway-${process.pid}`

/** What rsync would send from `source` (in rsync's form), relative to the destination. Directories end in a slash. */
async function listTree(source: string, patterns: Patterns, signal: AbortSignal): Promise<string[]> {
  const empty = await mkdtemp(join(tmpdir(), 'slipway-list-'))
  try {
    const given = [
      ...(patterns.exclude ?? []).map((pattern) => `--exclude=${pattern}`),
      ...(patterns.excludeFrom === undefined ? [] : [`--exclude-from=${patterns.excludeFrom}`]),
    ]
    // Control characters in names come as escapes, all else as it is.
    const args = [...given, '-rlptn', '-8', '--out-format=%n', '--', source, `${empty}/`]
    const text = await outputOf('rsync', args, signal)
    return text
      .split('\n')
      .filter((name) => name !== '' && name !== './')
      .map((name) =>
        name.replace(/\\#(\d{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
      )
  } finally {
    await rm(empty, { recursive: true, force: true })
  }
}

function outputOf(program: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      signal,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    })
    let text = ''
    let complaint = ''
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      complaint += part
    })
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0
        ? resolve(text)
        : reject(
            new SlipwayError('rsync-source-missing', 'the tree to copy could not be read', {
              detail: complaint.trim(),
            }),
          ),
    )
  })
}

const call = <T = void>(start: (done: (error?: Error | null, value?: T) => void) => void) =>
  new Promise<T>((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value as T))))
/** Undefined where the server says no. That it says nothing more is a failure: a folder would be taken for empty. */
const orUndefined = <T>(promise: Promise<T>): Promise<T | undefined> =>
  promise.catch((error: { code?: unknown }) => {
    if (typeof error.code !== 'number') throw error
    return undefined
  })

const kindOf = (mode: number) => mode & 0o170000
const isLink = (mode: number) => kindOf(mode) === 0o120000
const isDirectory = (mode: number) => kindOf(mode) === 0o040000

export interface SftpCopy {
  source: string
  destination: string
  options: RsyncOptions
  dryRun: boolean
  onProgress(done: number, total: number): void
  signal: AbortSignal
  /** Files that are there in part, under another name: each from its beginning until it is whole. */
  parts: Set<string>
}

/** Takes away what a copy that did not end left there, and ends the session. */
export async function removeParts(sftp: SFTPWrapper, parts: ReadonlySet<string>): Promise<void> {
  await Promise.all([...parts].map((path) => orUndefined(call((done) => sftp.unlink(path, done)))))
  sftp.end()
}

/**
 * Does `work` for each, some at once. At the first error the session is ended, as a long file would go on to its end;
 * it rejects with that error once all that was begun has ended, or after a second: ssh2 forgets what is asked for then.
 */
async function severalAtOnce<T>(
  sftp: SFTPWrapper,
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const gate = createGate(atOnce)
  let first: { error: unknown } | undefined
  const failed = withResolvers<void>()
  const one = async (item: T) => {
    try {
      const leave = await gate.enter(signal)
      try {
        signal.throwIfAborted()
        if (!first) await work(item)
      } finally {
        leave()
      }
    } catch (error) {
      first ??= { error }
      sftp.end()
      failed.resolve()
    }
  }
  const all = Promise.all(items.map(one))
  await Promise.race([all, failed.promise.then(() => within(endsWithinMs, all))])
  if (first) throw (first as { error: unknown }).error
}

/** Makes `destination` there what rsync would make of it. */
export async function sendTree(sftp: SFTPWrapper, copy: SftpCopy): Promise<RsyncResult> {
  const names = await listTree(copy.source, copy.options, copy.signal)
  // Without a trailing slash the folder itself is sent, and its name is part of each.
  const root = copy.source.endsWith('/') ? copy.source : posix.dirname(copy.source)
  const target = (name: string) => posix.join(copy.destination, name)
  const there = await remoteTree(sftp, copy.destination)
  const changed: string[] = []
  const result: RsyncResult = { changed, deleted: [], files: names.length, bytesSent: 0, bytesTotal: 0 }
  if (!copy.dryRun) await makeDirectories(sftp, copy.destination)
  for (const name of names.filter((each) => each.endsWith('/'))) {
    if (!copy.dryRun && !there.has(name.slice(0, -1))) await orUndefined(call((done) => sftp.mkdir(target(name), done)))
  }
  const files = names.filter((name) => !name.endsWith('/'))
  await severalAtOnce(sftp, files, copy.signal, async (name) => {
    const local = join(root, name)
    const info = await lstat(local)
    result.bytesTotal += info.size
    const old = there.get(name)
    const seconds = Math.floor(info.mtimeMs / 1000)
    if (info.isSymbolicLink()) {
      const to = await readlink(local)
      if (
        old &&
        isLink(old.mode) &&
        (await orUndefined(call<string>((done) => sftp.readlink(target(name), done)))) === to
      )
        return
      changed.push(name)
      if (copy.dryRun) return
      if (old) await call((done) => sftp.unlink(target(name), done))
      await call((done) => sftp.symlink(to, target(name), done))
      return
    }
    if (!info.isFile()) return
    if (old && !isLink(old.mode) && old.size === info.size && old.mtime === seconds && !copy.options.checksum) return
    changed.push(name)
    if (copy.dryRun) return
    // Beside and renamed, so that a file is never there in part.
    const beside = `${target(name)}${partSuffix}`
    copy.parts.add(beside)
    await call((done) => sftp.fastPut(local, beside, { mode: info.mode & 0o7777 }, done))
    await call((done) => sftp.setstat(beside, { mode: info.mode & 0o7777, atime: seconds, mtime: seconds }, done))
    await call((done) => sftp.ext_openssh_rename(beside, target(name), done))
    copy.parts.delete(beside)
    result.bytesSent += info.size
    copy.onProgress(result.bytesSent, result.bytesTotal)
  })
  if (copy.options.delete) {
    const wanted = new Set(names.map((name) => name.replace(/\/$/, '')))
    const spared = await leftOut(
      [...there].map(([name, stats]) => (isDirectory(stats.mode) ? `${name}/` : name)),
      copy,
    )
    // The deepest first, so that a folder is empty when its turn comes.
    for (const [name, stats] of [...there].sort(([a], [b]) => b.split('/').length - a.split('/').length)) {
      // Left by a connection that was lost, it is a whole file by now.
      if (wanted.has(name) || name.endsWith(partSuffix) || spared(name)) continue
      const directory = isDirectory(stats.mode)
      if (!copy.dryRun) {
        const gone = directory
          ? call((done) => sftp.rmdir(target(name), done))
          : call((done) => sftp.unlink(target(name), done))
        // A folder that still holds something spared stays, as with rsync.
        if (
          directory &&
          !(await gone.then(
            () => true,
            () => false,
          ))
        )
          continue
        await gone
      }
      result.deleted.push(directory ? `${name}/` : name)
    }
  }
  changed.sort()
  return result
}

/**
 * What of the names there must not be deleted: what the patterns leave out (rsync spares it too), and what lies outside
 * of the folder that is sent. A tree of empty files by those names is shown to rsync, so that patterns mean the same.
 */
async function leftOut(names: readonly string[], copy: SftpCopy): Promise<(name: string) => boolean> {
  const mirror = await mkdtemp(join(tmpdir(), 'slipway-mirror-'))
  try {
    for (const name of names) {
      if (name.endsWith('/')) await mkdir(join(mirror, name), { recursive: true })
      else {
        await mkdir(dirname(join(mirror, name)), { recursive: true })
        await writeFile(join(mirror, name), '')
      }
    }
    const whole = copy.source.endsWith('/')
    const folder = basename(copy.source)
    if (!whole) await mkdir(join(mirror, folder), { recursive: true })
    const subject = new Set(await listTree(whole ? `${mirror}/` : join(mirror, folder), copy.options, copy.signal))
    return (name) => !subject.has(name) && !subject.has(`${name}/`)
  } finally {
    await rm(mirror, { recursive: true, force: true })
  }
}

/** Fetches `source` there into a folder here, whole; what is left out of it is decided by who asked. */
export async function fetchTree(sftp: SFTPWrapper, source: string, into: string, signal: AbortSignal): Promise<void> {
  const stats = await call<Stats>((done) =>
    sftp.stat(source.replace(/\/+$/, '') || '/', (error, value) => done(error, value)),
  )
  if (!stats.isDirectory()) {
    await call((done) => sftp.fastGet(source, join(into, basename(source)), done))
    return
  }
  const root = source.endsWith('/') ? into : join(into, basename(source))
  await mkdir(root, { recursive: true })
  const found = await remoteTree(sftp, source)
  for (const [name, each] of found) if (isDirectory(each.mode)) await mkdir(join(root, name), { recursive: true })
  const files = [...found].filter(([, each]) => !isDirectory(each.mode))
  await severalAtOnce(sftp, files, signal, async ([name, each]) => {
    const from = posix.join(source, name)
    if (isLink(each.mode))
      return await symlink(await call<string>((done) => sftp.readlink(from, done)), join(root, name))
    await call((done) => sftp.fastGet(from, join(root, name), { mode: each.mode & 0o777 }, done))
    await utimes(join(root, name), each.atime, each.mtime)
  })
}

type Attributes = FileEntryWithStats['attrs']

/** All that is in a folder there, by its path in it. A parent comes before what is in it. */
async function remoteTree(sftp: SFTPWrapper, root: string, under = ''): Promise<Map<string, Attributes>> {
  const found = new Map<string, Attributes>()
  const entries = await orUndefined(call<FileEntryWithStats[]>((done) => sftp.readdir(posix.join(root, under), done)))
  for (const { filename, attrs } of entries ?? []) {
    if (filename === '.' || filename === '..') continue
    const name = under === '' ? filename : `${under}/${filename}`
    found.set(name, attrs)
    if (isDirectory(attrs.mode)) for (const [inner, each] of await remoteTree(sftp, root, name)) found.set(inner, each)
  }
  return found
}

async function makeDirectories(sftp: SFTPWrapper, path: string): Promise<void> {
  if (await orUndefined(call<unknown>((done) => sftp.stat(path, (error, value) => done(error, value))))) return
  const parent = posix.dirname(path)
  if (parent !== path) await makeDirectories(sftp, parent)
  await call((done) => sftp.mkdir(path, done))
}
