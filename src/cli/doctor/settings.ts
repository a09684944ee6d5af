/** Doctor on settings: what is set and never read, and what is read and not set, each with its place. Connects to nothing. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { AppConfig, Config, DeploymentConfig, Place } from '../../config/types.ts'
import { nearestTaskFile } from '../nearest.ts'
import { packageRoot } from '../package.ts'
import { bad, type Finding, ok } from './finding.ts'

const area = 'settings'

export function settingFindings(dir: string, config: Config, env: NodeJS.ProcessEnv = process.env): Finding[] {
  const found = [
    ...idleKeys(config),
    ...idleSecretCommands(dir, config),
    ...idleFiles(dir, config),
    ...unsetVariables(dir, env),
    ...lopsidedSettings(dir, config),
  ]
  return found.length > 0 ? found : [ok(area, 'all that is set is read, and all that is read is set')]
}

interface Idle {
  /** Which keys, as `section.key`. */
  key: RegExp
  /** Whether they are read by nobody; gets the app and the deployment whose section it is in. */
  idle(config: Config, owner: { app: AppConfig; deployment?: DeploymentConfig }): boolean
  why: string
  fix: string
}

const ofHosts = (config: Config) => Object.values(config.deployments).filter(({ target }) => target === 'vps')
const servers = (app: AppConfig) => Object.values(app.databases).some(({ kind }) => kind !== 'sqlite')

/** Keys that are right in themselves, and that nothing reads beside the others. */
const idle: readonly Idle[] = [
  {
    key: /^domains\.(listen|email|certificate|certificate_key)$/,
    idle: ({ domains }) => domains.provider !== 'nginx',
    why: 'only provider = nginx reads it',
    fix: 'Set provider = nginx, or remove it.',
  },
  {
    key: /^domains\.url$/,
    idle: ({ domains }) => !['opalstack', 'webfaction'].includes(domains.provider),
    why: 'only provider = opalstack and webfaction read it',
    fix: 'Set that provider, or remove it.',
  },
  {
    key: /^domains\.(user|machine|version)$/,
    idle: ({ domains }) => domains.provider !== 'webfaction',
    why: 'only provider = webfaction reads it',
    fix: 'Set provider = webfaction, or remove it.',
  },
  {
    key: /^domains\.provider$/,
    idle: (config) => config.domains.provider !== 'none' && ofHosts(config).every(({ domain }) => domain === undefined),
    why: 'no deployment on hosts has a domain to lead',
    fix: 'Give one a domain = …, or remove it.',
  },
  {
    key: /^[\w-]+\.init_answers\./,
    idle: (_, { app }) => app.initDb === undefined,
    why: 'there is no init_db to answer',
    fix: 'Set [app] init_db, or remove it.',
  },
  {
    key: /^[\w-]+\.scrub$/,
    idle: (_, { app }) => Object.values(app.databases).every(({ role }) => role !== 'data'),
    why: 'there is no database of data to run it on',
    fix: 'Name the database under [app.databases], or remove it.',
  },
  {
    key: /^[\w-]+\.database$/,
    idle: (_, { app }) => !servers(app),
    why: 'no database of it is on a server; SQLite is always copied',
    fix: 'Remove it.',
  },
  {
    key: /^[\w-]+\.maintenance_allow$/,
    idle: ({ domains }, { deployment }) => domains.provider !== 'nginx' || deployment?.domain === undefined,
    why: 'only a site of nginx reads it',
    fix: 'Set [domains] provider = nginx and a domain, or remove it.',
  },
  {
    key: /^[\w-]+\.(backups|keep_backups)$/,
    idle: (_, { app }) => Object.keys(app.databases).length === 0,
    why: 'there is no database to back up',
    fix: 'Name it under [app.databases], or remove it.',
  },
  {
    key: /^app\.(root|keep_versions|remove)$|^app\.(modes|links|shared|logs)\./,
    idle: (config) => ofHosts(config).length === 0,
    why: 'only deployments on hosts read it, and there are none',
    fix: 'Remove it.',
  },
]

function idleKeys(config: Config): Finding[] {
  return Object.entries(config.places).flatMap(([name, place]) => {
    const deployment = config.deployments[name.split('.')[0] ?? '']
    const owner = { app: deployment?.app ?? config.app, ...(deployment ? { deployment } : {}) }
    return idle
      .filter((each) => each.key.test(name) && each.idle(config, owner))
      .map(({ why, fix }) => bad(area, 'warning', `${at(place)}: ${shown(name)} is set, and never read: ${why}`, fix))
  })
}

const at = ({ file, line }: Place) => `${file}:${line}`
const shown = (name: string) => `[${name.slice(0, name.lastIndexOf('.'))}] ${name.slice(name.lastIndexOf('.') + 1)}`

/** All text that could refer to something: the task file and what lies in config/. */
function referring(dir: string): string {
  const taskFile = nearestTaskFile(dir)
  const folder = join(dir, 'config')
  const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []
  return [...(taskFile === undefined ? [] : [taskFile]), ...files]
    .filter((file) => statSync(file).isFile())
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n')
}

function idleSecretCommands(dir: string, config: Config): Finding[] {
  const text = referring(dir)
  return Object.keys(config.secretCommands ?? {}).flatMap((name) => {
    if (new RegExp(`secret(?::|\\(\\s*['"\`])${name}\\b`).test(text) || ownSecrets.test(name)) return []
    const place = config.places[`secret_commands.${name}`] ?? { file: 'config/deploy.ini', line: 1 }
    return bad(
      area,
      'warning',
      `${at(place)}: [secret_commands] ${name} is set, and never read: nothing in config/ or the task file refers to it`,
      `Refer to it as secret:${name}, or remove it.`,
    )
  })
}

/** What Slipway itself looks for by name. */
export const ownSecrets = /^(GITHUB_TOKEN|HEROKU_API_KEY|OPALSTACK_TOKEN|WEBFACTION_PASSWORD)$/

/** Files of config/ that no deployment names, and templates that nothing renders. */
function idleFiles(dir: string, config: Config): Finding[] {
  const text = referring(dir)
  const named = new Set(['deploy.ini', ...Object.values(config.deployments).flatMap(({ settings }) => settings ?? [])])
  const files = listed(join(dir, 'config'))
    .filter((name) => /\.(ini|env)$/.test(name) && !named.has(name) && !text.includes(name))
    .map((name) =>
      bad(
        area,
        'warning',
        `config/${name} is never read: it is no deployment's settings`,
        `settings = ${name}, or remove it.`,
      ),
    )
  const known = new Set(listed(join(packageRoot(), 'templates')))
  const templates = listed(join(dir, 'templates'))
    .filter((name) => !known.has(name) && !text.includes(name) && name !== 'README.md')
    .map((name) =>
      bad(
        area,
        'warning',
        `templates/${name} is never rendered: neither Slipway nor the task file names it`,
        `Slipway's own are ${[...known].join(', ')}; render it in a task with host.template, or remove it.`,
      ),
    )
  return [...files, ...templates]
}

const listed = (folder: string) => (existsSync(folder) ? readdirSync(folder).filter((name) => name.includes('.')) : [])

/** Variables that the task file reads from the environment and that are not there. */
function unsetVariables(dir: string, env: NodeJS.ProcessEnv): Finding[] {
  const taskFile = nearestTaskFile(dir)
  if (taskFile === undefined) return []
  const seen = new Set<string>()
  return readFileSync(taskFile, 'utf8')
    .split('\n')
    .flatMap((text, index) => {
      if (/^\s*(\/\/|\*)/.test(text)) return []
      return [
        ...text.matchAll(/process\.env(?:\.([A-Za-z_]\w*)\b|\[\s*['"`]([A-Za-z_]\w*)['"`]\s*\])(?!\s*(\?\?|\|\|))/g),
      ]
        .map(([, one, other]) => one ?? other ?? '')
        .filter((name) => env[name] === undefined && !seen.has(name) && seen.add(name))
        .map((name) =>
          bad(
            area,
            'warning',
            `${basename(taskFile)}:${index + 1}: process.env.${name} is read, and not set`,
            `export ${name}=… before the call, or give it what it is otherwise: process.env.${name} ?? '…'`,
          ),
        )
    })
}

/** Keys that the settings of one deployment have and those of another lack: the app reads the same ones in both. */
function lopsidedSettings(dir: string, config: Config): Finding[] {
  const files = [...new Set(Object.values(config.deployments).flatMap(({ settings }) => settings ?? []))]
    .filter((name) => existsSync(join(dir, 'config', name)))
    .map((name) => ({ name, keys: settingKeys(readFileSync(join(dir, 'config', name), 'utf8')) }))
  return files.flatMap((one) =>
    files
      .filter((other) => other !== one && extension(other.name) === extension(one.name))
      .flatMap((other) =>
        [...one.keys]
          .filter(([key]) => !other.keys.has(key))
          .map(([key, line]) =>
            bad(
              area,
              'warning',
              `config/${one.name}:${line} sets ${key}, and config/${other.name} does not`,
              `Set it in config/${other.name} too, or remove it from config/${one.name}.`,
            ),
          ),
      ),
  )
}

const extension = (name: string) => name.slice(name.lastIndexOf('.'))

/** `[section] key` → its line, of an ini file or of NAME=value lines. Pure. */
export function settingKeys(text: string): Map<string, number> {
  const keys = new Map<string, number>()
  let section = ''
  text.split('\n').forEach((line, index) => {
    const header = /^\s*\[([^\]]+)\]/.exec(line)
    if (header) section = `[${header[1]}] `
    const key = /^(?:export\s+)?([A-Za-z_][\w.-]*)\s*[=:]/.exec(line)?.[1]
    if (key !== undefined && !keys.has(`${section}${key}`)) keys.set(`${section}${key}`, index + 1)
  })
  return keys
}
