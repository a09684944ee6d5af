/** Files that a command writes because it was asked to: what keeps it from doing so is told in words. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { UsageError } from '../events/errors.ts'

/** Writes `file` and the folders above it. Throws a UsageError. */
export function writeOwn(file: string, text: string, mode = 0o600): void {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text, { mode })
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    throw new UsageError('not-written', `${file} cannot be written: ${whys[code] ?? code}`, {
      next: 'Choose another place, or change who may write there.',
      cause: error,
    })
  }
}

const whys: Readonly<Record<string, string>> = {
  EACCES: 'you may not write there',
  EPERM: 'you may not write there',
  EROFS: 'it is on a file system that is read-only',
  EISDIR: 'there is a folder of that name',
  EEXIST: 'a file stands where a folder would have to be',
  ENOTDIR: 'a file stands where a folder would have to be',
  ENOSPC: 'the disk is full',
}
