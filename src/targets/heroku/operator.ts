/** What an operator does around an app: log in, list apps, git remotes, run it locally. */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { Secret } from '../../shell/secret.ts'
import { herokuClient } from './client.ts'
import type { HerokuContext } from './context.ts'
import * as resource from './resources.ts'
import { readSettings } from './settings.ts'
import { type Environment, keepToken } from './token.ts'

/** Asks for a token, tries it, and keeps it for later runs, 0600. Resolves with the account's e-mail address. */
export async function herokuLogin(env: Environment = process.env, token?: Secret): Promise<string> {
  const run = currentRun()
  const given =
    token ??
    new Secret(
      (
        await run.prompter.password(
          'Heroku API token (`heroku authorizations:create`, or dashboard.heroku.com/account)',
        )
      ).trim(),
      'Heroku token',
    )
  run.secrets.add(given)
  const { email } = await herokuClient({ ...env, HEROKU_API_KEY: given.reveal() }).get('/account', resource.account)
  const file = await keepToken(env, given)
  run.emit({ type: 'note', text: `logged in as ${email}; the token is in ${file}` })
  return email
}

/** The apps of the account, or of a team. */
export const herokuApps = (context: Pick<HerokuContext, 'client'>, team?: string): Promise<resource.App[]> =>
  context.client.list(team === undefined ? '/apps' : `/teams/${encodeURIComponent(team)}/apps`, resource.app)

/** A git remote named as the deployment, for pushing by hand. Returns whether it changed. */
export async function gitRemote(context: HerokuContext): Promise<boolean> {
  const { gitUrl } = await import('./push.ts')
  const url = await gitUrl(context)
  const git = async (...args: string[]): Promise<{ code: number; out: string }> => {
    const child = spawn('git', ['-C', context.config.dir, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ code: code ?? 1, out: out.trim() }))
    })
  }
  const name = context.deployment.name
  const now = await git('remote', 'get-url', name)
  if (now.out === url) return false
  if (currentRun().options.dryRun) {
    currentRun().emit({
      type: 'held-back',
      host: 'local',
      display: `git remote ${now.code === 0 ? 'set-url' : 'add'} ${name} ${url}`,
    })
    return true
  }
  const { code } = await git('remote', now.code === 0 ? 'set-url' : 'add', name, url)
  if (code !== 0)
    throw new SlipwayError('git-failed', `git could not set the remote ${name}`, {
      next: `git remote add ${name} ${url}`,
    })
  currentRun().emit({ type: 'changed', what: `git remote ${name} → ${url}` })
  return true
}

/** Process types of a Procfile's text. */
export function parseProcfile(text: string): Record<string, string> {
  const types: Record<string, string> = {}
  for (const line of text.split('\n')) {
    const match = /^\s*([A-Za-z0-9_-]+):\s*(.+?)\s*$/.exec(line)
    if (match) types[match[1] as string] = match[2] as string
  }
  return types
}

/** Runs the Procfile's processes here with a deployment's settings, until one ends or the run is aborted. */
export async function runLocally(
  context: HerokuContext,
  options: { types?: readonly string[]; port?: number } = {},
): Promise<number> {
  const run = currentRun()
  const dir = join(context.config.dir, context.deployment.app.source)
  const procfile = await readFile(join(dir, 'Procfile'), 'utf8').catch((cause: unknown) => {
    throw new UsageError('no-procfile', `there is no Procfile in ${dir}`, { cause, next: 'Make one: `web: COMMAND`.' })
  })
  const all = parseProcfile(procfile)
  const types = options.types ?? Object.keys(all).filter((type) => type !== 'release')
  const unknown = types.filter((type) => !(type in all))
  if (unknown.length > 0)
    throw new UsageError('no-process-type', `the Procfile has no ${unknown.join(', ')}`, {
      next: `It has ${Object.keys(all).join(', ')}.`,
    })
  const settings = await readSettings(context)
  for (const [name, value] of Object.entries(settings)) if (value.length >= 8) run.secrets.add(new Secret(value, name))
  const children = types.map((type, index) => {
    const child = spawn('/bin/sh', ['-c', all[type] as string], {
      cwd: dir,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...settings, PORT: String((options.port ?? 5000) + 100 * index), DYNO: `${type}.1` },
    })
    for (const stream of [child.stdout, child.stderr]) {
      let rest = ''
      stream.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n')
        rest = lines.pop() ?? ''
        for (const text of lines) run.emit({ type: 'log.line', host: 'local', source: type, text })
      })
    }
    return child
  })
  const stop = (): void => {
    for (const child of children) {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
      } catch {
        // It has ended already.
      }
    }
  }
  run.signal.addEventListener('abort', stop, { once: true })
  if (run.signal.aborted) stop()
  const ended = children.map(
    (child) => new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? 0))),
  )
  const first = await Promise.race(ended)
  stop()
  await Promise.all(ended)
  run.signal.removeEventListener('abort', stop)
  return run.signal.aborted ? 0 : first
}
