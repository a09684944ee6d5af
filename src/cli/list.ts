/** The list of tasks, for people and as JSON. Pure, and light: this is what `tasks --list` starts with. */
import type { TaskInfo } from '../tasks/collect.ts'

export interface ListedTasks {
  tasks: readonly TaskInfo[]
  default?: string
  taskFile: string
}

/** Grouped: by heading where a task has one, else by namespace. Tasks without either come first, then the default's group. */
export function listText({ tasks, default: byDefault }: ListedTasks, columns = 100): string {
  const groups = new Map<string, TaskInfo[]>()
  for (const task of tasks) {
    if (task.hidden) continue
    const group = task.group ?? task.name.split('.').slice(0, -1).join('.')
    groups.set(group, [...(groups.get(group) ?? []), task])
  }
  const names = [...groups.values()].flat().map((task) => title(task).length)
  const width = Math.min(Math.max(0, ...names), 44)
  const rank = ([group, members]: [string, TaskInfo[]]) =>
    group === '' ? 0 : members.some(({ name }) => name === byDefault) ? 1 : 2
  // Compared plainly: by the rules of a language it takes ten milliseconds, since those have to be loaded.
  const sections = [...groups]
    .sort((a, b) => rank(a) - rank(b) || (a[0].toLowerCase() < b[0].toLowerCase() ? -1 : 1))
    .map(([group, members]) => {
      const lines = members.map((task) => {
        const about = (task.about.split('\n')[0] ?? '') + (task.name === byDefault ? ' (default)' : '')
        const gap =
          title(task).length > width ? `\n${' '.repeat(width + 4)}` : ' '.repeat(width - title(task).length + 2)
        return `  ${title(task)}${gap}${shortened(about, Math.max(20, columns - width - 4))}`
      })
      return [...(group === '' ? [] : [`${group}:`]), ...lines].join('\n')
    })
  return `${sections.join('\n\n')}\n`
}

/** `start_app:release=…` */
function title(task: TaskInfo): string {
  const required = task.params.filter((param) => param.required).map((param) => `${param.name}=…`)
  return required.length > 0 ? `${task.name}:${required.join(',')}` : task.name
}

function shortened(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1).trimEnd()}…`
}

/** `--list --json`: one document, with the version of its form. */
export function listJson({ tasks, default: byDefault, taskFile }: ListedTasks): string {
  return `${JSON.stringify({ v: 1, taskFile, default: byDefault ?? null, tasks }, undefined, 2)}\n`
}
