/** A unified diff of two texts, for showing what a write would change. Pure. */

interface Edit {
  kind: ' ' | '-' | '+'
  line: string
}

/** Lines that differ, with three lines around them; empty where the texts are equal. */
export function unifiedDiff(before: string, after: string, path: string, context = 3): string {
  if (before === after) return ''
  const edits = diffLines(splitLines(before), splitLines(after))
  const out = [`--- ${path}`, `+++ ${path} (new)`]
  let oldLine = 1
  let newLine = 1
  let index = 0
  while (index < edits.length) {
    if (edits[index]?.kind === ' ') {
      index++
      oldLine++
      newLine++
      continue
    }
    const start = Math.max(0, index - context)
    let end = index
    for (let scan = index, same = 0; scan < edits.length && same <= context * 2; scan++) {
      if (edits[scan]?.kind === ' ') same++
      else {
        same = 0
        end = scan
      }
    }
    const stop = Math.min(edits.length, end + 1 + context)
    const hunk = edits.slice(start, stop)
    const lead = index - start
    const olds = hunk.filter((edit) => edit.kind !== '+').length
    const news = hunk.filter((edit) => edit.kind !== '-').length
    out.push(
      `@@ -${oldLine - lead},${olds} +${newLine - lead},${news} @@`,
      ...hunk.map((edit) => edit.kind + edit.line),
    )
    for (const edit of edits.slice(index, stop)) {
      if (edit.kind !== '+') oldLine++
      if (edit.kind !== '-') newLine++
    }
    index = stop
  }
  return `${out.join('\n')}\n`
}

function splitLines(text: string): string[] {
  if (text === '') return []
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  else lines.push(`${lines.pop()}\n\\ no newline at the end`)
  return lines
}

/** Myers' algorithm; beyond 2,000 differences all of the middle is shown as replaced. */
function diffLines(before: readonly string[], after: readonly string[]): Edit[] {
  let head = 0
  while (head < before.length && head < after.length && before[head] === after[head]) head++
  let tail = 0
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  ) {
    tail++
  }
  const same = (line: string): Edit => ({ kind: ' ', line })
  return [
    ...before.slice(0, head).map(same),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same),
  ]
}

function middle(a: readonly string[], b: readonly string[]): Edit[] {
  const replaced = (): Edit[] => [
    ...a.map((line): Edit => ({ kind: '-', line })),
    ...b.map((line): Edit => ({ kind: '+', line })),
  ]
  if (a.length === 0 || b.length === 0) return replaced()
  const trace: Map<number, number>[] = []
  let reach = new Map<number, number>([[1, 0]])
  for (let d = 0; d <= Math.min(a.length + b.length, 2000); d++) {
    trace.push(new Map(reach))
    const next = new Map(reach)
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1))
      let x = down ? (reach.get(k + 1) ?? 0) : (reach.get(k - 1) ?? 0) + 1
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++
      next.set(k, x)
      if (x >= a.length && x - k >= b.length) return backtrack(a, b, trace, d)
    }
    reach = next
  }
  return replaced()
}

function backtrack(a: readonly string[], b: readonly string[], trace: Map<number, number>[], depth: number): Edit[] {
  const edits: Edit[] = []
  let x = a.length
  let y = b.length
  for (let d = depth; d > 0; d--) {
    const reach = trace[d] as Map<number, number>
    const k = x - y
    const down = k === -d || (k !== d && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1))
    const fromK = down ? k + 1 : k - 1
    const fromX = reach.get(fromK) ?? 0
    const fromY = fromX - fromK
    while (x > fromX && y > fromY && x > 0 && y > 0) {
      edits.push({ kind: ' ', line: a[--x] as string })
      y--
    }
    if (down) edits.push({ kind: '+', line: b[--y] as string })
    else edits.push({ kind: '-', line: a[--x] as string })
  }
  while (x > 0 && y > 0) {
    edits.push({ kind: ' ', line: a[--x] as string })
    y--
  }
  return edits.reverse()
}
