/** Puts node-ssh and ssh2 into one file of the build, with a note of what went into it and the licences of its parts. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'

const repository = join(import.meta.dirname, '..')

/** Writes `ssh2.cjs`, `ssh2.json` and `ssh2.licences.txt` into `outDir`; src/hosts/ssh2-library.ts reads the first two. */
export async function bundleSsh2(outDir: string): Promise<void> {
  const { outputFiles, metafile } = await build({
    stdin: {
      contents: `exports.nodeSsh = () => require('node-ssh'); exports.ssh2 = () => require('ssh2')`,
      resolveDir: repository,
    },
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    minifyWhitespace: true,
    // Compiled when they are installed, for that machine.
    external: ['*.node', 'cpu-features'],
    metafile: true,
    write: false,
    logLevel: 'warning',
    absWorkingDir: repository,
  })
  const code = outputFiles[0]!.contents
  const folders = [...new Set(Object.keys(metafile.inputs).flatMap((input) => packageOf(input) ?? []))].sort()
  const versions = Object.fromEntries(folders.map((folder) => [nameOf(folder), versionOf(folder)]))
  const note = { file: 'ssh2.cjs', sha256: createHash('sha256').update(code).digest('hex'), versions }
  writeFileSync(join(outDir, note.file), code)
  writeFileSync(join(outDir, 'ssh2.json'), `${JSON.stringify(note, undefined, 2)}\n`)
  writeFileSync(join(outDir, 'ssh2.licences.txt'), folders.map(licenceOf).join('\n\n'))
}

/** The folder of the package that a file belongs to, relative to the repository. */
function packageOf(input: string): string | undefined {
  const parts = input.split('/')
  const at = parts.lastIndexOf('node_modules')
  if (at < 0) return undefined
  return parts.slice(0, at + (parts[at + 1]?.startsWith('@') ? 3 : 2)).join('/')
}

const nameOf = (folder: string) => folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length)
const versionOf = (folder: string): string =>
  JSON.parse(readFileSync(join(repository, folder, 'package.json'), 'utf8')).version

function licenceOf(folder: string): string {
  const path = join(repository, folder)
  const file = readdirSync(path).find((name) => /^(licen[cs]e|copying)/i.test(name))
  const text = file ? readFileSync(join(path, file), 'utf8').trim() : `${versionOf(folder)}: see its package.json.`
  return `== ${nameOf(folder)} ${versionOf(folder)}\n\n${text}\n`
}
