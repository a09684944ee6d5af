/** A plan as a picture, in SVG: who does each step, in which order, when requests wait, and until when all can be undone. Pure. */
import type { Plan, Step } from '../../../engine/types.ts'

const row = 38
const top = 96
const width = 980
const lanes = { machine: 70, host: 190 }
const textAt = 300

/** `held`: the steps from which and to which requests wait. */
export function planSvg(plan: Plan, held?: { from: string; to: string }): string {
  const at = (index: number) => top + index * row
  const index = (id: string | undefined) => plan.steps.findIndex((step) => step.id === id)
  const height = at(plan.steps.length) + 24
  const parts: string[] = []
  const [from, to] = [index(held?.from), index(held?.to)]
  if (from >= 0 && to >= from) {
    parts.push(
      `<rect class="wait" x="130" y="${at(from) - row / 2 + 4}" width="${width - 150}" height="${(to - from + 1) * row - 8}" rx="8"/>`,
      `<text class="note" x="${width - 30}" y="${at(from) + 4}" text-anchor="end">requests wait here</text>`,
    )
  }
  plan.steps.slice(1).forEach((step, i) => {
    const before = plan.steps[i] as Step
    parts.push(`<line x1="${lane(before)}" y1="${at(i)}" x2="${lane(step)}" y2="${at(i + 1)}"/>`)
  })
  const last = index(plan.pointOfNoReturn)
  plan.steps.forEach((step, i) => {
    parts.push(
      `<circle class="${step.window ? 'host' : 'machine'}" cx="${lane(step)}" cy="${at(i)}" r="9"/>`,
      `<text class="number" x="${lane(step)}" y="${at(i) + 3.5}" text-anchor="middle">${i + 1}</text>`,
      `<text x="${textAt}" y="${at(i) - 2}">${escaped(shortened(step.title, 92))}</text>`,
      `<text class="undo" x="${textAt}" y="${at(i) + 13}">${last < 0 || i < last ? escaped(undoOf(step)) : ''}</text>`,
    )
  })
  if (last >= 0) {
    const y = at(last) - row / 2
    parts.push(
      `<line class="return" x1="20" y1="${y}" x2="${width - 20}" y2="${y}"/>`,
      `<text class="note" x="24" y="${y - 5}">until here, undo loses nothing</text>`,
    )
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(plan.title)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2a30; }
  .title { font-size: 18px; font-weight: 600; } .head { font-weight: 600; } .undo, .note { font-size: 11px; fill: #5d6b73; }
  .number { font-size: 10px; fill: #fff; } line { stroke: #b4bec4; stroke-width: 1.5; }
  .machine { fill: #2f6f9f; } .host { fill: #b4571f; } .wait { fill: #f6e3d3; } .return { stroke: #b4571f; stroke-dasharray: 5 4; }
  .page { fill: #fff; }
</style>
<rect class="page" width="${width}" height="${height}"/>
<text class="title" x="24" y="34">${escaped(plan.title)}</text>
<text class="head" x="${lanes.machine}" y="66" text-anchor="middle">your machine</text>
<text class="head" x="${lanes.host}" y="66" text-anchor="middle">the host, alone</text>
${parts.join('\n')}
</svg>
`
}

const lane = (step: Step): number => (step.window ? lanes.host : lanes.machine)

function undoOf(step: Step): string {
  if (step.irreversible) return `can't be undone: ${step.irreversible}`
  return step.undoTitle ? `undo: ${step.undoTitle}` : ''
}

const shortened = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
