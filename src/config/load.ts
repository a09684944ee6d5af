/**
 * Reads config/deploy.ini and checks all of it at once: every mistake is listed with its file and line. Synchronous,
 * because a configuration is read when a property is first touched; valibot is loaded only then.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { UsageError } from '../events/errors.ts'
import { checkConfig } from './check.ts'
import { readIni } from './ini.ts'
import type { Config } from './types.ts'
import type { V } from './values.ts'

export const configFile = 'config/deploy.ini'

/** The configuration of the project in `dir`. Throws a UsageError that lists every mistake. */
export function loadConfig(dir: string): Config {
  const file = join(dir, configFile)
  if (!existsSync(file)) {
    throw new UsageError('no-config', `there is no ${configFile} in ${dir}`, {
      state: 'Nothing has connected.',
      next: 'Make one with `slipway init`, or run this in the project that has one.',
    })
  }
  const { config, mistakes } = parseConfig(readFileSync(file, 'utf8'), dir, (path) =>
    existsSync(join(dir, 'config', path)),
  )
  if (config) return config
  throw new UsageError(
    'config',
    mistakes.length === 1 ? `${configFile} has a mistake` : `${configFile} has ${mistakes.length} mistakes`,
    { detail: mistakes.join('\n'), state: 'Nothing has connected.', next: `Correct ${configFile}.` },
  )
}

/**
 * The checked configuration, or every mistake as `file:line: what`. `settingsExist` says whether a settings file is in
 * config/.
 */
export function parseConfig(
  text: string,
  dir: string,
  settingsExist: (path: string) => boolean = () => true,
): { config?: Config; mistakes: string[] } {
  const v = createRequire(import.meta.url)('valibot') as V
  const ini = readIni(text)
  const { config, mistakes } = checkConfig(ini, { v, dir, file: configFile, settingsExist })
  const all = [...ini.mistakes, ...mistakes].sort((a, b) => a.line - b.line)
  if (all.length > 0) return { mistakes: all.map(({ line, message }) => `${configFile}:${line}: ${message}`) }
  return { config, mistakes: [] }
}
