/** What a journal says of a promotion: its times, and the window as it was predicted and as it was. Pure. */
import { beginOf, endOf, stepRecords } from '../../../engine/index.ts'
import type { JournalEntry } from '../../../engine/types.ts'
import type { PromotionFacts } from './facts.ts'
import { predictedWindow } from './prediction.ts'

export interface PromotionReport {
  id: string
  title: string
  by: string
  begun: string
  ended?: string
  result: 'done' | 'undone' | 'abandoned' | 'unfinished'
  /** Milliseconds by step. */
  times: Record<string, number>
  /** Milliseconds for which requests waited, and for how long it was predicted. */
  windowMs?: number
  predictedMs?: number
  release: string
  former?: string
  error?: string
  lines: string[]
}

/** `isLast`: no promotion after it was done, so that what it kept is what can be gone back to. */
export function reportOf(entries: readonly JournalEntry[], isLast = true): PromotionReport {
  const begin = beginOf(entries)
  if (!begin) throw new Error('a journal without a beginning')
  const facts = begin.facts as unknown as PromotionFacts
  const records = stepRecords(entries)
  const end = endOf(entries)
  const number = (step: string, name: string): number | undefined => {
    const value = records.get(step)?.data[name]
    return typeof value === 'number' ? value : undefined
  }
  const trial = records.get('trial')
  const windowMs = number('let-go', 'windowMs') ?? number('flip', 'windowMs') ?? number('open', 'windowMs')
  const predictedMs = trial?.data['startMs'] === undefined ? undefined : predictedWindow(trial.data)
  const failed = [...records.values()].find((record) => record.error !== undefined)
  const report: PromotionReport = {
    id: begin.id,
    title: begin.title,
    by: `${begin.by.user}@${begin.by.machine}`,
    begun: begin.at,
    ...(end ? { ended: end.at } : {}),
    result: end?.result ?? 'unfinished',
    times: Object.fromEntries(
      [...records].flatMap(([step, record]) => (record.durationMs === undefined ? [] : [[step, record.durationMs]])),
    ),
    ...(windowMs === undefined ? {} : { windowMs }),
    ...(predictedMs === undefined ? {} : { predictedMs }),
    release: facts.next.release,
    ...(facts.old && !facts.adopt ? { former: facts.old.release } : {}),
    ...(failed?.error ? { error: `${failed.step}: ${failed.error}` } : {}),
    lines: [],
  }
  report.lines = linesOf(report, facts, isLast)
  return report
}

function linesOf(report: PromotionReport, facts: PromotionFacts, isLast: boolean): string[] {
  if (report.result === 'undone') return [`${report.title}: taken back`]
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
  return [
    `${report.title}: ${report.result}`,
    ...(report.windowMs === undefined
      ? []
      : [
          `requests waited for ${seconds(report.windowMs)}${report.predictedMs === undefined ? '' : `; ${seconds(report.predictedMs)} were predicted`}`,
        ]),
    ...(report.former && report.result === 'done'
      ? [
          isLast
            ? `${report.former} is stopped and kept, with its data${wayBack(facts)}`
            : `${report.former} was production before`,
        ]
      : []),
  ]
}

/** What `demote` takes: not what was gone back from, nor what kept data of its own. */
function wayBack({ kind, data }: PromotionFacts): string {
  if (kind === 'demote') return ': `tasks promote_staging_to_production` makes it production again'
  return data === 'fresh' ? '' : ': `tasks demote` goes back to it'
}
