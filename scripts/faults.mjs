/** `npm run test:faults`: bundles test/faults/run.ts, and runs it with the arguments given. Hours for all cases. */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = `${root}node_modules/.cache/slipway-faults`
mkdirSync(folder, { recursive: true })
// The paths in it are relative to test/faults, wherever the bundle lies.
const define = { 'import.meta.url': JSON.stringify(new URL('../test/faults/run.ts', import.meta.url).href) }
await build({
  entryPoints: [`${root}test/faults/run.ts`],
  outfile: `${folder}/run.mjs`,
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  logLevel: 'error',
  define,
})
// An interrupt is for the run itself, which ends its case first.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {})
const { status } = spawnSync(process.execPath, [`${folder}/run.mjs`, ...process.argv.slice(2)], {
  stdio: 'inherit',
  cwd: root,
})
process.exit(status ?? 1)
