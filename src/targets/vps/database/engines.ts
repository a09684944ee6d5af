/** What each kind of database is dumped, verified and put back with: commands for a host. */
import { randomBytes } from 'node:crypto'
import type { DatabaseConfig } from '../../../config/types.ts'
import { SlipwayError } from '../../../events/index.ts'
import type { Command } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import type { ReleaseLayout } from '../layout.ts'
import { checkDatabase, copyDatabase, putDatabase, sizes } from './sqlite.ts'

export interface Engine {
  kind: DatabaseConfig['kind']
  role: 'data' | 'queue'
  /** What a backup calls its file. */
  fileName: string
  /** A consistent copy into `file` while the app writes; its last line of output is JSON: bytes, counts, sha256. */
  dump(file: string): Command
  /** Restores `file` into a scratch database, and prints the same. */
  verify(file: string): Command
  /** Over the database, verified first; what was there is kept as `kept`. Nothing may be using it. */
  put(file: string, kept: string): Command
  size(): Command
}

/** The engine of the database `name` in `release`. */
export async function engineFor(context: VpsContext, release: ReleaseLayout, name: string): Promise<Engine> {
  const config = context.deployment.app.databases[name]
  if (!config) {
    throw new SlipwayError('no-database', `[app.databases] has no ${name}`, { state: 'Nothing was changed.' })
  }
  if (config.kind === 'sqlite') return sqliteEngine(name, `${release.shared}/${config.path}`, config.role)
  const { backupCommands, serverDatabase } = await import('./servers.ts')
  const database = await serverDatabase(context.config, name, config, `${release.records}/credentials`)
  return backupCommands(name, database, randomBytes(4).toString('hex'))
}

export function sqliteEngine(name: string, path: string, role: 'data' | 'queue'): Engine {
  return {
    kind: 'sqlite',
    role,
    fileName: `${name}.sqlite`,
    dump: (file) => copyDatabase(path, file),
    verify: (file) => checkDatabase(file, { full: true, sum: true }),
    put: (file, kept) => putDatabase(file, path, `${kept}.sqlite`),
    size: () => sizes([path]),
  }
}
