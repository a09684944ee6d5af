/** Places in files, as a person would write them. */
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageRoot } from './package.ts'

/** Relative to the working directory where that is shorter to read. */
export function shortPath(path: string, cwd = process.cwd()): string {
  const short = relative(cwd, path)
  return short === '' || short.startsWith('../../..') ? path : short
}

/** `tasks.ts:12:5`: the first line of the stack that lies in the user's own files, or undefined. */
export function ownPlace(error: unknown, dir: string): string | undefined {
  const frame = ownFrame(error, dir)
  return frame && `${shortPath(frame.file)}:${frame.line}:${frame.column}`
}

/** The line itself, with a caret, for showing below an error. */
export function ownSource(error: unknown, dir: string): string | undefined {
  const frame = ownFrame(error, dir)
  if (!frame) return undefined
  try {
    const line = readFileSync(frame.file, 'utf8').split('\n')[frame.line - 1]
    if (line === undefined) return undefined
    return `${String(frame.line).padStart(5)} | ${line}\n${' '.repeat(7 + frame.column)}^`
  } catch {
    return undefined
  }
}

interface Frame {
  file: string
  line: number
  column: number
}

/** Slipway's own repository is a project too, and its library is not the project's task file. */
function isOurs(file: string): boolean {
  const root = packageRoot()
  return file.startsWith(`${root}/dist/`) || file.startsWith(`${root}/src/`)
}

function ownFrame(error: unknown, dir: string): Frame | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    for (const line of (at.stack ?? '').split('\n')) {
      const match = /(?:\(|at (?:async )?)((?:file:\/\/)?\/[^()]*?):(\d+):(\d+)\)?$/.exec(line)
      if (!match) continue
      const file = match[1]!.startsWith('file://') ? fileURLToPath(match[1]!) : match[1]!
      if (!file.startsWith(`${dir}/`) || file.includes('/node_modules/') || isOurs(file)) continue
      return { file, line: Number(match[2]), column: Number(match[3]) }
    }
  }
  return undefined
}
