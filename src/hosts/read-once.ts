/** Small local files (keys, known_hosts), read once a run however many hosts ask for them. */
import { readFile } from 'node:fs/promises'
import { currentRun } from '../events/run.ts'

/** The file's bytes, or the error that reading it gave. */
export function readOnce(path: string): Promise<Buffer | NodeJS.ErrnoException> {
  return currentRun().memo(`read-once:${path}`, () => readFile(path).catch((error: NodeJS.ErrnoException) => error))
}

/** The file's text, or undefined where it cannot be read. */
export async function textOnce(path: string): Promise<string | undefined> {
  const found = await readOnce(path)
  return found instanceof Error ? undefined : found.toString('utf8')
}

/** Begins to read files that will be asked for one after the other. */
export function readAhead(...paths: readonly string[]): void {
  for (const path of paths) void readOnce(path)
}
