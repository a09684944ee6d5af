/** Settings as they may be shown in a diff: which keys, and the values that are no secret, of before and of after. Pure. */

/** Names whose values are shown to nobody. */
const secretName = /pass|secret|token|key|credential/i
const hidden = '•••'

/**
 * What shows a text of the settings made from `template`: a value stays where the template has it as plain text under a
 * name that sounds like no secret; any other line keeps its name alone. An old text may hold secrets that are known
 * nowhere any more, so what the template doesn't say to be plain is not shown.
 */
export function settingsShown(template: string): (text: string) => string {
  const plain = new Set<string>()
  for (const { name, value } of entries(template)) {
    if (name !== undefined && !/\{\{\s*(?:secret:|generate:)/.test(value) && !secretName.test(name)) plain.add(name)
  }
  return (text) =>
    entries(text)
      .map((entry) => shownLine(entry, plain))
      .join('\n')
}

interface Entry {
  line: string
  /** With its section; undefined for headers, comments and blank lines. */
  name?: string
  /** From the beginning of the line to its value. */
  lead: string
  value: string
}

function shownLine({ line, name, lead }: Entry, plain: ReadonlySet<string>): string {
  if (name !== undefined) return plain.has(name) ? line : `${lead}${hidden}`
  // A comment or a continued line may hold what a key had.
  return /^\s*(?:\[[^\]]*\])?\s*$/.test(line) ? line : hidden
}

function entries(text: string): Entry[] {
  let section = ''
  return text.split('\n').map((line) => {
    const header = /^\s*\[([^\]]+)\]/.exec(line)
    if (header) section = header[1] ?? ''
    const [, lead = '', key, value = ''] = /^((?:export\s+)?([A-Za-z_][\w.-]*)\s*[=:]\s*)(.*)$/.exec(line) ?? []
    return key === undefined ? { line, lead: '', value: '' } : { line, name: `${section}.${key}`, lead, value }
  })
}
