/**
 * `application()`: the deployments of config/deploy.ini as objects of a task file. Nothing is read before it is used,
 * so that listing tasks costs nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setIniValue } from './config/edit.ts'
import { configFile, loadConfig } from './config/load.ts'
import { resolveSecret } from './config/secrets.ts'
import type { Config, DeploymentConfig } from './config/types.ts'
import type { AuditLine, LockInfo } from './engine/types.ts'
import { currentRun, maybeRun, UsageError } from './events/index.ts'
import type { Secret } from './shell/index.ts'
import { meantInstead } from './suggest.ts'
import type { Deployment, LogLine } from './targets/deployment.ts'
import type { HerokuDeployment } from './targets/heroku/deployment.ts'
import { lazyHeroku } from './targets/heroku-lazy.ts'
import { createVpsDeployment } from './targets/vps/create.ts'
import type { VpsDeployment } from './targets/vps/deployment.ts'
import type {
  AdoptOptions as VpsAdoptOptions,
  PromoteOptions as VpsPromoteOptions,
} from './targets/vps/promotion/index.ts'
import { type ParamType, param } from './tasks/params.ts'

/** What `application()` is told: the names of the deployments, and where the project is if not beside the task file. */
export interface ApplicationOptions<Name extends string> {
  /** Sections of config/deploy.ini. */
  deployments: readonly Name[]
}

/** Of a promotion. `resume`, `undo`: of one that stopped on its way. */
export type PromoteOptions = VpsPromoteOptions

/** An app that was deployed by hand. */
export interface AdoptOptions extends Omit<VpsAdoptOptions, 'data'> {
  data?: string
}

export interface ApplicationBase {
  /** The checked configuration. */
  readonly config: Config
  /** A parameter that names a deployment: `:release=staging`. For tasks that change something: it has no default. */
  readonly deployment: ParamType<Deployment>
  /**
   * The same for tasks that only read: production if there is one, staging otherwise; which one it was is told.
   */
  readonly deploymentToRead: ParamType<Deployment, false>
  /** A secret of .env, the environment, a command or a question. */
  secret(name: string): Promise<Secret>
  /** The lock on a deployment, broken whoever holds it; resolves with whose it was. */
  unlock(deployment: Deployment): Promise<LockInfo | undefined>
  /** The audit log where the deployment lives, newest first. */
  audit(deployment: Deployment, limit?: number): Promise<AuditLine[]>
  /** Makes what `from` runs that of `to`: `promote_staging_to_production`. */
  promote(from: Deployment, to: Deployment, options?: PromoteOptions): Promise<void>
  /**
   * Makes the release of `from` the production of `to`, in place of an app that was deployed by hand in a folder of the
   * host, with its data. `data` is `NAME=PATH,…`. Hosts only.
   */
  adopt(from: Deployment, to: Deployment, options: AdoptOptions): Promise<void>
  /** Goes back to what was production before, with the data that was written since. Hosts only. */
  demote(from: Deployment, to: Deployment, options?: PromoteOptions): Promise<void>
  /** Past promotions of a deployment as text, newest first, with the times of their steps. Hosts only. */
  promotions(deployment: Deployment): Promise<string[]>
  /** Deletes what past promotions kept, but for the last `keep`; resolves with the paths. Hosts only. */
  prunePromotions(deployment: Deployment, options?: { keep?: number }): Promise<string[]>
  /** What root has to do once on the hosts of a deployment, as a script. */
  hostSetup(deployment: Deployment): Promise<string>
  /** Makes `release` the one that `deployment` is in config/deploy.ini. */
  setRelease(deployment: Deployment, release: string): void
}

/** What a task file says of its app: its deployments as values, `deployment` as a parameter's type, and `promote`. */
export type Application<Name extends string> = ApplicationBase & { readonly [K in Name]: Deployment }

/**
 * The application that this task file deploys. Names that config/deploy.ini does not have are refused when used.
 *
 * @example
 * ```ts
 * const app = application({ deployments: ['staging', 'production'] }) // config/deploy.ini
 * ```
 */
export function application<const Name extends string>(options: ApplicationOptions<Name>): Application<Name> {
  const names: readonly string[] = options.deployments
  const base: ApplicationBase = {
    get config() {
      return projectConfig()
    },
    deployment: deploymentParam(names),
    deploymentToRead: deploymentToRead(names),
    secret: (name) => resolveSecret(projectConfig(), name),
    unlock,
    audit,
    promote,
    adopt,
    demote,
    promotions,
    prunePromotions,
    hostSetup,
    setRelease,
  }
  for (const name of names) {
    Object.defineProperty(base, name, { enumerable: true, get: () => deploymentNamed(name) })
  }
  return base as Application<Name>
}

const projectDir = (): string => maybeRun()?.options.projectDir ?? process.cwd()

function remembered<T>(key: string, make: () => T): T {
  const run = maybeRun()
  return run ? run.memo(key, make) : make()
}

function projectConfig(): Config {
  const dir = projectDir()
  return remembered(`config of ${dir}`, () => loadConfig(dir))
}

function deploymentNamed(name: string): Deployment {
  return remembered(`deployment ${projectDir()} ${name}`, () => {
    const config = projectConfig()
    const found = config.deployments[name]
    if (!found) {
      const known = Object.keys(config.deployments)
      throw new UsageError('no-deployment', `${configFile} has no section [${name}]${meantInstead(name, known)}`, {
        state: 'Nothing has connected.',
        next: `It has ${known.join(', ')}; the names in the task file's application() must be among them.`,
      })
    }
    return createDeployment(config, name)
  })
}

function createDeployment(config: Config, name: string): Deployment {
  const deployment = config.deployments[name] as DeploymentConfig
  return deployment.target === 'vps' ? createVpsDeployment(config, deployment) : lazyHeroku(config, deployment)
}

function deploymentParam(names: readonly string[]): ParamType<Deployment> {
  return param<Deployment>({
    placeholder: names.join('|'),
    parse: (text) => parseDeployment(names, text),
    format: (deployment) => deployment.name,
    choices: () => names,
  })
}

function parseDeployment(names: readonly string[], text: string): Deployment {
  if (names.includes(text)) return deploymentNamed(text)
  throw new UsageError('no-deployment', `there is no deployment "${text}"${meantInstead(text, names)}`, {
    next: `There ${names.length === 1 ? 'is' : 'are'} ${names.join(', ')}.`,
  })
}

function deploymentToRead(names: readonly string[]): ParamType<Deployment, false> {
  return param<Deployment>({
    placeholder: names.join('|'),
    parse: (text) => parseDeployment(names, text),
    format: (deployment) => deployment.name,
    choices: () => names,
    fallback: async () => {
      const name = (await hasProduction(names)) ? 'production' : names.includes('staging') ? 'staging' : names[0]
      currentRun().emit({ type: 'note', text: `of ${name}, as no release was given` })
      return deploymentNamed(name as string)
    },
  })
}

/** On hosts, production is what the host remembers; on Heroku, what is configured. */
async function hasProduction(names: readonly string[]): Promise<boolean> {
  if (!names.includes('production')) return false
  const production = deploymentNamed('production')
  if (production.target !== 'vps') return true
  return production.release().then(
    () => true,
    (error: { code?: string }) => {
      if (error.code === 'no-release') return false
      throw error
    },
  )
}

async function unlock(deployment: Deployment): Promise<LockInfo | undefined> {
  const { storeOf } = await import('./targets/store.ts')
  const { owner } = await import('./targets/vps/change.ts')
  return (await storeOf(projectConfig(), deployment)).breakLock(deployment.name, owner(currentRun(), 'unlock'))
}

async function audit(deployment: Deployment, limit = 30): Promise<AuditLine[]> {
  const { storeOf } = await import('./targets/store.ts')
  return (await storeOf(projectConfig(), deployment)).audits(limit)
}

async function promote(from: Deployment, to: Deployment, options: PromoteOptions = {}): Promise<void> {
  const config = projectConfig()
  if (from.target === 'vps' && to.target === 'vps') {
    const [{ promote }, { vpsContext }] = await Promise.all([
      import('./targets/vps/promotion/index.ts'),
      import('./targets/vps/create.ts'),
    ])
    await promote(vpsContext(config, from.config), vpsContext(config, to.config), options)
    return
  }
  if (from.target === 'heroku' && to.target === 'heroku') {
    if (options.data === 'fresh') {
      throw new UsageError('data-stays', `production's data stays in its own database on Heroku: it can't begin anew`, {
        state: 'Nothing was changed.',
        next: 'Leave data=fresh out. To empty it all the same: tasks reset_db:release=production',
      })
    }
    const { promoteHeroku } = await import('./targets/heroku/index.ts')
    const { resume, undo, hold } = options
    await promoteHeroku(from, to, { resume, undo, maintenance: hold === false, setup: { config } })
    return
  }
  throw new UsageError(
    'other-target',
    `${from.name} and ${to.name} run on different targets: one can't become the other`,
  )
}

async function demote(from: Deployment, to: Deployment, options: PromoteOptions = {}): Promise<void> {
  const { demote, contextOf } = await promotionOf()
  await demote(contextOf(from), contextOf(to), options)
}

async function adopt(from: Deployment, to: Deployment, { data, ...options }: AdoptOptions): Promise<void> {
  const { promote, contextOf } = await promotionOf()
  const places = data?.split(',').map((each) => each.split('=').map((word) => word.trim()))
  if (places?.some(([name, path]) => !name || !path)) {
    throw new UsageError('adopt-data', `"${data}" says not where data lies`, {
      next: 'Write it as data=NAME=PATH,NAME=PATH.',
    })
  }
  const given = places && { data: Object.fromEntries(places) as Record<string, string> }
  await promote(contextOf(from), contextOf(to), { adopt: { ...options, ...given } })
}

async function promotions(deployment: Deployment): Promise<string[]> {
  const { promotions, promotionText, contextOf } = await promotionOf()
  return (await promotions(contextOf(deployment))).flatMap((report) => promotionText(report))
}

async function prunePromotions(deployment: Deployment, options: { keep?: number } = {}): Promise<string[]> {
  const { prunePromotions, contextOf } = await promotionOf()
  return prunePromotions(contextOf(deployment), options)
}

async function promotionOf() {
  const [promotion, { vpsContext }] = await Promise.all([
    import('./targets/vps/promotion/index.ts'),
    import('./targets/vps/create.ts'),
  ])
  return {
    ...promotion,
    contextOf: (deployment: Deployment) => vpsContext(projectConfig(), onHosts(deployment).config),
  }
}

async function hostSetup(deployment: Deployment): Promise<string> {
  const { vpsContext } = await import('./targets/vps/create.ts')
  const { hostSetup: script } = await import('./targets/vps/domains.ts')
  return script(vpsContext(projectConfig(), onHosts(deployment).config))
}

function setRelease(deployment: Deployment, release: string): void {
  const run = currentRun()
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(release)) {
    throw new UsageError('bad-value', `"${release}" can't name a release: letters, digits, ".", "_" and "-"`)
  }
  const file = join(projectDir(), configFile)
  const text = readFileSync(file, 'utf8')
  const changed = setIniValue(text, deployment.name, 'release', release)
  const what = `${configFile}: [${deployment.name}] release = ${release}`
  if (run.options.dryRun) run.emit({ type: 'held-back', host: 'local', display: what })
  else if (changed !== text) {
    writeFileSync(file, changed)
    run.emit({ type: 'changed', what })
  }
}

/**
 * Shows log lines as they come, until there are no more or the run is interrupted.
 *
 * @example
 * ```ts
 * await show(app.staging.logs({ source: 'app', follow: true }))
 * ```
 */
export async function show(lines: AsyncIterable<LogLine>): Promise<void> {
  const run = currentRun()
  for await (const line of lines) {
    const text = line.mark ? `--- ${line.mark} ---` : line.text
    const { host, source, at } = line
    run.emit(at ? { type: 'log.line', host, source, text, time: at } : { type: 'log.line', host, source, text })
  }
}

/**
 * A deployment on hosts, or a UsageError: for what only hosts have.
 *
 * @example
 * ```ts
 * await onHosts(app.staging).role('web').each((host) => host.probe`uptime`)
 * ```
 */
export function onHosts(deployment: Deployment): VpsDeployment {
  if (deployment.target === 'vps') return deployment
  throw new UsageError(
    'not-on-heroku',
    `${deployment.name} runs on Heroku, and this is only there on hosts of one's own`,
  )
}

/** A deployment on Heroku, or a UsageError: for what only the platform has. */
export function onHeroku(deployment: Deployment): HerokuDeployment {
  if (deployment.target === 'heroku') return deployment
  throw new UsageError(
    'not-on-hosts',
    `${deployment.name} runs on hosts of one's own, and this is only there on Heroku`,
    {
      state: 'Nothing was changed.',
      next: `For Heroku, [${deployment.name}] in config/deploy.ini has \`target = heroku\` and \`app = NAME\`.`,
    },
  )
}
