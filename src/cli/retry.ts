/** `--retry-failed`: which hosts the last run over several hosts failed on, and what it was called with. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type SlipwayError, UsageError } from '../events/errors.ts'
import type { CommandLine } from './split.ts'

interface Failed {
  words: string[]
  rest?: string[]
  hosts: string[]
}

const fileIn = (projectDir: string) => join(projectDir, '.slipway', 'retry.json')

/** Hosts that an error says to try again, or undefined. */
function hostsToRetry(failure: SlipwayError | undefined): readonly string[] | undefined {
  const { retry } = (failure ?? {}) as { retry?: unknown }
  return Array.isArray(retry) && retry.every((name) => typeof name === 'string') && retry.length > 0 ? retry : undefined
}

/** After a run over several hosts: what is to be tried again is kept, what was tried again with success is forgotten. */
export function rememberFailed(projectDir: string, line: CommandLine, failure: SlipwayError | undefined): void {
  const hosts = hostsToRetry(failure)
  const file = fileIn(projectDir)
  if (hosts) {
    const failed: Failed = { words: line.words, ...(line.rest ? { rest: line.rest } : {}), hosts: [...hosts] }
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, JSON.stringify(failed), { mode: 0o600 })
  } else if (!failure && isSame(readFailed(projectDir), line)) rmSync(file, { force: true })
}

const isSame = (failed: Failed | undefined, line: CommandLine) =>
  failed !== undefined && JSON.stringify([failed.words, failed.rest]) === JSON.stringify([line.words, line.rest])

function readFailed(projectDir: string): Failed | undefined {
  try {
    return JSON.parse(readFileSync(fileIn(projectDir), 'utf8')) as Failed
  } catch {
    return undefined
  }
}

/** The call that is to be tried again and its hosts. Throws a UsageError where there is none, or another one was typed. */
export function failedBefore(projectDir: string, line: CommandLine): { line: CommandLine; hosts: string[] } {
  const failed = readFailed(projectDir)
  if (!failed) {
    throw new UsageError('nothing-failed', 'no call is known that failed on some hosts', {
      next: 'Leave --retry-failed out.',
    })
  }
  const typed = line.words.length > 0 || line.rest !== undefined
  if (typed && !isSame(failed, line)) {
    const last = [...failed.words, ...(failed.rest ? ['--', ...failed.rest] : [])].join(' ')
    throw new UsageError('not-what-failed', `what failed on some hosts was another call: tasks ${last}`, {
      next: 'tasks --retry-failed',
    })
  }
  const { words, rest, hosts } = failed
  return { line: { ...line, words, ...(rest ? { rest } : {}) }, hosts }
}
