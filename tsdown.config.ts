import { join } from 'node:path'
import { defineConfig } from 'tsdown'
import { bundleSsh2 } from './scripts/ssh2-bundle.ts'

interface Modules {
  getModuleInfo(id: string): { readonly importedIds: readonly string[] } | null
}

const source = (path: string) => join(import.meta.dirname, 'src', path)

/** What is loaded with `id`: the modules it imports, and those that they import. */
function loadedWith(id: string, modules: Modules, seen = new Set<string>()): Set<string> {
  if (seen.has(id)) return seen
  seen.add(id)
  for (const imported of modules.getModuleInfo(id)?.importedIds ?? []) loadedWith(imported, modules, seen)
  return seen
}

const loadedWithTasks = (id: string, modules: Modules) =>
  loadedWith(source('cli/run-tasks.ts'), modules).has(id) || loadedWith(source('cli/adhoc.ts'), modules).has(id)

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    'testing/index': 'src/testing/index.ts',
    'bin/tasks': 'src/bin/tasks.ts',
    'bin/slipway': 'src/bin/slipway.ts',
    // A process of its own: `slipway sandbox up --heroku`.
    'sandbox/heroku': 'src/sandbox/heroku/main.ts',
  },
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  fixedExtension: false,
  // The public modules have types; the commands are not imported by anyone.
  dts: { entry: ['src/index.ts', 'src/testing/index.ts'] },
  hash: true,
  hooks: { 'build:done': ({ options }) => bundleSsh2(options.outDir) },
  outputOptions: {
    // Each file that Node loads costs it half a millisecond and more: what starts together is one file.
    codeSplitting: {
      groups: [
        {
          name: (id, modules) =>
            loadedWith(source('cli/fast-complete.ts'), modules).has(id) ||
            id === source('cli/fast-list.ts') ||
            id === source('cli/list.ts')
              ? 'list'
              : null,
          priority: 2,
        },
        // `tasks` itself, with commands on hosts: it needs no deployments. First what it shares with the library.
        {
          name: (id, modules) =>
            loadedWithTasks(id, modules) && loadedWith(source('index.ts'), modules).has(id) ? 'core' : null,
          priority: 1.8,
        },
        // The list after an edit loads the task file, and none of what shows a run.
        {
          name: (id, modules) => (loadedWith(source('cli/relist.ts'), modules).has(id) ? 'load' : null),
          priority: 1.6,
        },
        { name: (id, modules) => (loadedWithTasks(id, modules) ? 'cli' : null), priority: 1.5 },
        { name: (id, modules) => (loadedWith(source('index.ts'), modules).has(id) ? 'library' : null), priority: 1 },
      ],
    },
  },
})
