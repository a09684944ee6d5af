/** What a promotion asks of the host, beside what any change reads: in one round. Changes nothing. */
import { SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import type { VpsContext } from '../context.ts'
import type { HostFacts } from '../facts.ts'
import type { ReleaseLayout } from '../layout.ts'
import type { Data } from './facts.ts'

export interface Probed {
  site: string
  /** What sites on this host listen on, where it says so. */
  listen: string
  somaxconn: number
  python: string
  nextVersion?: string
  oldVersion?: string
  oldLive?: string
  nextLive?: string
  nextPort?: number
  oldPort?: number
  /** Whether the old release's start script knows of the read-only mode. */
  knowsMode: boolean
  bytes: Record<string, number>
  queued: Record<string, number>
  requestsPerSecond: number
}

/** What the host says in one round. Rejects where it has no python3: the window's programs are written in it. */
export async function probe(
  host: Host,
  to: VpsContext,
  facts: HostFacts,
  at: { next: ReleaseLayout; old?: ReleaseLayout; items: readonly Data[] },
): Promise<Probed> {
  const site = facts.app.site(to.deployment.name)
  const { next, old, items } = at
  const answers = await host.probes({
    site: sh`cat ${`${site}/nginx.conf`} 2>/dev/null || :`,
    listen: sh`printf '%s' "\${SLIPWAY_NGINX_LISTEN:-}"`,
    somaxconn: sh`cat /proc/sys/net/core/somaxconn 2>/dev/null || echo 128`,
    python: sh`[ -x /usr/bin/python3 ] && echo /usr/bin/python3 || command -v python3`,
    next: sh`readlink ${next.current} || :`,
    old: old ? sh`readlink ${old.current} || :` : sh`:`,
    live: sh`readlink ${facts.app.currentSocket(to.deployment.name)} || :`,
    nextLive: sh`for s in a b; do [ -S ${next.run}/app-$s.sock ] && echo "app-$s"; done; :`,
    nextPort: sh`cat ${`${next.records}/port`} 2>/dev/null || :`,
    oldPort: old ? sh`cat ${`${old.records}/port`} 2>/dev/null || :` : sh`:`,
    mode: old ? sh`grep -c 'run/$program.environment' ${old.start} || :` : sh`:`,
    sizes: old
      ? sh`cd ${old.shared} && for f in ${items.map((item) => item.path)}; do printf '%s\t%s\n' "$(du -sb "$f" 2>/dev/null | cut -f1)" "$f"; done`
      : sh`:`,
    queued: old
      ? sh`cd ${old.shared} && for f in ${items.filter((item) => item.kind === 'tree').map((item) => item.path)}; do printf '%s\t%s\n' "$(find "$f" -type f 2>/dev/null | wc -l)" "$f"; done; :`
      : sh`:`,
    rate: sh`a=$(wc -c <${`${site}/access.log`} 2>/dev/null) || exit 0; sleep 0.5; tail -c +$((a + 1)) ${`${site}/access.log`} | wc -l`,
  })
  const text = (name: keyof typeof answers) => answers[name].stdout.trim()
  const slot = /\/run\/(app-[ab])\.sock$/.exec(text('live'))?.[1]
  if (!text('python')) {
    throw new SlipwayError('no-python', `there is no python3 on ${host.name}`, {
      host: host.name,
      state: 'Nothing was changed.',
      next: 'Install python3.',
    })
  }
  const versionIn = (name: keyof typeof answers) => text(name).split('/').pop() || undefined
  return {
    site: answers.site.stdout,
    listen: text('listen'),
    somaxconn: Number(text('somaxconn')) || 128,
    python: text('python'),
    ...optional('nextVersion', versionIn('next')),
    ...optional('oldVersion', versionIn('old')),
    ...optional('oldLive', old && text('live').startsWith(`${old.dir}/`) ? slot : undefined),
    ...optional('nextLive', text('nextLive').split('\n')[0] || undefined),
    ...(Number(text('nextPort')) > 0 ? { nextPort: Number(text('nextPort')) } : {}),
    ...(Number(text('oldPort')) > 0 ? { oldPort: Number(text('oldPort')) } : {}),
    knowsMode: Number(text('mode')) > 0,
    bytes: numbers(answers.sizes.stdout),
    queued: numbers(answers.queued.stdout),
    requestsPerSecond: Number(text('rate') || 0) * 2,
  }
}

function optional<K extends string>(name: K, value: string | undefined): Partial<Record<K, string>> {
  return (value === undefined ? {} : { [name]: value }) as Partial<Record<K, string>>
}

function numbers(text: string): Record<string, number> {
  return Object.fromEntries(
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('\t'))
      .map(([count, name]) => [name as string, Number(count) || 0]),
  )
}
