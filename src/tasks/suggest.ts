/** "Did you mean …?": the known names nearest to what was typed. */

/** Up to three of `known` that are a slip of the finger away from `typed`; else those that contain it. */
function nearest(typed: string, known: readonly string[]): string[] {
  const wanted = plain(typed)
  const limit = Math.max(1, Math.min(3, Math.floor(wanted.length * 0.4)))
  const distances = known.map((name) => ({ name, distance: distance(wanted, plain(name)) }))
  const least = Math.min(limit + 1, ...distances.map((each) => each.distance))
  const near = distances.filter((each) => each.distance === least && least <= limit)
  const found = near.length > 0 ? near.map(({ name }) => name) : known.filter((name) => contains(plain(name), wanted))
  return found.slice(0, 3)
}

const contains = (name: string, wanted: string) => wanted.length >= 3 && name.includes(wanted)

/** `Did you mean a, b or c?`, or undefined where nothing is near. */
export function didYouMean(typed: string, known: readonly string[]): string | undefined {
  const names = nearest(typed, known)
  if (names.length === 0) return undefined
  const last = names[names.length - 1]
  return `Did you mean ${names.length > 1 ? `${names.slice(0, -1).join(', ')} or ${last}` : last}?`
}

const plain = (name: string) => name.toLowerCase().replaceAll('-', '_')

/** Damerau–Levenshtein distance: insertions, deletions, replacements, and swaps of neighbours. */
function distance(a: string, b: string): number {
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(row[j - 1]! + 1, previous[j]! + 1, previous[j - 1]! + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1)
      row.push(best)
    }
    before = previous
    previous = row
  }
  return previous[b.length]!
}
