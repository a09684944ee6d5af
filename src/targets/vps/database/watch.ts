/** Tells how a file on a host grows while something writes it: what a long dump shows. A look a second, from the second on. */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { currentRun, scoped, withRun } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'

export interface Watched {
  file: string
  label: string
  /** A file whose size is about what it will have. */
  source?: string
}

const everyMs = 1000

/** `work`, with progress of the files told meanwhile. A look that fails tells nothing, and disturbs nothing. */
export async function watching<T>(host: Host, files: readonly Watched[], work: () => Promise<T>): Promise<T> {
  const run = currentRun()
  if (run.options.dryRun) return await work()
  const over = new AbortController()
  const looks = withRun(scoped(run, { signal: AbortSignal.any([run.signal, over.signal]) }), () =>
    look(host, files, over.signal),
  )
  try {
    return await work()
  } finally {
    over.abort()
    await looks
  }
}

async function look(host: Host, files: readonly Watched[], over: AbortSignal): Promise<void> {
  const run = currentRun()
  const ids = files.map(() => randomBytes(4).toString('hex'))
  const begun = new Map<number, number>()
  const sizes = sh`for f in ${files.flatMap(({ file, source }) => [file, source ?? '/nowhere'])}; do stat -c %s -- "$f" 2>/dev/null || echo -; done`
  try {
    for (;;) {
      await delay(everyMs, undefined, { signal: over })
      const found = (await host.run(sizes, { kind: 'probe', quiet: true, label: 'how far the dump is' })).stdout.split(
        '\n',
      )
      for (const [index, { label }] of files.entries()) {
        const [done, total] = [Number(found[2 * index]), Number(found[2 * index + 1])]
        if (!Number.isFinite(done) || begun.get(index) === done) continue
        begun.set(index, done)
        const about = Number.isFinite(total) && total > done ? { total } : {}
        run.emit({ type: 'progress', id: ids[index] ?? '', host: host.name, label, done, ...about, unit: 'bytes' })
      }
    }
  } catch {
    // The work is over, or the line is bad: the work itself tells of that.
  }
  // What was shown as going on is taken away.
  for (const [index, done] of begun)
    run.emit({
      type: 'progress',
      id: ids[index] ?? '',
      host: host.name,
      label: files[index]?.label ?? '',
      done,
      total: done,
      unit: 'bytes',
    })
}
