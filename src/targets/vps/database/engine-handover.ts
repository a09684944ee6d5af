/** One database that both releases use: handed over instead of copied. */
import { SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import type { DatabaseAddress, DatabaseEngine, DatabaseFacts, Dump } from './engine.ts'

/** Rejects where `old` and `next` are not one database, whatever ways lead to it. Changes nothing. */
export async function requireShared(
  engine: DatabaseEngine,
  host: Host,
  old: DatabaseAddress,
  next: DatabaseAddress,
): Promise<DatabaseFacts> {
  const [one, other] = [await engine.inspect(host, old), await engine.inspect(host, next)]
  if (one.exists && one.identity === other.identity) return other
  const why = !one.exists
    ? `there is no ${old.database}`
    : one.server !== other.server
      ? 'they are on two servers'
      : `they are ${old.database} and ${next.database}`
  throw new SlipwayError('database-not-shared', `the two releases do not use one database: ${why}`, {
    host: host.name,
    state: 'Nothing was changed.',
    next: 'Give both deployments the same database, or copy it: `database = copy`.',
  })
}

/**
 * To be called when the old release has stopped: ends the sessions that are left, proves that nobody came back, and
 * keeps a dump in `file` of how it was before the new release migrates it.
 */
export async function handOver(
  engine: DatabaseEngine,
  host: Host,
  old: DatabaseAddress,
  next: DatabaseAddress,
  file: string,
): Promise<Dump> {
  await requireShared(engine, host, old, next)
  await engine.endSessions(host, next)
  const { sessions } = await engine.inspect(host, next)
  if (sessions.length > 0) {
    throw new SlipwayError('database-in-use', `others are in ${next.database} again: ${sessions.join(', ')}`, {
      host: host.name,
      state: 'Their earlier sessions were ended; nothing else was changed.',
      next: 'Stop what it is: a cron job, or a worker on another host.',
    })
  }
  return engine.dump(host, next, file)
}
