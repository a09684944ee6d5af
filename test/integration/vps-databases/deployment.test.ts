import { afterAll, beforeAll, expect, it, vi } from 'vitest'
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
  server.sql('SET ROLE app; CREATE TABLE club (id int); INSERT INTO club VALUES (1), (2), (3)', 'pony')
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

it('backs up, verifies and restores the PostgreSQL database of a deployment, over SSH', async () => {
  await project.run(async (deployment) => {
    await deployment.upload()
    await deployment.install()
  })
  const { value: backup, events } = await project.run((deployment) => deployment.database.backup())
  expect(backup).toMatchObject({ databases: ['main'], verified: true })
  await project.run((deployment) => deployment.database.verify())
  server.sql('DELETE FROM club', 'pony')
  await project.run((deployment) => deployment.database.restore(backup.id))
  expect(server.sql('SELECT count(*) FROM club', 'pony')).toBe('3')
  const kept = server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'pony_before_%'")
  expect(server.sql('SELECT count(*) FROM club', kept)).toBe('0')
  expect(JSON.stringify(events)).not.toContain('postgres-password-of-a-test')
})
