/** The server is the formation of `web`; the workers are all its other types. Stopping remembers, starting restores. */
import { SlipwayError, UsageError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import type { ProcessStatus, Service, Workers } from '../deployment.ts'
import { gate } from './build.ts'
import { ignored } from './client.ts'
import { type HerokuContext, ofRun } from './context.ts'
import { dynosGone, dynosOf, dynosUp, formationOf, setFormation, workerTypes } from './dynos.ts'
import { appLog } from './logs.ts'
import { readScale, rememberScale } from './remembered.ts'
import type { Dyno, Formation } from './resources.ts'

function asProcess(dyno: Dyno): ProcessStatus {
  const states: Record<string, ProcessStatus['state']> = {
    up: 'running',
    idle: 'running',
    starting: 'starting',
    crashed: 'failed',
    down: 'stopped',
  }
  return {
    name: dyno.name,
    state: states[dyno.state] ?? 'stopped',
    uptimeSeconds: Math.max(0, Math.round((Date.now() - Date.parse(dyno.updated_at)) / 1000)),
    version: `v${dyno.release.version}`,
    detail: dyno.size,
  }
}

/** Every type with its dynos; a type at 0 is one stopped process, so that it is seen. */
export function processes(
  formation: readonly Formation[],
  dynos: readonly Dyno[],
  types: readonly string[],
): ProcessStatus[] {
  return types.flatMap((type) => {
    const own = dynos
      .filter((dyno) => dyno.type === type)
      .sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }))
    if (own.length > 0) return own.map(asProcess)
    const quantity = formation.find((each) => each.type === type)?.quantity ?? 0
    return [
      {
        name: type,
        state: quantity > 0 ? ('starting' as const) : ('stopped' as const),
        detail: `scaled to ${quantity}`,
      },
    ]
  })
}

async function typesOf(
  context: HerokuContext,
  which: 'web' | 'workers',
): Promise<{ formation: Formation[]; types: string[] }> {
  const formation = await formationOf(context)
  if (which === 'workers') return { formation, types: workerTypes(formation) }
  if (!formation.some((each) => each.type === 'web')) {
    throw new SlipwayError('heroku-no-web', `${context.app} has no web process`, {
      host: context.app,
      next: formation.length === 0 ? 'Deploy it first: `tasks deploy_staging`.' : 'Name one in its Procfile: `web: …`.',
    })
  }
  return { formation, types: ['web'] }
}

/** Scales types to 0, having remembered what they were; resolves once no dyno of them is left. */
async function stopTypes(
  context: HerokuContext,
  types: readonly string[],
  formation: readonly Formation[],
): Promise<Record<string, number>> {
  const running = formation.filter((each) => types.includes(each.type) && each.quantity > 0)
  if (running.length === 0) return {}
  const before = Object.fromEntries(running.map((each) => [each.type, each.quantity]))
  await rememberScale(context, before)
  await setFormation(context, Object.fromEntries(running.map((each) => [each.type, 0])))
  if (!currentRun().options.dryRun) await dynosGone(context, Object.keys(before))
  return before
}

function service(context: HerokuContext, which: 'web' | 'workers'): Service {
  return {
    async start() {
      const { formation, types } = await typesOf(context, which)
      const remembered = await readScale(context)
      const stopped = formation.filter((each) => types.includes(each.type) && each.quantity === 0)
      await setFormation(context, Object.fromEntries(stopped.map((each) => [each.type, remembered[each.type] ?? 1])))
      if (currentRun().options.dryRun) return
      await dynosUp(context, { types })
      if (which === 'web') await gate(context)
    },
    async stop() {
      const { formation, types } = await typesOf(context, which)
      await stopTypes(context, types, formation)
    },
    async restart() {
      if (ofRun(context).released) {
        // A release starts every process anew: once is enough.
        currentRun().emit({
          type: 'note',
          host: context.app,
          text: `the release has restarted the ${which === 'web' ? 'app' : 'workers'} already`,
        })
        return
      }
      const { formation, types } = await typesOf(context, which)
      const running = formation
        .filter((each) => types.includes(each.type) && each.quantity > 0)
        .map((each) => each.type)
      if (running.length === 0) return this.start()
      const before = new Set((await dynosOf(context)).map((dyno) => dyno.id))
      for (const type of running) {
        // Restarting again what was restarted does no harm, so a lost reply is simply sent again.
        await context.client.write('DELETE', `${context.path}/formations/${type}`, ignored, {
          reread: async () => undefined,
          variant: 'sdk',
        })
      }
      if (currentRun().options.dryRun) return
      currentRun().emit({ type: 'changed', host: context.app, what: `${running.join(', ')} restarted` })
      await replaced(context, running, before)
      if (which === 'web') await gate(context)
    },
    async status() {
      const [formation, dynos] = await Promise.all([formationOf(context), dynosOf(context)])
      return processes(
        formation,
        dynos,
        which === 'web'
          ? formation.filter((each) => each.type === 'web').map((each) => each.type)
          : workerTypes(formation),
      )
    },
    async *tail(options = {}) {
      if (which === 'web') {
        yield* appLog(context, options, { dyno: options.source ?? 'web', source: 'app' })
        return
      }
      if (options.source) {
        yield* appLog(context, options, { dyno: options.source, source: 'app' })
        return
      }
      const types = new Set(workerTypes(await formationOf(context)))
      for await (const line of appLog(context, options, { source: 'app' })) {
        if (line.mark || types.has(line.source.split('.')[0] ?? '')) yield line
      }
    },
  }
}

/** Restarted dynos keep their names and get new ids: waits until none of the old is left and the new are up. */
export async function replaced(
  context: HerokuContext,
  types: readonly string[],
  before: ReadonlySet<string>,
): Promise<void> {
  const { waitFor } = await import('./wait.ts')
  await waitFor(
    async () =>
      (await dynosOf(context)).some((dyno) => types.includes(dyno.type) && before.has(dyno.id)) ? undefined : true,
    {
      deadlineMs: 90_000,
      late: () =>
        new SlipwayError('heroku-dynos-stay', `${context.app}: the old dynos are still there`, { host: context.app }),
    },
  )
  await dynosUp(context, { types })
}

/** Refuses process types that the app does not have. */
export function requireTypes(context: HerokuContext, formation: readonly Formation[], types: readonly string[]): void {
  const unknown = types.filter((type) => !formation.some((each) => each.type === type))
  if (unknown.length === 0) return
  throw new UsageError('no-process-type', `${context.app} has no process type ${unknown.join(', ')}`, {
    next: `There are ${formation.map((each) => each.type).join(', ') || 'none: deploy first'}.`,
  })
}

export const server = (context: HerokuContext): Service => service(context, 'web')

export function workers(context: HerokuContext): Workers {
  return {
    ...service(context, 'workers'),
    async scale(sizes) {
      requireTypes(context, await formationOf(context), Object.keys(sizes))
      await setFormation(context, sizes)
      if (currentRun().options.dryRun) return
      const zero = Object.keys(sizes).filter((type) => sizes[type] === 0)
      if (zero.length > 0) await dynosGone(context, zero)
      await dynosUp(context, { types: Object.keys(sizes).filter((type) => (sizes[type] ?? 0) > 0) })
    },
  }
}
