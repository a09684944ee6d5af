/** MySQL and MariaDB behind the engine's interface: their client and dump programs on the host. */
import { Secret } from '../../../shell/index.ts'
import { type DatabaseAddress, fencedName } from './engine.ts'
import * as commands from './mysql-commands.ts'
import { mysqlErrors } from './mysql-errors.ts'
import { serverEngine } from './server-engine.ts'

export const mysql = serverEngine({
  kind: 'mysql',
  commands,
  known: mysqlErrors,
  readChecksums(text, at) {
    const start = `${at.database}.`.length
    return Object.fromEntries(
      [...text.matchAll(/^(.+)\t(\S+)$/gm)].map((match) => [(match[1] as string).slice(start), match[2] as string]),
    )
  },
  readMigrations(text) {
    const rows = (kind: string) =>
      [...text.matchAll(new RegExp(`^${kind}\\t(.+)$`, 'gm'))].map((match) => match[1] as string)
    return { django: rows('django').map((row) => JSON.parse(row)), alembic: rows('alembic') }
  },
  afterSwap: () => 'Its tables are all as they were; what is said of triggers above is so.',
  afterUnfence: (at) => `Its tables are still in ${fencedName(at.database)}.`,
})

/** The text of a defaults-extra-file. Within its double quotes only the backslash is special. */
export function passwordFile(at: DatabaseAddress, password: string): Secret {
  const field = (text: string) => `"${text.replaceAll('\\', '\\\\')}"`
  const user = at.user === undefined ? '' : `user=${field(at.user)}\n`
  return new Secret(`[client]\n${user}password=${field(password)}\n`, 'database password')
}
