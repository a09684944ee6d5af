/** "Did you mean …?": the known names nearest to what was typed. Pure. */

/** Up to three of `known` that are a slip of the finger away from `typed`. */
export function near(typed: string, known: readonly string[]): string[] {
  const wanted = plain(typed)
  const limit = Math.max(1, Math.min(3, Math.floor(wanted.length * 0.4)))
  const distances = known.map((name) => ({ name, distance: editDistance(wanted, plain(name)) }))
  const least = Math.min(limit + 1, ...distances.map((each) => each.distance))
  if (least > limit) return []
  return distances
    .filter((each) => each.distance === least)
    .map(({ name }) => name)
    .slice(0, 3)
}

/** `Did you mean a, b or c?`, or undefined where nothing is near. Where nothing is, names that contain it will do. */
export function didYouMean(typed: string, known: readonly string[]): string | undefined {
  const slips = near(typed, known)
  const names = slips.length > 0 ? slips : known.filter((name) => contains(plain(name), plain(typed))).slice(0, 3)
  return names.length === 0 ? undefined : `Did you mean ${orList(names)}?`
}

/** ` (did you mean a?)`, to be said behind the name that is wrong; or nothing. */
export function meantInstead(typed: string, known: readonly string[]): string {
  const names = near(typed, known)
  return names.length === 0 ? '' : ` (did you mean ${orList(names)}?)`
}

const contains = (name: string, wanted: string) => wanted.length >= 3 && name.includes(wanted)
const plain = (name: string) => name.toLowerCase().replaceAll('-', '_')
const orList = (names: readonly string[]) =>
  names.length > 1 ? `${names.slice(0, -1).join(', ')} or ${names.at(-1)}` : names[0]

/** Damerau–Levenshtein distance: insertions, deletions, replacements, and swaps of neighbours. */
function editDistance(a: string, b: string): number {
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
