/** What could come next on a command line: for the shells. Pure; light, because a person waits for it at a keystroke. */
import type { ParamInfo, TaskInfo } from '../tasks/collect.ts'
import type { Manifest } from './manifest.ts'
import { type CoreOption, coreOptions } from './options.ts'

export interface Candidate {
  value: string
  about?: string
}

export type Known = Pick<Manifest, 'tasks' | 'hosts' | 'roles'>

/** Candidates for the last of `words` (the words after the command's name, the last one perhaps begun). */
export function complete(words: readonly string[], known: Known): Candidate[] {
  const current = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  if (before.includes('--')) return []
  const task = taskBefore(before, known)
  const previous = before.at(-1)
  const option = previous === undefined ? undefined : valuedOption(previous)
  if (option) return inList(optionValues(option, known), current)
  const param = previous?.startsWith('--') ? paramNamed(task, previous.slice(2)) : undefined
  if (param && param.kind === 'value') return matching(choices(param), current)
  if (current.startsWith('-')) return matching(optionCandidates(task), current)
  const colon = current.indexOf(':')
  if (colon >= 0) return colonForm(current, colon, known)
  const names = known.tasks.filter((each) => !each.hidden).map(taskCandidate)
  // Whoever types dashes gets dashes.
  const dashed = current.includes('-')
    ? names.map((each) => ({ ...each, value: each.value.replaceAll('_', '-') }))
    : names
  return matching(dashed, current)
}

function taskCandidate(task: TaskInfo): Candidate {
  const required = task.params.some((param) => param.required)
  return { value: required ? `${task.name}:` : task.name, about: firstLine(task.about) }
}

const firstLine = (text: string) => text.split('\n')[0] ?? ''
const folded = (name: string) => name.replaceAll('-', '_')

function taskBefore(words: readonly string[], known: Known): TaskInfo | undefined {
  for (const word of words.toReversed()) {
    const found = known.tasks.find(({ name }) => folded(name) === folded(word.split(':', 1)[0]!))
    if (found) return found
  }
  return undefined
}

function paramNamed(task: TaskInfo | undefined, name: string): ParamInfo | undefined {
  return task?.params.find((param) => folded(param.name) === folded(name))
}

function valuedOption(word: string): CoreOption | undefined {
  return coreOptions.find(({ value, short, long }) => value && (word === `--${long}` || word === `-${short}`))
}

function optionValues(option: CoreOption, known: Known): Candidate[] {
  if (option.value === 'HOSTS') return known.hosts.map((value) => ({ value }))
  if (option.value === 'ROLES') return known.roles.map((value) => ({ value }))
  return []
}

/** The next item of a list separated by commas. */
function inList(candidates: readonly Candidate[], current: string): Candidate[] {
  const begun = current.slice(0, current.lastIndexOf(',') + 1)
  const taken = begun.split(',')
  const left = candidates.filter(({ value }) => !taken.includes(value))
  return matching(left, current.slice(begun.length)).map((each) => ({ ...each, value: begun + each.value }))
}

function optionCandidates(task: TaskInfo | undefined): Candidate[] {
  const own = (task?.params ?? []).filter(({ kind }) => kind !== 'rest')
  return [
    ...own.map(({ name, help }) => ({ value: `--${name}`, ...(help === undefined ? {} : { about: help }) })),
    ...coreOptions.map(({ long, about }) => ({ value: `--${long}`, about })),
  ]
}

function choices(param: ParamInfo): Candidate[] {
  return (param.kind === 'flag' ? ['true', 'false'] : (param.choices ?? [])).map((value) => ({ value }))
}

/** `task:release=st` and `task:st`: names of parameters, and values of the one that is begun, or of the next place. */
function colonForm(current: string, colon: number, known: Known): Candidate[] {
  const task = taskBefore([current], known)
  if (!task) return []
  const begun = current.slice(0, Math.max(current.lastIndexOf(','), colon) + 1)
  const part = current.slice(begun.length)
  const equals = part.indexOf('=')
  if (equals >= 0) {
    const param = paramNamed(task, part.slice(0, equals))
    const prefix = begun + part.slice(0, equals + 1)
    return param
      ? matching(choices(param), part.slice(equals + 1)).map((each) => ({ ...each, value: prefix + each.value }))
      : []
  }
  const given = current
    .slice(colon + 1)
    .split(',')
    .slice(0, -1)
  const taken = new Set(given.map((each) => folded(each.split('=', 1)[0]!)))
  const free = task.params.filter(({ kind, name }) => kind !== 'rest' && !taken.has(folded(name)))
  const names = free.map((param) => ({
    value: param.kind === 'flag' ? param.name : `${param.name}=`,
    ...(param.help === undefined ? {} : { about: param.help }),
  }))
  const place = given.filter((each) => !each.includes('=')).length
  const next = task.params.filter(({ kind }) => kind === 'value')[place]
  const values = next && part !== '' ? choices(next) : []
  return matching([...names, ...values], part).map((each) => ({ ...each, value: begun + each.value }))
}

function matching(candidates: readonly Candidate[], begun: string): Candidate[] {
  return candidates.filter(({ value }) => value.startsWith(begun))
}

/** One a line: for bash the values, for zsh and fish also what they are, after a tab. */
export function completionLines(candidates: readonly Candidate[], withAbout: boolean): string {
  return candidates.map(({ value, about }) => `${value}${withAbout && about ? `\t${about}` : ''}\n`).join('')
}
