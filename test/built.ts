/** A build of this package in a folder of its own, for tests that start its commands as users do. */
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'tsdown'

export const repository = join(import.meta.dirname, '..')

export interface Built {
  /** The package's folder. */
  root: string
  /** The commands, to be run with Node. */
  tasks: string
  slipway: string
  remove(): void
}

/** With `types`, all that a package holds: what is packed. */
export async function buildSlipway({ types = false }: { types?: boolean } = {}): Promise<Built> {
  const root = mkdtempSync(join(tmpdir(), 'slipway-built-'))
  for (const part of ['package.json', 'schemas', 'templates', 'LICENSE', 'README.md', 'CHANGELOG.md']) {
    if (existsSync(join(repository, part))) cpSync(join(repository, part), join(root, part), { recursive: true })
  }
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'))
  await build({
    cwd: repository,
    config: join(repository, 'tsdown.config.ts'),
    outDir: join(root, 'dist'),
    ...(types ? {} : { dts: false }),
    logLevel: 'silent',
  })
  return {
    root,
    tasks: join(root, 'dist/bin/tasks.js'),
    slipway: join(root, 'dist/bin/slipway.js'),
    remove: () => rmSync(root, { recursive: true, force: true }),
  }
}
