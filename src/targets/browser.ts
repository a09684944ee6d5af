/** Opens an address in the browser of whoever sits at the terminal. Where nobody does, it does nothing. */
import { spawn } from 'node:child_process'
import { currentRun } from '../events/run.ts'

/** Resolves with whether a browser was started: $BROWSER, or the system's own where there is a screen. */
export async function browse(url: string, env: NodeJS.ProcessEnv = process.env): Promise<boolean> {
  const run = currentRun()
  if (!run.prompter.interactive || run.options.dryRun) return false
  const screen = process.platform !== 'linux' || env['DISPLAY'] || env['WAYLAND_DISPLAY']
  const program = env['BROWSER'] || (screen ? (process.platform === 'darwin' ? 'open' : 'xdg-open') : undefined)
  if (program === undefined) return false
  const child = spawn(program, [url], { stdio: 'ignore', detached: true, env })
  return new Promise((resolve) => {
    child.once('spawn', () => {
      child.unref()
      resolve(true)
    })
    // No such program: the address has been printed.
    child.once('error', () => resolve(false))
  })
}
