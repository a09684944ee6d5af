/** A world of switches for plans to change: each step turns one on, and can be cut off at any moment in it. */
import type { Plan, Step } from '../../../src/engine/types.ts'
import { createRun, withRun } from '../../../src/events/index.ts'
import { Killed } from './memory-store.ts'

export interface World {
  readonly on: Set<string>
  /** Everything that was ever done: `+a` and `-a`. */
  readonly history: string[]
  /** Actions that may still happen before the tool is killed; a half is killed after the action, before its outcome. */
  actionsLeft: number
}

export const newWorld = (): World => ({ on: new Set(), history: [], actionsLeft: Number.POSITIVE_INFINITY })

/** A killed tool can't even check. */
function alive(world: World): void {
  if (world.actionsLeft <= 0) throw new Killed()
}

function act(world: World, change: () => void): void {
  world.actionsLeft -= 0.5
  alive(world)
  change()
  world.actionsLeft -= 0.5
  alive(world)
}

export function switchStep(world: World, id: string, more: Partial<Step> = {}): Step {
  return {
    id,
    title: `turn ${id} on`,
    undoTitle: `turn ${id} off`,
    async check() {
      alive(world)
      return world.on.has(id) ? 'done' : 'todo'
    },
    async prepare() {
      alive(world)
      return { was: world.on.has(id) }
    },
    async do() {
      act(world, () => {
        world.on.add(id)
        world.history.push(`+${id}`)
      })
      return { mark: id }
    },
    async undo(data) {
      if (data['was'] !== false) throw new Error(`undo of ${id} got ${JSON.stringify(data)}`)
      act(world, () => {
        world.on.delete(id)
        world.history.push(`-${id}`)
      })
    },
    ...more,
  }
}

export function planOf(steps: readonly Step[], more: Partial<Plan> = {}): Plan {
  return { kind: 'test', title: 'turn everything on', facts: { lamp: 'old' }, locks: ['b', 'a'], steps, ...more }
}

export const ownerNamed = (run: string) => ({ run, user: 'ann', machine: 'laptop', command: 'tasks test' })

/** In a run of its own. */
export const inRun = <T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> =>
  withRun(createRun(signal ? { signal } : {}), work)
