/** Restarts a machine, and waits until it is up under a new boot id. */
import { SlipwayError } from '../events/errors.ts'
import { currentRun, throwIfAborted } from '../events/run.ts'
import { backOff } from './back-off.ts'
import { humanDuration } from './duration.ts'
import type { Host } from './host.ts'

const bootId = 'cat /proc/sys/kernel/random/boot_id 2>/dev/null || sysctl -n kern.boottime'

/** `host` with the right to reboot: root, or one who may `sudo`. Rejects after `deadlineMs` (five minutes). */
export async function reboot(host: Host, deadlineMs = 300_000): Promise<void> {
  const run = currentRun()
  const ask = () => host.run(bootId, { kind: 'probe', quiet: true, timeoutMs: 10_000, label: 'boot id' }).text()
  if (run.options.dryRun) {
    run.emit({ type: 'held-back', host: host.name, display: 'reboot' })
    return
  }
  const before = await ask()
  const startedAt = Date.now()
  // In the background and a moment later, so that the command's own status still arrives.
  await host.run(
    'if [ "$(id -u)" = 0 ]; then r="reboot"; else sudo -n true && r="sudo -n reboot" || exit 1; fi; (sleep 0.5; exec $r) >/dev/null 2>&1 </dev/null &',
    { label: 'reboot' },
  )
  for (let pause = 500; ; pause = Math.min(pause * 1.5, 5000)) {
    throwIfAborted(run)
    await backOff(pause, run.signal)
    const now = await ask().catch(() => undefined)
    if (now !== undefined && now !== before) {
      run.emit({
        type: 'changed',
        host: host.name,
        what: `rebooted, up again after ${humanDuration(Date.now() - startedAt)}`,
      })
      return
    }
    if (Date.now() - startedAt > deadlineMs) {
      throw new SlipwayError('reboot-timeout', `${host.name} was not back within ${humanDuration(deadlineMs)}`, {
        host: host.name,
        state: now === undefined ? 'It was told to reboot, and does not answer.' : 'It answers, but has not rebooted.',
        next: 'Look at its console.',
      })
    }
  }
}
