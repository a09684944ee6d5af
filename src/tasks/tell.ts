/** What a task says: lines for people, results for programs, and questions. */
import { currentRun } from '../events/run.ts'

/**
 * A line for the person who watches: on stderr, not with -q.
 *
 * @example
 * ```ts
 * note('the cache is warm')
 * ```
 */
export function note(text: string): void {
  currentRun().emit({ type: 'note', text })
}

/**
 * Something that may be wrong; shown with -q too, and counted at the end.
 *
 * @example
 * ```ts
 * warn('the certificate ends in a week')
 * ```
 */
export function warn(text: string): void {
  currentRun().emit({ type: 'warning', text })
}

/**
 * What the task was run for: on stdout, so that `| jq` and `> file` get it and nothing else. Anything but text is
 * written as JSON.
 *
 * @example
 * ```ts
 * result({ version: '1.2' }) // what `tasks … | jq` gets
 * ```
 */
export function result(value: unknown): void {
  const text = typeof value === 'string' ? value : JSON.stringify(value, undefined, 2)
  currentRun().emit({ type: 'result', text: text ?? '', ...(typeof value === 'string' ? {} : { value }) })
}

/**
 * Questions. Without a terminal they are refused with an error; `--yes` answers `confirm`.
 *
 * @example
 * ```ts
 * if (await ask.confirm('Restart it now?')) await app.staging.server.restart()
 * ```
 */
export const ask = {
  /** Yes or no; no unless answered. */
  confirm: (message: string): Promise<boolean> => currentRun().prompter.confirm(message),
  text: (message: string, options?: { initial?: string }): Promise<string> =>
    currentRun().prompter.text(message, options),
  /** Not echoed, and scrubbed from everything that is shown or kept. */
  async password(message: string): Promise<string> {
    const run = currentRun()
    const value = await run.prompter.password(message)
    run.secrets.add({ reveal: () => value })
    return value
  },
}
