/** How long requests will wait. Pure. */
import type { UndoData } from '../../../engine/types.ts'

/** Holding, renaming, the journal's lines on disk, and the gate: much the same for every app. Milliseconds. */
const overheadMs = 250

/**
 * What the window will take, from the trial's times: the old app's stop is like the new one's. The trial was made while
 * requests were answered; in the window none is, so what a part waited for others is less by the share of them that
 * was requests. Milliseconds.
 */
export function predictedWindow(trial: UndoData): number {
  const value = (name: string) => Number(trial[name] ?? 0)
  const freed = Math.min(1, Math.max(0, value('freed')))
  const part = (name: string) => {
    const [ms, cpu] = [value(`${name}Ms`), Math.min(value(`${name}Ms`), value(`${name}CpuMs`))]
    return cpu + (ms - cpu) * (1 - freed)
  }
  // Where reads go on, the old app starts once more in the window, and stops.
  const reading = trial['snapshotMs'] === undefined ? [] : ['snapshot', 'start', 'stop']
  const parts = ['stop', 'copy', 'migrate', 'start', ...reading].reduce((sum, name) => sum + part(name), 0)
  return Math.round(parts + value('serverMs') + overheadMs)
}
