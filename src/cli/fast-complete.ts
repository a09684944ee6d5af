/** `tasks --complete [--about] -- words`: what the shells' completion calls, from the cached manifest alone. */
import { fileURLToPath } from 'node:url'
import { complete, completionLines } from './complete.ts'
import { type Manifest, manifestKey, readManifest } from './manifest.ts'
import { nearestTaskFile } from './nearest.ts'

/** The words asked about, or undefined where the command line is not a question of a shell. */
export function completionRequest(argv: readonly string[]): { words: string[]; about: boolean } | undefined {
  if (argv[0] !== '--complete') return undefined
  const separator = argv.indexOf('--')
  return { words: argv.slice(separator + 1), about: argv.slice(0, separator).includes('--about') }
}

/** Never fails: a shell that asks gets nothing rather than a message. `load` is for a task file that was edited. */
export async function fastComplete(
  { words, about }: { words: string[]; about: boolean },
  packageJson: URL,
  load: (file: string) => Promise<Manifest>,
): Promise<string> {
  try {
    const option = words.findIndex((word) => word === '-f' || word === '--file')
    const given = option >= 0 && option < words.length - 2 ? words[option + 1] : undefined
    const file =
      given === undefined
        ? nearestTaskFile(process.cwd())
        : (await import('./taskfile.ts')).findTaskFile(process.cwd(), given)
    const known = file && (readManifest(file, manifestKey(fileURLToPath(packageJson))) ?? (await load(file)))
    return completionLines(complete(words, known || { tasks: [], hosts: [], roles: [] }), about)
  } catch {
    return ''
  }
}
