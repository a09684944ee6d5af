/** From what a call gives to what a task gets: text is parsed, values are taken as they are, the rest falls back. */
import { SlipwayError, UsageError } from '../events/errors.ts'
import { didYouMean } from '../suggest.ts'
import type { ParamType } from './params.ts'
import { hidden, secretName, withoutValue } from './shown.ts'
import type { Params } from './task.ts'

export type AnyParam = ParamType<unknown, boolean>

/** The parameter of `params` that `name` means, in either spelling. */
function paramNamed(params: Params, name: string): string | undefined {
  const wanted = name.replaceAll('-', '_')
  return Object.keys(params).find((known) => known === name || known.replaceAll('-', '_') === wanted)
}

/** `text` as a value of `params[name]`. Throws a UsageError that names task, parameter, and what would be right. */
function parseText(task: string, params: Params, name: string, text: string): unknown {
  const param = params[name] as AnyParam
  try {
    return param.parse(text)
  } catch (error) {
    if (!(error instanceof SlipwayError)) throw error
    throw new UsageError(error.code, `${task}: ${name}: ${error.message}`, {
      next: error.next ?? didYouMean(text, param.choices?.() ?? []) ?? `See \`tasks ${task} --help\`.`,
      cause: error,
    })
  }
}

/**
 * The values that a call gives: names are checked, text is parsed, required ones must be there. Nothing is looked up
 * and nothing connects. Throws a UsageError.
 */
export function givenValues(task: string, params: Params, given: Readonly<Record<string, unknown>>) {
  const values: Record<string, unknown> = {}
  for (const [written, value] of Object.entries(given)) {
    if (value === undefined) continue
    const name = paramNamed(params, written)
    if (name === undefined) throw unknownParam(task, params, written)
    values[name] = typeof value === 'string' ? parseText(task, params, name, value) : value
  }
  const missing = Object.keys(params).filter((name) => (params[name] as AnyParam).required && !(name in values))
  if (missing.length > 0) throw missingParam(task, params, missing)
  return values
}

function unknownParam(task: string, params: Params, name: string): UsageError {
  const known = Object.keys(params)
  return new UsageError('unknown-parameter', `${task} has no parameter "${name}"`, {
    next: didYouMean(name, known) ?? (known.length > 0 ? `It has: ${known.join(', ')}.` : 'It takes none.'),
  })
}

function missingParam(task: string, params: Params, missing: readonly string[]): UsageError {
  const example = missing.map((name) => `${name}=${exampleValue(params[name] as AnyParam)}`).join(',')
  const what = missing.length > 1 ? `the parameters ${missing.join(', ')}` : `the parameter ${missing[0]}`
  return new UsageError('missing-parameter', `${task} needs ${what}`, { next: `For example: tasks ${task}:${example}` })
}

function exampleValue(param: AnyParam): string {
  return param.choices?.()[0] ?? `<${param.placeholder}>`
}

/** As text that may be shown and kept. */
export function shownValues(params: Params, values: Readonly<Record<string, unknown>>): Record<string, string> {
  const texts = Object.entries(formatValues(params, values)).map(([name, text]): [string, string] => {
    if (secretName.test(name)) return [name, hidden]
    const words = values[name]
    if ((params[name] as AnyParam).kind !== 'rest' || !Array.isArray(words)) return [name, text]
    return [name, words.map((word) => withoutValue(String(word))).join(' ')]
  })
  return Object.fromEntries(texts)
}

/** As text, for telling calls apart. */
export function formatValues(params: Params, values: Readonly<Record<string, unknown>>): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const [name, value] of Object.entries(values)) {
    const param = params[name] as AnyParam | undefined
    if (!param || value === undefined) continue
    const text = param.format(value)
    if (text !== '') texts[name] = text
  }
  return texts
}
