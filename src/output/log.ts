/**
 * The log of a run: its events as JSON lines under `.slipway/runs/`, scrubbed like everything else, readable by the
 * user alone. The newest 100 are kept.
 */
import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { jsonLine } from './json.ts'
import type { Sink } from './sink.ts'

export const keptRuns = 100
const bufferBytes = 64 * 1024

export const runsFolder = (projectDir: string) => join(projectDir, '.slipway', 'runs')

/** A log that cannot be written is worth a warning, not the run. */
export function logSink(projectDir: string, runId: string, warn: (text: string) => void): Sink {
  const folder = runsFolder(projectDir)
  const file = join(folder, `${runId}.jsonl`)
  let buffer = ''
  let broken = false
  let timer: NodeJS.Timeout | undefined
  const flush = () => {
    clearTimeout(timer)
    timer = undefined
    if (buffer === '' || broken) return
    try {
      prepare(projectDir)
      appendFileSync(file, buffer, { mode: 0o600 })
    } catch (error) {
      broken = true
      warn(`the log of this run cannot be written: ${error instanceof Error ? error.message : String(error)}`)
    }
    buffer = ''
  }
  return {
    event(event) {
      buffer += jsonLine(event)
      if (buffer.length > bufferBytes) flush()
      else timer ??= setTimeout(flush, 250).unref()
    },
    close() {
      flush()
      if (!broken) prune(folder)
    },
  }
}

function prepare(projectDir: string): void {
  mkdirSync(runsFolder(projectDir), { recursive: true, mode: 0o700 })
  const ignore = join(projectDir, '.slipway', '.gitignore')
  if (!existsSync(ignore)) writeFileSync(ignore, '*\n')
}

/** Ids sort by time. */
function prune(folder: string): void {
  try {
    const logs = readdirSync(folder)
      .filter((name) => name.endsWith('.jsonl'))
      .sort()
    for (const old of logs.slice(0, Math.max(0, logs.length - keptRuns))) rmSync(join(folder, old), { force: true })
  } catch {}
}
