import { afterAll, beforeAll, expect, test } from 'vitest'
import { startLoad } from '../../faults/load.ts'
import { ask, createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject({ nginx: true })
  await project.run(async (staging) => {
    await staging.initApp()
    await staging.upload()
    await staging.install()
    await staging.database.init()
    await staging.server.start()
  })
}, 60_000)
afterAll(() => project.stop())

test('deploys, a rollback and a broken deploy behind nginx fail no request', async () => {
  const load = startLoad({
    address: '127.0.0.1',
    port: project.httpPort as number,
    host: 'staging.pony.example.org',
    connections: 8,
    reads: ['/', '/up', '/riders.json'],
    write: (mark) => ({
      path: '/brevets/200/riders',
      type: 'application/json',
      body: JSON.stringify({ name: 'Rider', email: `${mark}@example.org`, key: mark }),
    }),
  })
  await load.reached(100)
  const ids: string[] = []
  for (const change of ['one', 'two', 'three']) {
    project.edit('app/pony/pages.py', (text) => `${text}\n# ${change}\n`)
    ids.push((await project.run((staging) => staging.deploy())).value.id)
    await load.reached(load.report.requests + 50)
  }
  project.edit('app/pony/web.py', (text) => text.replace('def main()', 'raise SystemExit("broken")\n\n\ndef main()'))
  await expect(project.run((staging) => staging.deploy())).rejects.toMatchObject({ code: 'unhealthy' })
  await load.reached(load.report.requests + 50)
  const { value: back } = await project.run((staging) => staging.rollback())
  await load.reached(load.report.requests + 50)
  const report = await load.stop()

  expect(report.failed).toEqual([])
  expect(report.uncertain).toEqual([])
  expect(back.id).toBe(ids[1])
  // Each version was seen, and the broken one never.
  for (const id of ids) expect(report.releases[`ponyr2/${id}`]).toBeGreaterThan(0)
  expect(Object.keys(report.releases)).toHaveLength(4)
}, 120_000)

test('the front door leads to this release, in maintenance to a page, and back', async () => {
  const { value: domains } = await project.run((staging) => staging.domains.list())
  expect(domains).toMatchObject([{ domain: 'staging.pony.example.org', ok: true }])
  const front = () => ask(project.httpPort as number, '/up')
  await project.run((staging) =>
    staging.maintenance.during(async () => {
      expect(await staging.maintenance.status()).toBe(true)
      const closed = await front()
      expect(closed.status).toBe(503)
      expect(closed.headers['retry-after']).toBe('30')
      expect(closed.body).toContain('Back soon')
    }),
  )
  expect((await front()).status).toBe(200)
}, 30_000)

test('a name that another site has is refused, and the site stays as it was', async () => {
  await expect(
    project.run(async (production) => production.initApp(), { deployment: 'production' }),
  ).rejects.toMatchObject({ code: 'no-release' })
  const before = project.read('.slipway/pony/sites/staging/nginx.conf')
  await project.run(async (staging) => staging.initApp())
  expect(project.read('.slipway/pony/sites/staging/nginx.conf')).toBe(before)
})
