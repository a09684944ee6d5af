/** The user's cache folder. Imports nothing but Node, because lists start here. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/** Ours in it: `~/.cache/slipway`, unless XDG_CACHE_HOME says otherwise. */
export function userCache(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'slipway')
}

/** Writes in one rename, readable by the user alone: task files are code, and caches are run. */
export function writeBeside(file: string, content: string | Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, content, { mode: 0o600 })
  renameSync(temporary, file)
}
