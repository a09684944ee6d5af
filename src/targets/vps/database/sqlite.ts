/** SQLite on a host, as commands. Pure: see sqlite-program.ts for what they run. */
import { type Command, sh } from '../../../shell/index.ts'
import { sqliteProgram } from './sqlite-program.ts'

const program = (...words: string[]): Command => sh`python3 -c ${sqliteProgram} ${words}`

/** A consistent copy of `source` at `target` while the app writes. */
export const copyDatabase = (source: string, target: string): Command => program('copy', source, target)

/** Restores a copy into a scratch file beside it, reads that from end to end, and removes it. */
export const tryDatabase = (file: string): Command => program('try', file)

/**
 * A verified copy of `source` over `target`; what was there is kept at `kept`. Nothing may have `target` open. Where
 * the checksum is known that `source` had when it was found whole, that is compared; else it is read through again.
 */
export const putDatabase = (source: string, target: string, kept: string, sha256?: string): Command =>
  program('put', source, target, kept, ...(sha256 === undefined ? [] : [sha256]))

/** A copy of `source` at `target` on which the SQL in the file `sql` was run. */
export const scrubDatabase = (source: string, target: string, sql: string): Command =>
  program('scrub', source, target, sql)

/** Reads a database in use from end to end; fails where it is damaged or not there. */
export const checkDatabase = (file: string): Command => program('check', file)

export const sizes = (files: readonly string[]): Command => program('size', ...files)

/** The files that hold tables, as a JSON list. */
export const withData = (files: readonly string[]): Command => program('has-data', ...files)
