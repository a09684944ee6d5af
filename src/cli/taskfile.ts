/** Finding the task file: here, then upward. */
import { existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { UsageError } from '../events/errors.ts'

export const taskFileNames = ['tasks.ts', 'tasks.mts', 'tasks.js', 'tasks.mjs'] as const

/** The task file, absolute: `given`, or the nearest one from `cwd` upward. Throws a UsageError where there is none. */
export function findTaskFile(cwd: string, given?: string): string {
  if (given !== undefined) {
    const file = resolve(cwd, given)
    if (!existsSync(file)) {
      throw new UsageError('no-task-file', `there is no task file ${file}`, {
        next: 'Give the path of one: `tasks -f deploy/tasks.ts`.',
      })
    }
    if (statSync(file).isDirectory()) return findTaskFileIn(file) ?? missing(file, false)
    return file
  }
  for (let dir = resolve(cwd); ; dir = dirname(dir)) {
    const file = findTaskFileIn(dir)
    if (file) return file
    if (dir === dirname(dir)) return missing(cwd, true)
  }
}

function findTaskFileIn(dir: string): string | undefined {
  return taskFileNames.map((name) => join(dir, name)).find((file) => existsSync(file))
}

function missing(dir: string, upward: boolean): never {
  throw new UsageError('no-task-file', `there is no task file in ${dir}${upward ? ' or above it' : ''}`, {
    state: `Looked for ${taskFileNames.join(', ')}.`,
    next: 'Make one with `slipway init`, or name one with `tasks -f FILE`.',
  })
}
