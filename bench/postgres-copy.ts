/**
 * How long a copy of a PostgreSQL database takes against pg_dump -Fd -j2 and pg_restore -j2 by hand, on a server of its
 * own. Run by postgres-copy.sh: `bench/postgres-copy.sh [MEGABYTES] [ROUNDS]`. Ours counts the rows of both sides too.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRun, withRun } from '../src/events/index.ts'
import { local } from '../src/hosts/index.ts'
import { fencedName, scratchName } from '../src/targets/vps/database/engine.ts'
import { postgres } from '../src/targets/vps/database/postgres.ts'
import { startPostgres } from '../test/servers/postgres.ts'

const megabytes = Number(process.argv[2] ?? 1024)
const rounds = Number(process.argv[3] ?? 3)
const server = await startPostgres({ settings: ['fsync = on', 'shared_buffers = 256MB', 'max_wal_size = 4GB'] })
const at = {
  kind: 'postgres' as const,
  database: 'big',
  host: server.socket,
  port: server.port,
  user: server.superuser,
}
const target = ['-h', server.socket, '-p', String(server.port), '-U', server.superuser]

try {
  server.sql('CREATE DATABASE big')
  const rows = Math.round(megabytes * 1560)
  server.sql(
    `CREATE TABLE one AS SELECT i AS id, md5(i::text) AS key, md5((i * 7)::text) AS other, now() AS at, random() AS share,
       repeat(md5((i * 3)::text), 3) AS body FROM generate_series(1, ${rows}) i;
     ALTER TABLE one ADD PRIMARY KEY (id); CREATE INDEX ON one (key);
     CREATE TABLE two AS SELECT i AS id, md5(i::text) AS key, repeat(md5((i * 5)::text), 4) AS body FROM generate_series(1, ${rows}) i;
     ALTER TABLE two ADD PRIMARY KEY (id); CREATE INDEX ON two (key);`,
    'big',
  )
  console.log(`database: ${server.sql("SELECT pg_size_pretty(pg_database_size('big'))")}`)
  const times: Record<string, number[]> = { 'by hand': [], copy: [], 'copy of a fenced one': [] }
  for (let round = 0; round < rounds; round++) {
    times['by hand']!.push(await timed(byHand))
    times['copy']!.push(await timed(() => copy('big')))
    await inRun(() => postgres.fence(local(), at))
    times['copy of a fenced one']!.push(await timed(() => copy(fencedName('big'))))
    await inRun(() => postgres.unfence(local(), at))
  }
  const hand = median(times['by hand']!)
  for (const [name, all] of Object.entries(times)) {
    const each = all.map((ms) => `${(ms / 1000).toFixed(1)} s`).join(', ')
    console.log(
      `${name.padEnd(22)} ${(median(all) / 1000).toFixed(1)} s  ×${(median(all) / hand).toFixed(2)}  (${each})`,
    )
  }
} finally {
  await server.stop()
}

async function byHand(): Promise<void> {
  const dir = mkdtempSync('/tmp/slipway-bench-')
  try {
    execFileSync('pg_dump', [...target, '-Fd', '-j2', '-f', `${dir}/dump`, 'big'])
    server.sql('CREATE DATABASE by_hand TEMPLATE template0')
    execFileSync('pg_restore', [...target, '-j2', '-d', 'by_hand', `${dir}/dump`])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function copy(database: string): Promise<void> {
  const here = { host: local(), at }
  await inRun(() => postgres.copy({ host: local(), at: { ...at, database } }, here, scratchName('big', 'bench')))
}

function inRun<T>(fn: () => Promise<T>): Promise<T> {
  return withRun(createRun(), fn)
}

async function timed(fn: () => Promise<void>): Promise<number> {
  server.sql('CHECKPOINT')
  const begun = performance.now()
  await fn()
  const ms = performance.now() - begun
  for (const name of ['by_hand', scratchName('big', 'bench')]) server.sql(`DROP DATABASE IF EXISTS ${name}`)
  return ms
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] as number
}
