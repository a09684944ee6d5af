/** The project that the tool works on: the nearest folder, here or upward, with a task file or a configuration. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { taskFileIn } from './nearest.ts'

/** `cwd` itself where nothing says that a project is above it. */
export function projectFolder(cwd: string): string {
  for (let dir = cwd; ; dir = dirname(dir)) {
    if (taskFileIn(dir) !== undefined || existsSync(join(dir, 'config', 'deploy.ini'))) return dir
    if (dir === dirname(dir)) return cwd
  }
}
