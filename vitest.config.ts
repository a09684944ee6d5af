import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

/** Half a minute or more each: databases on servers, and Celery jobs that take their time. `npm run test:long` */
const long = [
  ...['deploy', 'first', 'handover', 'mysql', 'workers-apart'].map((name) => `test/integration/django/${name}.test.ts`),
  ...['reads-faults', 'ports-close', 'adopt-ports'].map((name) => `test/integration/promotion/${name}.test.ts`),
  ...['connection-lost-services', 'disk-full', 'migration-after'].map((name) => `test/integration/vps/${name}.test.ts`),
  'test/integration/vps-systemd/booted.test.ts',
]

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^slipway$/, replacement: source('./src/index.ts') },
      { find: /^slipway\/testing$/, replacement: source('./src/testing/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: process.env['SLIPWAY_TEST_LONG'] ? [] : long,
    // Servers, signals and working folders are a process's own: a file a process.
    pool: 'forks',
    // They wait for servers most of the time: three keep two processors busy.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Real servers on a busy machine: a test has to fail three times in a row to stop a change. Locally, once is enough.
    retry: process.env['CI'] ? 2 : 0,
  },
})
