/** test/faults/tool.ts as a file that Node runs as it is. */
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** Inside the repository, so that its packages and templates are found. */
export async function bundleTool(): Promise<string> {
  const folder = fileURLToPath(new URL('../../node_modules/.cache/slipway-faults/', import.meta.url))
  mkdirSync(folder, { recursive: true })
  const outfile = `${folder}tool-${process.pid}.mjs`
  const entry = fileURLToPath(new URL('./tool.ts', import.meta.url))
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  })
  return outfile
}
