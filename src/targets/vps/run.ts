/** One-off commands in the current version, with the environment that its programs have. */
import { currentRun } from '../../events/index.ts'
import { quoteAll, sh } from '../../shell/index.ts'
import { requireCommand } from '../one-off.ts'
import type { VpsContext } from './context.ts'
import { hostFacts, requireRelease } from './facts.ts'

/** Runs `command`, words, on the first host; resolves with its exit status. `detach`: resolves once it is under way. */
export async function runCommand(
  context: VpsContext,
  command: readonly string[],
  options: { detach?: boolean } = {},
): Promise<number> {
  requireCommand(command)
  const host = context.home()
  const release = requireRelease(context.deployment, await hostFacts(context.deployment, host), host)
  const text = quoteAll(command)
  const line = sh`/bin/sh ${release.start} run ${text}`
  if (options.detach) {
    const log = `${release.logs}/run.out`
    await host.run(sh`setsid ${line} >>${log} 2>&1 </dev/null & echo "pid $!"`, { label: text })
    currentRun().emit({ type: 'note', host: host.name, text: `it runs on; its output is in ${log}` })
    return 0
  }
  if (process.stdin.isTTY && process.stdout.isTTY && !currentRun().options.dryRun) return host.shell(line.render())
  const result = await host.run(line, { nothrow: true, label: text, result: true })
  if (currentRun().options.dryRun) return 0
  return result.exitCode ?? 1
}
