/** A promotion's facts, for tests of what is made of them. */
import type { PromotionFacts } from '../../../src/targets/vps/promotion/index.ts'

const side = (name: string, deployment: string) => ({
  deployment,
  release: name,
  version: '20261127-101500-ab12cd',
  sends: `${name}/20261127-101500-ab12cd`,
  dir: `/home/deploy/webapps/${name}`,
  server: ['app-a', 'app-b'],
  live: 'app-b',
  workers: ['mailer-1', 'mailer-2'],
  workerSeconds: 60,
  serverSeconds: 30,
})

export function factsOf(more: Partial<PromotionFacts> = {}): PromotionFacts {
  return {
    kind: 'promote',
    app: 'pony',
    home: '/home/deploy',
    host: 'deploy@pony.example.org',
    production: 'production',
    data: 'copy',
    hold: true,
    next: side('pony2026r2', 'production'),
    staging: side('pony2026r2', 'staging'),
    old: side('pony2026r1', 'production'),
    items: [
      { name: 'main', kind: 'sqlite', path: 'db/pony.sqlite' },
      { name: 'mail', kind: 'tree', path: 'mail' },
    ],
    migrate: 'python3 -m pony.migrate',
    init: 'python3 -m pony.initialize_db',
    health: { path: '/up', status: 200, deadlineSeconds: 30 },
    domain: 'pony.example.org',
    site: { address: '127.0.0.1', port: 80, tls: false, gateToken: 'token', timeoutSeconds: 60, certificates: [] },
    backlog: 4096,
    deadline: 45,
    roles: { production: 'pony2026r1', staging: 'pony2026r2' },
    supervisord: '/usr/bin/supervisord',
    python: '/usr/bin/python3',
    ...more,
  }
}
