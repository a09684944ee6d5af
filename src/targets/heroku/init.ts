/**
 * A deployment from nothing: the app, its stack, buildpacks, features, add-ons, settings, pipeline and domain, as a
 * plan of what differs. Running it again changes only what differs by then.
 */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { inStep } from '../vps/step.ts'
import { ignored } from './client.ts'
import type { HerokuContext } from './context.ts'
import { attachDomain, automaticCertificates, domainsOf, uploadCertificate } from './domains.ts'
import { isNotFound } from './errors.ts'
import { type Manifest, readManifest } from './manifest.ts'
import type { Addon, App } from './resources.ts'
import * as resource from './resources.ts'
import { settingsDiff, writeSettings } from './settings.ts'
import { currentRelease } from './versions.ts'
import { waitFor } from './wait.ts'

export interface InitOptions {
  /** Deploys and fills the database when the app has no code yet. */
  deploy?: () => Promise<unknown>
  populate?: () => Promise<void>
  /** Add-ons that nobody declares are destroyed, once their name is typed. */
  destroyUndeclared?: boolean
  /** PEM files for the domain; automatic certificates unless given. */
  certificate?: { certificate: string; key: string }
  /** Adds the domain without waiting for a certificate: DNS comes later. */
  withoutCertificate?: boolean
}

/** One difference, with what makes it none. */
export interface Difference {
  text: string
  make(): Promise<void>
}

/** Makes the app what the configuration says, difference by difference. Resolves with what was different. */
export async function init(context: HerokuContext, options: InitOptions = {}): Promise<string[]> {
  const run = currentRun()
  const made: string[] = []
  const apply = async (differences: readonly Difference[]): Promise<void> => {
    for (const { text, make } of differences) {
      made.push(text)
      if (run.options.planOnly || run.options.dryRun) run.emit({ type: 'result', text })
      else await inStep(text, context.app, make)
    }
  }
  const manifest = await readManifest(context)
  const app = await existing(context)
  if (!app) {
    await apply([{ text: `create the app ${context.app}`, make: () => createApp(context, manifest) }])
    if (run.options.planOnly || run.options.dryRun) {
      for (const text of declared(context, manifest)) {
        made.push(text)
        run.emit({ type: 'result', text })
      }
      return made
    }
  }
  await apply(await appDifferences(context, manifest))
  await apply(await addonDifferences(context, manifest, options))
  await apply(await settingsDifferences(context, manifest))
  await apply(await pipelineDifferences(context))
  if (options.deploy && !(run.options.planOnly || run.options.dryRun) && !(await currentRelease(context))?.slug) {
    await options.deploy()
    made.push('first deploy')
    await options.populate?.()
  }
  await apply(await domainDifferences(context, options))
  return made
}

async function existing(context: HerokuContext): Promise<App | undefined> {
  try {
    return await context.client.get(context.path, resource.app)
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

async function createApp(context: HerokuContext, manifest: Manifest): Promise<void> {
  const { deployment, client, app } = context
  const stack = deployment.stack ?? manifest.stack
  const body = {
    name: app,
    ...(deployment.region ? { region: deployment.region } : {}),
    ...(stack ? { stack } : {}),
    ...(deployment.team ? { team: deployment.team } : {}),
  }
  await client.write('POST', deployment.team ? '/teams/apps' : '/apps', resource.app, {
    body,
    reread: () => existing(context),
  })
  currentRun().emit({ type: 'changed', host: app, what: `the app ${app}` })
}

/** What `--plan` says of an app that isn't there yet. */
function declared(context: HerokuContext, manifest: Manifest): string[] {
  const { deployment } = context
  return [
    ...[...manifest.buildpacks, ...deployment.buildpacks].map((name) => `buildpack ${name}`),
    ...deployment.features.map((name) => `feature ${name} on`),
    ...wantedAddons(context, manifest).map(
      (each) => `create the add-on ${each.service}:${each.plan ?? '(default plan)'}`,
    ),
    ...(deployment.settings ? [`settings from config/${deployment.settings}`] : []),
    ...(deployment.pipeline ? [`in the pipeline ${deployment.pipeline}`] : []),
    ...(deployment.domain ? [`domain ${deployment.domain}`] : []),
  ]
}

async function appDifferences(context: HerokuContext, manifest: Manifest): Promise<Difference[]> {
  const { client, path, deployment } = context
  const [app, installed, features] = await Promise.all([
    client.get(path, resource.app),
    client.list(`${path}/buildpack-installations`, resource.buildpack, { range: '' }),
    client.list(`${path}/features`, resource.feature),
  ])
  const differences: Difference[] = []
  if (deployment.region && app.region.name !== deployment.region) {
    throw new UsageError(
      'heroku-region-fixed',
      `${context.app} is in the region ${app.region.name}, and config/deploy.ini says ${deployment.region}`,
      {
        state: 'Nothing was changed: Heroku can not move an app to another region.',
        next: `Set \`region = ${app.region.name}\`, or make a new app there under another name.`,
      },
    )
  }
  const stack = deployment.stack ?? manifest.stack
  if (stack && app.build_stack.name !== stack) {
    differences.push({
      text: `stack ${app.build_stack.name} → ${stack}, from the next deploy`,
      make: async () => {
        await client.write('PATCH', path, resource.app, { body: { build_stack: stack }, reread: async () => undefined })
      },
    })
  }
  const wanted = deployment.buildpacks.length > 0 ? deployment.buildpacks : manifest.buildpacks
  const present = installed.sort((a, b) => a.ordinal - b.ordinal).map((each) => each.buildpack.name)
  if (wanted.length > 0 && wanted.join() !== present.join()) {
    differences.push({
      text: `buildpacks ${present.join(', ') || 'none'} → ${wanted.join(', ')}`,
      make: async () => {
        await client.write('PUT', `${path}/buildpack-installations`, ignored, {
          body: { updates: wanted.map((buildpack) => ({ buildpack })) },
          reread: async () => undefined,
        })
      },
    })
  }
  for (const name of deployment.features) {
    const feature = features.find((each) => each.name === name)
    if (!feature) {
      throw new UsageError('no-feature', `Heroku has no feature ${name}`, {
        state: 'Nothing was changed.',
        next: `There are ${features.map((each) => each.name).join(', ')}.`,
      })
    }
    if (feature.enabled) continue
    differences.push({
      text: `feature ${name} on`,
      make: async () => {
        await client.write('PATCH', `${path}/features/${name}`, resource.feature, {
          body: { enabled: true },
          reread: async () => undefined,
        })
      },
    })
  }
  return differences
}

export interface WantedAddon {
  service: string
  plan?: string
  /** What the add-on itself is asked for: `bucket-name`. */
  options: Record<string, string>
  /** The attachment's name, which its variables begin with. */
  as?: string
}

/** `NAME = PLAN option=value as=NAME` of config/deploy.ini, and the manifest's. NAME is the service, or any name and the plan in full. */
export function wantedAddons(context: HerokuContext, manifest: Manifest): WantedAddon[] {
  const own = Object.entries(context.deployment.addons).map(([name, text]): WantedAddon => {
    const [plan = '', ...rest] = text.trim().split(/\s+/)
    const options: Record<string, string> = Object.fromEntries(
      rest.map((word) => {
        const at = word.indexOf('=')
        if (at < 1)
          throw new UsageError(
            'bad-addon',
            `[${context.deployment.name}.addons] ${name}: "${word}" is not option=value`,
          )
        return [word.slice(0, at), word.slice(at + 1)]
      }),
    )
    const { as, ...others } = options
    const full = plan.includes(':') ? plan.split(':') : [name, plan]
    return { service: full[0] as string, ...(full[1] ? { plan: full[1] } : {}), options: others, ...(as ? { as } : {}) }
  })
  const from = manifest.addons.filter((each) => !own.some((other) => other.service === each.service))
  return [...own, ...from]
}

async function addonDifferences(
  context: HerokuContext,
  manifest: Manifest,
  options: InitOptions,
): Promise<Difference[]> {
  const { client, path, app } = context
  const present = (await client.list(`${path}/addons`, resource.addon)).filter((each) => each.app.name === app)
  const wanted = wantedAddons(context, manifest)
  const config = wanted.some((each) => Object.keys(each.options).length > 0)
    ? await client.get(`${path}/config-vars`, resource.configVars)
    : {}
  const differences: Difference[] = []
  const used = new Set<Addon>()
  for (const each of wanted) {
    const found = present.find((addon) => addon.addon_service.name === each.service && !used.has(addon))
    const plan = `${each.service}${each.plan ? `:${each.plan}` : ''}`
    if (!found) {
      differences.push({ text: `create the add-on ${plan}`, make: () => createAddon(context, each) })
      continue
    }
    used.add(found)
    const differs = Object.entries(each.options).filter(
      ([, value]) => found.config_vars.length > 0 && !found.config_vars.some((name) => config[name] === value),
    )
    if (differs.length > 0) {
      differences.push({
        text: `replace ${found.name} (${differs.map(([name, value]) => `${name}=${value}`).join(' ')}): what it holds is lost`,
        make: async () => {
          await destroyAddon(context, found)
          await createAddon(context, each)
        },
      })
    } else if (each.plan && found.plan.name !== plan) {
      differences.push({
        text: `${found.name}: plan ${found.plan.name} → ${plan}`,
        make: async () => {
          await client.write('PATCH', `${path}/addons/${found.id}`, resource.addon, {
            body: { plan },
            reread: async () => {
              const now = await client.get(`${path}/addons/${found.id}`, resource.addon)
              return now.plan.name === plan ? now : undefined
            },
          })
        },
      })
    } else if (found.state === 'provisioning') {
      differences.push({ text: `wait for ${found.name}`, make: () => provisioned(context, found) })
    }
  }
  for (const addon of present.filter((each) => !used.has(each))) {
    if (options.destroyUndeclared) {
      differences.push({
        text: `destroy ${addon.name} (${addon.plan.name}), which nobody declares`,
        make: () => destroyAddon(context, addon),
      })
    } else {
      currentRun().emit({
        type: 'note',
        host: app,
        text: `${addon.name} (${addon.plan.name}) is not declared in config/deploy.ini; it stays`,
      })
    }
  }
  return differences
}

async function createAddon(context: HerokuContext, wanted: WantedAddon): Promise<void> {
  const { client, path } = context
  const plan = `${wanted.service}${wanted.plan ? `:${wanted.plan}` : ''}`
  const before = new Set((await client.list(`${path}/addons`, resource.addon)).map((each) => each.id))
  let made: Addon
  try {
    made = await client.write('POST', `${path}/addons`, resource.addon, {
      body: { plan, config: wanted.options, ...(wanted.as ? { attachment: { name: wanted.as } } : {}) },
      reread: async () =>
        (await client.list(`${path}/addons`, resource.addon)).find(
          (each) => !before.has(each.id) && each.addon_service.name === wanted.service,
        ),
    })
  } catch (error) {
    throw error instanceof SlipwayError && error.code === 'heroku-plan-gone'
      ? await planGone(context, wanted, error)
      : error
  }
  await provisioned(context, made)
  currentRun().emit({ type: 'changed', host: context.app, what: `add-on ${made.name} (${plan})` })
}

/** The plans there are, asked of the platform. */
async function planGone(context: HerokuContext, wanted: WantedAddon, cause: SlipwayError): Promise<SlipwayError> {
  const plans = await context.client.list(`/addon-services/${wanted.service}/plans`, resource.plan).catch(() => [])
  return new SlipwayError('heroku-plan-gone', `Heroku has no plan ${wanted.service}:${wanted.plan}`, {
    cause,
    host: context.app,
    state: 'Add-ons before it in config/deploy.ini were made; this one was not.',
    next:
      plans.length > 0
        ? `There are ${plans.map((each) => each.name.split(':')[1]).join(', ')}: set \`${wanted.service} = …\` under [${context.deployment.name}.addons], and run \`tasks init_${context.deployment.name}_app\` again.`
        : `There is no add-on service ${wanted.service}: look at https://elements.heroku.com/addons.`,
  })
}

const provisioningMs = 20 * 60_000

async function provisioned(context: HerokuContext, addon: Addon): Promise<void> {
  const deadlineMs = Number(context.env['SLIPWAY_PROVISION_SECONDS'] ?? provisioningMs / 1000) * 1000
  await waitFor(
    async () => {
      const now = await context.client.get(`${context.path}/addons/${addon.id}`, resource.addon)
      if (now.state === 'deprovisioned') {
        throw new SlipwayError(
          'heroku-addon-failed',
          `${addon.name} could not be provisioned: ${now.provision_message ?? 'no reason given'}`,
          { host: context.app, next: 'Run it again, or choose another plan.' },
        )
      }
      return now.state === 'provisioned' ? true : undefined
    },
    {
      deadlineMs,
      maxPauseMs: 5000,
      late: () =>
        new SlipwayError('heroku-addon-late', `${addon.name} is still being provisioned after ${deadlineMs / 1000} s`, {
          host: context.app,
          state: 'It was created, and may still come.',
          next: 'Run it again later: it goes on from there.',
        }),
    },
  )
}

/** Asks for `app::addon` to be typed first: what it holds is lost. */
async function destroyAddon(context: HerokuContext, addon: Addon): Promise<void> {
  const run = currentRun()
  const name = `${context.app}::${addon.name}`
  if (
    !run.options.yes &&
    !(await run.prompter.confirmTyped(`This destroys ${name} and all that it holds. Type its name to go on`, name))
  ) {
    throw new SlipwayError('not-confirmed', `${name} was not destroyed`, { state: 'Nothing more was changed.' })
  }
  try {
    await context.client.write('DELETE', `${context.path}/addons/${addon.id}`, ignored, {
      body: { force: false },
      reread: async () => undefined,
    })
  } catch (error) {
    if (!isNotFound(error)) throw error
  }
}

async function settingsDifferences(context: HerokuContext, manifest: Manifest): Promise<Difference[]> {
  const diff = await settingsDiff(context)
  const now = await context.client.get(`${context.path}/config-vars`, resource.configVars)
  const fromManifest = Object.entries(manifest.env).filter(
    ([name]) => !(name in now) && !diff.some((each) => each.name === name),
  )
  const missing = fromManifest.filter(([, each]) => each.value === undefined && !each.generate)
  for (const [name] of missing)
    currentRun().emit({
      type: 'warning',
      host: context.app,
      text: `app.json wants a value for ${name}: tasks set_settings`,
    })
  const { randomBytes } = await import('node:crypto')
  const values: Record<string, string | null> = {
    ...Object.fromEntries(
      fromManifest
        .filter(([, each]) => each.value !== undefined || each.generate)
        .map(([name, each]) => [name, each.value ?? randomBytes(32).toString('hex')]),
    ),
    ...Object.fromEntries(diff.map((each) => [each.name, each.value])),
  }
  const names = Object.keys(values)
  if (names.length === 0) return []
  return [
    { text: `settings ${names.sort().join(', ')}`, make: async () => void (await writeSettings(context, values)) },
  ]
}

async function pipelineDifferences(context: HerokuContext): Promise<Difference[]> {
  const { client, deployment, path, app } = context
  const name = deployment.pipeline
  if (!name) return []
  const stage =
    deployment.name === 'production' ? 'production' : deployment.name === 'development' ? 'development' : 'staging'
  const pipelines = await client.list('/pipelines', resource.pipeline, { variant: 'pipelines' })
  const pipeline = pipelines.find((each) => each.name === name || each.id === name)
  const coupling = await client.get(`${path}/pipeline-couplings`, resource.coupling).catch((error: unknown) => {
    if (isNotFound(error)) return undefined
    throw error
  })
  if (pipeline && coupling?.pipeline.id === pipeline.id) return []
  if (coupling) {
    throw new SlipwayError('heroku-other-pipeline', `${app} is in another pipeline already`, {
      host: app,
      state: 'Nothing was changed.',
      next: `\`heroku pipelines:remove --app ${app}\`, or change \`pipeline =\` in config/deploy.ini.`,
    })
  }
  const created = { id: pipeline?.id }
  return [
    ...(pipeline
      ? []
      : [
          {
            text: `create the pipeline ${name}`,
            make: async () => {
              const account = await client.get('/account', resource.account)
              const made = await client.write('POST', '/pipelines', resource.pipeline, {
                body: { name, owner: { id: account.id, type: 'user' } },
                variant: 'pipelines',
                reread: async () =>
                  (await client.list('/pipelines', resource.pipeline)).find((each) => each.name === name),
              })
              created.id = made.id
            },
          },
        ]),
    {
      text: `${app} is ${stage} in the pipeline ${name}`,
      make: async () => {
        await client.write('POST', '/pipeline-couplings', resource.coupling, {
          body: { app, pipeline: created.id, stage },
          reread: async () => client.get(`${path}/pipeline-couplings`, resource.coupling).catch(() => undefined),
        })
      },
    },
  ]
}

async function domainDifferences(context: HerokuContext, options: InitOptions): Promise<Difference[]> {
  const { domain } = context.deployment
  if (!domain) return []
  const [all, app] = await Promise.all([domainsOf(context), context.client.get(context.path, resource.app)])
  const differences: Difference[] = []
  if (!all.some((each) => each.hostname === domain)) {
    differences.push({ text: `domain ${domain}`, make: async () => void (await attachDomain(context, domain)) })
  }
  const certificate = options.certificate ?? context.deployment.certificate
  if (certificate) {
    const files = pemFiles(context, certificate)
    const text = await readPem(files.certificate, 'CERTIFICATE')
    await readPem(files.key, 'PRIVATE KEY')
    const present = await context.client.list(`${context.path}/sni-endpoints`, resource.sni)
    if (!present.some((each) => each.certificate_chain.trim() === text.trim())) {
      differences.push({
        text: `certificate of ${domain} from ${certificate.certificate}`,
        make: () => uploadCertificate(context, domain, files),
      })
    }
  } else if (!app.acm && !options.withoutCertificate) {
    // Before there is code nobody waits for it: DNS may come after the first deploy.
    const wait = (await currentRelease(context))?.slug != null
    differences.push({ text: 'automatic certificates', make: () => automaticCertificates(context, { wait }) })
  }
  return differences
}

/** Relative to the project; `~` is the home. */
function pemFiles(context: HerokuContext, files: { certificate: string; key: string }): typeof files {
  const at = (path: string): string =>
    resolve(context.config.dir, path.replace(/^~(?=\/)/, context.env['HOME'] ?? homedir()))
  return { certificate: at(files.certificate), key: at(files.key) }
}

async function readPem(file: string, what: 'CERTIFICATE' | 'PRIVATE KEY'): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new UsageError('no-certificate', `the file ${file} can't be read`, {
      cause,
      next: 'Check `certificate` and `certificate_key` in config/deploy.ini.',
    })
  })
  if (!new RegExp(`-----BEGIN [A-Z ]*${what}-----`).test(text)) {
    throw new UsageError('no-certificate', `${file} holds no PEM ${what.toLowerCase()}`, {
      next: 'Check `certificate` and `certificate_key` in config/deploy.ini: certificate and chain, then the key.',
    })
  }
  return text
}

export const manifestFile = (context: HerokuContext, name: string): string =>
  join(context.config.dir, context.deployment.app.source, name)
