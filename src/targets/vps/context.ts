/** What every operation of a VPS deployment starts from: its configuration and its hosts. */
import type { Config, VpsConfig } from '../../config/types.ts'
import type { EachOptions, Host, HostGroup } from '../../hosts/host.ts'

export interface VpsContext {
  config: Config
  deployment: VpsConfig
  /** All hosts of the deployment. */
  hosts: HostGroup
  /** The hosts with a role; all of them unless the configuration says. */
  role(name: string): HostGroup
  /** The host that keeps locks, roles and the audit log: the first one. */
  home(): Host
}

/**
 * Calls `fn` for each host of `group`, as `each` does; where there is only one host, its error is thrown as it is
 * instead of a table with one line.
 */
export async function onEach<T>(
  group: HostGroup,
  fn: (host: Host) => Promise<T>,
  options?: EachOptions,
): Promise<Map<Host, T>> {
  const failed: { error: Error }[] = []
  const attempts = group.each(async (host) => {
    try {
      return await fn(host)
    } catch (error) {
      failed.push({ error: error as Error })
      throw error
    }
  }, options)
  try {
    const outcomes = await attempts
    return new Map([...outcomes].flatMap(([host, outcome]) => (outcome.ok ? [[host, outcome.value] as const] : [])))
  } catch (error) {
    const outcomes = (error as { outcomes?: ReadonlyMap<Host, unknown> }).outcomes
    throw outcomes?.size === 1 && failed[0] ? failed[0].error : error
  }
}
