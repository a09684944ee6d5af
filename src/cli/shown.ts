/**
 * A command line as it may be kept: values of parameters that sound like secrets are left out, and so are those of
 * `name=value` after `--`. Pure.
 */
import { hidden, secretName, withoutValue } from '../tasks/shown.ts'

export function shownArgv(argv: readonly string[]): string[] {
  let hideNext = false
  let afterDashes = false
  return argv.map((word) => {
    if (afterDashes) return withoutValue(word)
    if (word === '--') afterDashes = true
    if (hideNext) {
      hideNext = false
      return hidden
    }
    if (/^--?[\w-]+$/.test(word) && secretName.test(word)) {
      hideNext = true
      return word
    }
    return word.replace(/(^--|[:,])([\w.-]+)=((?:\\,|[^,])*)/g, (whole, before: string, name: string) =>
      secretName.test(name) ? `${before}${name}=${hidden}` : whole,
    )
  })
}
