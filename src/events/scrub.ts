/**
 * Takes secrets out of text: as they are, shell-quoted, in base64 wherever it starts, URL-encoded, and JSON-escaped.
 * Pure but for a memory of unfinished ends, so that a secret cut in two by chunks is still found.
 */
import type { Revealable } from './run.ts'

const mask = '•••'

/** Every way in which `value` is looked for. */
function formsOf(value: string): string[] {
  const forms = new Set<string>()
  const add = (form: string) => forms.add(form)
  const json = JSON.stringify(value).slice(1, -1)
  add(value)
  add(value.replaceAll('\n', '\r\n'))
  // As shells quote it, as Python's shlex does, and as bash's `printf %q`.
  add(value.replaceAll("'", `'\\''`))
  add(value.replaceAll("'", `'"'"'`))
  add(value.replace(/[\s'"\\|&;()<>!{}*[\]?^$`,]|^[#~]/g, '\\$&'))
  add(value.replace(/[\\"$`]/g, '\\$&'))
  // Python and PHP write JSON in ASCII alone.
  for (const text of [json, json.replace(/[^\x20-\x7e]/g, unicodeEscape)])
    add(text).add(JSON.stringify(text).slice(1, -1))
  add(encodeURI(value))
  for (const form of urlForms(value)) add(form).add(form.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()))
  // A key file is printed line by line.
  if (value.includes('\n')) for (const line of value.split('\n')) if (line.trim().length >= 8) add(line.trim())
  if (value.length >= 6) for (const form of base64Forms(value)) add(form)
  forms.delete('')
  return [...forms]
}

const unicodeEscape = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`

/** As browsers, forms, and other languages' libraries encode it: they differ in what they leave alone. */
function urlForms(value: string): string[] {
  const component = encodeURIComponent(value)
  const strict = component.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  const form = new URLSearchParams({ '': value }).toString().slice(1)
  const withSlashes = [component, strict].flatMap((text) => [text, text.replaceAll('%2F', '/')])
  return [form, ...withSlashes.flatMap((text) => [text, text.replaceAll('%20', '+'), text.replaceAll('~', '%7E')])]
}

/** The part of base64 text that depends on `value` alone, for each of the three places where it can start. */
function base64Forms(value: string): string[] {
  const bytes = Buffer.from(value)
  return [0, 1, 2].flatMap((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '')
    const start = Math.ceil((offset * 8) / 6)
    const end = Math.floor(((offset + bytes.length) * 8) / 6)
    const standard = encoded.slice(start, end)
    return [standard, standard.replaceAll('+', '-').replaceAll('/', '_')]
  })
}

export interface Scrubber {
  /** Whole text. */
  text(text: string): string
  /** A piece of the stream `key`; what might be the beginning of a secret is kept back until the next piece. */
  chunk(key: string, text: string): string
  /** The end of the stream `key`: what was kept back. */
  end(key: string): string
}

/** `secrets` is looked at anew each time: it grows as a run resolves them. */
export function createScrubber(secrets: ReadonlySet<Revealable>): Scrubber {
  const held = new Map<string, string>()
  let known = -1
  let pattern: RegExp | undefined
  let forms: string[] = []
  const refresh = () => {
    if (secrets.size === known) return
    known = secrets.size
    const all = [...new Set([...secrets].flatMap((secret) => formsOf(secret.reveal())))]
    forms = all.sort((a, b) => b.length - a.length)
    pattern = forms.length > 0 ? new RegExp(forms.map(formPattern).join('|'), 'g') : undefined
  }
  const replace = (text: string) => (pattern ? text.replace(pattern, mask) : text)
  return {
    text(text) {
      refresh()
      return replace(text)
    },
    chunk(key, text) {
      refresh()
      if (!pattern && held.size === 0) return text
      const whole = (held.get(key) ?? '') + text
      const cut = pattern ? safeEnd(whole, forms, pattern) : whole.length
      if (cut < whole.length) held.set(key, whole.slice(cut))
      else held.delete(key)
      return replace(whole.slice(0, cut))
    },
    end(key) {
      refresh()
      const rest = held.get(key) ?? ''
      held.delete(key)
      return replace(rest)
    },
  }
}

/** Very short secrets are looked for as whole words: else a password of one letter would blank every text. */
function formPattern(form: string): string {
  const literal = form.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
  return form.length >= 4 ? literal : `(?<![A-Za-z0-9])${literal}(?![A-Za-z0-9])`
}

/** Where `text` can be cut so that no secret that may still be coming, and none that is there, is cut in two. */
function safeEnd(text: string, forms: readonly string[], pattern: RegExp): number {
  const longest = forms[0]?.length ?? 0
  let cut = text.length
  for (let index = Math.max(0, text.length - longest + 1); index < text.length; index++) {
    const tail = text.slice(index)
    if (
      !forms.some((form) => form.length >= tail.length && form.startsWith(tail) && (form !== tail || form.length < 4))
    )
      continue
    cut = index
    break
  }
  for (const match of text.matchAll(pattern)) {
    const end = match.index + match[0].length
    if (match.index < cut && end > cut) return end
  }
  return cut
}
