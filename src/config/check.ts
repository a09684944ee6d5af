/** From ini entries to a checked Config, collecting every mistake instead of stopping at the first. Pure. */

import { meantInstead, near } from '../suggest.ts'
import type { IniEntry, IniFile, IniMistake } from './ini.ts'
import {
  appKeys,
  appTables,
  deploymentKeys,
  domainsKeys,
  herokuKeys,
  herokuTables,
  hookNames,
  type Key,
  type Keys,
  notifyKeys,
  vpsKeys,
  vpsTables,
} from './keys.ts'
import type {
  AppConfig,
  Config,
  DatabaseConfig,
  DeploymentConfig,
  DomainsConfig,
  HookName,
  NotificationConfig,
  Place,
  VpsConfig,
  WorkerConfig,
} from './types.ts'
import { count, durationSeconds, text, type V } from './values.ts'

export interface CheckContext {
  v: V
  dir: string
  file: string
  settingsExist(path: string): boolean
}

type Values = Record<string, unknown>

/** On Heroku the Procfile says what the server is. */
const keysForHeroku: Keys = { ...appKeys, server: { ...(appKeys['server'] as Key), required: false } }

function onlyOnHeroku(pass: Pass, deployments: readonly string[]): boolean {
  const targets = deployments.map((name) => entriesOf(pass, name).find((entry) => entry.key === 'target')?.value)
  return targets.length > 0 && targets.every((target) => target === 'heroku')
}

/** What one pass collects. */
interface Pass extends CheckContext {
  ini: IniFile
  mistakes: IniMistake[]
  places: Record<string, Place>
}

export function checkConfig(ini: IniFile, context: CheckContext): { config: Config; mistakes: IniMistake[] } {
  const pass: Pass = { ...context, ini, mistakes: [], places: {} }
  const deploymentNames = ini.sections.map((s) => s.name).filter((name) => isDeployment(pass, name))
  checkSections(pass, deploymentNames)

  const appValues = readKeys(pass, 'app', onlyOnHeroku(pass, deploymentNames) ? keysForHeroku : appKeys, {})
  const app = appConfig(pass, appValues, readTables(pass, 'app', appTables))
  if (!ini.sections.some((s) => s.name === 'app'))
    complain(pass, 1, 'there is no [app] section; it holds name and server')
  if (deploymentNames.length === 0) {
    complain(pass, 1, 'no section is a deployment: add e.g. [staging] with `target = vps` and `hosts = …`')
  }

  const deployments: Record<string, DeploymentConfig> = {}
  for (const name of deploymentNames) deployments[name] = deployment(pass, name, appValues, app)
  for (const [name, each] of Object.entries(deployments)) checkClone(pass, name, each, deploymentNames)

  const config: Config = {
    dir: context.dir,
    file: context.file,
    app,
    deployments,
    domains: domains(pass),
    notifications: notifications(pass),
    places: pass.places,
    secretCommands: Object.fromEntries(
      entriesOf(pass, 'secret_commands').map((entry) => [entry.key, value(pass, entry, { type: text }) as string]),
    ),
  }
  return { config, mistakes: pass.mistakes }
}

function complain(pass: Pass, line: number, message: string): void {
  pass.mistakes.push({ line, message })
}

function entriesOf(pass: Pass, section: string): IniEntry[] {
  return pass.ini.entries.filter((entry) => entry.section === section)
}

function sectionLine(pass: Pass, name: string): number {
  return pass.ini.sections.find((section) => section.name === name)?.line ?? 1
}

/** A section is a deployment if it says where it runs. */
function isDeployment(pass: Pass, section: string): boolean {
  return entriesOf(pass, section).some((entry) => entry.key === 'target')
}

/** What was probably meant to say where it runs. */
function misspelt(pass: Pass, section: string): string {
  const slip = entriesOf(pass, section).find(({ key }) => near(key, ['target']).length > 0)
  return slip === undefined ? '' : ` (line ${slip.line} says ${slip.key})`
}

const standAlone = ['app', 'domains', 'secret_commands']
const allTables = { ...appTables, ...vpsTables, ...herokuTables }

function checkSections(pass: Pass, deployments: readonly string[]): void {
  const owners = ['app', ...deployments]
  const known = [
    ...standAlone,
    ...owners.flatMap((owner) => Object.keys(allTables).map((table) => `${owner}.${table}`)),
  ]
  for (const { name, line } of pass.ini.sections) {
    if (known.includes(name) || deployments.includes(name)) continue
    const [owner, ...rest] = name.split('.')
    if (owner === 'notify' && rest.length === 1) continue
    if (rest.length === 0) {
      const suggestion = meantInstead(name, [...standAlone, ...deployments])
      complain(
        pass,
        line,
        suggestion
          ? `there is no section [${name}]${suggestion}`
          : `[${name}] is not known; a deployment needs \`target = vps\` or \`target = heroku\`${misspelt(pass, name)}`,
      )
    } else complain(pass, line, `there is no section [${name}]${meantInstead(name, known)}`)
  }
}

function value(pass: Pass, entry: IniEntry, key: Pick<Key, 'type'>): unknown {
  const result = pass.v.safeParse(key.type(pass.v), entry.value)
  pass.places[`${entry.section}.${entry.key}`] = { file: pass.file, line: entry.line }
  if (result.success) return result.output
  complain(pass, entry.line, `[${entry.section}] ${entry.key} ${lead(result.issues[0].message)}`)
  return undefined
}

const lead = (message: string): string => (message.startsWith('"') ? `= ${message}` : message)

/** The values of a section's own keys; unknown and missing ones are mistakes. `optional` keys may be missing. */
function readKeys(pass: Pass, section: string, keys: Keys, optional: Keys): Values {
  const values: Values = {}
  const all = { ...optional, ...keys }
  for (const entry of entriesOf(pass, section)) {
    const key = all[entry.key]
    if (!key) {
      complain(pass, entry.line, `[${section}] has no key ${entry.key}${meantInstead(entry.key, Object.keys(all))}`)
      continue
    }
    const read = value(pass, entry, key)
    if (read !== undefined) values[entry.key] = read
  }
  const there = entriesOf(pass, section).map((entry) => entry.key)
  for (const [name, key] of Object.entries(keys)) {
    if (key.required && !there.includes(name) && pass.ini.sections.some((s) => s.name === section)) {
      complain(pass, sectionLine(pass, section), `[${section}] needs ${name}, e.g. ${name} = ${key.example}`)
    }
  }
  return values
}

/** The sub-sections of `owner`: `[staging.roles]`. */
function readTables(pass: Pass, owner: string, tables: Readonly<Record<string, Key>>): Record<string, Values> {
  const read: Record<string, Values> = {}
  for (const [table, key] of Object.entries(tables)) {
    const entries = entriesOf(pass, `${owner}.${table}`)
    const values: Values = {}
    for (const entry of entries) {
      const type = table === 'workers' ? workerKey(pass, entry, entries) : key
      if (!type) continue
      if (table === 'hooks' && !(hookNames as readonly string[]).includes(entry.key)) {
        complain(pass, entry.line, `there is no hook ${entry.key}${meantInstead(entry.key, hookNames)}`)
        continue
      }
      if (table !== 'hooks') checkTableKey(pass, table, entry)
      const one = value(pass, entry, type)
      if (one !== undefined) values[entry.key] = one
    }
    read[table] = values
  }
  return read
}

const workerAspects = ['processes', 'drain', 'health']

/** `mailer = COMMAND`, `mailer.processes = 2`, `mailer.drain = 60s`, `mailer.health = COMMAND`. */
function workerKey(pass: Pass, entry: IniEntry, entries: readonly IniEntry[]): Pick<Key, 'type'> | undefined {
  const [name, aspect, ...more] = entry.key.split('.')
  if (aspect === undefined) {
    if (/^[a-z][a-z0-9_-]*$/i.test(entry.key) && !/^(app|run)(-|$)|-\d+$/.test(entry.key)) return { type: text }
    complain(
      pass,
      entry.line,
      `"${entry.key}" can't name a worker: letters, digits, "_" and "-", and no number at its end; not app, run, or app-…`,
    )
    return undefined
  }
  if (more.length === 0 && aspect === 'processes') return { type: count(0, 512) }
  if (more.length === 0 && aspect === 'drain') return { type: durationSeconds }
  if (more.length === 0 && aspect === 'health') return { type: text }
  const owners = entries.map((each) => each.key).filter((key) => !key.includes('.'))
  complain(
    pass,
    entry.line,
    `[${entry.section}] ${entry.key}: a worker${owners.includes(name as string) ? ` such as ${name}` : ''} has processes, drain and health${meantInstead(aspect, workerAspects)}`,
  )
  return undefined
}

function checkTableKey(pass: Pass, table: string, entry: IniEntry): void {
  const paths = table === 'shared' || table === 'modes' || table === 'links'
  if (paths && (entry.key.startsWith('/') || entry.key.split('/').includes('..'))) {
    complain(pass, entry.line, `[${entry.section}] ${entry.key} must be a path inside its folder`)
  }
  if ((table === 'environment' || table === 'init_answers') && !/^[A-Za-z_][A-Za-z0-9_]*$/.test(entry.key)) {
    complain(pass, entry.line, `[${entry.section}] ${entry.key} can't name a variable`)
  }
}

function appConfig(pass: Pass, values: Values, tables: Record<string, Values>): AppConfig {
  const get = <T>(key: string, standard: T): T => (values[key] as T | undefined) ?? standard
  if (values['restart'] === 'reload' && values['reload'] === undefined) {
    complain(
      pass,
      pass.places['app.restart']?.line ?? 1,
      '[app] restart = reload needs reload, the signal for it, with it',
    )
  }
  return {
    name: get('name', ''),
    source: get('source', '.'),
    root: get('root', '~/webapps'),
    exclude: get('exclude', []),
    install: get('install', []),
    build: get('build', []),
    migrate: get('migrate', undefined),
    migrations: get('migrations', 'none'),
    initDb: get('init_db', undefined),
    initAnswers: (tables['init_answers'] ?? {}) as Record<string, string>,
    server: get('server', ''),
    listen: get('listen', { kind: 'socket' }),
    workers: workers(pass, tables['workers'] ?? {}),
    drainSeconds: get('drain', 30),
    reload: get('reload', undefined),
    restartBy: get('restart', 'slots'),
    readOnly: get('read_only', undefined),
    health: {
      path: get('health', '/up'),
      status: get('health_status', 200),
      body: get('health_body', undefined),
      deadlineMs: get('health_deadline', 30_000),
    },
    shared: (tables['shared'] ?? {}) as AppConfig['shared'],
    databases: (tables['databases'] ?? {}) as Record<string, DatabaseConfig>,
    spools: get('spools', []),
    logs: (tables['logs'] ?? {}) as Record<string, string>,
    remove: get('remove', []),
    modes: (tables['modes'] ?? {}) as Record<string, number>,
    links: (tables['links'] ?? {}) as Record<string, string>,
    environment: (tables['environment'] ?? {}) as Record<string, string>,
    keepVersions: get('keep_versions', 5),
    gate: get('gate', undefined),
    smoke: get('smoke', undefined),
    hooks: (tables['hooks'] ?? {}) as Partial<Record<HookName, string[]>>,
    schedule: (tables['schedule'] ?? {}) as AppConfig['schedule'],
  }
}

function workers(_pass: Pass, values: Values): Record<string, WorkerConfig> {
  const found: Record<string, WorkerConfig> = {}
  for (const [name, command] of Object.entries(values)) {
    if (name.includes('.')) continue
    const health = values[`${name}.health`] as string | undefined
    found[name] = {
      command: command as string,
      processes: (values[`${name}.processes`] as number | undefined) ?? 1,
      stopSeconds: (values[`${name}.drain`] as number | undefined) ?? 60,
      ...(health === undefined ? {} : { health }),
    }
  }
  return found
}

/** A deployment's section over [app]'s. */
function deployment(pass: Pass, name: string, appValues: Values, shared: AppConfig): DeploymentConfig {
  const entries = entriesOf(pass, name)
  const target = entries.find((entry) => entry.key === 'target')?.value === 'heroku' ? 'heroku' : 'vps'
  const own = { ...deploymentKeys, ...(target === 'vps' ? vpsKeys : herokuKeys) }
  const optional = Object.fromEntries(Object.entries(appKeys).filter(([key]) => key !== 'name'))
  const values = readKeys(pass, name, own, optional)
  const appTablesHere = readTables(pass, name, appTables)
  const over = appConfig(pass, { ...appValues, ...pick(values, appKeys, own) }, mergeTables(pass, appTablesHere))
  const app = { ...over, name: shared.name }
  const settings = values['settings'] as string | undefined
  if (settings !== undefined && !pass.settingsExist(settings)) {
    const place = pass.places[`${name}.settings`]
    complain(pass, place?.line ?? 1, `[${name}] settings = ${settings}, but there is no config/${settings}`)
  }
  const base = {
    name,
    app,
    settings,
    domain: values['domain'] as string | undefined,
    branch: values['branch'] as string | undefined,
    cloneOnDeploy: values['clone_on_deploy'] as string | undefined,
    place: { file: pass.file, line: sectionLine(pass, name) },
  }
  if (target === 'heroku') {
    const [certificate, key] = [values['certificate'], values['certificate_key']] as (string | undefined)[]
    if ((certificate === undefined) !== (key === undefined)) {
      const [there, missing] =
        certificate === undefined ? ['certificate_key', 'certificate'] : ['certificate', 'certificate_key']
      complain(pass, pass.places[`${name}.${there}`]?.line ?? 1, `[${name}] has ${there}, and needs ${missing} with it`)
    }
    return {
      ...base,
      target,
      herokuApp: (values['app'] as string | undefined) ?? '',
      pipeline: values['pipeline'] as string | undefined,
      region: values['region'] as string | undefined,
      stack: values['stack'] as string | undefined,
      team: values['team'] as string | undefined,
      addons: (readTables(pass, name, herokuTables)['addons'] ?? {}) as Record<string, string>,
      buildpacks: (values['buildpacks'] as string[] | undefined) ?? [],
      features: (values['features'] as string[] | undefined) ?? [],
      strategy: (values['strategy'] as 'pipeline' | 'swap' | undefined) ?? 'pipeline',
      deployBy: (values['deploy_by'] as 'source' | 'git' | undefined) ?? 'source',
      certificate: certificate !== undefined && key !== undefined ? { certificate, key } : undefined,
      scrub: values['scrub'] as string | undefined,
      maintenanceVariable: values['maintenance_variable'] as string | undefined,
    }
  }
  const hosts = (values['hosts'] as string[] | undefined) ?? []
  if (entries.some((entry) => entry.key === 'hosts') && hosts.length === 0) {
    complain(pass, pass.places[`${name}.hosts`]?.line ?? 1, `[${name}] hosts is empty`)
  }
  return {
    ...base,
    target,
    hosts,
    roles: (readTables(pass, name, vpsTables)['roles'] ?? {}) as Record<string, string[]>,
    release: values['release'] as string | undefined,
    database: (values['database'] as 'copy' | 'handover' | undefined) ?? 'copy',
    scrub: values['scrub'] as string | undefined,
    services: (values['services'] as 'supervisor' | 'systemd' | undefined) ?? 'supervisor',
    ...systemSupervisor(pass, name, values),
    backups: values['backups'] as string | undefined,
    keepBackups: (values['keep_backups'] as number | undefined) ?? 14,
    maintenanceAllow: (values['maintenance_allow'] as string[] | undefined) ?? [],
    maintenanceVariable: values['maintenance_variable'] as VpsConfig['maintenanceVariable'],
  }
}

/** `supervisor_conf` makes it the system's supervisord; the socket alone means nothing. */
function systemSupervisor(pass: Pass, name: string, values: Values): Pick<VpsConfig, 'systemSupervisor'> {
  const conf = values['supervisor_conf'] as string | undefined
  const socket = values['supervisor_socket'] as string | undefined
  const lineOf = (key: string) => pass.places[`${name}.${key}`]?.line ?? 1
  if (conf === undefined) {
    if (socket !== undefined)
      complain(pass, lineOf('supervisor_socket'), `[${name}] has supervisor_socket, and needs supervisor_conf with it`)
    return {}
  }
  if (values['services'] === 'systemd') {
    complain(pass, lineOf('supervisor_conf'), `[${name}] supervisor_conf is for services = supervisor, not systemd`)
  }
  return { systemSupervisor: { conf: conf.replace(/\/+$/, ''), socket: socket ?? '/var/run/supervisor.sock' } }
}

/** Of `values`, those that are keys of [app] and not of the deployment itself. */
function pick(values: Values, keys: Keys, own: Keys): Values {
  return Object.fromEntries(Object.entries(values).filter(([key]) => key in keys && !(key in own)))
}

function mergeTables(pass: Pass, over: Record<string, Values>): Record<string, Values> {
  const quiet: Pass = { ...pass, mistakes: [], places: {} }
  const base = readTables(quiet, 'app', appTables)
  return Object.fromEntries(Object.keys(appTables).map((table) => [table, { ...base[table], ...over[table] }]))
}

function checkClone(pass: Pass, name: string, each: DeploymentConfig, names: readonly string[]): void {
  const from = each.cloneOnDeploy
  if (from === undefined || (names.includes(from) && from !== name)) return
  const line = pass.places[`${name}.clone_on_deploy`]?.line ?? 1
  complain(
    pass,
    line,
    from === name
      ? `[${name}] clone_on_deploy = ${from}: it can't be cloned from itself`
      : `[${name}] clone_on_deploy = ${from}: there is no deployment ${from}${meantInstead(from, names)}`,
  )
}

function domains(pass: Pass): DomainsConfig {
  const { provider = 'none', ...options } = readKeys(pass, 'domains', domainsKeys, {})
  return {
    provider: provider as DomainsConfig['provider'],
    options: Object.fromEntries(
      Object.entries(options).map(([name, each]) => [name, Array.isArray(each) ? each.join(', ') : String(each)]),
    ),
  }
}

function notifications(pass: Pass): NotificationConfig[] {
  return pass.ini.sections
    .filter((section) => /^notify\.[^.]+$/.test(section.name))
    .map((section) => {
      const values = readKeys(pass, section.name, notifyKeys, {})
      return {
        name: section.name.slice('notify.'.length),
        kind: (values['kind'] as NotificationConfig['kind'] | undefined) ?? 'generic',
        url: (values['url'] as string | undefined) ?? '',
        message: (values['message'] as string | undefined) ?? (notifyKeys['message']?.standard as string),
        on: (values['on'] as NotificationConfig['on'] | undefined) ?? ['deploy', 'promote', 'rollback', 'failure'],
      }
    })
}
