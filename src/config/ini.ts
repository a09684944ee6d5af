/**
 * Reads an ini file into entries that know their line. Pure. Values are text; an indented line continues the one
 * above as a new line. A comment starts at `;` or `#`, at the beginning of a line or after white space, so that a
 * `;` or `#` inside a word (`a; b`, `op://vault#key`) stays. A value in double quotes is taken as it stands.
 */

export interface IniEntry {
  section: string
  key: string
  value: string
  line: number
}

export interface IniSection {
  name: string
  line: number
}

export interface IniMistake {
  line: number
  message: string
}

export interface IniFile {
  sections: IniSection[]
  entries: IniEntry[]
  mistakes: IniMistake[]
}

export function readIni(text: string): IniFile {
  const file: IniFile = { sections: [], entries: [], mistakes: [] }
  const seenSections = new Map<string, number>()
  const seenKeys = new Map<string, number>()
  let section: string | undefined
  let last: IniEntry | undefined

  text.split(/\r?\n/).forEach((raw, index) => {
    const line = index + 1
    const body = withoutComment(raw)
    if (body.trim() === '') {
      if (raw.trim() === '') last = undefined
      return
    }
    if (/^\s/.test(raw)) {
      if (last) last.value += `${last.value === '' ? '' : '\n'}${unquoted(body.trim())}`
      else file.mistakes.push({ line, message: `this line is indented, but there is no value above it to continue` })
      return
    }
    last = undefined
    const header = /^\[([^\]]*)\]$/.exec(body.trim())
    if (header) {
      const name = (header[1] as string).trim()
      const before = seenSections.get(name)
      if (before !== undefined)
        file.mistakes.push({ line, message: `[${name}] is there twice; first on line ${before}` })
      seenSections.set(name, line)
      file.sections.push({ name, line })
      section = name
      return
    }
    const equals = body.indexOf('=')
    if (body.startsWith('[') || equals < 1) {
      file.mistakes.push({ line, message: `"${body.trim()}" is neither [section] nor key = value` })
      return
    }
    if (section === undefined) {
      file.mistakes.push({ line, message: `"${body.trim()}" is above the first [section]` })
      return
    }
    const key = body.slice(0, equals).trim()
    const before = seenKeys.get(`${section}\n${key}`)
    if (before !== undefined) {
      file.mistakes.push({ line, message: `[${section}] ${key} is set twice; first on line ${before}` })
      return
    }
    seenKeys.set(`${section}\n${key}`, line)
    last = { section, key, value: unquoted(body.slice(equals + 1).trim()), line }
    file.entries.push(last)
  })
  return file
}

/** `line` up to its comment; quoted text is skipped over. */
function withoutComment(line: string): string {
  const value = line.indexOf('=') + 1
  const quotedValue = /^\s*"(?:[^"\\]|\\.)*"/.exec(line.slice(value))
  const from = quotedValue ? value + quotedValue[0].length : 0
  for (let at = from; at < line.length; at++) {
    const char = line[at]
    if ((char === ';' || char === '#') && (at === 0 || /\s/.test(line[at - 1] as string))) return line.slice(0, at)
  }
  return line
}

function unquoted(value: string): string {
  if (!/^"(?:[^"\\]|\\.)*"$/.test(value)) return value
  try {
    return JSON.parse(value) as string
  } catch {
    return value.slice(1, -1)
  }
}
