/** Add-ons: what the configuration declares beside what an app has, as differences; made, waited for, destroyed. */
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { ignored } from './client.ts'
import type { HerokuContext } from './context.ts'
import type { InitAppOptions } from './deployment.ts'
import { isNotFound } from './errors.ts'
import type { Difference } from './init.ts'
import type { Manifest } from './manifest.ts'
import type { Addon } from './resources.ts'
import * as resource from './resources.ts'
import { waitFor } from './wait.ts'

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

/** `there`: whether the app is; one that is to be made has none yet. */
export async function addonDifferences(
  context: HerokuContext,
  manifest: Manifest,
  there: boolean,
  options: InitAppOptions,
): Promise<Difference[]> {
  const { client, path, app } = context
  const wanted = wantedAddons(context, manifest)
  const present = there
    ? (await client.list(`${path}/addons`, resource.addon)).filter((each) => each.app.name === app)
    : []
  const config =
    there && wanted.some((each) => Object.keys(each.options).length > 0)
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
