/** The app's own commands around a change, each in a one-off dyno. */
import type { HookName } from '../../config/types.ts'
import type { Step } from '../../engine/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import type { HerokuContext } from './context.ts'
import { runAttached } from './one-off.ts'

export function inHooks(context: HerokuContext, name: HookName): Step[] {
  return (context.deployment.app.hooks[name] ?? []).map((command, index) =>
    commandStep(context, `${name}-${index + 1}`, command, name),
  )
}

const runHere: readonly string[] = ['after_restore', 'after_clone'] satisfies HookName[]

/** Says which of the configured hooks nothing runs on Heroku, whose releases have one of their own. */
export function tellOfOtherHooks(context: HerokuContext): void {
  const others = Object.keys(context.deployment.app.hooks).filter((name) => !runHere.includes(name))
  if (others.length === 0) return
  const text = `[app.hooks] ${others.join(', ')}: not run on Heroku; what each release needs is the Procfile's release line`
  currentRun().emit({ type: 'warning', host: context.app, text })
}

/** A command as a step: it is run again when the change is resumed before it was finished. */
export function commandStep(context: HerokuContext, id: string, command: string, what: string): Step {
  return {
    id,
    title: `${context.app}: ${what}: ${command}`,
    check: async () => 'todo',
    do: async () => {
      const { exitCode, output } = await runAttached(context, command)
      if (exitCode === 0) return {}
      throw new SlipwayError('command-failed', `${context.app}: ${what} exited with status ${exitCode}: ${command}`, {
        host: context.app,
        detail: output.trim().split('\n').slice(-20).join('\n'),
      })
    },
  }
}
