import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { currentRun, type RunEvent } from '../../../src/events/index.ts'
import { type Postgres, startPostgres } from '../../servers/postgres.ts'
import { createProject, type Project } from '../vps/host.ts'

// Real servers on a machine that may be busy with others.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let server: Postgres
let project: Project

beforeAll(async () => {
  server = await startPostgres()
  server.sql("CREATE ROLE app LOGIN CREATEDB PASSWORD 'postgres-password-of-a-test'")
  server.sql('CREATE DATABASE pony OWNER app')
  // A row takes a moment to be put in: long enough to be told how far it is.
  const slow = 'BEGIN PERFORM pg_catalog.pg_sleep(0.6); RETURN true; END'
  server.sql(`SET ROLE app; CREATE FUNCTION slow() RETURNS boolean LANGUAGE plpgsql AS '${slow}'`, 'pony')
  server.sql('SET ROLE app; CREATE TABLE club (id int); INSERT INTO club VALUES (1), (2), (3)', 'pony')
  server.sql('SET ROLE app; ALTER TABLE club ADD CHECK (public.slow())', 'pony')
  project = await createProject()
  project.configure((text) =>
    text
      .replace('main = sqlite db/pony.sqlite\n', 'main = postgres secret:DATABASE_URL\n')
      .replace('queue = sqlite db/queue.sqlite queue\n', '')
      .replace(/^migrate = .*\n/m, ''),
  )
  const url = `postgres://app:postgres-password-of-a-test@${server.address}:${server.port}/pony`
  project.edit('.env', (text) => `${text}DATABASE_URL=${url}\n`)
})

afterAll(async () => {
  await project?.stop()
  await server?.stop()
})

const progressOf = (events: readonly RunEvent[]) =>
  events.flatMap((event) => (event.type === 'progress' ? [event] : []))

it('is looked at by who only looks, and nothing of the password is left there', async () => {
  const { value: status } = await project.run((deployment) => deployment.status())
  expect(status.databases).toEqual([{ name: 'main', bytes: expect.any(Number), ok: true }])
  const left = readdirSync('/tmp', { withFileTypes: true })
    .filter(({ name }) => name.startsWith('slipway-look-'))
    .flatMap(({ name }) => readIfThere(`/tmp/${name}/main.pgpass`))
  expect(left.join('')).not.toContain('postgres-password-of-a-test')
  expect(existsSync(project.release)).toBe(false)
  expect(readdirSync(project.home, { recursive: true, encoding: 'utf8' }).join('\n')).not.toContain('pgpass')
})

/** Another test's look may end meanwhile. */
function readIfThere(file: string): string[] {
  try {
    return [readFileSync(file, 'utf8')]
  } catch {
    return []
  }
}

it('backs up, verifies and restores the PostgreSQL database of a deployment, over SSH', async () => {
  await project.run(async (deployment) => {
    await deployment.upload()
    await deployment.install()
  })
  const { value: backup, events } = await project.run((deployment) => deployment.database.backup())
  expect(backup).toMatchObject({ databases: ['main'], verified: true })
  const verified = await project.run((deployment) => deployment.database.verify())
  server.sql('DELETE FROM club', 'pony')
  const restored = await project.run((deployment) => deployment.database.restore(backup.id))
  const total = expect.any(Number)
  expect(progressOf(verified.events)).toContainEqual(expect.objectContaining({ label: 'verify main', total }))
  expect(progressOf(restored.events)).toContainEqual(expect.objectContaining({ label: 'put main in place', total }))
  expect(server.sql('SELECT count(*) FROM club', 'pony')).toBe('3')
  const kept = server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'pony_before_%'")
  expect(server.sql('SELECT count(*) FROM club', kept)).toBe('0')
  expect(JSON.stringify(events)).not.toContain('postgres-password-of-a-test')
})

it('tells of a first dump how large its database is, and of the next one about how large it will be', async () => {
  await rm(join(project.home, '.slipway/pony/backups'), { recursive: true })
  const { value: taken, events } = await backUpSlowly()
  expect(progressOf(events)[0]).toMatchObject({
    label: expect.stringMatching(/^copy main, a database of \d+\.\d MB$/),
    done: expect.any(Number),
  })
  const [next] = progressOf((await backUpSlowly()).events)
  expect(next).toMatchObject({ label: 'copy main', total: taken.bytes, about: true })
})

/** pg_dump waits for a lock on the table until the progress has been told. */
function backUpSlowly() {
  return project.run(async (deployment) => {
    const locked = server.session('pony')
    const closed = once(locked, 'close')
    locked.stdin.write('BEGIN; LOCK TABLE club;\n\\echo locked\n')
    await once(locked.stdout, 'data')
    const unsubscribe = currentRun().bus.on(({ type }) => {
      if (type === 'progress') locked.stdin.end()
    })
    try {
      return await deployment.database.backup()
    } finally {
      unsubscribe()
      locked.stdin.end()
      await closed
    }
  })
}
