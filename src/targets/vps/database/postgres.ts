/** PostgreSQL behind the engine's interface: psql, pg_dump and pg_restore on the host, one round trip an operation. */
import { Secret } from '../../../shell/index.ts'
import { type DatabaseAddress, fencedName, readValue } from './engine.ts'
import * as commands from './postgres-commands.ts'
import { postgresErrors } from './postgres-errors.ts'
import { serverEngine, untouched } from './server-engine.ts'

export const postgres = serverEngine({
  kind: 'postgres',
  commands,
  known: postgresErrors,
  readChecksums: (text) =>
    Object.fromEntries([...text.matchAll(/^sum\t(.+)\t(\S+)$/gm)].map((match) => [match[1], match[2]])),
  readMigrations: (text) => ({
    django: JSON.parse(readValue(text, 'django') ?? '[]'),
    alembic: JSON.parse(readValue(text, 'alembic') ?? '[]'),
  }),
  afterSwap: untouched,
  afterUnfence: (at) => `It is still ${fencedName(at.database)}.`,
})

/** The file that PGPASSFILE names, for one user of any server: colons and backslashes are escaped. */
export function passwordFile(at: DatabaseAddress, password: string): Secret {
  const field = (text: string) => text.replace(/[\\:]/g, (char) => `\\${char}`)
  return new Secret(`*:*:*:${at.user === undefined ? '*' : field(at.user)}:${field(password)}\n`, 'database password')
}
