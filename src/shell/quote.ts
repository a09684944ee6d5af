/**
 * Quoting for POSIX shells: single quotes, which sh, dash, bash, busybox and zsh agree on. Bash's $'…' is never
 * used: under dash it arrives wrong, and can be made to run commands.
 */

const plain = /^[A-Za-z0-9_\-./:@%+,=]+$/

/** `word` as one shell word, byte for byte. Throws a TypeError on NUL, which no argument can hold. */
export function quote(word: string): string {
  if (word.includes('\0')) throw new TypeError('a shell argument cannot contain a NUL byte')
  // A leading `=` or an assignment-like word would be read differently in command position.
  if (plain.test(word) && !word.includes('=')) return word
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** Each of `words` quoted, joined with spaces. */
export function quoteAll(words: readonly string[]): string {
  return words.map(quote).join(' ')
}
