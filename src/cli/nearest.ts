/** Which file is the task file: the nearest, here or upward. Imports nothing but Node, because lists start here. */
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

export const taskFileNames = ['tasks.ts', 'tasks.mts', 'tasks.js', 'tasks.mjs'] as const

/** Absolute, or undefined where there is none from `cwd` upward. */
export function nearestTaskFile(cwd: string): string | undefined {
  for (let dir = resolve(cwd); ; dir = dirname(dir)) {
    const file = taskFileIn(dir)
    if (file !== undefined || dir === dirname(dir)) return file
  }
}

export function taskFileIn(dir: string): string | undefined {
  return taskFileNames.map((name) => join(dir, name)).find((file) => existsSync(file))
}
