/** A throwaway project, and the built commands run in it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export interface Finished {
  status: number | null
  signal: NodeJS.Signals | null
  out: string
  err: string
}

export interface Project {
  dir: string
  write(file: string, text: string): string
  /** Runs a built command in the project (or in `cwd` below it) and waits for its end. */
  run(
    bin: string,
    args: readonly string[],
    options?: { cwd?: string; env?: NodeJS.ProcessEnv; input?: string },
  ): Promise<Finished>
  start(bin: string, args: readonly string[], options?: { cwd?: string; env?: NodeJS.ProcessEnv }): Started
  remove(): void
}

export interface Started {
  child: ChildProcess
  /** Resolves once `text` was printed on either stream. */
  printed(text: string): Promise<void>
  finished: Promise<Finished>
}

export function makeProject(files: Readonly<Record<string, string>> = {}): Project {
  const base = mkdtempSync(join(tmpdir(), 'slipway-project-'))
  const dir = join(base, 'project')
  const write = (file: string, text: string) => {
    const path = join(dir, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    return path
  }
  mkdirSync(dir)
  for (const [file, text] of Object.entries(files)) write(file, text)

  const children = new Set<ChildProcess>()
  const start: Project['start'] = (bin, args, { cwd, env } = {}) => {
    const child = spawn(process.execPath, [bin, ...args], {
      cwd: join(dir, cwd ?? '.'),
      env: { PATH: process.env['PATH'], HOME: base, XDG_CACHE_HOME: join(base, 'cache'), ...env },
    })
    children.add(child)
    child.on('close', () => children.delete(child))
    let out = ''
    let err = ''
    const waiting: { text: string; resolve(): void }[] = []
    const look = () => {
      for (const each of waiting) if (out.includes(each.text) || err.includes(each.text)) each.resolve()
    }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
      look()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
      look()
    })
    return {
      child,
      printed: (text) =>
        new Promise((resolve) => {
          waiting.push({ text, resolve })
          look()
        }),
      finished: new Promise((resolve) => child.on('close', (status, signal) => resolve({ status, signal, out, err }))),
    }
  }
  return {
    dir,
    write,
    start,
    async run(bin, args, { input, ...options } = {}) {
      const { child, finished } = start(bin, args, options)
      child.stdin?.end(input)
      return await finished
    },
    remove() {
      for (const child of children) child.kill('SIGKILL')
      rmSync(base, { recursive: true, force: true })
    },
  }
}
