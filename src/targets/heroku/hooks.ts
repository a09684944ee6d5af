/** The app's own commands around a change, each in a one-off dyno. */
import type { HookName } from '../../config/types.ts'
import type { Step } from '../../engine/types.ts'
import { SlipwayError } from '../../events/errors.ts'
import type { HerokuContext } from './context.ts'
import { runAttached } from './one-off.ts'

export function inHooks(context: HerokuContext, name: HookName): Step[] {
  return (context.deployment.app.hooks[name] ?? []).map((command, index) =>
    commandStep(context, `${name}-${index + 1}`, command, name),
  )
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
