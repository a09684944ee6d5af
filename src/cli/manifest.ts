/**
 * What is known of a task file without loading it: its tasks, and the files they came from. Kept in the user's cache
 * folder and believed as long as none of those files changed. Imports nothing but Node, because lists start here.
 */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TaskInfo } from '../tasks/collect.ts'
import { userCache, writeBeside } from '../user-cache.ts'

export interface Manifest {
  /** Of Slipway, the folder that this copy of it lies in, and Node: another one makes another manifest. */
  key: string
  taskFile: string
  /** Path, modification time in ms (0: not there), size in bytes. */
  inputs: [path: string, modified: number, size: number][]
  /** The bundle, in the same folder. */
  bundle: string
  tasks: TaskInfo[]
  default?: string
  /** For completion. */
  hosts: string[]
  roles: string[]
}

/** Throws where `packageJson`, this package's own, can't be read. A bundle imports the very copy that made it. */
export function manifestKey(packageJson: string): string {
  const { version } = JSON.parse(readFileSync(packageJson, 'utf8')) as { version: string }
  return `2 ${version} ${process.version} ${dirname(packageJson)}`
}

/** The folder that holds a task file's manifest and bundle. */
export function cacheFolder(taskFile: string): string {
  return join(userCache(), fingerprint(taskFile))
}

/** The manifest of `taskFile`, or undefined where there is none or where it is stale. */
export function readManifest(taskFile: string, key: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(readFileSync(join(cacheFolder(taskFile), 'manifest.json'), 'utf8')) as Manifest
    const fresh =
      manifest.key === key &&
      manifest.taskFile === taskFile &&
      manifest.inputs.every(([path, modified, size]) => {
        const now = inputOf(path)
        return now[1] === modified && now[2] === size
      })
    return fresh ? manifest : undefined
  } catch {
    return undefined
  }
}

/** Best effort: a cache folder that cannot be written costs time, not the run. */
export function writeManifest(manifest: Manifest): void {
  const folder = cacheFolder(manifest.taskFile)
  try {
    writeBeside(join(folder, 'manifest.json'), JSON.stringify(manifest))
  } catch {}
}

export function inputOf(path: string): [string, number, number] {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat ? [path, stat.mtimeMs, stat.size] : [path, 0, 0]
}

/** FNV-1a, twice: short names for cache folders without loading crypto; the manifest itself says whose it is. */
function fingerprint(text: string): string {
  let a = 0x811c9dc5
  let b = 0x1234567
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    a = Math.imul(a ^ code, 0x01000193)
    b = Math.imul(b ^ (code + index), 0x01000193)
  }
  return (a >>> 0).toString(36) + (b >>> 0).toString(36)
}
