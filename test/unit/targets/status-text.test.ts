import { expect, it } from 'vitest'
import type { DeploymentStatus, ProcessStatus } from '../../../src/targets/deployment.ts'
import { processTable, statusText } from '../../../src/targets/status-text.ts'

const web: ProcessStatus = { name: 'app-a', state: 'running', pid: 4711, uptimeSeconds: 42 }
const status: DeploymentStatus = {
  name: 'production',
  target: 'vps',
  release: 'pony2026r2',
  role: 'production',
  version: {
    id: '20261127-101500-ab12cd',
    state: 'live',
    current: true,
    wasLive: true,
    commit: 'ab12cd34ef56ab12cd34',
    by: 'ada@laptop',
    at: '2026-11-27T10:15:00Z',
  },
  server: [web],
  workers: [{ name: 'mailer-1', state: 'stopped' }],
  healthy: true,
  health: '/up answered 200',
  databases: [
    { name: 'main', bytes: 5_000_000, ok: true },
    { name: 'queue', ok: false, detail: 'not a database' },
    { name: 'cache', ok: false },
  ],
  domains: [
    { domain: 'pony.example.org', ok: true },
    { domain: 'old.example.org', ok: false, detail: 'it points elsewhere' },
  ],
  maintenance: false,
  warnings: [],
}

it('says on one screen how a deployment is', () => {
  expect(statusText(status)).toMatchInlineSnapshot(`
    "production   pony2026r2 (production) on vps
    version      20261127-101500-ab12cd (live, ab12cd34ef, by ada@laptop at 2026-11-27T10:15:00Z)
    app          app-a running pid 4711 up 42 s; healthy: /up answered 200
    workers      mailer-1 stopped
    databases    main 5.0 MB, queue not a database, cache not there
    domains      pony.example.org, old.example.org (it points elsewhere)
    maintenance  off"
  `)
})

it('says what is not as it should be, and what nobody knows', () => {
  const { version: _, health: __, ...bare } = status
  const text = statusText({
    ...bare,
    target: 'heroku',
    release: 'pony-staging',
    role: 'none',
    server: [],
    workers: [],
    healthy: false,
    databases: [{ name: 'postgresql-clean-10001', ok: true }],
    domains: [],
    maintenance: true,
    disk: { usedPercent: 97, freeBytes: 1_500_000_000 },
    lock: 'ada@laptop since 10:15',
    unfinished: 'promote pony2026r2',
    warnings: ['one', 'two'],
  })
  expect(text).toMatchInlineSnapshot(`
    "production   pony-staging on heroku
    version      none is installed
    app          stopped; NOT HEALTHY
    workers      none
    databases    postgresql-clean-10001
    domains      none
    maintenance  ON: visitors get 503
    disk         97 % used, 1.5 GB free
    lock         ada@laptop since 10:15
    unfinished   promote pony2026r2
    warning      one
    warning      two"
  `)
  expect(text).not.toMatch(/ $/m)
})

it('lists processes, with a dash for what nobody knows', () => {
  expect(
    processTable([web, { name: 'mailer-1', state: 'failed', host: 'web1', detail: 'exited 1' }]),
  ).toMatchInlineSnapshot(`
      "PROCESS   STATE    PID   UP    VERSION  HOST
      app-a     running  4711  42 s  -        -
      mailer-1  failed   -     -     -        web1  exited 1"
    `)
})
