/** Hosts and roles that a deploy.ini names: hints for completion only, so read roughly and without checking. */
import { readFileSync } from 'node:fs'

export function configuredNames(file: string): { hosts: string[]; roles: string[] } {
  const hosts = new Set<string>()
  const roles = new Set<string>()
  let section = ''
  for (const line of readLines(file)) {
    section = /^\s*\[(.*?)\]/.exec(line)?.[1] ?? section
    const [, key, value] = /^\s*([\w.-]+)\s*=\s*([^;#]*)/.exec(line) ?? []
    if (key === undefined || value === undefined) continue
    const isRole = section.endsWith('.roles')
    if (isRole) roles.add(key)
    if (!isRole && key !== 'hosts') continue
    for (const host of value.split(/[,\s]+/)) if (host) hosts.add(host)
  }
  return { hosts: [...hosts], roles: [...roles] }
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}
