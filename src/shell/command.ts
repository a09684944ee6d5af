/**
 * Commands as values. `sh` is the tagged template: what is written is shell, what is interpolated is one quoted
 * word (an array: several). A Secret is refused as a word, because arguments can be read in the process list.
 */
import { SlipwayError } from '../events/errors.ts'
import { quote } from './quote.ts'
import { Secret } from './secret.ts'

/** Shell text that is put in as it stands. */
export class Raw {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** Shell text that is put in as it stands, unquoted. For constants of your own, never for values. */
export const raw = (text: string): Raw => new Raw(text)

/** What may stand in a command's template: text, a number, a secret, another command, or a list of these. */
export type Word = string | number | bigint | boolean | Secret | Raw | Command | readonly Word[]

type Part = { text: string } | { secret: Secret }

/** Shell text whose interpolated values are quoted, and whose secrets don't show. */
export class Command {
  readonly parts: readonly Part[]

  constructor(parts: readonly Part[]) {
    this.parts = parts
  }

  /** The shell text. Throws where a Secret is one of the words. */
  render(): string {
    return this.parts.map((part) => ('text' in part ? part.text : refuse(part.secret))).join('')
  }

  /** The shell text for stdin or a 0600 file, where nobody else can read it: secrets are quoted words in it. */
  renderWithSecrets(): string {
    return this.parts.map((part) => ('text' in part ? part.text : quote(part.secret.reveal()))).join('')
  }

  get secrets(): readonly Secret[] {
    return this.parts.flatMap((part) => ('secret' in part ? [part.secret] : []))
  }

  /** For showing: secrets are •••. */
  toString(): string {
    return this.parts.map((part) => ('text' in part ? part.text : String(part.secret))).join('')
  }
}

/**
 * A command as a value: every interpolated value is one quoted word, an array is several, a Secret never shows.
 *
 * @example
 * ```ts
 * await host('web1').run(sh`ls -l ${folder}`)
 * ```
 */
export function sh(strings: TemplateStringsArray, ...words: readonly Word[]): Command {
  const parts: Part[] = []
  strings.forEach((text, index) => {
    parts.push({ text })
    if (index < words.length) parts.push(...wordParts(words[index] as Word))
  })
  return new Command(parts)
}

/** The commands in order, each on its own line. */
export function lines(...commands: readonly (Command | string | false | undefined)[]): Command {
  const parts: Part[] = []
  for (const command of commands) {
    if (!command) continue
    if (parts.length > 0) parts.push({ text: '\n' })
    if (typeof command === 'string') parts.push({ text: command })
    else parts.push(...command.parts)
  }
  return new Command(parts)
}

/** A command given as an argument vector. */
export function argv(words: readonly string[]): Command {
  return new Command([{ text: words.map(quote).join(' ') }])
}

function wordParts(word: Word): Part[] {
  if (typeof word === 'string') return [{ text: quote(word) }]
  if (typeof word === 'number' || typeof word === 'bigint' || typeof word === 'boolean') return [{ text: String(word) }]
  if (word instanceof Secret) return [{ secret: word }]
  if (word instanceof Raw) return [{ text: word.text }]
  if (word instanceof Command) return [...word.parts]
  if (Array.isArray(word)) {
    return word.flatMap((each, index) => [...(index > 0 ? [{ text: ' ' }] : []), ...wordParts(each as Word)])
  }
  throw new TypeError(
    `${word === null ? 'null' : typeof word} was interpolated into a command; give a string, a number or an array of them`,
  )
}

function refuse(secret: Secret): never {
  throw new SlipwayError('secret-argument', `the secret ${secret.name} was given as an argument of a command`, {
    state: 'Nothing was run: arguments can be read by everyone on the host, in the process list.',
    next: 'Give it in the environment, `host.env({ NAME: secret })`, or on standard input, `.input(secret)`.',
  })
}
