/**
 * A task file and the project's own modules it imports, as one module that Node can run: types stripped, `slipway`
 * resolved to this very package, other packages left where they are, each module knowing its own place.
 */
import { readFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { dirname, extname, relative } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { BuildFailure, Loader, Message, Plugin } from 'esbuild'
import { UsageError } from '../events/errors.ts'

export interface Bundle {
  code: string
  /** Absolute paths of the files in it. */
  inputs: string[]
}

const meta = { url: '__slipway_url', dirname: '__slipway_dirname', filename: '__slipway_filename' }
const sources: Record<string, Loader> = { ts: 'ts', mts: 'ts', cts: 'ts', tsx: 'tsx', js: 'js', mjs: 'js', jsx: 'jsx' }

/** Throws a UsageError that shows a syntax error, or an import that leads nowhere, at its own line. */
export async function bundleTaskFile(file: string, packages: Readonly<Record<string, string>>): Promise<Bundle> {
  const { build } = await import('esbuild')
  try {
    const result = await build({
      entryPoints: [file],
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'node',
      target: `node${process.versions.node}`,
      sourcemap: 'inline',
      sourcesContent: false,
      // Paths in source maps are resolved against the bundle's own: absolute ones can't go wrong.
      sourceRoot: '/',
      outfile: '/tasks.mjs',
      absWorkingDir: '/',
      keepNames: true,
      logLevel: 'silent',
      define: {
        'import.meta.url': meta.url,
        'import.meta.dirname': meta.dirname,
        'import.meta.filename': meta.filename,
      },
      plugins: [resolving(packages), placing()],
    })
    return {
      code: result.outputFiles[0]!.text,
      inputs: Object.keys(result.metafile.inputs).map((input) => (input.startsWith('/') ? input : `/${input}`)),
    }
  } catch (error) {
    const first = (error as BuildFailure).errors?.[0]
    if (!first) throw error
    throw asUsageError(file, first)
  }
}

/** `slipway` is this copy; what lies in node_modules stays there, as a file URL, since the bundle lies elsewhere. */
function resolving(packages: Readonly<Record<string, string>>): Plugin {
  return {
    name: 'resolve packages',
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, async ({ path, pluginData, ...options }) => {
        if (pluginData === 'resolving' || options.kind === 'entry-point') return undefined
        const own = packages[path]
        if (own !== undefined) return { path: own, external: true }
        if (/^(node|file|data|https?):/.test(path) || builtinModules.includes(path)) return { path, external: true }
        const { importer, resolveDir, kind, namespace } = options
        const found = await build.resolve(path, { importer, resolveDir, kind, namespace, pluginData: 'resolving' })
        if (found.errors.length > 0) return found
        return found.path.includes('/node_modules/') ? { path: pathToFileURL(found.path).href, external: true } : found
      })
    },
  }
}

/** import.meta.url and its like mean the module's own place, not the bundle's. On the first line, so lines hold. */
function placing(): Plugin {
  return {
    name: 'import.meta',
    setup(build) {
      build.onLoad({ filter: /\.[cm]?[jt]sx?$/ }, async ({ path }) => {
        const text = await readFile(path, 'utf8')
        if (!text.includes('import.meta')) return undefined
        const values = [pathToFileURL(path).href, dirname(path), path].map((value) => JSON.stringify(value))
        const names = Object.values(meta)
        const prefix = `const ${names.map((name, index) => `${name} = ${values[index]}`).join(', ')};`
        const shebang = /^#!.*/.exec(text)?.[0] ?? ''
        return { contents: prefix + text.slice(shebang.length), loader: sources[extname(path).slice(1)] ?? 'js' }
      })
    },
  }
}

function asUsageError(taskFile: string, { text, location }: Message): UsageError {
  if (!location) return new UsageError('task-file', `${taskFile} cannot be loaded: ${text}`)
  const file = location.file.startsWith('/') ? location.file : `/${location.file}`
  const shown = relative(process.cwd(), file)
  const unresolved = /^Could not resolve/.test(text)
  const column = location.column + 1
  return new UsageError(
    unresolved ? 'task-file-import' : 'task-file-syntax',
    `${shown.startsWith('../../..') ? file : shown}:${location.line}:${column}: ${text}`,
    {
      detail: `${String(location.line).padStart(5)} | ${location.lineText}\n${' '.repeat(8 + location.column)}${'^'.repeat(Math.max(1, location.length))}`,
      state: 'Nothing was run.',
      ...(unresolved ? { next: 'Check the path, or install the package.' } : {}),
    },
  )
}
