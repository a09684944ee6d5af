/**
 * argv, taken apart: the options of `tasks` itself, and the calls with their parameters as text. Pure. It comes before
 * commander, which reads one command a call, where several tasks may be named here.
 */
import { UsageError } from '../events/errors.ts'
import { didYouMean } from '../suggest.ts'
import type { ParamInfo } from '../tasks/collect.ts'
import { type CoreOption, coreOptions } from './options.ts'
import { toolCommands } from './tool-commands.ts'

export interface CommandLine {
  /** Tokens of core options and their values, in order: for commander. */
  core: string[]
  /** Everything else before `--`: task names, and parameters in either spelling. */
  words: string[]
  /** What follows `--`. */
  rest?: string[]
}

export interface Call {
  task: string
  /** Parameters by their own name, as text; the words after `--` as a list. */
  given: Record<string, string | readonly string[]>
}

/** Tells the core options from the rest; knows nothing of tasks. Throws a UsageError where a value is missing. */
export function splitCore(argv: readonly string[]): CommandLine {
  const core: string[] = []
  const words: string[] = []
  for (let index = 0; index < argv.length; index++) {
    const token = argv[index]!
    if (token === '--') return { core, words, rest: argv.slice(index + 1) }
    const option = coreOptionOf(token)
    if (!option) {
      words.push(token)
      continue
    }
    core.push(token)
    if (option.value === undefined || hasValue(token, option)) continue
    const value = argv[++index]
    if (value === undefined || value === '--') throw missingValue(token, option.value)
    core.push(value)
  }
  return { core, words }
}

/** The option that decides how a token goes on: of `-nqH` it is H. */
function coreOptionOf(token: string): CoreOption | undefined {
  if (token.startsWith('--')) {
    const name = token.slice(2).split('=', 1)[0]
    return coreOptions.find(({ long }) => long === name)
  }
  if (!/^-[A-Za-z]/.test(token)) return undefined
  let option: CoreOption | undefined
  for (const letter of token.slice(1)) {
    option = coreOptions.find(({ short }) => short === letter)
    if (!option || option.value !== undefined) return option
  }
  return option
}

function hasValue(token: string, option: CoreOption): boolean {
  return token.startsWith('--') ? token.includes('=') : token.at(-1) !== option.short
}

/** What the splitter has to know of the tasks. */
export interface KnownTasks {
  /** The task that was typed, in either spelling, or undefined. */
  find(typed: string): { name: string; params: readonly ParamInfo[] } | undefined
  names: readonly string[]
  default?: string
  /** What the task file exports as plain functions. */
  functions?: ReadonlySet<string>
}

/** Groups words into calls. Throws a UsageError for whatever is unknown, with the nearest name. */
export function splitCalls(words: readonly string[], rest: readonly string[] | undefined, known: KnownTasks): Call[] {
  const calls: (Call & { params: readonly ParamInfo[] })[] = []
  const begin = (typed: string, previous?: Call) => {
    const found = known.find(typed)
    if (!found) throw unknownTask(typed, known, previous)
    const call = { task: found.name, params: found.params, given: {} }
    calls.push(call)
    return call
  }
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    if (word.startsWith('-')) {
      const call = calls.at(-1) ?? (known.default === undefined ? undefined : begin(known.default))
      if (!call) throw unknownOption(word)
      const [name, inline] = longOption(word)
      const { param, negated } = optionParam(call, name, word)
      if (param.kind === 'flag') give(call, param, negated ? 'false' : (inline ?? 'true'))
      else {
        const value = inline ?? words[++index]
        if (value === undefined || (inline === undefined && value.startsWith('--'))) {
          throw missingValue(word, param.placeholder)
        }
        give(call, param, value)
      }
      continue
    }
    const colon = word.indexOf(':')
    const call = begin(colon < 0 ? word : word.slice(0, colon), calls.at(-1))
    if (colon >= 0) giveColonForm(call, word.slice(colon + 1))
  }
  if (calls.length === 0 && known.default !== undefined) begin(known.default)
  if (rest && rest.length > 0) giveRest(calls.at(-1), rest)
  return calls.map(({ task, given }) => ({ task, given }))
}

type OpenCall = Call & { params: readonly ParamInfo[] }

function giveColonForm(call: OpenCall, text: string): void {
  if (text === '') return
  const places = call.params.filter(({ kind }) => kind !== 'rest')
  let place = 0
  for (const part of splitEscaped(text, ',')) {
    const [name, value] = splitFirst(part, '=')
    if (value === undefined) {
      const param = flagNamed(call, name) ?? places[place++]
      if (!param) {
        throw new UsageError('too-many-values', `${call.task} has no place for "${name}"`, {
          next: `See \`tasks ${call.task} --help\`; a comma in a value is written \\,`,
        })
      }
      give(call, param, param.kind === 'flag' && name === param.name ? 'true' : name)
    } else {
      give(call, namedParam(call, name), value)
    }
  }
}

/** `tail:follow` is the flag; `tail:staging` is the first parameter's value. */
const flagNamed = (call: OpenCall, text: string) =>
  call.params.find((param) => param.kind === 'flag' && sameName(param.name, text))

function giveRest(call: OpenCall | undefined, rest: readonly string[]): void {
  const param = call?.params.find(({ kind }) => kind === 'rest')
  if (!call || !param) {
    throw new UsageError('unused-words', `nothing takes the words after --: ${rest.join(' ')}`, {
      next: call ? `${call.task} takes none; see \`tasks ${call.task} --help\`.` : 'Name a task that does.',
    })
  }
  call.given[param.name] = rest
}

function give(call: OpenCall, param: ParamInfo, value: string): void {
  if (param.name in call.given) {
    throw new UsageError('given-twice', `${call.task}: ${param.name} is given twice`)
  }
  call.given[param.name] = value
}

function longOption(word: string): [name: string, value: string | undefined] {
  if (!word.startsWith('--')) throw unknownOption(word)
  const equals = word.indexOf('=')
  return equals < 0 ? [word.slice(2), undefined] : [word.slice(2, equals), word.slice(equals + 1)]
}

function optionParam(call: OpenCall, name: string, word: string): { param: ParamInfo; negated: boolean } {
  const param = call.params.find((each) => sameName(each.name, name))
  if (param && param.kind !== 'rest') return { param, negated: false }
  const positive = name.startsWith('no-') ? flagNamed(call, name.slice(3)) : undefined
  if (positive) return { param: positive, negated: true }
  const options = [...call.params.map((each) => each.name), ...coreOptions.map(({ long }) => long)]
  const hint = didYouMean(name, options)?.replace(/(mean |, | or )/g, '$1--')
  throw new UsageError(
    'unknown-parameter',
    `${call.task} has no parameter "${name}", and tasks no option ${word.split('=', 1)[0]}`,
    {
      next: hint ?? `${parametersOf(call)} \`tasks --help\` lists the options.`,
    },
  )
}

function namedParam(call: OpenCall, name: string): ParamInfo {
  const param = call.params.find((each) => sameName(each.name, name))
  if (param) return param
  throw new UsageError('unknown-parameter', `${call.task} has no parameter "${name}"`, {
    next:
      didYouMean(
        name,
        call.params.map((each) => each.name),
      ) ?? parametersOf(call),
  })
}

function parametersOf(call: OpenCall): string {
  const names = call.params.map(({ name }) => name)
  return names.length > 0 ? `It has: ${names.join(', ')}.` : `${call.task} takes no parameters.`
}

/** `previous` is the call that it could be a value of. */
export function unknownTask(typed: string, known: Omit<KnownTasks, 'find'>, previous?: Call): UsageError {
  const meant = [...(known.functions ?? [])].find((name) => sameName(name, typed))
  const hint = didYouMean(typed, known.names)
  const value = previous && !hint ? `If it is a value of ${previous.task}, write ${previous.task}:${typed}. ` : ''
  const command = Object.hasOwn(toolCommands, typed) ? `\`slipway ${typed}\` is a command beside the tasks; ` : ''
  return new UsageError('unknown-task', `there is no task "${typed}"`, {
    next: meant
      ? `${meant} is exported as a plain function: make it a task with \`task({ about: '…', run: … })\`.`
      : (hint ?? `${command}${value}\`tasks --list\` shows them all.`),
  })
}

function unknownOption(word: string): UsageError {
  const name = word.replace(/^-+/, '').split('=', 1)[0]!
  return new UsageError('unknown-option', `tasks has no option ${word.split('=', 1)[0]}`, {
    next:
      didYouMean(
        name,
        coreOptions.map(({ long }) => long),
      )?.replace(/(mean |, | or )/g, '$1--') ?? 'See `tasks --help`.',
  })
}

function missingValue(option: string, what: string): UsageError {
  return new UsageError('missing-value', `${option} needs a value: ${what}`)
}

const sameName = (a: string, b: string) => a.replaceAll('-', '_') === b.replaceAll('-', '_')

/** Splits at each `separator` that no backslash stands before; those lose the backslash. */
function splitEscaped(text: string, separator: string): string[] {
  const parts: string[] = []
  let part = ''
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index)
    if (character === '\\' && text[index + 1] === separator) part += text.charAt(++index)
    else if (character === separator) {
      parts.push(part)
      part = ''
    } else part += character
  }
  return [...parts, part]
}

/** Splits at the first unescaped `separator`; elsewhere `\=` is `=`. */
function splitFirst(text: string, separator: string): [string, string | undefined] {
  const literal = (part: string) => part.replaceAll(`\\${separator}`, separator)
  for (let index = 0; index < text.length; index++) {
    if (text[index] === '\\' && text[index + 1] === separator) index++
    else if (text[index] === separator) return [literal(text.slice(0, index)), literal(text.slice(index + 1))]
  }
  return [literal(text), undefined]
}
