/**
 * The one place that node-ssh and ssh2 are loaded from. They are sixty files, and most of a short run's time went into
 * reading them. The build puts them into one file; what V8 made of that file is kept in the user's cache folder, and
 * the next run starts from it. Where any of that is missing or doesn't fit, the packages themselves are loaded.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { cachedDataVersionTag } from 'node:v8'
import { Script } from 'node:vm'
import { userCache, writeBeside } from '../user-cache.ts'

interface Ssh2Library {
  nodeSsh(): typeof import('node-ssh')
  ssh2(): typeof import('ssh2')
}

/** What the build says of its bundle, in `dist/ssh2.json`. */
export interface BundleNote {
  /** The bundle's name, beside the note. */
  readonly file: string
  /** SHA-256 of the bundle, hexadecimal. */
  readonly sha256: string
  /** The packages' versions that went into it: those of node-ssh and ssh2 have to be the installed ones. */
  readonly versions: Readonly<Record<string, string>>
}

// Required, not imported: the loader reads CommonJS twice when it is imported, and there are sixty files of it.
const require = createRequire(import.meta.url)

const packages: Ssh2Library = {
  nodeSsh: () => require('node-ssh') as typeof import('node-ssh'),
  ssh2: () => require('ssh2') as typeof import('ssh2'),
}

let library: Ssh2Library | undefined

/** node-ssh, and the ssh2 that it runs on. */
export const loadNodeSsh = () => loaded().nodeSsh()
export const loadSsh2 = () => loaded().ssh2()

/** Loads what can be loaded while something else is waited for. Best effort: what goes wrong is told when it is used. */
export function loadAhead(): void {
  try {
    if (loaded() === packages) require('ssh2/lib/protocol/keyParser.js')
    else loadNodeSsh()
  } catch {}
}

function loaded(): Ssh2Library {
  library ??= bundled(import.meta.dirname) ?? packages
  return library
}

/** The bundle in `folder`, or undefined where there is none, or where it isn't what is installed. */
function bundled(folder: string, cache = userCache()): Ssh2Library | undefined {
  try {
    const note = JSON.parse(readFileSync(join(folder, 'ssh2.json'), 'utf8')) as BundleNote
    for (const name of ['node-ssh', 'ssh2']) {
      if (note.versions[name] !== installedVersion(name)) return undefined
    }
    return run(join(folder, note.file), note.sha256, cache)
  } catch {
    return undefined
  }
}

/** Read, not required: node-ssh does not export its own. */
function installedVersion(name: string): string {
  for (const folder of require.resolve.paths(name) ?? []) {
    try {
      return (JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8')) as { version: string }).version
    } catch {}
  }
  throw new Error(`${name} is not installed`)
}

function run(file: string, sha256: string, cache: string): Ssh2Library {
  const kept = join(cache, `ssh2-${sha256.slice(0, 16)}-${cachedDataVersionTag().toString(36)}`)
  const cachedData = readKept(kept)
  // ASCII, all of it: Latin-1 is read and compiled with the least work.
  const script = new Script(
    `(function (exports, require, module, __filename, __dirname) {${readFileSync(file, 'latin1')}\n})`,
    {
      filename: file,
      ...(cachedData ? { cachedData } : {}),
    },
  )
  // What the bundle leaves out, the native halves, is found from where ssh2 itself would look.
  const place = require.resolve('ssh2/lib/protocol/crypto.js')
  const module = { exports: {} as Ssh2Library }
  const body = script.runInThisContext() as (...given: unknown[]) => void
  body(module.exports, createRequire(place), module, place, dirname(place))
  // At the end of the run, when V8 has compiled what a run needs.
  if (!cachedData || script.cachedDataRejected) process.once('exit', () => keep(kept, script.createCachedData()))
  return module.exports
}

/** What versions of long ago left is taken away when there is something to write. */
const longestKeptMs = 90 * 24 * 3_600_000

const digest = (data: Uint8Array) => createHash('sha1').update(data).digest()

/** V8 believes what it is given: a file that was cut short must not reach it. */
function readKept(file: string): Buffer | undefined {
  try {
    const bytes = readFileSync(file)
    const data = bytes.subarray(20)
    return digest(data).equals(bytes.subarray(0, 20)) ? data : undefined
  } catch {
    return undefined
  }
}

/** Best effort, in one rename, the user's alone: it is code that will run. */
function keep(file: string, data: Buffer): void {
  try {
    writeBeside(file, Buffer.concat([digest(data), data]))
    for (const name of readdirSync(dirname(file))) {
      const old = join(dirname(file), name)
      if (name.startsWith('ssh2-') && statSync(old).mtimeMs < Date.now() - longestKeptMs) rmSync(old)
    }
  } catch {}
}
