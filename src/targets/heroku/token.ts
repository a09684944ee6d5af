/** Where the token comes from: HEROKU_API_KEY, the one `heroku_login` keeps, or the official client's netrc. */
import { chmod, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { SlipwayError } from '../../events/errors.ts'
import { maybeRun } from '../../events/run.ts'
import { Secret } from '../../shell/secret.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const tokenFile = (env: Environment): string =>
  join(env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config'), 'slipway', 'heroku-token')

/** The token as a Secret, registered with the run so that it is never shown. */
export async function findToken(env: Environment): Promise<Secret> {
  const found = env['HEROKU_API_KEY']?.trim() || (await keptToken(env)) || (await netrcToken(env))
  if (!found) {
    throw new SlipwayError('heroku-no-token', 'there is no Heroku token', {
      state: 'Nothing was asked of Heroku.',
      next: 'Run `tasks heroku_login`, or set HEROKU_API_KEY (`heroku authorizations:create` makes one for CI).',
    })
  }
  const secret = new Secret(found, 'HEROKU_API_KEY')
  maybeRun()?.secrets.add(secret)
  return secret
}

async function keptToken(env: Environment): Promise<string | undefined> {
  const file = tokenFile(env)
  try {
    const { mode } = await stat(file)
    if (mode & 0o077) {
      throw new SlipwayError('heroku-token-readable', `${file} can be read by other users`, {
        state: 'It was not used.',
        next: `chmod 600 ${file}`,
      })
    }
    return (await readFile(file, 'utf8')).trim() || undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function netrcToken(env: Environment): Promise<string | undefined> {
  const file = env['NETRC'] || join(env['HOME'] || homedir(), process.platform === 'win32' ? '_netrc' : '.netrc')
  const text = await readFile(file, 'utf8').catch(() => '')
  return netrcPassword(text, 'api.heroku.com')
}

/** The password of `machine` in a netrc file's text. */
export function netrcPassword(text: string, machine: string): string | undefined {
  // A comment ends at its line; macdef bodies end at an empty line.
  const words = text
    .replace(/^macdef[\s\S]*?(?:\n\s*\n|$)/gm, '')
    .replace(/(^|\s)#.*$/gm, '$1')
    .split(/\s+/)
    .filter(Boolean)
  for (let at = 0; at < words.length; at += 1) {
    if (words[at] !== 'machine' || words[at + 1] !== machine) continue
    for (let i = at + 2; i < words.length && words[i] !== 'machine' && words[i] !== 'default'; i += 2) {
      if (words[i] === 'password') return words[i + 1]
    }
  }
  return undefined
}

/** Keeps a token for later runs, readable by this user alone. Returns the file. */
export async function keepToken(env: Environment, token: Secret): Promise<string> {
  const file = tokenFile(env)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const beside = `${file}.${process.pid}`
  await writeFile(beside, `${token.reveal()}\n`, { mode: 0o600 })
  await chmod(beside, 0o600)
  await rename(beside, file)
  return file
}
