/** Changes one value of an ini file's text and leaves every other byte: comments, order, spacing. Pure. */

/** Sets `key` of `[section]`; added at the section's end where it is not there. Throws where there is no such section. */
export function setIniValue(text: string, section: string, key: string, value: string): string {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => line.trim().replace(/\s*[;#].*$/, '') === `[${section}]`)
  if (start < 0) throw new RangeError(`there is no section [${section}]`)
  let end = lines.findIndex((line, index) => index > start && /^\[/.test(line))
  if (end < 0) end = lines.length
  const pattern = new RegExp(`^(${key.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}\\s*=\\s*)(\\S*)(.*)$`)
  for (let index = start + 1; index < end; index++) {
    const match = pattern.exec(lines[index] as string)
    if (!match) continue
    const [, head, before, rest] = match as unknown as [string, string, string, string]
    // A comment stays in its column where the new value leaves room for it.
    const comment = /^(\s+)([;#].*)$/.exec(rest)
    const gap = comment ? ' '.repeat(Math.max(1, comment[1]!.length + before.length - value.length)) : ''
    lines[index] = `${head}${value}${comment ? gap + comment[2] : ''}`
    return lines.join('\n')
  }
  while (end > start + 1 && (lines[end - 1] as string).trim() === '') end--
  lines.splice(end, 0, `${key} = ${value}`)
  return lines.join('\n')
}
