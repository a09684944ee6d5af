/** `tasks -H web1,web2 -- uptime`: a command on hosts, without a task. Its output is the result, so it is on stdout. */
import { currentRun } from '../events/run.ts'
import { hosts } from '../hosts/index.ts'
import { argv } from '../shell/command.ts'
import { exitWith } from '../tasks/record.ts'

/** One word is shell text, several are an argument vector. With one host its exit status becomes the run's. */
export async function runOnHosts(names: readonly string[], words: readonly string[]): Promise<void> {
  const command = words.length === 1 ? words[0]! : argv(words)
  const group = hosts(...names)
  const single = group.size === 1
  const off = showOutput(single)
  try {
    const outcomes = await group.each(async (host) => {
      const result = await host.run(command, { quiet: true, nothrow: single })
      return single ? (result.exitCode ?? 1) : 0
    })
    for (const outcome of outcomes.values()) if (outcome.ok) exitWith(outcome.value)
  } finally {
    off()
  }
}

/** Lines of stdout become results as they come, those of several hosts with their names; stderr stays stderr. */
function showOutput(single: boolean): () => void {
  const run = currentRun()
  const partial = new Map<string, string>()
  const tell = (host: string, stream: string, line: string) => {
    if (stream === 'stderr') run.emit({ type: 'note', text: line, ...(single ? {} : { host }) })
    else if (single) run.emit({ type: 'result', text: line })
    else run.emit({ type: 'log.line', host, source: '', text: line })
  }
  return run.bus.on((event) => {
    if (event.type === 'command.output') {
      const key = `${event.id} ${event.stream}`
      const lines = ((partial.get(key) ?? '') + event.text).split('\n')
      partial.set(key, lines.pop() ?? '')
      for (const line of lines) tell(event.host, event.stream, line)
    } else if (event.type === 'command.finished') {
      for (const stream of ['stdout', 'stderr']) {
        const rest = partial.get(`${event.id} ${stream}`)
        if (rest) tell(event.host, stream, rest)
        partial.delete(`${event.id} ${stream}`)
      }
    }
  })
}
