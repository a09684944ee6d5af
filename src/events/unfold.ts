import { UsageError } from './errors.ts'

const mostNames = 10_000

/**
 * Words that commas or semicolons separate, those of numbers in brackets written out: `web[1-3,7]` is `web1, web2, web3,
 * web7`, and `db[08-10]` is `db08, db09, db10`. Several brackets in a word make every combination. What is no range of
 * numbers stays: `[::1]:22`. Raises a UsageError where a range goes backwards or makes more than 10,000 names. Pure.
 */
export function unfoldNames(text: string): string[] {
  const words = text.match(/(?:\[[^\]]*\]|[^,;])+/g) ?? []
  return words.map((word) => word.trim()).flatMap((word) => (word === '' ? [] : unfolded(word)))
}

function unfolded(word: string): string[] {
  const [whole, before = '', ranges = '', after = ''] =
    /^(.*?)\[(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)\](.*)$/.exec(word) ?? []
  if (whole === undefined) return [word]
  const ends = unfolded(after)
  let total = 0
  const names = ranges.split(',').flatMap((range) => {
    const [first = '', last = first] = range.split('-')
    const count = Number(last) - Number(first) + 1
    total += count * ends.length
    if (count < 1 || total > mostNames)
      throw new UsageError('bad-range', `[${range}] in ${word} ${count < 1 ? 'goes backwards' : 'is too many names'}`, {
        next: 'Write it as web[1-40], of at most 10,000 names.',
      })
    return Array.from({ length: count }, (_, index) => String(Number(first) + index).padStart(first.length, '0'))
  })
  return names.flatMap((number) => ends.map((end) => `${before}${number}${end}`))
}
