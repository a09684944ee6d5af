/**
 * `npm run test:faults`: all steps × all faults (test/faults/run.ts), with the arguments given; hours for all of them.
 * With --proof: the promises of a promotion, measured (test/faults/proof.ts).
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const entry = process.argv.includes('--proof') ? 'proof' : 'run'
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = `${root}node_modules/.cache/slipway-faults`
mkdirSync(folder, { recursive: true })
// Paths are relative to the file that says them, wherever the bundle lies.
const ownUrls = {
  name: 'own urls',
  setup(build) {
    build.onLoad({ filter: /\/(src|test)\/.*\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href)),
      loader: 'ts',
    }))
  },
}
await build({
  entryPoints: [`${root}test/faults/${entry}.ts`],
  outfile: `${folder}/${entry}.mjs`,
  bundle: true,
  platform: 'node',
  format: 'esm',
  packages: 'external',
  logLevel: 'error',
  plugins: [ownUrls],
})
// An interrupt is for the run itself, which ends its case first.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => {})
const { status } = spawnSync(process.execPath, [`${folder}/${entry}.mjs`, ...process.argv.slice(2)], {
  stdio: 'inherit',
  cwd: root,
})
process.exit(status ?? 1)
