/**
 * The one place that every error passes on its way to a person: what commander says becomes Slipway's own sentence,
 * what a task file or a library threw gets its line, its task and a next step, and all are shown in one form.
 */
import type { CommanderError } from 'commander'
import { type SlipwayError, UsageError } from '../events/errors.ts'
import type { ErrorRecord } from '../events/events.ts'
import { asSlipwayError, ForeignError } from '../events/foreign.ts'
import { failureLines } from '../output/failure.ts'
import { paintFor } from '../output/style.ts'
import { errorRecord, taskThatThrew } from '../tasks/record.ts'
import type { Io } from './io.ts'
import { nextSteps } from './next-steps.ts'
import { ownPlace, ownSource } from './place.ts'

/** Shows what ended a command that is no run, and returns its exit status. */
export function showFailure(io: Io, error: unknown, debug: boolean): number {
  const known = asSlipwayError(error)
  const paint = paintFor(io.stderr, io.env)
  for (const line of failureLines(failureRecord(known, io.cwd), { debug, paint })) io.err(`${line}\n`)
  return known.exitCode
}

/** An error as data, with a next step. One that is not Slipway's own is told with its line in the project `dir` and the task it ended. */
export function failureRecord(error: SlipwayError, dir: string): ErrorRecord {
  const record = withNext(errorRecord(error))
  if (!(error instanceof ForeignError)) return record
  const place = ownPlace(error.cause, dir)
  const source = ownSource(error.cause, dir)
  const task = taskThatThrew(error)
  const detail = [source, record.detail].filter(Boolean).join('\n')
  return {
    ...record,
    message: `${place ? `${place}: ` : ''}${record.message}`,
    ...(detail ? { detail } : {}),
    ...(task && !record.state ? { state: `The task ${task} ended there; what was done before it stays done.` } : {}),
  }
}

function withNext(record: ErrorRecord): ErrorRecord {
  return { ...record, next: record.next ?? nextSteps[record.code] ?? 'Look at what it says; `--debug` shows more.' }
}

/** What commander found wrong with the words of `command`, as Slipway says it. */
export function misuse(error: CommanderError, command: string): UsageError {
  const { code, message } = error
  const [first = '', hint] = message.replace(/^error: /, '').split('\n')
  const quoted = [...first.matchAll(/'([^']*)'/g)].map((match) => match[1] ?? '')
  const [what = '', value = ''] = quoted
  const next = hint ? hint.replace(/^\(|\)$/g, '') : `See \`${command} --help\`.`
  const state = 'Nothing was run.'
  const option = /--[\w-]+/.exec(what)?.[0] ?? what
  switch (code) {
    case 'commander.unknownOption':
      return new UsageError('unknown-option', `${command} has no option ${what}`, { state, next })
    case 'commander.unknownCommand':
      return new UsageError('unknown-command', `${command} has no command "${what}"`, { state, next })
    case 'commander.missingArgument':
      return new UsageError('missing-word', `${command} needs a word more: <${what}>`, { state, next })
    case 'commander.excessArguments':
      return new UsageError('too-many-words', `${command} was given more words than it takes`, { state, next })
    case 'commander.optionMissingArgument':
      return new UsageError('missing-value', `${option} needs a value: ${what}`, { state, next })
    case 'commander.invalidArgument': {
      const allowed = /choices are (.*?)\.?$/.exec(first)?.[1]
      return new UsageError(
        'bad-value',
        `${option}: "${value}" is not ${allowed ? `one of ${allowed}` : 'a value it takes'}`,
        {
          state,
          next,
        },
      )
    }
    default:
      return new UsageError('wrongly-used', `${command} can't make out: ${first}`, { state, next })
  }
}
