import { spawn } from 'node:child_process'
import { describe, expect, it, vi } from 'vitest'
import { local } from '../../../src/hosts/index.ts'
import {
  type DatabaseAddress,
  type DatabaseEngine,
  keptName,
  scratchName,
} from '../../../src/targets/vps/database/engine.ts'
import { mysql } from '../../../src/targets/vps/database/mysql.ts'
import { postgres } from '../../../src/targets/vps/database/postgres.ts'
import { startMariadb } from '../../servers/mariadb.ts'
import { startPostgres } from '../../servers/postgres.ts'
import { done } from './run.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

/** A program that writes one row a transaction with a number of its own, and keeps what the server acknowledged. */
function startWriter(client: string): { acknowledged: number[]; refused: Promise<string> } {
  const acknowledged: number[] = []
  const child = spawn('/bin/sh', ['-c', client], { detached: true })
  let said = ''
  let rest = ''
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  child.stdout.on('data', (chunk) => {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (/^\d+$/.test(line)) acknowledged.push(Number(line))
  })
  return { acknowledged, refused: new Promise((resolve) => child.once('close', () => resolve(said))) }
}

/** What a promotion does with a database, while the old app still writes: nothing that it was told is lost. */
async function promote(engine: DatabaseEngine, old: DatabaseAddress, next: DatabaseAddress, client: string) {
  const writer = startWriter(client)
  const here = (at: DatabaseAddress) => ({ host: local(), at })
  await vi.waitFor(() => expect(writer.acknowledged.length).toBeGreaterThan(50), 60_000)
  // The rehearsal: on a copy that is thrown away.
  const rehearsal = scratchName(next.database, 'rehearsal')
  await done(() => engine.copy(here(old), here(next), rehearsal))
  await done(() => engine.drop(local(), next, rehearsal))
  const fenced = await done(() => engine.fence(local(), old))
  const said = await writer.refused
  const fresh = scratchName(next.database, 'final')
  const copied = await done(() => engine.copy(here({ ...old, database: fenced }), here(next), fresh))
  await done(() => engine.swap(local(), next, fresh, keptName(next.database, new Date('2026-11-27T10:15:00Z'))))
  return { acknowledged: writer.acknowledged, said, copied, fenced }
}

describe('while the old app still writes', () => {
  it('every row that PostgreSQL acknowledged is in the new database, and the old one can be opened again', async () => {
    const server = await startPostgres()
    try {
      const at = { kind: 'postgres' as const, host: server.socket, port: server.port, user: server.superuser }
      const [old, next] = [
        { ...at, database: 'ponyr1' },
        { ...at, database: 'ponyr2' },
      ]
      server.sql('CREATE DATABASE ponyr1')
      server.sql('CREATE DATABASE ponyr2')
      server.sql('CREATE TABLE ledger (id int)', 'ponyr1')
      server.sql('CREATE TABLE staging_only (id int)', 'ponyr2')
      const psql = `psql -X -q -A -t -v ON_ERROR_STOP=1 -h ${server.socket} -p ${server.port} -U ${server.superuser} -d ponyr1`
      const client = `i=0; while i=$((i + 1)); do echo "INSERT INTO ledger VALUES ($i) RETURNING id;"; done | ${psql}`
      const { acknowledged, said, copied, fenced } = await promote(postgres, old, next, client)
      expect(said).toMatch(/terminating connection|server closed/)
      const rows = new Set(server.sql('SELECT id FROM ledger', 'ponyr2').split('\n').map(Number))
      expect(acknowledged.filter((id) => !rows.has(id))).toEqual([])
      expect(rows.size).toBe(copied['public.ledger'])
      expect(server.sql('SELECT count(*) FROM staging_only', 'ponyr2_before_20261127101500')).toBe('0')
      // The way back: the old database as it was.
      await done(() => postgres.unfence(local(), old))
      expect(Number(server.sql('SELECT count(*) FROM ledger', 'ponyr1'))).toBe(rows.size)
      expect(server.sql(`SELECT count(*) FROM pg_database WHERE datname = '${fenced}'`)).toBe('0')
    } finally {
      await server.stop()
    }
  })

  it('every row that MariaDB acknowledged is in the new database, and the old one can be opened again', async () => {
    const server = await startMariadb()
    try {
      const at = { kind: 'mysql' as const, host: server.socket, user: 'root' }
      const [old, next] = [
        { ...at, database: 'ponyr1' },
        { ...at, database: 'ponyr2' },
      ]
      server.sql('CREATE DATABASE ponyr1; CREATE DATABASE ponyr2')
      server.sql('CREATE TABLE ledger (id int)', 'ponyr1')
      server.sql('CREATE TABLE staging_only (id int)', 'ponyr2')
      const mariadb = `mariadb --no-defaults -S ${server.socket} -u root --batch --unbuffered --skip-column-names ponyr1`
      const client = `i=0; while i=$((i + 1)); do echo "INSERT INTO ledger VALUES ($i) RETURNING id;"; done | ${mariadb}`
      const { acknowledged, said, copied } = await promote(mysql, old, next, client)
      expect(said).toMatch(/doesn't exist|gone away|Lost connection|killed/i)
      const rows = new Set(server.sql('SELECT id FROM ledger', 'ponyr2').split('\n').map(Number))
      expect(acknowledged.filter((id) => !rows.has(id))).toEqual([])
      expect(rows.size).toBe(copied['ledger'])
      expect(server.sql('SELECT COUNT(*) FROM staging_only', 'ponyr2_before_20261127101500')).toBe('0')
      await done(() => mysql.unfence(local(), old))
      expect(Number(server.sql('SELECT COUNT(*) FROM ledger', 'ponyr1'))).toBe(rows.size)
    } finally {
      await server.stop()
    }
  })
})
