/** The store while its database is overwritten, in a file of this machine: a run that dies meanwhile leaves it there. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { isGone } from '../../engine/locks.ts'
import type { HerokuContext } from './context.ts'

/** All rows of the store's tables. */
export type Saved = Record<string, unknown>

export interface Kept {
  at: string
  /** The id of the add-on whose content it is: the app's DATABASE may be another by now. */
  database: string
  saved: Saved
}

export interface Aside {
  readonly file: string
  keep(database: string, saved: Saved): Promise<void>
  drop(): Promise<void>
  /** It stays for the next run: this one does nothing more with it. */
  leave(): void
  /** What a run that is gone, or done with it, left; undefined where there is none, or it is at work still. */
  left(): Promise<Kept | undefined>
}

/** Files of this very process, whose number a run that is gone may have had too: in a container it is mostly the same. */
const own = new Set<string>()

/** `folder`: the app's own below ~/.slipway, or below that of a rehearsal. */
export function asideOf({ env }: HerokuContext, folder: string): Aside {
  const home = env['SLIPWAY_STATE_HOME'] ?? env['HOME'] ?? homedir()
  const file = join(home, '.slipway', folder, 'aside.json')
  return {
    file,
    async keep(database, saved) {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      const at = new Date().toISOString()
      await writeFile(`${file}.new`, JSON.stringify({ pid: process.pid, at, database, saved }), { mode: 0o600 })
      await rename(`${file}.new`, file)
      own.add(file)
    },
    async drop() {
      await rm(file, { force: true })
      own.delete(file)
    },
    leave: () => void own.delete(file),
    async left() {
      const text = await readFile(file, 'utf8').catch(() => undefined)
      if (text === undefined) return undefined
      const { pid, ...kept } = JSON.parse(text) as Kept & { pid: number }
      return (pid === process.pid ? !own.has(file) : isGone(pid)) ? kept : undefined
    },
  }
}
