/** The size of dynos, by process type: one call, and dynos of that size up. Which sizes there are, the platform says. */
import { SlipwayError } from '../../events/errors.ts'
import { currentRun } from '../../events/run.ts'
import { gate } from './build.ts'
import type { HerokuContext } from './context.ts'
import { dynosOf, formationOf } from './dynos.ts'
import { HerokuApiError } from './errors.ts'
import type { Formation } from './resources.ts'
import * as resource from './resources.ts'
import { replaced, requireTypes } from './services.ts'

/** Sizes are written in either case: `standard-1x` is `Standard-1X`. */
const same = (one: string | undefined, other: string) => one?.toLowerCase() === other.toLowerCase()

export async function resize(context: HerokuContext, sizes: Readonly<Record<string, string>>): Promise<void> {
  const formation = await formationOf(context)
  requireTypes(context, formation, Object.keys(sizes))
  const has = (rows: readonly Formation[], type: string, size: string) =>
    same(rows.find((each) => each.type === type)?.size, size)
  // The published schema calls it dyno_size, of no type that it names; the official client has always sent `size`.
  const updates = Object.entries(sizes)
    .filter(([type, size]) => !has(formation, type, size))
    .map(([type, size]) => ({ type, size }))
  if (updates.length === 0) return
  const types = updates.map(({ type }) => type)
  const before = new Set((await dynosOf(context)).map((dyno) => dyno.id))
  try {
    await context.client.write('PATCH', `${context.path}/formation`, resource.formations, {
      body: { updates },
      reread: async () => {
        const now = await formationOf(context)
        return updates.every(({ type, size }) => has(now, type, size)) ? now : undefined
      },
    })
  } catch (error) {
    throw await explained(context, error)
  }
  if (currentRun().options.dryRun) return
  const text = updates.map(({ type, size }) => `${type} ${size}`).join(', ')
  currentRun().emit({ type: 'changed', host: context.app, what: `size of ${text}` })
  await replaced(context, types, before)
  if (types.includes('web')) await gate(context)
}

/** A size that there is not, with those that there are. */
async function explained(context: HerokuContext, error: unknown): Promise<unknown> {
  if (!(error instanceof HerokuApiError) || error.failure.status !== 422 || !/dyno size/i.test(error.failure.message))
    return error
  const there = await context.client.list(`${context.path}/available-dyno-sizes`, resource.dynoSize).catch(() => [])
  return new SlipwayError('heroku-dyno-size', `${context.app}: ${error.failure.message}`, {
    host: context.app,
    cause: error,
    state: 'Nothing was changed.',
    next: there.length > 0 ? `There are ${there.map(({ name }) => name.toLowerCase()).join(', ')}.` : 'heroku ps:type',
  })
}
