/** A host's files: read, write, edit and the rest, each one round trip. Writes obey dry runs and show their diff. */
import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { SlipwayError, UsageError } from '../events/errors.ts'
import { currentRun } from '../events/run.ts'
import { type Command, Secret } from '../shell/index.ts'
import { unifiedDiff } from './diff.ts'
import { CommandError } from './errors.ts'
import * as commands from './file-commands.ts'
import type { Result, RunCommandOptions, Running, WriteOptions } from './host.ts'
import { resolvePath } from './wire.ts'

/** What file operations need of their host. */
export interface FileSite {
  readonly name: string
  readonly directory?: string
  /** Runs outside of the host's directory: paths are resolved already. */
  run(command: Command, display: string, options: RunCommandOptions): Running
}

const probe: RunCommandOptions = { kind: 'probe', quiet: true }
const write: RunCommandOptions = { kind: 'write', quiet: true }

export async function readBytes(site: FileSite, path: string): Promise<Buffer> {
  const full = resolvePath(site.directory, path)
  const running = site.run(commands.readCommand(full), `read ${path}`, probe)
  const chunks: Buffer[] = []
  try {
    for await (const chunk of running.stdout()) chunks.push(chunk as Buffer)
    await running
  } catch (error) {
    throw fileError(site, 'read', path, error)
  }
  return Buffer.concat(chunks)
}

/** What is in a file, or undefined where there is none. */
async function readIfThere(site: FileSite, path: string): Promise<Buffer | undefined> {
  try {
    return await readBytes(site, path)
  } catch (error) {
    if (error instanceof SlipwayError && error.code === 'file-missing') return undefined
    throw error
  }
}

export async function writeFile(
  site: FileSite,
  path: string,
  content: string | Uint8Array | Secret,
  options: WriteOptions = {},
): Promise<boolean> {
  const full = resolvePath(site.directory, path)
  const hidden = content instanceof Secret
  const bytes = hidden ? Buffer.from(content.reveal()) : Buffer.from(content as string)
  const run = currentRun()
  if (run.options.dryRun) {
    const before = await readIfThere(site, path)
    const same = before?.equals(bytes) ?? false
    const sameMode = options.mode === undefined || (await modeOf(site, path)) === options.mode
    if (same && sameMode) return false
    const diff = same ? undefined : diffOf(before, bytes, path, hidden)
    run.emit({ type: 'held-back', host: site.name, display: `write ${path}`, ...(diff ? { diff } : {}) })
    return true
  }
  const command = commands.writeCommand(full, bytes.length, options.mode, hidden ? 0o600 : 0o644)
  try {
    const result = await site.run(command, `write ${path}`, { ...write, input: bytes })
    const changed = result.text() === 'changed'
    if (changed) run.emit({ type: 'changed', host: site.name, what: path })
    return changed
  } catch (error) {
    throw fileError(site, 'write', path, error)
  }
}

function diffOf(before: Buffer | undefined, after: Buffer, path: string, hidden: boolean): string {
  if (hidden) return `--- ${path}\n+++ ${path} (new)\n(it holds a secret, and is not shown)\n`
  if (before?.includes(0) || after.includes(0))
    return `--- ${path}\n+++ ${path} (new)\n(binary, ${after.length} bytes)\n`
  return unifiedDiff(before?.toString('utf8') ?? '', after.toString('utf8'), path)
}

async function modeOf(site: FileSite, path: string): Promise<number | undefined> {
  const result = await site.run(commands.modeCommand(resolvePath(site.directory, path)), `mode of ${path}`, {
    ...probe,
    nothrow: true,
  })
  const text = result.text()
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : undefined
}

export async function editFile(
  site: FileSite,
  path: string,
  change: (text: string) => string,
  options?: WriteOptions,
): Promise<boolean> {
  const before = await readIfThere(site, path)
  const text = before?.toString('utf8') ?? ''
  if (before && !Buffer.from(text).equals(before)) {
    throw new SlipwayError('file-not-text', `${path} on ${site.name} is not UTF-8 text, and was left as it is`, {
      host: site.name,
      next: 'Use readBytes and write.',
    })
  }
  const after = change(text)
  if (before !== undefined && after === text && options?.mode === undefined) return false
  return writeFile(site, path, after, options)
}

export async function writeTemplate(
  site: FileSite,
  file: string,
  path: string,
  data: Record<string, unknown>,
  options?: WriteOptions,
): Promise<boolean> {
  const source = resolve(currentRun().options.projectDir ?? '.', file)
  let text: string
  try {
    text = await readFile(source, 'utf8')
  } catch (error) {
    throw new UsageError('template-missing', `the template ${source} cannot be read`, { cause: error })
  }
  const { Eta } = await import('eta')
  // Server files are not HTML: nothing is escaped. Whitespace stays as written.
  const eta = new Eta({ autoEscape: false, autoTrim: false, useWith: true })
  let rendered: string
  try {
    rendered = eta.renderString(text, data)
  } catch (error) {
    throw new SlipwayError('template-failed', `the template ${source} could not be rendered`, {
      detail: error instanceof Error ? error.message : String(error),
      cause: error,
    })
  }
  return writeFile(site, path, rendered, options)
}

export async function exists(site: FileSite, path: string): Promise<boolean> {
  const command = commands.existsCommand(resolvePath(site.directory, path))
  return (await site.run(command, `exists ${path}`, probe)).text() === 'yes'
}

export async function symlink(site: FileSite, target: string, link: string): Promise<boolean> {
  const run = currentRun()
  const display = `symlink ${link} → ${target}`
  if (run.options.dryRun) {
    if ((await readlink(site, link)) === target) return false
    run.emit({ type: 'held-back', host: site.name, display })
    return true
  }
  const command = commands.symlinkCommand(target, resolvePath(site.directory, link))
  try {
    const changed = (await site.run(command, display, write)).text() === 'changed'
    if (changed) run.emit({ type: 'changed', host: site.name, what: `${link} → ${target}` })
    return changed
  } catch (error) {
    throw fileError(site, 'symlink', link, error)
  }
}

export async function readlink(site: FileSite, path: string): Promise<string | undefined> {
  const command = commands.readlinkCommand(resolvePath(site.directory, path))
  const result = await site.run(command, `readlink ${path}`, { ...probe, okCodes: [0, commands.status.missing] })
  return result.exitCode === 0 ? result.stdout.replace(/\n$/, '') : undefined
}

export async function chmod(site: FileSite, path: string, mode: number | string): Promise<void> {
  const shown = typeof mode === 'number' ? mode.toString(8) : mode
  await change(site, commands.chmodCommand(resolvePath(site.directory, path), mode), `chmod ${shown} ${path}`, path)
}

export async function mkdir(site: FileSite, path: string, mode: number | undefined): Promise<void> {
  await change(site, commands.mkdirCommand(resolvePath(site.directory, path), mode), `mkdir ${path}`, path)
}

export async function remove(site: FileSite, path: string, recursive: boolean): Promise<void> {
  const full = resolvePath(site.directory, path)
  if (path.trim() === '' || commands.isTooBroad(full)) {
    throw new UsageError(
      'remove-refused',
      `${JSON.stringify(path)} is not removed: it is the root, the home, or empty`,
      {
        host: site.name,
        state: 'Nothing was removed.',
      },
    )
  }
  await change(site, commands.removeCommand(full, recursive), `remove ${path}`, path)
}

async function change(site: FileSite, command: Command, display: string, path: string): Promise<void> {
  try {
    // Its result is not looked at: in a dry run it cannot be.
    await site.run(command, display, write)
  } catch (error) {
    throw fileError(site, display.split(' ')[0] as string, path, error)
  }
}

export async function upload(
  site: FileSite,
  localFile: string,
  path: string,
  options: WriteOptions = {},
): Promise<void> {
  const source = resolve(currentRun().options.projectDir ?? '.', localFile)
  const unreadable = (why: { cause?: unknown; detail?: string }) =>
    new UsageError('upload-missing', `${source} cannot be read`, why)
  const file = await open(source).catch((error: unknown) => {
    throw unreadable({ cause: error })
  })
  try {
    const info = await file.stat()
    if (!info.isFile()) throw unreadable({ detail: 'it is not a file' })
    const mode = options.mode ?? info.mode & 0o777
    const command = commands.writeCommand(resolvePath(site.directory, path), info.size, mode, mode)
    const input = file.createReadStream({ highWaterMark: 256 * 1024, autoClose: false })
    await site.run(command, `upload ${localFile} → ${path}`, { ...write, input })
  } catch (error) {
    throw error instanceof UsageError ? error : fileError(site, 'write', path, error)
  } finally {
    await file.close()
  }
}

export async function download(site: FileSite, path: string, localFile: string): Promise<void> {
  const target = resolve(currentRun().options.projectDir ?? '.', localFile)
  const beside = `${target}.slipway-${process.pid}`
  const running = site.run(commands.readCommand(resolvePath(site.directory, path)), `download ${path}`, probe)
  try {
    await pipeline(
      running.stdout(),
      counted(site, `download ${path}`),
      createWriteStream(beside, { mode: 0o600, highWaterMark: 1024 * 1024 }),
    )
    await running
    await rename(beside, target)
  } catch (error) {
    await rm(beside, { force: true })
    throw fileError(site, 'read', path, error)
  }
}

/** Passes all on, and tells how much has come: ten times a second at most; nothing of what is there in a blink. */
function counted(site: FileSite, label: string): Transform {
  const run = currentRun()
  const id = randomBytes(4).toString('hex')
  let done = 0
  let told = performance.now()
  let shown = false
  const tell = (more: { total?: number } = {}) =>
    run.emit({ type: 'progress', id, host: site.name, label, done, ...more, unit: 'bytes' })
  return new Transform({
    transform(chunk: Buffer, _encoding, next) {
      done += chunk.length
      if (performance.now() - told >= 100) {
        told = performance.now()
        shown = true
        tell()
      }
      next(undefined, chunk)
    },
    flush(next) {
      if (shown) tell({ total: done })
      next()
    },
  })
}

/** A failed file operation as a sentence about the file. */
function fileError(site: FileSite, verb: string, path: string, error: unknown): unknown {
  if (!(error instanceof CommandError)) return error
  const { host } = error
  const result: Result = error.result
  const at = `${path} on ${site.name}`
  const make = (code: string, message: string, state?: string) =>
    new SlipwayError(code, message, { host, state, detail: result.stderr.trim() || undefined, cause: error })
  switch (result.exitCode) {
    case commands.status.missing:
      return verb === 'write'
        ? make('directory-missing', `the directory of ${at} does not exist`, 'Nothing was written.')
        : make('file-missing', `${at} does not exist`)
    case commands.status.denied:
      return make('file-denied', `${at} may not be ${verb === 'read' ? 'read' : 'written'} by this user`)
    case commands.status.isDirectory:
      return make('file-is-directory', `${at} is a directory`, 'It was left as it is.')
    case commands.status.short:
      return make('file-incomplete', `not all of ${at} arrived`, 'It was left as it was.')
  }
  if (/No space left on device/i.test(result.stderr)) {
    return make('disk-full', `the disk is full: ${at} could not be written`, 'It was left as it was.')
  }
  if (/Disk quota exceeded/i.test(result.stderr)) {
    return make('disk-quota', `the disk quota is used up: ${at} could not be written`, 'It was left as it was.')
  }
  if (/Read-only file system/i.test(result.stderr)) {
    return make('disk-read-only', `the file system is read-only: ${at} could not be written`, 'It was left as it was.')
  }
  if (/Permission denied|Operation not permitted/i.test(result.stderr)) {
    return make('file-denied', `${verb} ${at}: permission denied`)
  }
  return make(`${verb}-failed`, `${verb} ${at} failed with exit status ${result.exitCode}`)
}
