/**
 * Many steps as one script, and its output taken apart again. Pure. The script is sent on standard input, defined as
 * a function and called on its last line, so that one cut short by a lost connection never runs in part.
 */
import type { Command } from './command.ts'
import { quote } from './quote.ts'

export interface PlannedStep {
  command: Command
  /** Goes on after a failure of this step. */
  nothrow?: boolean
}

/** The index that the guard's marks carry. */
export const guardIndex = -1

const mark = '\x1e'

/**
 * The text of a script that runs `steps` in order, each in a subshell with `set -eu` and no input. Marks with `nonce`
 * (letters and digits) on both streams say where a step's output begins and how it ended. Secrets are part of the
 * text: it may only travel by standard input.
 */
export function renderScript(steps: readonly PlannedStep[], nonce: string, guard?: Command): string {
  const name = `slipway_${nonce}`
  const body: string[] = []
  if (guard) body.push(...stepLines({ command: guard }, guardIndex, nonce))
  steps.forEach((step, index) => {
    body.push(...stepLines(step, index, nonce))
  })
  // The last line is the call: text that stops anywhere before it defines nothing, or a function nobody calls.
  return `${name}() {\n${body.join('\n')}\nreturn 0\n}\n${name}\n`
}

function stepLines(step: PlannedStep, index: number, nonce: string): string[] {
  const begin = quote(`\\036${nonce} begin ${index}\\n`)
  const end = quote(`\\036${nonce} end ${index} %s\\n`)
  return [
    `printf ${begin}; printf ${begin} >&2`,
    // Never tested with || or if: that would switch `set -e` off inside.
    '(',
    'set -eu',
    step.command.renderWithSecrets(),
    ') </dev/null',
    's=$?',
    `printf ${end} "$s"; printf ${end} "$s" >&2`,
    ...(step.nothrow ? [] : ['[ "$s" = 0 ] || return "$s"']),
  ]
}

export type ScriptEvent =
  | { type: 'begin'; index: number }
  | { type: 'output'; index: number | undefined; text: string }
  | { type: 'end'; index: number; exitCode: number }

/**
 * Takes one stream of a script's output apart as it arrives. `index` of output is undefined outside of steps (what a
 * login shell's start-up files print, a syntax error). Call `flush` at the end.
 */
export function createScriptParser(nonce: string): { push(text: string): ScriptEvent[]; flush(): ScriptEvent[] } {
  const head = `${mark}${nonce} `
  let pending = ''
  let current: number | undefined
  const output = (text: string, into: ScriptEvent[]) => {
    if (text) into.push({ type: 'output', index: current, text })
  }
  return {
    push(text) {
      pending += text
      const events: ScriptEvent[] = []
      for (;;) {
        const at = pending.indexOf(head)
        if (at < 0) {
          // Hold back what may be the beginning of a mark.
          const keep = partialSuffix(pending, head)
          output(pending.slice(0, pending.length - keep), events)
          pending = keep === 0 ? '' : pending.slice(-keep)
          return events
        }
        const newline = pending.indexOf('\n', at)
        output(pending.slice(0, at), events)
        if (newline < 0) {
          pending = pending.slice(at)
          return events
        }
        const [kind, index, status] = pending.slice(at + head.length, newline).split(' ')
        pending = pending.slice(newline + 1)
        if (kind === 'begin') {
          current = Number(index)
          events.push({ type: 'begin', index: current })
        } else {
          events.push({ type: 'end', index: Number(index), exitCode: Number(status) })
          current = undefined
        }
      }
    },
    flush() {
      const events: ScriptEvent[] = []
      output(pending, events)
      pending = ''
      return events
    },
  }
}

/** How many characters at the end of `text` could be the beginning of `token`. */
function partialSuffix(text: string, token: string): number {
  for (let length = Math.min(text.length, token.length - 1); length > 0; length--) {
    if (token.startsWith(text.slice(-length))) return length
  }
  return 0
}
