/** Where servers' programs lie: in folders that are not in every user's PATH. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'

export const systemFolders: readonly string[] = ['/usr/sbin', '/usr/local/sbin', '/usr/bin', '/usr/local/bin']

/** The path of `program` in the first of `folders` that has it. */
export async function programIn(folders: readonly string[], program: string): Promise<string | undefined> {
  for (const folder of folders) {
    const path = join(folder, program)
    if (await exists(path)) return path
  }
  return undefined
}

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )
