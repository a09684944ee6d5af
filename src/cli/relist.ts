/** `tasks --list` after an edit: the task file is loaded anew, and nothing that only runs need. */
import '../only-copy.ts'
import { listJson, listText } from './list.ts'
import { describeTaskFile } from './load.ts'

export { describeTaskFile as describe }

export async function relist(file: string, json: boolean): Promise<string> {
  const manifest = await describeTaskFile(file)
  return json ? listJson(manifest) : listText(manifest, Math.max(40, process.stdout.columns ?? 100))
}
