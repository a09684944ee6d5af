/** Whole commands, timed by hyperfine in interleaved rounds, so that a busy minute of the machine hits all of them. */
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** The program's path, or undefined. */
export function which(program) {
  const found = spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program], { encoding: 'utf8' })
  return found.status === 0 ? found.stdout.trim() : undefined
}

/** A word of hyperfine's command line, which splits like a shell even without one. */
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

/**
 * Milliseconds of each command, by name: `{ name: { argv, prepare? } }`. A command that fails rejects: a failure is
 * quick, and would win.
 */
export async function timeCommands(commands, { rounds, runs, warmup = 1, env, cwd }) {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-hyperfine-'))
  const times = Object.fromEntries(Object.keys(commands).map((name) => [name, []]))
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [name, { argv, prepare, cwd: own }] of Object.entries(commands)) {
        const file = join(dir, 'result.json')
        const options = ['--shell=none', '--style=none', '--output=null', `--runs=${runs}`, `--warmup=${warmup}`]
        // The preparing commands have to be one word each for hyperfine; they run before warm-ups too.
        if (prepare) options.push('--prepare', prepare.map(quoted).join(' '))
        await exec('hyperfine', [...options, `--export-json=${file}`, argv.map(quoted).join(' ')], {
          cwd: own ?? cwd,
          env,
        }).catch((error) => {
          throw new Error(`${name} failed: ${error.stderr || error.message}`)
        })
        times[name].push(...JSON.parse(readFileSync(file, 'utf8')).results[0].times.map((time) => time * 1000))
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
  return times
}

/** The middle one; of an even number, the mean of the two in the middle. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The largest resident size, in MB, of the command or of any one process that it started; undefined without GNU time. */
export function peakMemory(argv, { env, cwd }) {
  if (!which('/usr/bin/time')) return undefined
  const done = spawnSync('/usr/bin/time', ['-f', 'peak %M', ...argv], { env, cwd, encoding: 'utf8' })
  const kilobytes = /peak (\d+)\s*$/.exec(done.stderr)?.[1]
  if (done.status !== 0 || !kilobytes) throw new Error(`${argv.join(' ')} failed: ${done.stderr}`)
  return Number(kilobytes) / 1024
}
