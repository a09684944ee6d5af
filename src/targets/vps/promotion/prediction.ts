/** How long requests will wait. Pure. */
import type { UndoData } from '../../../engine/types.ts'

/** Holding, renaming, the journal's lines on disk, and the gate: much the same for every app. */
const overheadMs = 250

/** What the window will take, from the trial's times: the old app's stop is like the new one's. Milliseconds. */
export function predictedWindow(trial: UndoData): number {
  const part = (name: string) => Number(trial[name] ?? 0)
  return part('stopMs') + part('copyMs') + part('migrateMs') + part('startMs') + overheadMs
}
