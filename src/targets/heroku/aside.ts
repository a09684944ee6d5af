/** The store while its database is overwritten, in a file of this machine: a run that dies meanwhile leaves it there. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { isGone } from '../../engine/locks.ts'
import type { HerokuContext } from './context.ts'

/** All rows of the store's tables. */
export type Saved = Record<string, unknown>

export interface Aside {
  keep(saved: Saved): Promise<void>
  drop(): Promise<void>
  /** What a run that is gone left, and when it kept it; undefined where there is none, or it is at work still. */
  left(): Promise<{ at: string; saved: Saved } | undefined>
}

/** Files of this very process, whose number a run that is gone may have had too: in a container it is mostly the same. */
const own = new Set<string>()

/** `folder`: the app's own below ~/.slipway, or below that of a rehearsal. */
export function asideOf({ env }: HerokuContext, folder: string): Aside {
  const home = env['SLIPWAY_STATE_HOME'] ?? env['HOME'] ?? homedir()
  const file = join(home, '.slipway', folder, 'aside.json')
  return {
    async keep(saved) {
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      const at = new Date().toISOString()
      await writeFile(`${file}.new`, JSON.stringify({ pid: process.pid, at, saved }), { mode: 0o600 })
      await rename(`${file}.new`, file)
      own.add(file)
    },
    async drop() {
      await rm(file, { force: true })
      own.delete(file)
    },
    async left() {
      const text = await readFile(file, 'utf8').catch(() => undefined)
      if (text === undefined) return undefined
      const { pid, at, saved } = JSON.parse(text) as { pid: number; at: string; saved: Saved }
      return (pid === process.pid ? !own.has(file) : isGone(pid)) ? { at, saved } : undefined
    },
  }
}
