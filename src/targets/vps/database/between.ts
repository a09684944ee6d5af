/** What a command prints on one host, into a command on another. Memory holds a few blocks; a disk here, nothing. */
import { Transform } from 'node:stream'
import { currentRun } from '../../../events/index.ts'
import type { Host, Result } from '../../../hosts/host.ts'
import type { Command } from '../../../shell/index.ts'

/** How both ended. A sender that fails ends its data early: the receiver must have a way to notice. */
export interface Ends {
  sent: PromiseSettledResult<Result>
  received: PromiseSettledResult<Result>
}

/** `total` is about how many bytes will come: the progress is told. Never rejects for a command's exit status. */
export async function pipeBetween(
  from: Host,
  send: Command,
  to: Host,
  receive: Command,
  { label, total }: { label: { from: string; to: string }; total: number },
): Promise<Ends> {
  const meter = metered(to.name, label.to, total)
  const sending = from.run(send, { kind: 'probe', quiet: true, label: label.from, nothrow: true })
  const source = sending.stdout()
  // Of a sender whose end is not known: the receiver is cut off.
  source.on('error', (error) => meter.destroy(error))
  meter.on('close', () => source.destroy())
  source.pipe(meter)
  const receiving = to.run(receive, { quiet: true, label: label.to, input: meter, nothrow: true })
  const [sent, received] = await Promise.allSettled([
    sending.then((result) => result),
    receiving.then(
      (result) => {
        // Nobody reads any more: the sender must not wait for it.
        if (result.exitCode !== 0) meter.destroy()
        return result
      },
      (error) => {
        meter.destroy()
        throw error
      },
    ),
  ])
  return { sent, received }
}

/** Passes bytes on and tells how many, five times a second. */
function metered(host: string, label: string, total: number): Transform {
  const run = currentRun()
  let done = 0
  let told = 0
  const tell = () =>
    run.emit({
      type: 'progress',
      id: `stream-${host}-${label}`,
      host,
      label,
      done,
      total: Math.max(total, done),
      unit: 'bytes',
    })
  return new Transform({
    transform(chunk: Buffer, _encoding, next) {
      done += chunk.length
      const now = performance.now()
      if (now - told > 200) {
        told = now
        tell()
      }
      next(null, chunk)
    },
    flush(next) {
      tell()
      next()
    },
  })
}
