/**
 * Webfaction's XML-RPC interface, versions 1 and 2, as its reference described it: apps go in one after another, and
 * come out as website_apps; an update replaces a whole site. The calls are read and answered by Python's own library.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface Webfaction {
  readonly url: string
  readonly child: ChildProcess
  close(): Promise<void>
}

/** `version` 2 has certificates. `faults` by method: `fault`, `error500`, `lost` (done, but the answer is cut), `ignored`, `busy` (429), `silent` (no answer comes). */
export async function startWebfaction(
  version: 1 | 2,
  faults: Readonly<Record<string, string>> = {},
  /** Of the two apps that there are. */
  ports: readonly [number, number] = [19301, 19302],
): Promise<Webfaction> {
  const script = fileURLToPath(new URL('./server.py', import.meta.url))
  const child = spawn(
    '/usr/bin/python3',
    ['-B', script, String(version), JSON.stringify(faults), JSON.stringify(ports)],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  const lines = createInterface({ input: child.stdout })
  const port = await new Promise<string>((resolve, reject) => {
    lines.once('line', resolve)
    child.once('exit', (code) => reject(new Error(`the emulator ended with ${code}`)))
  })
  return {
    url: `http://127.0.0.1:${port}/`,
    child,
    close: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.stdin.end()
      }),
  }
}
