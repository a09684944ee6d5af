/** What could come next on a command line of `slipway`: for the shells. Loads the commands themselves for their options alone. */
import type { Candidate } from './complete.ts'
import { type ToolCommand, toolCommands } from './tool-commands.ts'

/** Words that a command takes: each with what it is, if that needs saying. */
const wordsOf: Partial<Record<ToolCommand, Readonly<Record<string, string>>>> = {
  sandbox: {
    up: 'Start the throwaway host',
    status: 'Whether it is up, its addresses, its sites',
    down: 'End it and everything that was started in it; its files stay',
    reset: 'Remove its files too, and start an empty one if it was up',
  },
  completion: { bash: '', zsh: '', fish: '' },
}

/** Candidates for the last of `words` (the words after `slipway`, the last one perhaps begun). */
export async function completeTool(words: readonly string[]): Promise<Candidate[]> {
  const [command = '', ...more] = words
  const current = words.at(-1) ?? ''
  const begun = (candidates: Readonly<Record<string, string>>): Candidate[] =>
    Object.entries(candidates)
      .filter(([value]) => value.startsWith(current))
      .map(([value, about]) => (about === '' ? { value } : { value, about }))
  if (more.length === 0) return begun(toolCommands)
  if (words.slice(0, -1).includes('--') || !(command in toolCommands)) return []
  if (current.startsWith('-')) return begun(await optionsOf(command))
  if (more.length > 1) return []
  if (command === 'help') return begun({ ...(await topics()), ...toolCommands })
  return begun(wordsOf[command as ToolCommand] ?? {})
}

async function optionsOf(command: string): Promise<Record<string, string>> {
  const { slipwayProgram } = await import('./slipway.ts')
  const { processIo } = await import('./io.ts')
  const found = slipwayProgram(processIo(), () => {}).commands.find((each) => each.name() === command)
  return Object.fromEntries((found?.options ?? []).map((option) => [option.long ?? option.flags, option.description]))
}

async function topics(): Promise<Record<string, string>> {
  const { helpTopics } = await import('./help-topics.ts')
  return Object.fromEntries(Object.entries(helpTopics).map(([name, { about }]) => [name, about]))
}
