/** Output streams of builds and releases: not there at first, cut now and then, gone on with where they stopped. */
import { randomBytes } from 'node:crypto'
import { SlipwayError } from '../../events/errors.ts'
import { currentRun, throwIfAborted } from '../../events/run.ts'
import type { HerokuClient } from './client.ts'
import { pause } from './wait.ts'

const startTries = 100
const resumeTries = 10

/** The stream's text as it comes, without a byte twice. Ends when the platform ends it. */
export async function* outputStream(client: HerokuClient, url: string): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let bytes = 0
  let missing = 0
  let cuts = 0
  for (;;) {
    throwIfAborted(currentRun())
    try {
      const response = await client.open(url, bytes > 0 ? { Range: `bytes=${bytes}-` } : {})
      if (response.status === 404 || response.status === 416) {
        await response.body?.cancel()
        // It starts late; or, once read to its end, it is gone.
        if (bytes > 0) return
        missing += 1
        if (missing >= startTries) throw new SlipwayError('heroku-no-stream', 'the output did not start')
        await pause(Math.min(1000, 50 * missing))
        continue
      }
      if (!response.ok || !response.body) {
        throw new SlipwayError('heroku-no-stream', `the output could not be read: HTTP ${response.status}`)
      }
      // A server that ignores the range sends all of it again.
      let skip = response.status === 206 ? 0 : bytes
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        const fresh = chunk.subarray(Math.min(skip, chunk.length))
        skip -= chunk.length - fresh.length
        if (fresh.length === 0) continue
        bytes += fresh.length
        cuts = 0
        yield decoder.decode(fresh, { stream: true })
      }
      return
    } catch (error) {
      throwIfAborted(currentRun())
      if (error instanceof SlipwayError) throw error
      cuts += 1
      if (cuts >= resumeTries) {
        throw new SlipwayError('heroku-stream-lost', 'the output was cut, and could not be resumed', { cause: error })
      }
      await pause(100 * cuts)
    }
  }
}

/** Shows a stream as the output of `display`. Resolves with its last lines, for errors. */
export async function showStream(
  client: HerokuClient,
  url: string,
  host: string,
  display: string,
): Promise<{ tail: string; ok(status: number): void }> {
  const run = currentRun()
  const id = randomBytes(4).toString('hex')
  const begun = performance.now()
  run.emit({ type: 'command.started', id, host, display, kind: 'write', quiet: false })
  let tail = ''
  try {
    for await (const text of outputStream(client, url)) {
      run.emit({ type: 'command.output', id, host, stream: 'stdout', text, quiet: false })
      tail = (tail + text).slice(-8000)
    }
  } catch (error) {
    throwIfAborted(run)
    // What was built or released is asked of the API; losing its output loses nothing else.
    run.emit({ type: 'warning', host, text: `${display}: ${error instanceof Error ? error.message : String(error)}` })
  }
  return {
    tail: tail.split('\n').slice(-20).join('\n').trim(),
    ok: (status) => {
      const durationMs = performance.now() - begun
      run.emit({ type: 'command.finished', id, host, exitCode: status, signal: null, durationMs })
    },
  }
}
