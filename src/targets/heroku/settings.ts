/** Config vars: read, set in one batch (each batch is one release), and made equal to the deployment's settings file. */
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { resolveSecret, secretName } from '../../config/secrets.ts'
import { UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { Secret } from '../../shell/secret.ts'
import type { Settings } from '../deployment.ts'
import { released } from './build.ts'
import type { HerokuContext } from './context.ts'
import { dynosUp } from './dynos.ts'
import * as resource from './resources.ts'
import { currentRelease, releasesOf } from './versions.ts'

export const readSettings = (context: HerokuContext): Promise<Record<string, string>> =>
  context.client.get(`${context.path}/config-vars`, resource.configVars)

/**
 * One batch: what is equal already is left out, so that nothing restarts for nothing. Resolves, with the names that
 * changed, once the release that it makes is up.
 */
export async function writeSettings(
  context: HerokuContext,
  values: Readonly<Record<string, string | null>>,
  options: { wait?: boolean } = {},
): Promise<string[]> {
  const { client, path, app } = context
  const now = await readSettings(context)
  const changed = Object.entries(values).filter(([name, value]) => (now[name] ?? null) !== value)
  if (changed.length === 0) return []
  for (const [name] of changed) {
    if (!/^[A-Za-z_]\w*$/.test(name)) throw new UsageError('bad-setting', `"${name}" can't be the name of a variable`)
  }
  const before = await currentRelease(context)
  await client.write('PATCH', `${path}/config-vars`, resource.configVars, {
    body: Object.fromEntries(changed),
    reread: async () => {
      const after = await readSettings(context)
      return changed.every(([name, value]) => (after[name] ?? null) === value) ? after : undefined
    },
  })
  const names = changed.map(([name]) => name).sort()
  if (currentRun().options.dryRun) return names
  currentRun().emit({ type: 'changed', host: app, what: `settings ${names.join(', ')}` })
  if (options.wait ?? true) {
    const made = (await releasesOf(context, 1))[0]
    if (made && made.version > (before?.version ?? 0)) {
      await released(context, made.id, before)
      if (made.slug) await dynosUp(context, { version: made.version })
    }
  }
  return names
}

/**
 * The settings file's values: `NAME=value` lines as in .env, with `{{ secret:NAME }}`, `{{ generate:NAME }}` (kept
 * where the app has a value already), `{{ NAME }}` of the app's own variables, and `| suffix:TEXT` on them.
 */
async function wantedSettings(
  context: HerokuContext,
  now: Record<string, string>,
  lenient = false,
): Promise<Record<string, string>> {
  const { deployment, config } = context
  const file = deployment.settings
  const values: Record<string, string> = {}
  for (const [name, value] of Object.entries(deployment.app.environment)) values[name] = await resolve(config, value)
  if (file === undefined) return values
  const where = join(config.dir, 'config', file)
  const text = await readFile(where, 'utf8').catch((cause: unknown) => {
    throw new UsageError('no-settings-file', `the settings file config/${file} is not there`, {
      cause,
      next: `Make it, or change \`settings =\` of [${deployment.name}].`,
    })
  })
  const { fillSettings, placeholders } = await import('../vps/settings-text.ts')
  const template = parseSettings(text, file)
  for (const [name, value] of Object.entries(template)) {
    const secrets = new Map<string, string>()
    const found = placeholders(value, `config/${file}`)
    for (const each of found) {
      if (each.source !== 'secret') continue
      secrets.set(each.name, (await resolveSecret(config, each.name, `${name} in config/${file}`)).reveal())
    }
    const known = { ...now, ...values, app: context.app, deployment: deployment.name, domain: deployment.domain }
    const notYet = lenient ? found.filter((each) => each.source === 'value' && !(each.name in known)) : []
    values[name] = fillSettings(value, `config/${file}`, {
      values: { ...Object.fromEntries(notYet.map((each) => [each.name, ''])), ...known },
      secret: (wanted) => secrets.get(wanted) ?? '',
      generated: () => now[name] ?? randomBytes(32).toString('hex'),
    })
    const direct = secretName(value)
    if (direct !== undefined) values[name] = (await resolveSecret(config, direct, `${name} in config/${file}`)).reveal()
  }
  for (const [name, value] of Object.entries(values)) {
    if (value.length >= 8) currentRun().secrets.add(new Secret(value, name))
  }
  return values
}

async function resolve(config: HerokuContext['config'], value: string): Promise<string> {
  const name = secretName(value)
  return name === undefined ? value : (await resolveSecret(config, name)).reveal()
}

/** The values byte for byte: what dotenv reads, with quotes and newlines as it has them. */
function parseSettings(text: string, file: string): Record<string, string> {
  if (/^\s*\[[^\]]+\]/m.test(text)) {
    throw new UsageError('settings-not-env', `config/${file} has sections; on Heroku an app's settings are variables`, {
      next: `Give [the deployment] a file of NAME=value lines: \`settings = ${file.replace(/\.\w+$/, '')}.env\`.`,
    })
  }
  return parseDotenv(text)
}

function parseDotenv(text: string): Record<string, string> {
  const values: Record<string, string> = {}
  const line = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=[^\S\n]*("(?:\\.|[^"\\])*"|'[^']*'|`[^`]*`|[^\n]*)/gm
  for (const match of text.matchAll(line)) {
    const [, name, given] = match as unknown as [string, string, string]
    const quote = given[0]
    if (quote === '"' && given.length > 1 && given.endsWith('"')) {
      values[name] = given
        .slice(1, -1)
        .replace(/\\(n|r|t|"|\\)/g, (_all, c: string) => ({ n: '\n', r: '\r', t: '\t' })[c] ?? c)
    } else if ((quote === "'" || quote === '`') && given.endsWith(quote) && given.length > 1) {
      values[name] = given.slice(1, -1)
    } else {
      values[name] = given.replace(/\s+#.*$/, '').trim()
    }
  }
  return values
}

/**
 * Names of what `push` would change; names of variables that the file lacks are left alone. `now` are the app's
 * variables where they are known. `lenient`: what is derived from a variable that isn't there yet is empty.
 */
export async function settingsDiff(
  context: HerokuContext,
  given: { now?: Record<string, string>; lenient?: boolean } = {},
): Promise<{ name: string; change: 'add' | 'change' | 'remove'; value: string | null }[]> {
  const now = given.now ?? (await readSettings(context))
  const wanted = await wantedSettings(context, now, given.lenient)
  return Object.entries(wanted)
    .filter(([name, value]) => now[name] !== value)
    .map(([name, value]) => ({ name, value, change: name in now ? ('change' as const) : ('add' as const) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

export function settings(context: HerokuContext): Settings {
  return {
    get: () => readSettings(context),
    set: (values) => writeSettings(context, values),
    diff: async () => (await settingsDiff(context)).map(({ name, change }) => ({ name, change })),
    push: async () =>
      writeSettings(context, Object.fromEntries((await settingsDiff(context)).map(({ name, value }) => [name, value]))),
  }
}
