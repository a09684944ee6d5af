/**
 * The tool as a process of its own, to be killed: `tool.mjs DIR SSH_CONFIG VERB [STEP WHEN]`. At the step it says `paused`
 * and stops, wholly, until DIR/go is there. The window's steps are paused on the host instead.
 */
import { existsSync, writeSync } from 'node:fs'
import { loadConfig } from '../../src/config/index.ts'
import type { VpsConfig } from '../../src/config/types.ts'
import { createBus, createRun, type RunEvent, type SlipwayError, withRun } from '../../src/events/index.ts'
import { sandboxState } from '../../src/sandbox/index.ts'
import { vpsContext } from '../../src/targets/vps/create.ts'
import { promote } from '../../src/targets/vps/promotion/index.ts'

const [dir = '', sshConfigFile = '', verb = '', step, when] = process.argv.slice(2)
if (!(await sandboxState(dir))) throw new Error(`no sandbox in ${dir}`)
const bus = createBus()
let paused = false
bus.on((event) => {
  if (event.type === 'step.finished' && event.outcome === 'failed')
    writeSync(2, `failed ${event.id}: ${event.detail}\n`)
  if (paused || !isPlace(event)) return
  paused = true
  writeSync(1, 'paused\n')
  // Nothing of this process goes on meanwhile, as if it were not there.
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  while (!existsSync(`${dir}/go`)) Atomics.wait(sleeper, 0, 0, 20)
})
const run = createRun({ bus, options: { sshConfigFile, projectDir: dir, yes: true } })
try {
  await withRun(run, async () => {
    const config = loadConfig(dir)
    const context = (name: string) => vpsContext(config, config.deployments[name] as VpsConfig)
    await promote(context('staging'), context('production'), { resume: verb === 'resume', undo: verb === 'undo' })
  })
} catch (error) {
  const { code, message, state: now } = error as SlipwayError
  writeSync(2, `${code}: ${message}\n${now ?? ''}\n`)
  process.exitCode = 1
} finally {
  await withRun(run, () => run.finish()).catch(() => {})
}
process.exit()

function isPlace(event: RunEvent): boolean {
  if (event.type !== (when === 'before' ? 'step.started' : 'step.finished')) return false
  return event.id.endsWith(`/${step}`)
}
