/** A plan as a value: its text, and the fingerprint of the facts it rests on. Pure. */
import { createHash } from 'node:crypto'
import type { Plan, Step } from './types.ts'

/** The same for equal facts, whatever the order of their keys. */
export function fingerprint(facts: unknown): string {
  return createHash('sha256').update(canonical(facts)).digest('hex').slice(0, 16)
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined)
    members.sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`
  }
  return JSON.stringify(value) ?? 'null'
}

/** The names of the facts that differ, with both values. */
export function changedFacts(planned: Plan['facts'], now: Plan['facts']): string[] {
  const names = [...new Set([...Object.keys(planned), ...Object.keys(now)])].sort()
  return names
    .filter((name) => canonical(planned[name]) !== canonical(now[name]))
    .map((name) => `${name}: ${JSON.stringify(planned[name])} when planned, ${JSON.stringify(now[name])} now`)
}

/** The plan as lines: what `--plan` prints, and what is shown before the question. */
export function planText(plan: Plan): string[] {
  const width = String(plan.steps.length).length
  const lines = [plan.title, '']
  const last = plan.steps.findIndex((step) => step.id === plan.pointOfNoReturn)
  plan.steps.forEach((step, index) => {
    if (step.window && !plan.steps[index - 1]?.window) lines.push('  — from here on the host goes on by itself —')
    if (!step.window && plan.steps[index - 1]?.window) lines.push('  — from here on from this machine again —')
    if (index === last) {
      lines.push(`  — until here undo loses nothing; from here on there is ${plan.afterwards ?? 'no way back'} —`)
    }
    lines.push(`  ${String(index + 1).padStart(width)}. ${step.title}`)
    if (last < 0 || index < last || step.irreversible) lines.push(`  ${' '.repeat(width)}  ${undoText(step)}`)
  })
  if (plan.notes && plan.notes.length > 0) lines.push('', ...plan.notes.map((note) => `  ${note}`))
  if (plan.locks.length > 0) lines.push('', `  locked meanwhile: ${[...plan.locks].sort().join(', ')}`)
  lines.push(`  plan ${fingerprint(plan.facts)}`)
  return lines
}

function undoText(step: Step): string {
  if (step.irreversible) return `can't be undone: ${step.irreversible}`
  return step.undoTitle ? `undo: ${step.undoTitle}` : 'nothing to undo'
}

/** What is wrong with a plan itself: a mistake of whoever built it. */
export function planFaults(plan: Plan): string[] {
  const ids = plan.steps.map((step) => step.id)
  const faults = ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `two steps are called ${id}`)
  if (plan.pointOfNoReturn !== undefined && !ids.includes(plan.pointOfNoReturn)) {
    faults.push(`the point of no return, ${plan.pointOfNoReturn}, is not a step`)
  }
  const windows = plan.steps.filter((step, index) => step.window && !plan.steps[index - 1]?.window)
  if (windows.length > 1) faults.push('the steps of the window are not together')
  if (windows.length > 0 && !plan.window) faults.push('there are window steps, and nothing that runs them')
  return faults
}
