/** Where the comparisons run: a build, a real sshd, a project, and a thousand small files, all in a temp folder. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build as bundle } from 'esbuild'

const repository = join(import.meta.dirname, '..')

/** Everything that the rows need; `close()` stops the server and removes it all. */
export async function openPlace() {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-bench-'))
  const root = await buildPackage(join(dir, 'package'))
  const sshd = await startServer(dir)
  const ciphers = join(dir, 'ssh_config.curve25519')
  writeFileSync(ciphers, `KexAlgorithms curve25519-sha256\n${readFileSync(sshd.sshConfigFile, 'utf8')}`)
  const project = makeProject(join(dir, 'project'))
  const files = makeFiles(join(dir, 'files'))
  return {
    dir,
    root,
    project,
    files,
    tasks: join(root, 'dist/bin/tasks.js'),
    sshConfig: sshd.sshConfigFile,
    sshConfigCurve: ciphers,
    target: join(sshd.home, 'target'),
    taskFile: join(repository, 'bench/tasks.ts'),
    fabfile: join(repository, 'bench/peers/fabfile.py'),
    syncScript: join(repository, 'bench/peers/sync.sh'),
    async close() {
      await sshd.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** A build of its own, so that one under way in dist/ is neither disturbed nor measured. */
async function buildPackage(root) {
  mkdirSync(root)
  for (const part of ['package.json', 'templates'])
    cpSync(join(repository, part), join(root, part), { recursive: true })
  symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'))
  const { build } = await import('tsdown')
  await build({
    cwd: repository,
    config: join(repository, 'tsdown.config.ts'),
    outDir: join(root, 'dist'),
    dts: false,
    logLevel: 'silent',
  })
  return root
}

/** The sandbox's sshd, from its TypeScript source. */
async function startServer(dir) {
  const outfile = join(dir, 'sshd.mjs')
  await bundle({
    entryPoints: [join(repository, 'src/sandbox/sshd.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
    logLevel: 'silent',
  })
  const { startSshd } = await import(pathToFileURL(outfile).href)
  return await startSshd()
}

/** The root task file with its configuration, to be listed and edited. Undefined where the repository has none. */
function makeProject(dir) {
  mkdirSync(dir)
  if (!existsSync(join(repository, 'tasks.ts'))) return undefined
  for (const part of ['tasks.ts', 'tasks', 'config', 'templates', 'package.json', 'examples']) {
    if (existsSync(join(repository, part))) cpSync(join(repository, part), join(dir, part), { recursive: true })
  }
  spawnSync('git', ['init', '-q'], { cwd: dir })
  return dir
}

/** 1,000 files of 1 to 4 kB in 20 folders, the same bytes every time. */
function makeFiles(dir) {
  for (let number = 0; number < 1000; number++) {
    const folder = join(dir, `package${number % 20}`)
    mkdirSync(folder, { recursive: true })
    const line = `value_${number} = ${number * 7919}\n`
    writeFileSync(join(folder, `module${number}.py`), line.repeat(50 + (number % 150)))
  }
  return dir
}
