/**
 * Runs the emulator by itself: `node main.ts DIR [PORT]`. Prints the environment that a client needs, one
 * `NAME=value` a line, then `ready`; ends with SIGTERM or SIGINT.
 */
import { resolve } from 'node:path'
import { startHerokuEmulator } from './emulator.ts'

const [dir, port] = process.argv.slice(2)
if (!dir) {
  process.stderr.write('usage: main.ts DIR [PORT]\n')
  process.exit(2)
}
const emulator = await startHerokuEmulator({ dir: resolve(dir), port: port ? Number(port) : undefined })
for (const [name, value] of Object.entries(emulator.env)) process.stdout.write(`${name}=${value}\n`)
process.stdout.write('ready\n')
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    emulator.close().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  })
}
