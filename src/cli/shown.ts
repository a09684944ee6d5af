/** A command line as it may be kept: values of parameters that sound like secrets are left out. Pure. */

const secretName = /(?:pass(?:word|phrase|wd)?|secret|token|api_?key|credential)/i

export function shownArgv(argv: readonly string[]): string[] {
  let hideNext = false
  return argv.map((word) => {
    if (hideNext) {
      hideNext = false
      return '•••'
    }
    if (/^--?[\w-]+$/.test(word) && secretName.test(word)) {
      hideNext = true
      return word
    }
    return word.replace(/(^--|[:,])([\w.-]+)=((?:\\,|[^,])*)/g, (whole, before: string, name: string) =>
      secretName.test(name) ? `${before}${name}=•••` : whole,
    )
  })
}
