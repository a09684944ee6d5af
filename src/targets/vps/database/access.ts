/** Whether the databases on servers can be reached as configured, from where the app will run. Leaves nothing there. */
import { randomBytes } from 'node:crypto'
import { sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import type { DatabaseFacts } from './engine.ts'
import { perform, readFacts } from './engine-run.ts'
import { databaseHost } from './index.ts'
import { serverDatabase } from './servers.ts'

export interface Access {
  /** The name in [app.databases]. */
  name: string
  database: string
  facts?: DatabaseFacts
  /** Why it can't be reached; by its code and sentence as everywhere. */
  error?: unknown
}

/** Asks each server, with the configured user and password; nothing has to be deployed for it. */
export async function serverAccess(context: VpsContext): Promise<Access[]> {
  const found: Access[] = []
  for (const [name, configured] of Object.entries(context.deployment.app.databases)) {
    if (configured.kind === 'sqlite') continue
    try {
      found.push({ name, ...(await look(context, name, configured)) })
    } catch (error) {
      found.push({ name, database: name, error })
    }
  }
  return found
}

async function look(
  context: VpsContext,
  name: string,
  configured: Parameters<typeof serverDatabase>[2],
): Promise<{ database: string; facts: DatabaseFacts }> {
  // A password for this one look alone.
  const folder = `/tmp/slipway-look-${randomBytes(8).toString('hex')}`
  const { at, password } = await serverDatabase(context.config, name, configured, folder)
  const [commands, known] =
    configured.kind === 'postgres'
      ? [await import('./postgres-commands.ts'), (await import('./postgres-errors.ts')).postgresErrors]
      : [await import('./mysql-commands.ts'), (await import('./mysql-errors.ts')).mysqlErrors]
  const text = await perform(
    { host: databaseHost(context), at, what: `look at ${at.database}`, known },
    sh`umask 077; mkdir ${folder} || exit 1; cat >${at.credentials ?? `${folder}/none`}
(
${commands.inspect(at)}
)
status=$?; rm -rf -- ${folder}; exit $status`,
    { kind: 'probe', input: password?.reveal() ?? '' },
  )
  return { database: at.database, facts: readFacts(text) }
}
