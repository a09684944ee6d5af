/** `tasks --list` where nothing changed since the last time: the cached manifest, and nothing else, is read. */
import { fileURLToPath } from 'node:url'
import { listJson, listText } from './list.ts'
import { manifestKey, readManifest } from './manifest.ts'
import { nearestTaskFile } from './nearest.ts'

export interface ListRequest {
  json: boolean
}

/** Whether the command line asks for the list and for nothing that needs more looking at. */
export function listRequest(argv: readonly string[]): ListRequest | undefined {
  const plain = argv.every((word) => word === '-l' || word === '--list' || word === '--json')
  return plain && argv.some((word) => word !== '--json') ? { json: argv.includes('--json') } : undefined
}

/** The list, or the task file whose list has to be made anew, or neither. */
export function fastList({ json }: ListRequest, packageJson: URL): { text: string } | { file: string } | undefined {
  const file = nearestTaskFile(process.cwd())
  if (file === undefined) return undefined
  const manifest = readManifest(file, manifestKey(fileURLToPath(packageJson)))
  if (!manifest) return { file }
  return { text: json ? listJson(manifest) : listText(manifest, Math.max(40, process.stdout.columns ?? 100)) }
}
