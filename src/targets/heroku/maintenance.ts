/** Maintenance: the platform's own, which answers 503 with its page, or the app's variable MAINTENANCE_MODE. */
import { SlipwayError } from '../../events/errors.ts'
import { currentRun, scoped, withRun } from '../../events/run.ts'
import type { Maintenance } from '../deployment.ts'
import type { HerokuContext } from './context.ts'
import * as resource from './resources.ts'
import { readSettings, writeSettings } from './settings.ts'

export async function setMaintenance(
  context: HerokuContext,
  on: boolean,
  options: { evenAborted?: boolean } = {},
): Promise<void> {
  const { client, path, app } = context
  const read = async (): Promise<resource.App> => client.get(path, resource.app)
  if (!options.evenAborted && (await read()).maintenance === on) return
  await client.write('PATCH', path, resource.app, {
    body: { maintenance: on },
    ...options,
    reread: async () => {
      const now = await read()
      return now.maintenance === on ? now : undefined
    },
  })
  if (!currentRun().options.dryRun)
    currentRun().emit({ type: 'changed', host: app, what: `maintenance ${on ? 'on' : 'off'}` })
}

/** The app's own variable where the configuration names one; the platform's page otherwise. */
export function maintenance(context: HerokuContext): Maintenance {
  const { maintenanceVariable } = context.deployment
  const read = maintenanceVariable
    ? async () => (await readSettings(context))[nameOf(maintenanceVariable)] !== undefined
    : async () => (await context.client.get(context.path, resource.app)).maintenance
  const set = maintenanceVariable
    ? (on: boolean) => setVariable(context, maintenanceVariable, on)
    : (on: boolean, options: { evenAborted?: boolean } = {}) => setMaintenance(context, on, options)
  return {
    async on(options = {}) {
      if (options.message !== undefined && !maintenanceVariable) {
        currentRun().emit({
          type: 'warning',
          host: context.app,
          text: "the platform's page can't show a message; set MAINTENANCE_PAGE_URL to a page of your own",
        })
      }
      await set(true)
    },
    off: () => set(false),
    status: read,
    async during(fn) {
      const was = await read()
      if (!was) await set(true)
      try {
        return await fn()
      } finally {
        // Put back after an abort too, with a deadline of its own.
        if (!was) await putBack(context, () => set(false, { evenAborted: true }))
      }
    },
  }
}

const nameOf = (variable: string): string => variable.split('=')[0] as string

async function setVariable(context: HerokuContext, variable: string, on: boolean): Promise<void> {
  const value = variable.includes('=') ? variable.slice(variable.indexOf('=') + 1) : '1'
  await writeSettings(context, { [nameOf(variable)]: on ? value : null })
}

async function putBack(context: HerokuContext, off: () => Promise<void>): Promise<void> {
  const calm = scoped(currentRun(), { signal: AbortSignal.timeout(30_000) })
  try {
    await withRun(calm, off)
  } catch (cause) {
    throw new SlipwayError('maintenance-stays', `${context.app} is still in maintenance`, {
      cause,
      host: context.app,
      state: 'Its visitors get 503.',
      next: `tasks maintenance_off:release=${context.deployment.name}, or \`heroku maintenance:off --app ${context.app}\`.`,
    })
  }
}
