/** The packages of package-lock.json, installed where node_modules lacks them or has others; and the build. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const root = join(import.meta.dirname, '..')

/** Throws where `npm ci` fails. Whether it was needed. */
export function installDependencies({ log = console.log } = {}) {
  if (isCurrent()) return false
  log('Installing the packages of package-lock.json')
  if (!run('npm', ['ci', '--no-audit', '--no-fund'])) throw new Error('npm ci failed: see above')
  return true
}

export function build() {
  return run(process.execPath, [join(root, 'node_modules/tsdown/dist/run.mjs'), '--log-level', 'warn'])
}

/** Runs a program in the repository, its output shown. Whether it exited with 0. */
export function run(program, args, options = {}) {
  return spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options }).status === 0
}

/** npm notes what it installed in node_modules/.package-lock.json: everything but packages for other platforms. */
function isCurrent() {
  const noted = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(noted)) return false
  const installed = JSON.parse(readFileSync(noted, 'utf8')).packages
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || installed[path]?.version === version || (optional && installed[path] === undefined),
  )
}
