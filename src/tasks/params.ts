/** Parameters of tasks: each says how its text becomes a value, what it may be, and what it is without any. */
import { UsageError } from '../events/errors.ts'

/** `Required` is false where a call may leave it out. */
export interface ParamType<T, Required extends boolean = true> {
  readonly kind: 'value' | 'flag' | 'rest'
  /** A word for help: `deployment`, `number`. */
  readonly placeholder: string
  readonly help?: string
  readonly required: Required
  /** Throws a UsageError that says what would be right. */
  parse(text: string): T
  /** The text that `parse` makes `value` from. */
  format(value: T): string
  /** Values to complete and to suggest from. */
  choices?(): readonly string[]
  /** The value where a call gives none. May look at hosts, so it runs when the task does. */
  fallback?(): T | Promise<T>
  about(text: string): ParamType<T, Required>
  optional(): ParamType<T | undefined, false>
  default(value: T): ParamType<T, false>
}

/** How a parameter is named, described, checked and completed. */
export interface ParamDefinition<T> {
  kind?: 'value' | 'flag' | 'rest'
  placeholder: string
  parse(text: string): T
  format?(value: T): string
  choices?(): readonly string[]
  fallback?(): T | Promise<T>
  help?: string
}

/** A parameter type of one's own. Without `fallback` it is required. */
export function param<T>(definition: ParamDefinition<T> & { fallback(): T | Promise<T> }): ParamType<T, false>
export function param<T>(definition: ParamDefinition<T>): ParamType<T, true>
export function param<T>(definition: ParamDefinition<T>): ParamType<T, boolean> {
  return {
    kind: definition.kind ?? 'value',
    placeholder: definition.placeholder,
    help: definition.help,
    required: definition.fallback === undefined,
    parse: definition.parse,
    format: definition.format ?? String,
    choices: definition.choices,
    fallback: definition.fallback,
    about: (help) => param({ ...definition, help }),
    optional: () =>
      param<T | undefined>({ ...(definition as ParamDefinition<T | undefined>), fallback: () => undefined }),
    default: (value) => param<T>({ ...definition, fallback: () => value }),
  }
}

/**
 * Any text.
 *
 * @example
 * ```ts
 * params: { branch: string().default('main') }
 * ```
 */
export const string = (): ParamType<string> => param({ placeholder: 'text', parse: (text) => text })

/**
 * A parameter that is a number.
 *
 * @example
 * ```ts
 * params: { lines: number().default(100) }
 * ```
 */
export const number = (): ParamType<number> =>
  param({
    placeholder: 'number',
    parse(text) {
      const value = Number(text)
      if (text.trim() === '' || !Number.isFinite(value)) throw new UsageError('bad-value', `"${text}" is not a number`)
      return value
    },
  })

/**
 * false unless given: `--follow`, `:follow`, `:follow=false`, `--no-follow`.
 *
 * @example
 * ```ts
 * params: { follow: flag().about('go on with what comes') }
 * ```
 */
export const flag = (): ParamType<boolean, false> =>
  param<boolean>({
    kind: 'flag',
    placeholder: 'yes|no',
    parse(text) {
      if (/^(|1|true|yes|on)$/i.test(text)) return true
      if (/^(0|false|no|off)$/i.test(text)) return false
      throw new UsageError('bad-value', `"${text}" is neither yes nor no`)
    },
    format: (value) => (value ? 'true' : 'false'),
    choices: () => ['true', 'false'],
    fallback: () => false,
  })

/**
 * One of `values`.
 *
 * @example
 * ```ts
 * params: { size: choice(['small', 'large']).default('small') }
 * ```
 */
export const choice = <const V extends string>(values: readonly V[]): ParamType<V> =>
  param<V>({
    placeholder: values.join('|'),
    parse(text) {
      if ((values as readonly string[]).includes(text)) return text as V
      throw new UsageError('bad-value', `"${text}" is not one of ${values.join(', ')}`)
    },
    choices: () => values,
  })

/**
 * The words after `--`: `tasks run:release=staging -- ls -l`.
 *
 * @example
 * ```ts
 * params: { command: rest() } // tasks run:release=staging -- ls -l
 * ```
 */
export const rest = (): ParamType<readonly string[], false> =>
  param<readonly string[]>({
    kind: 'rest',
    placeholder: '-- words',
    parse: (text) => [text],
    format: (words) => words.join(' '),
    fallback: () => [],
  })
