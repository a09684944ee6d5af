/** `tasks --list` where nothing changed since the last time: the cached manifest, and nothing else, is read. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { listJson, listText } from './list.ts'
import { manifestKey, readManifest } from './manifest.ts'
import { findTaskFile } from './taskfile.ts'

/** The list, or undefined where the long way has to be gone. */
export function fastList(argv: readonly string[], packageJson: URL): string | undefined {
  let json = false
  let list = false
  for (const word of argv) {
    if (word === '-l' || word === '--list') list = true
    else if (word === '--json') json = true
    else return undefined
  }
  if (!list) return undefined
  try {
    const { version } = JSON.parse(readFileSync(fileURLToPath(packageJson), 'utf8')) as { version: string }
    const manifest = readManifest(findTaskFile(process.cwd()), manifestKey(version))
    if (!manifest) return undefined
    return json ? listJson(manifest) : listText(manifest, Math.max(40, process.stdout.columns ?? 100))
  } catch {
    return undefined
  }
}
