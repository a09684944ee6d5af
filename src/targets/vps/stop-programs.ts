/** Programs of a release stopped, all at once, and proved to have ended. */
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { until } from './step.ts'
import { isDown, type Supervisor } from './supervisor.ts'

/** Sends the stop signal to all at once, and waits until supervisord has seen each of them end. */
export async function stopPrograms(
  host: Host,
  supervisor: Supervisor,
  names: readonly string[],
  seconds: number,
): Promise<void> {
  // One that is between two tries has no process, and would get one.
  const before = (await supervisor.processes()).filter((each) => names.includes(each.name) && !isDown(each))
  if (before.length === 0) return
  const begun = performance.now()
  await supervisor.stop(...names)
  if (currentRun().options.dryRun) return
  await until(
    async () =>
      (await supervisor.processes()).filter((each) => names.includes(each.name)).every(isDown) ? true : undefined,
    {
      deadlineMs: (seconds + 20) * 1000,
      everyMs: 50,
      late: () =>
        new SlipwayError('not-stopped', `${names.join(', ')} did not stop within ${seconds + 20} s`, {
          host: host.name,
        }),
    },
  )
  await supervisor.proveStopped?.(before, names)
  if (performance.now() - begun < seconds * 900) return
  // supervisorctl says "stopped" of what it killed, too: its log is what tells.
  const log = await supervisor.logTail(8192)
  for (const { name, pid } of before) {
    if (log.includes(`killing '${name}' (${pid}) with SIGKILL`)) {
      currentRun().emit({
        type: 'warning',
        host: host.name,
        text: `${name} (pid ${pid}) did not finish within ${seconds} s and was killed`,
      })
    }
  }
}
