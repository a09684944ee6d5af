/** What doctor finds: a sentence each, with its fix where something is wrong. */
import { asSlipwayError } from '../../events/foreign.ts'
import type { Paint } from '../../output/index.ts'
import { nextSteps } from '../next-steps.ts'

export interface Finding {
  /** `here`, `configuration`, `secrets`, or a host's name. */
  area: string
  state: 'ok' | 'warning' | 'failure'
  text: string
  /** What to do about it; whatever is not ok has one. */
  fix?: string
  /** More lines: a list of mistakes. */
  detail?: string
}

export const ok = (area: string, text: string): Finding => ({ area, state: 'ok', text })

export function bad(area: string, state: 'warning' | 'failure', text: string, fix: string, detail?: string): Finding {
  return { area, state, text, fix, ...(detail ? { detail } : {}) }
}

export function fromError(area: string, error: unknown): Finding {
  const { code, message, next, detail } = asSlipwayError(error)
  return bad(area, 'failure', message, next ?? nextSteps[code] ?? 'Look at what it says.', detail)
}

const marks = { ok: ['green', '✓'], warning: ['yellow', '!'], failure: ['red', '✗'] } as const

export function findingsText(findings: readonly Finding[], paint: Paint): string {
  const areas = [...new Set(findings.map(({ area }) => area))]
  const sections = areas.map((area) => {
    const lines = findings
      .filter((finding) => finding.area === area)
      .flatMap(({ state, text, fix, detail }) => [
        `  ${paint(marks[state][0], marks[state][1])} ${text}`,
        ...(detail
          ? detail
              .trimEnd()
              .split('\n')
              .map((line) => `      ${line}`)
          : []),
        ...(fix ? [`      ${paint('cyan', '→')} ${fix}`] : []),
      ])
    return `${paint('bold', area)}\n${lines.join('\n')}\n`
  })
  const count = (state: Finding['state']) => findings.filter((finding) => finding.state === state).length
  const verdict = count('failure') > 0 ? `${count('failure')} to put right` : 'all well'
  const warnings = count('warning') > 0 ? `, ${count('warning')} to look at` : ''
  return `${sections.join('\n')}\n${verdict}${warnings}\n`
}
