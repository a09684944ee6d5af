/** Tells how far a long dump or restore on a host is, by the files it writes and reads. A look a second, from the second on. */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { currentRun, scoped, withRun } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { type Command, lines, sh } from '../../../shell/index.ts'

export interface Watched {
  label: string
  /** A file that is written: its size is how far it is. */
  file?: string
  /** A file that is read from its beginning to its end: the bytes that its readers have had are how far it is. */
  read?: string
  /** A file whose size is about what `file` will have. */
  source?: string
}

/** What is known of an end that no file tells: about how many bytes it will be, or what to say in place of it. */
export interface Estimate {
  total?: number
  /** Follows the label: `a database of 1.2 GB`. */
  of?: string
}

const everyMs = 1000

/**
 * `work`, with progress of the files told meanwhile. A look that fails tells nothing, and disturbs nothing. `estimates`,
 * by label, are asked for when the first look is due: short work is spared the question.
 */
export async function watching<T>(
  host: Host,
  files: readonly Watched[],
  work: () => Promise<T>,
  estimates: () => Promise<Readonly<Record<string, Estimate>>> = async () => ({}),
): Promise<T> {
  const run = currentRun()
  if (run.options.dryRun) return await work()
  const over = new AbortController()
  const looks = withRun(scoped(run, { signal: AbortSignal.any([run.signal, over.signal]) }), () =>
    look(host, files, over.signal, estimates),
  )
  try {
    return await work()
  } finally {
    over.abort()
    await looks
  }
}

/** Prints the bytes that the programs which have `file` open have read, `-` where there are none or it can't be known. */
const readOf = (file: string): Command =>
  sh`find -L /proc/[0-9]*/fd -maxdepth 1 -samefile ${file} 2>/dev/null | cut -d / -f 3 | sort -u | while read -r p; do sed -n 's/^rchar: //p' "/proc/$p/io" 2>/dev/null; done | awk '{ n += $1 } END { print NR ? n : "-" }'`

const sizeOf = (file: string): Command => sh`stat -c %s -- ${file} 2>/dev/null || echo -`

/** Two lines for each: how far it is, and how far it goes. */
const looking = (files: readonly Watched[]): Command =>
  lines(
    ...files.flatMap(({ file, read, source }) => [
      read !== undefined ? readOf(read) : sizeOf(file ?? '/nowhere'),
      sizeOf(source ?? read ?? '/nowhere'),
    ]),
  )

async function look(
  host: Host,
  files: readonly Watched[],
  over: AbortSignal,
  estimates: () => Promise<Readonly<Record<string, Estimate>>>,
): Promise<void> {
  const run = currentRun()
  const begun = new Map<number, { id: string; label: string; done: number }>()
  // What was shown as going on is taken away.
  const end = (index: number) => {
    const shown = begun.get(index)
    if (shown === undefined) return
    begun.delete(index)
    run.emit({ type: 'progress', ...shown, host: host.name, total: shown.done, unit: 'bytes' })
  }
  try {
    await delay(everyMs, undefined, { signal: over })
    const known = await estimates().catch(() => ({}) as Record<string, Estimate>)
    for (; ; await delay(everyMs, undefined, { signal: over })) {
      const found = (
        await host.run(looking(files), { kind: 'probe', quiet: true, label: 'how far it is' })
      ).stdout.split('\n')
      for (const [index, { label, read }] of files.entries()) {
        const [seen, size] = [Number(found[2 * index]), Number(found[2 * index + 1])]
        if (!Number.isFinite(seen)) continue
        const exact = Number.isFinite(size)
        // A program reads a little besides the file.
        const done = read !== undefined && exact ? Math.min(seen, size) : seen
        const before = begun.get(index)
        if (before?.done === done) continue
        // Read a second time, after it was read to see whether it is whole.
        if (before !== undefined && done < before.done) {
          if (done > before.done / 2) continue
          end(index)
        }
        const { total: about, of } = known[label] ?? {}
        const shown = {
          id: begun.get(index)?.id ?? randomBytes(4).toString('hex'),
          label: of === undefined ? label : `${label}, ${of}`,
          done,
        }
        begun.set(index, shown)
        const total = exact ? size : about
        run.emit({
          type: 'progress',
          ...shown,
          host: host.name,
          ...(total === undefined ? {} : read !== undefined ? { total } : total > done ? { total, about: true } : {}),
          unit: 'bytes',
        })
      }
    }
  } catch {
    // The work is over, or the line is bad: the work itself tells of that.
  }
  for (const index of begun.keys()) end(index)
}
