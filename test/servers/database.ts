/** What the servers of databases have in common in tests: waited for until they answer, ended at once, never left. */
import type { ChildProcess } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

export interface DatabaseServer {
  name: string
  child: ChildProcess
  /** Its folder, which goes with it. */
  dir: string
  log: string
  /** What ends it without ado: nothing of it is needed again, and sessions that a test left must not hold it. */
  signal: NodeJS.Signals
  /** Throws while it does not answer. */
  ask(): void
}

/** Resolves, once it answers, with what stops it. */
export async function answering(server: DatabaseServer): Promise<() => Promise<void>> {
  const { name, child, dir, log, signal, ask } = server
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const end = () => child.kill(signal)
  process.once('exit', end)
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      ask()
      break
    } catch (error) {
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`${name} does not start: ${readFileSync(log, 'utf8')}`, { cause: error })
      }
      await delay(50)
    }
  }
  return async () => {
    process.removeListener('exit', end)
    end()
    await gone
    rmSync(dir, { recursive: true, force: true })
  }
}
