/** The task file that is meant: the one given, or the nearest. */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { UsageError } from '../events/errors.ts'
import { nearestTaskFile, taskFileIn, taskFileNames } from './nearest.ts'

/** The task file, absolute: `given` (a file, or a folder with one), or the nearest from `cwd` upward. Throws a UsageError. */
export function findTaskFile(cwd: string, given?: string): string {
  if (given === undefined) return nearestTaskFile(cwd) ?? missing(`${cwd} or above it`)
  const file = resolve(cwd, given)
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat?.isDirectory()) return taskFileIn(file) ?? missing(file)
  if (stat) return file
  throw new UsageError('no-task-file', `there is no task file ${file}`, {
    next: 'Give the path of one: `tasks -f deploy/tasks.ts`.',
  })
}

function missing(where: string): never {
  throw new UsageError('no-task-file', `there is no task file in ${where}`, {
    state: `Looked for ${taskFileNames.join(', ')}.`,
    next: 'Make one with `slipway init`, or name one with `tasks -f FILE`.',
  })
}
