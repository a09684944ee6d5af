/** What of an app differs from the configuration, beside its add-ons: stack, buildpacks, features, settings, pipeline, domain. */
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { couplingOf } from './change.ts'
import { ignored } from './client.ts'
import type { HerokuContext } from './context.ts'
import type { InitAppOptions } from './deployment.ts'
import { attachDomain, automaticCertificates, domainsOf, uploadCertificate } from './domains.ts'
import type { Difference } from './init.ts'
import type { Manifest } from './manifest.ts'
import type { App } from './resources.ts'
import * as resource from './resources.ts'
import { readSettings, settingsDiff, writeSettings } from './settings.ts'
import { currentRelease } from './versions.ts'

/** Stack, buildpacks and features. `app` is undefined where it is to be made, with its stack and its region. */
export async function appDifferences(
  context: HerokuContext,
  manifest: Manifest,
  app: App | undefined,
): Promise<Difference[]> {
  const { client, path, deployment } = context
  const [installed, features] = app
    ? await Promise.all([
        client.list(`${path}/buildpack-installations`, resource.buildpack, { range: '' }),
        client.list(`${path}/features`, resource.feature),
      ])
    : [[], undefined]
  const differences: Difference[] = []
  if (app && deployment.region && app.region.name !== deployment.region) {
    throw new UsageError(
      'heroku-region-fixed',
      `${context.app} is in the region ${app.region.name}, and config/deploy.ini says ${deployment.region}`,
      {
        state: 'Nothing was changed: Heroku can not move an app to another region.',
        next: `Set \`region = ${app.region.name}\`, or make a new app there under another name.`,
      },
    )
  }
  if (app && deployment.team !== undefined && app.team?.name !== deployment.team) {
    throw new UsageError(
      'heroku-other-team',
      `${context.app} belongs to ${app.team ? `the team ${app.team.name}` : app.owner.email}, and config/deploy.ini says team = ${deployment.team}`,
      {
        state: 'Nothing was changed.',
        next: `Give it to that team, \`heroku apps:transfer ${deployment.team} --app ${context.app}\`, or change \`team =\` in config/deploy.ini.`,
      },
    )
  }
  const stack = deployment.stack ?? manifest.stack
  if (app && stack && app.build_stack.name !== stack) {
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
    if (features && featureOf(features, name).enabled) continue
    differences.push({
      text: `feature ${name} on`,
      make: async () => {
        if (!features) featureOf(await client.list(`${path}/features`, resource.feature), name)
        await client.write('PATCH', `${path}/features/${name}`, resource.feature, {
          body: { enabled: true },
          reread: async () => undefined,
        })
      },
    })
  }
  return differences
}

function featureOf(features: readonly resource.Feature[], name: string): resource.Feature {
  const feature = features.find((each) => each.name === name)
  if (feature) return feature
  throw new UsageError('no-feature', `Heroku has no feature ${name}`, {
    state: 'It was not switched on.',
    next: `There are ${features.map((each) => each.name).join(', ')}.`,
  })
}

/**
 * One batch of settings. `yet` says that the app has all the variables that it will have: before its add-ons are made,
 * what is derived from theirs counts as different.
 */
export async function settingsDifferences(
  context: HerokuContext,
  manifest: Manifest,
  app: App | undefined,
  yet: boolean,
): Promise<Difference[]> {
  const now = app ? await readSettings(context) : {}
  const values = await settingsToBe(context, manifest, now, !yet)
  for (const [name, each] of Object.entries(manifest.env)) {
    if (name in now || name in values || each.value !== undefined || each.generate) continue
    const text = `app.json wants a value for ${name}: tasks set_settings`
    currentRun().emit({ type: 'warning', host: context.app, text })
  }
  const names = Object.keys(values)
  if (names.length === 0) return []
  return [
    {
      text: `settings ${names.sort().join(', ')}`,
      make: async () => {
        // Read again: the add-ons have brought theirs.
        const then = await readSettings(context)
        await writeSettings(context, await settingsToBe(context, manifest, then, false))
      },
    },
  ]
}

async function settingsToBe(
  context: HerokuContext,
  manifest: Manifest,
  now: Record<string, string>,
  lenient: boolean,
): Promise<Record<string, string | null>> {
  const diff = await settingsDiff(context, { now, lenient })
  const wanted = new Set(diff.map((each) => each.name))
  const { randomBytes } = await import('node:crypto')
  return {
    ...Object.fromEntries(
      Object.entries(manifest.env)
        .filter(([name, each]) => !(name in now) && !wanted.has(name) && (each.value !== undefined || each.generate))
        .map(([name, each]) => [name, each.value ?? randomBytes(32).toString('hex')]),
    ),
    ...Object.fromEntries(diff.map((each) => [each.name, each.value])),
  }
}

export async function pipelineDifferences(context: HerokuContext, there: boolean): Promise<Difference[]> {
  const { client, deployment, path, app } = context
  const name = deployment.pipeline
  if (!name) return []
  const stage =
    deployment.name === 'production' ? 'production' : deployment.name === 'development' ? 'development' : 'staging'
  const [pipelines, coupling] = await Promise.all([
    client.list('/pipelines', resource.pipeline, { variant: 'pipelines' }),
    there ? couplingOf(context) : undefined,
  ])
  const pipeline = pipelines.find((each) => each.name === name || each.id === name)
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

export async function domainDifferences(
  context: HerokuContext,
  app: App | undefined,
  { withoutCertificate }: InitAppOptions,
): Promise<Difference[]> {
  const { domain } = context.deployment
  if (!domain) return []
  const all = app ? await domainsOf(context) : []
  const differences: Difference[] = []
  if (!all.some((each) => each.hostname === domain)) {
    differences.push({ text: `domain ${domain}`, make: async () => void (await attachDomain(context, domain)) })
  }
  const { certificate } = context.deployment
  if (certificate) {
    const files = pemFiles(context, certificate)
    const text = await readPem(files.certificate, 'CERTIFICATE')
    await readPem(files.key, 'PRIVATE KEY')
    const present = app ? await context.client.list(`${context.path}/sni-endpoints`, resource.sni) : []
    if (!present.some((each) => each.certificate_chain.trim() === text.trim())) {
      differences.push({
        text: `certificate of ${domain} from ${certificate.certificate}`,
        make: () => uploadCertificate(context, domain, files),
      })
    }
  } else if (!app?.acm && !withoutCertificate) {
    differences.push({
      text: 'automatic certificates',
      make: async () => {
        // Before there is code nobody waits for it: DNS may come after the first deploy.
        const wait = (await currentRelease(context))?.slug != null
        await automaticCertificates(context, { wait })
      },
    })
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
