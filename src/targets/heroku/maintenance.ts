/** Maintenance: the platform's own, which answers 503 with its page, or the app's variable MAINTENANCE_MODE. */
import { SlipwayError } from '../../events/errors.ts'
import { currentRun, scoped, withRun } from '../../events/run.ts'
import type { Maintenance } from '../deployment.ts'
import type { HerokuContext } from './context.ts'
import * as resource from './resources.ts'

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

export function maintenance(context: HerokuContext): Maintenance {
  return {
    async on(options = {}) {
      if (options.message !== undefined) {
        currentRun().emit({
          type: 'warning',
          host: context.app,
          text: "the platform's page can't show a message; set MAINTENANCE_PAGE_URL to a page of your own",
        })
      }
      await setMaintenance(context, true)
    },
    off: () => setMaintenance(context, false),
    status: async () => (await context.client.get(context.path, resource.app)).maintenance,
    async during(fn) {
      const was = (await context.client.get(context.path, resource.app)).maintenance
      if (!was) await setMaintenance(context, true)
      try {
        return await fn()
      } finally {
        // Put back after an abort too, with a deadline of its own.
        if (!was) await putBack(context)
      }
    },
  }
}

async function putBack(context: HerokuContext): Promise<void> {
  const calm = scoped(currentRun(), { signal: AbortSignal.timeout(30_000) })
  try {
    await withRun(calm, () => setMaintenance(context, false, { evenAborted: true }))
  } catch (cause) {
    throw new SlipwayError('maintenance-stays', `${context.app} is still in maintenance`, {
      cause,
      host: context.app,
      state: 'Its visitors get 503.',
      next: `tasks maintenance_off, or \`heroku maintenance:off --app ${context.app}\`.`,
    })
  }
}
