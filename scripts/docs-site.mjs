// npm run docs: the pages that are made from the source, the reference from the doc comments, and the site of both,
// in docs/.vitepress/dist.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const repository = join(import.meta.dirname, '..')
const bin = (name) => join(repository, 'node_modules/.bin', name)

const steps = [
  [process.execPath, 'scripts/docs.mjs'],
  [
    bin('typedoc'),
    ...['--plugin', 'typedoc-plugin-markdown', '--router', 'module', '--out', 'docs/reference'],
    ...['--entryPoints', 'src/index.ts', 'src/testing/index.ts', '--readme', 'none', '--entryFileName', 'index'],
    ...[
      '--skipErrorChecking',
      '--excludePrivate',
      '--disableSources',
      '--hidePageHeader',
      '--hideBreadcrumbs',
      '--logLevel',
      'Error',
    ],
  ],
  [bin('vitepress'), 'build', 'docs'],
]

for (const [program, ...args] of steps) {
  if (program !== process.execPath && !existsSync(program)) {
    console.error(`docs: ${program} is not installed: npm install --save-dev typedoc typedoc-plugin-markdown vitepress`)
    process.exit(2)
  }
  const { status } = spawnSync(program, args, { cwd: repository, stdio: ['ignore', 'inherit', 'inherit'] })
  if (status !== 0) process.exit(status ?? 1)
}
