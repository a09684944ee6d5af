/**
 * Scheduled commands. The scheduler add-on has no public API: where the app has a `clock` process that runs them,
 * it is kept running; otherwise the add-on is named and what to enter there is printed.
 */
import { currentRun } from '../../events/run.ts'
import type { Schedule } from '../deployment.ts'
import type { HerokuContext } from './context.ts'
import { dynosUp, formationOf, setFormation } from './dynos.ts'
import * as resource from './resources.ts'

export function schedule(context: HerokuContext): Schedule {
  const entries = Object.entries(context.deployment.app.schedule)
  return {
    list: async () => entries.map(([name, { when, command }]) => ({ name, when, command })),
    async push() {
      if (entries.length === 0) return false
      const [formation, addons] = await Promise.all([
        formationOf(context),
        context.client.list(`${context.path}/addons`, resource.addon),
      ])
      const clock = formation.find((each) => each.type === 'clock')
      if (clock) {
        if (clock.quantity > 0) return false
        await setFormation(context, { clock: 1 })
        if (!currentRun().options.dryRun) await dynosUp(context, { types: ['clock'] })
        return true
      }
      const scheduler = addons.find((addon) => addon.addon_service.name === 'scheduler')
      const where = scheduler?.web_url ?? `https://dashboard.heroku.com/apps/${context.app}/scheduler`
      currentRun().emit({
        type: 'warning',
        host: context.app,
        text: scheduler
          ? `Heroku Scheduler has no API: enter these by hand at ${where}`
          : `there is neither a clock process nor the scheduler add-on: declare \`scheduler = standard\` under [${context.deployment.name}.addons], or a clock in the Procfile`,
      })
      for (const [name, { when, command }] of entries)
        currentRun().emit({ type: 'note', host: context.app, text: `${name}: ${when} (UTC)  ${command}` })
      return false
    },
  }
}
