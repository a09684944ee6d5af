/** A run over a line that is cut in the middle of what it does, and what is told then. */
import { loadConfig } from '../../../src/config/load.ts'
import type { VpsConfig } from '../../../src/config/types.ts'
import { createRun, type RunEvent, SlipwayError, withRun } from '../../../src/events/index.ts'
import { createVpsDeployment } from '../../../src/targets/vps/create.ts'
import type { VpsDeployment } from '../../../src/targets/vps/deployment.ts'
import { vpsStore } from '../../../src/targets/vps/store/index.ts'
import type { Cut } from '../../servers/cut.ts'
import type { Project } from './host.ts'

export interface CutRun {
  error: SlipwayError
  events: RunEvent[]
  /** Whether it came to the cut at all. */
  cut: boolean
}

/**
 * Runs `fn` over the line, which is cut as soon as `when` is true of what is told: for good, or, with `back`, until the
 * loss is noticed. What was under way is lost all the same.
 */
export async function cutAt(
  project: Project,
  { line, sshConfigFile }: { line: Cut; sshConfigFile: string },
  when: (event: RunEvent) => boolean,
  fn: (staging: VpsDeployment) => Promise<unknown>,
  { back = false } = {},
): Promise<CutRun> {
  const config = loadConfig(project.dir)
  const ended = new AbortController()
  const run = createRun({ options: { projectDir: project.dir, sshConfigFile }, signal: ended.signal })
  const events: RunEvent[] = []
  let cut = false
  run.bus.on((event) => {
    events.push(event)
    if (back && event.type === 'host.lost') line.mend()
    if (cut || !when(event)) return
    cut = true
    line.cut()
  })
  try {
    await withRun(run, () => fn(createVpsDeployment(config, config.deployments['staging'] as VpsConfig)))
  } catch (error) {
    if (error instanceof SlipwayError) return { error, events, cut }
    throw error
  } finally {
    // The lock can't be given back either: nobody waits for that.
    ended.abort()
    await withRun(run, () => run.finish()).catch(() => {})
  }
  throw new Error('it did not fail')
}

/** A run whose line was cut could not give its lock back: that is told, and `unlock` is for it. */
export async function unlock(project: Project, deployment = 'staging'): Promise<void> {
  await project.run(async (staging) => {
    const by = { run: 'test', user: 'u', machine: 'm', command: 'unlock' }
    await vpsStore(staging.hosts.first(), 'pony').breakLock(deployment, by)
  })
}
