/** Loading a task file: from its cached bundle where nothing changed, else bundled anew; then its exports become tasks. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { UsageError } from '../events/errors.ts'
import { asSlipwayError } from '../events/foreign.ts'
import { type Collected, collectTasks, describeTasks } from '../tasks/collect.ts'
import { writeBeside } from '../user-cache.ts'
import { bundleTaskFile } from './bundle.ts'
import { cacheFolder, inputOf, type Manifest, manifestKey, readManifest, writeManifest } from './manifest.ts'
import { configuredNames } from './names.ts'
import { isCoreOption } from './options.ts'
import { packageEntries, packageRoot } from './package.ts'
import { ownPlace, shortPath } from './place.ts'

export interface LoadedTaskFile extends Collected {
  file: string
  /** The folder it lies in: what everything relative is relative to. */
  dir: string
  manifest: Manifest
}

const ownKey = (): string => manifestKey(join(packageRoot(), 'package.json'))

/** Throws a UsageError, with the line where there is one, for whatever is wrong with the file. */
export async function loadTaskFile(file: string): Promise<LoadedTaskFile> {
  const key = ownKey()
  const cached = readManifest(file, key)
  const cachedBundle = cached && join(cacheFolder(file), cached.bundle)
  if (cached && cachedBundle && existsSync(cachedBundle)) {
    return { file, dir: dirname(file), manifest: cached, ...(await importTasks(file, cachedBundle)) }
  }

  const packages = packageEntries()
  // What the task file will import is loaded while esbuild, a process of its own, is at work.
  void import(packages['slipway']!).catch(() => {})
  const { code, inputs } = await bundleTaskFile(file, packages)
  // Before the import: a file saved meanwhile makes the manifest stale, not wrong.
  const stamps = inputs.map(inputOf)
  const bundle = writeBundle(file, code)
  const collected = await importTasks(file, bundle.path)
  const manifest: Manifest = {
    key,
    taskFile: file,
    inputs: [...stamps, inputOf(join(dirname(file), 'config', 'deploy.ini'))],
    bundle: bundle.name,
    tasks: describeTasks(collected),
    ...(collected.default === undefined ? {} : { default: collected.default }),
    ...configuredNames(join(dirname(file), 'config', 'deploy.ini')),
  }
  if (bundle.cached) writeManifest(manifest)
  return { file, dir: dirname(file), manifest, ...collected }
}

/** What is known of the task file, without loading it where nothing changed. */
export async function describeTaskFile(file: string): Promise<Manifest> {
  return readManifest(file, ownKey()) ?? (await loadTaskFile(file)).manifest
}

async function importTasks(file: string, bundle: string): Promise<Collected> {
  process.setSourceMapsEnabled(true)
  let exports: Record<string, unknown>
  try {
    exports = (await import(pathToFileURL(bundle).href)) as Record<string, unknown>
  } catch (error) {
    throw whileLoading(file, error)
  }
  return collectTasks(exports, shortPath(file), isCoreOption)
}

function whileLoading(file: string, error: unknown): UsageError {
  if ((error as { code?: unknown } | null)?.code === 'two-copies') {
    const { message, next } = error as { message: string; next?: string }
    return new UsageError('two-copies', message, { cause: error, ...(next ? { next } : {}) })
  }
  if (error instanceof UsageError) return error
  const known = asSlipwayError(error)
  return new UsageError('task-file-threw', `${ownPlace(error, dirname(file)) ?? shortPath(file)}: ${known.message}`, {
    state: 'The task file threw while it was loaded; nothing was run.',
    ...(known.next ? { next: known.next } : {}),
    cause: error,
  })
}

/** Named by its content, so that a process never reads a bundle that belongs to another manifest. */
function writeBundle(file: string, code: string): { path: string; name: string; cached: boolean } {
  const folder = cacheFolder(file)
  const name = `tasks-${Date.now().toString(36)}-${process.pid.toString(36)}.mjs`
  try {
    writeBeside(join(folder, name), code)
    for (const old of readdirSync(folder)) if (isOld(old, name)) rmSync(join(folder, old), { force: true })
    return { path: join(folder, name), name, cached: true }
  } catch {
    const temporary = mkdtempSync(join(tmpdir(), 'slipway-'))
    process.once('exit', () => rmSync(temporary, { recursive: true, force: true }))
    writeBeside(join(temporary, name), code)
    return { path: join(temporary, name), name, cached: false }
  }
}

/** A minute's grace: another process may have read the manifest and not yet the bundle. */
function isOld(name: string, current: string): boolean {
  const made = /^tasks-([0-9a-z]+)-/.exec(name)?.[1]
  return made !== undefined && name !== current && Number.parseInt(made, 36) < Date.now() - 60_000
}
