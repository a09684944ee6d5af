/** Values of a call as they may be shown and kept. Pure. */

/** Names of parameters whose values are left out. */
export const secretName = /(?:pass(?:word|phrase|wd)?|secret|token|api[_-]?key|credential)/i

export const hidden = '•••'

/** `name=value` among the words after `--`: a setting, whose value is nobody's to see. */
export const withoutValue = (word: string): string => word.replace(/^([A-Za-z_][\w.]*=).+$/s, `$1${hidden}`)
