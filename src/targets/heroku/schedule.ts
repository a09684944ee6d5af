/**
 * Scheduled commands. A `clock` process runs them, the app's own or the one that a deploy makes, and is kept running.
 * The scheduler add-on has no public API: where that is declared, it is opened, and what to enter there is printed.
 */
import { SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { browse } from '../browser.ts'
import type { Schedule } from '../deployment.ts'
import { clockCommand, isMadeClock } from './clock.ts'
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
      const scheduler = addons.find((addon) => addon.addon_service.name === 'scheduler')
      if (clock && (!scheduler || !isMadeClock(clock.command))) {
        if (isMadeClock(clock.command) && clock.command !== clockCommand(context.deployment.app.schedule)) {
          const text = `the schedule has changed since the deploy; it goes with the next one: tasks deploy:release=${context.deployment.name}`
          currentRun().emit({ type: 'warning', host: context.app, text })
        }
        if (clock.quantity > 0) return false
        await setFormation(context, { clock: 1 })
        if (!currentRun().options.dryRun) await dynosUp(context, { types: ['clock'] })
        return true
      }
      if (!scheduler) {
        throw new SlipwayError('heroku-no-clock', `${context.app} has no clock process`, {
          host: context.app,
          state: 'Nothing is scheduled.',
          next:
            context.deployment.deployBy === 'git'
              ? `A push can't add one: give the Procfile a \`clock:\`, or set \`deploy_by = source\` under [${context.deployment.name}], and deploy.`
              : `One is made at the next deploy: tasks deploy:release=${context.deployment.name}; then run this again.`,
        })
      }
      const where = scheduler.web_url ?? `https://dashboard.heroku.com/apps/${context.app}/scheduler`
      const text = `Heroku Scheduler has no API: enter these by hand at ${where}`
      currentRun().emit({ type: 'warning', host: context.app, text })
      for (const [name, { when, command }] of entries)
        currentRun().emit({ type: 'note', host: context.app, text: `${name}: ${when} (UTC)  ${command}` })
      await browse(where)
      return false
    },
  }
}
