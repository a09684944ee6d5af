/** Dynos and their formation: what runs, waiting until the right version does, and the health of the app. */

import { SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import type { HerokuContext } from './context.ts'
import { recentLines } from './logs.ts'
import type { Dyno, Formation } from './resources.ts'
import * as resource from './resources.ts'
import { pause, waitFor } from './wait.ts'

export const formationOf = (context: HerokuContext): Promise<Formation[]> =>
  context.client.list(`${context.path}/formation`, resource.formation)

export const dynosOf = (context: HerokuContext): Promise<Dyno[]> =>
  context.client.list(`${context.path}/dynos`, resource.dyno)

/** The platform's own time for a web process to listen, and some. */
const bootMs = 120_000

export interface UpOptions {
  /** Only dynos at this version or a later one count. */
  version?: number
  /** Process types; all of the formation unless given. */
  types?: readonly string[]
  deadlineMs?: number
}

/**
 * Waits until every dyno of the formation is up (at `version`), and says which. A crashed one fails at once, with the
 * end of its log; a deadline holds for the rest.
 */
export async function dynosUp(context: HerokuContext, options: UpOptions = {}): Promise<Dyno[]> {
  const deadlineMs = options.deadlineMs ?? bootMs
  let seen = ''
  return waitFor(
    async () => {
      const [formation, all] = await Promise.all([formationOf(context), dynosOf(context)])
      const wanted = formation.filter((each) => each.quantity > 0 && (options.types?.includes(each.type) ?? true))
      const ofVersion = (dyno: Dyno): boolean => dyno.release.version >= (options.version ?? 0)
      const dynos = all.filter((dyno) => wanted.some((each) => each.type === dyno.type) && ofVersion(dyno))
      const crashed = dynos.find((dyno) => dyno.state === 'crashed')
      if (crashed) throw await crashError(context, crashed)
      const up = dynos.filter((dyno) => dyno.state === 'up' || dyno.state === 'idle')
      const total = wanted.reduce((sum, each) => sum + each.quantity, 0)
      const now = `${up.length} of ${total} up`
      if (now !== seen) {
        seen = now
        currentRun().emit({
          type: 'progress',
          id: `dynos ${context.app}`,
          host: context.app,
          label: 'dynos up',
          done: up.length,
          total,
          unit: 'items',
        })
      }
      return up.length >= total ? up : undefined
    },
    {
      deadlineMs,
      late: async () =>
        new SlipwayError(
          'heroku-dynos-late',
          `${context.app}: the dynos did not come up within ${deadlineMs / 1000} s (${seen})`,
          {
            host: context.app,
            detail: (await recentLines(context, {}).catch(() => [])).slice(-10).join('\n'),
            next: `Look at its log: \`heroku logs --tail --app ${context.app}\`, or \`tasks tail_app_log\`.`,
          },
        ),
    },
  )
}

async function crashError(context: HerokuContext, dyno: Dyno): Promise<SlipwayError> {
  const lines = await recentLines(context, { dyno: dyno.name }).catch(() => [])
  return new SlipwayError('heroku-crashed', `${context.app}: ${dyno.name} crashed (v${dyno.release.version})`, {
    host: context.app,
    detail: lines.slice(-15).join('\n'),
    next: 'Mend what its log says and deploy again, or go back: `tasks rollback`.',
  })
}

/** Waits until no dyno of these types is left. */
export async function dynosGone(context: HerokuContext, types: readonly string[], deadlineMs = 60_000): Promise<void> {
  await waitFor(
    async () => {
      const left = (await dynosOf(context)).filter((dyno) => types.includes(dyno.type))
      return left.length === 0 ? true : undefined
    },
    {
      deadlineMs,
      late: () =>
        new SlipwayError(
          'heroku-dynos-stay',
          `${context.app}: dynos of ${types.join(', ')} are still there after ${deadlineMs / 1000} s`,
          { host: context.app },
        ),
    },
  )
}

/** Sets quantities in one call. Returns the formation that it made. */
export async function setFormation(
  context: HerokuContext,
  sizes: Readonly<Record<string, number>>,
): Promise<Formation[]> {
  const updates = Object.entries(sizes).map(([type, quantity]) => ({ type, quantity }))
  if (updates.length === 0) return []
  const made = await context.client.write('PATCH', `${context.path}/formation`, resource.formations, {
    body: { updates },
    reread: async () => {
      const now = await formationOf(context)
      return updates.every((each) => now.find((row) => row.type === each.type)?.quantity === each.quantity)
        ? now
        : undefined
    },
  })
  const text = updates.map((each) => `${each.type}=${each.quantity}`).join(' ')
  if (!currentRun().options.dryRun) currentRun().emit({ type: 'changed', host: context.app, what: `formation ${text}` })
  return made
}

export interface Health {
  ok: boolean
  /** `200 in 12 ms`, or what was wrong. */
  detail: string
}

/** One look at the app's health, through its own address. */
export async function probeHealth(context: HerokuContext, url: string): Promise<Health> {
  const { health } = context.deployment.app
  const begun = performance.now()
  try {
    const response = await fetch(new URL(health.path, url), {
      redirect: 'manual',
      headers: { 'User-Agent': 'slipway', Connection: 'close' },
      signal: AbortSignal.any([
        currentRun().signal,
        AbortSignal.timeout(Math.max(5000, Math.min(health.deadlineMs, 30_000))),
      ]),
    })
    const body = await response.text()
    if (response.status !== health.status)
      return { ok: false, detail: `${health.path} answered ${response.status}, not ${health.status}` }
    if (health.body !== undefined && !body.includes(health.body))
      return { ok: false, detail: `${health.path} answered without "${health.body}"` }
    return { ok: true, detail: `${response.status} in ${Math.round(performance.now() - begun)} ms` }
  } catch (error) {
    const why = error instanceof Error ? ((error.cause as Error | undefined)?.message ?? error.message) : String(error)
    return { ok: false, detail: `${health.path} did not answer: ${why}` }
  }
}

/** Asks until it is healthy, or rejects at the deadline with what was wrong. */
export async function healthy(context: HerokuContext, url: string): Promise<string> {
  const deadline = Date.now() + context.deployment.app.health.deadlineMs
  for (let pauseMs = 100; ; pauseMs = Math.min(2000, pauseMs * 2)) {
    const { ok, detail } = await probeHealth(context, url)
    if (ok) return detail
    if (Date.now() + pauseMs > deadline) {
      throw new SlipwayError('unhealthy', `${context.app} is not healthy: ${detail}`, {
        host: context.app,
        detail: (await recentLines(context, {}).catch(() => [])).slice(-10).join('\n'),
      })
    }
    await pause(pauseMs)
  }
}

/** The process types that a release has and that a deployment calls workers: everything but web and release. */
export const workerTypes = (formation: readonly Formation[]): string[] =>
  formation.map((each) => each.type).filter((type) => type !== 'web' && type !== 'release')
