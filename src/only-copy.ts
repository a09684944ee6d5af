/**
 * Two copies of this package in one process would not know each other's tasks and runs: the tasks of one would be
 * missing in the other. The second to load throws, naming both.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const key = Symbol.for('slipway.copy')

claim(rootOf(dirname(fileURLToPath(import.meta.url))))

function claim(here: string): void {
  const shared = globalThis as { [key]?: string }
  const there = shared[key]
  if (there === undefined) Object.defineProperty(globalThis, key, { value: here })
  else if (there !== here) {
    throw Object.assign(new Error(`two copies of slipway were loaded: ${there} and ${here}`), {
      code: 'two-copies',
      next: `Let both use one: remove one of them, or run the tasks with ${join(here, 'dist/bin/tasks.js')}.`,
    })
  }
}

function rootOf(start: string): string {
  for (let dir = start; ; dir = dirname(dir)) {
    if (existsSync(join(dir, 'package.json'))) return dir
    if (dir === dirname(dir)) return start
  }
}
