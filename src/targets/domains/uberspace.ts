/**
 * Uberspace (version 7): its command over SSH is its interface. A domain leads to a port of the account, on which the
 * app has to listen at 0.0.0.0 or ::.
 */
import { currentRun, SlipwayError } from '../../events/index.ts'
import type { Host } from '../../hosts/host.ts'
import { sh } from '../../shell/index.ts'
import { changed, failed, unsettled, untilSettled } from './errors.ts'
import type { Binding, DomainProvider } from './provider.ts'

/** Its command answers within seconds. Milliseconds. */
const patience = 60_000

/** `app` is a port, as text, throughout. */
export function uberspace(host: Host, options: { timeoutMs?: number } = {}): DomainProvider {
  const timeoutMs = options.timeoutMs ?? patience
  const ask = async (command: ReturnType<typeof sh>, kind: 'probe' | 'write'): Promise<string> => {
    const result = await host
      .run(command, { kind, nothrow: true, quiet: kind === 'probe', timeoutMs })
      .catch((error: unknown) => {
        if (!(error instanceof SlipwayError) || error.code !== 'command-timeout') throw error
        throw failed('Uberspace', error.message, error.detail)
      })
    if (result.exitCode === 0) return result.stdout
    const text = (result.stderr || result.stdout).trim()
    if (result.exitCode === 127)
      throw new SlipwayError('provider-missing', `there is no uberspace command on ${host.name}`, {
        host: host.name,
        state: 'Nothing was changed.',
      })
    throw failed('Uberspace', text.split('\n')[0] ?? 'its command failed', text)
  }
  async function backends(): Promise<{ at: string; port: string; ok: boolean; detail: string; line: string }[]> {
    const text = await ask(sh`uberspace web backend list`, 'probe')
    return text.split('\n').flatMap((line) => {
      const match = /^(\S*)\/ http:(\d+)(?: \([^)]*\))? => (OK|NOT OK),? ?(.*)$/.exec(line.trim())
      if (!match) return []
      const [, at, port, state, detail] = match as unknown as [string, string, string, string, string]
      return [{ at, port, ok: state === 'OK', detail, line }]
    })
  }
  async function current(domain: string): Promise<Binding | null> {
    const found = (await backends()).find((each) => each.at === domain)
    return found ? { domain, app: found.port, path: '/', raw: { port: found.port } } : null
  }
  const set = (domain: string, port: string) =>
    ask(sh`uberspace web backend set ${domain} --http --port ${port}`, 'write')

  return {
    name: 'uberspace',
    capabilities: { atomicFlip: true, async: false, needsRoot: false },
    current,
    async create(domain, port) {
      const domains = (await ask(sh`uberspace web domain list`, 'probe')).split('\n').map((line) => line.trim())
      if (!domains.includes(domain)) await ask(sh`uberspace web domain add ${domain}`, 'write')
      if ((await current(domain)) === null) await set(domain, port)
      return { port: Number(port) }
    },
    async addresses() {
      // Adding a domain prints what its DNS has to have; the host's own addresses are the same.
      const text = await ask(sh`hostname -I`, 'probe')
      return text.trim().split(/\s+/).filter(Boolean)
    },
    async plan(domain, port) {
      const before = await current(domain)
      return {
        before,
        calls:
          before?.app === port
            ? []
            : [`uberspace web backend set ${domain} --http --port ${port} (was ${before?.app ?? 'nothing'})`],
      }
    },
    async attach(domain, port, ifCurrent) {
      const now = await current(domain)
      if (now?.app === port) return now
      if (now?.app !== ifCurrent?.app) throw changed(domain, ifCurrent, now)
      await set(domain, port)
      return { domain, app: port, path: '/', raw: { port } }
    },
    async restore(binding) {
      await set(binding.domain, (binding.raw as { port: string }).port)
    },
    settled: (domain, port, deadlineMs) =>
      untilSettled(
        async () => {
          const found = (await backends()).find((each) => each.at === domain)
          if (found?.port !== port) return `it leads to ${found?.port ?? 'nothing'}`
          return found.ok ? undefined : found.detail || 'nothing listens there'
        },
        deadlineMs,
        (detail) => unsettled(domain, port, detail),
        currentRun().signal,
      ),
  }
}
