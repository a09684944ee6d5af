/** Every `tasks` and `slipway` command line of the docs is one that the commands would take. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseCore } from '../../../src/cli/parse.ts'
import { slipwayProgram } from '../../../src/cli/slipway.ts'
import { splitCalls, splitCore } from '../../../src/cli/split.ts'
import { sandboxUsage } from '../../../src/sandbox/index.ts'
import { collectTasks, type ParamInfo, taskNamed } from '../../../src/tasks/collect.ts'
import * as taskFile from '../../../tasks.ts'
import { allBlocks, pages, repository, tasksDefinedOn } from './blocks.ts'

interface Line {
  place: string
  page: string
  words: string[]
}

const { tasks, default: byDefault } = collectTasks(taskFile, 'tasks.ts', () => false)
const known = new Map(
  [...tasks].map(([name, task]) => [
    name,
    {
      name,
      params: Object.entries(task.definition.params ?? {}).map(
        ([param, { kind, placeholder, required }]): ParamInfo => ({ name: param, kind, placeholder, required }),
      ),
    },
  ]),
)

test('every tasks command names tasks and parameters that there are', () => {
  const lines = commandLines('tasks')
  expect(lines.length).toBeGreaterThan(20)
  expect(lines.flatMap((line) => complaint(line, () => checkTasks(line)))).toEqual([])
})

test('every slipway command is one that there is', () => {
  const io = { out() {}, err() {}, stdout: {} } as never
  const names = ['sandbox', ...slipwayProgram(io, () => {}).commands.map((command) => command.name())]
  const wrong = commandLines('slipway').flatMap(({ place, words: [name = '--help', second = ''] }) => {
    if (name === 'sandbox') return sandboxUsage.includes(`  ${second} `) ? [] : [`${place}: sandbox ${second}`]
    return name.startsWith('-') || names.includes(name) ? [] : [`${place}: ${name}`]
  })
  expect(wrong).toEqual([])
})

test('a task that there is not is found', () => {
  const line = { place: 'docs/wrong.md:1', page: 'docs/index.md', words: ['deploy_stagign'] }
  expect(complaint(line, () => checkTasks(line))).toEqual([
    'docs/wrong.md:1: tasks deploy_stagign: there is no task "deploy_stagign"',
  ])
})

function checkTasks({ page, words }: Line): void {
  const { core, words: calls, rest } = splitCore(words)
  const { list, help, version, run } = parseCore(core, {})
  if (list || version || help || (calls.length === 0 && run.selection?.hosts && rest)) return
  const own = tasksDefinedOn(page)
  splitCalls(calls, rest, {
    // What a page defines itself takes what the page gives it; the TypeScript test checks the definition.
    find: (typed) =>
      taskNamed(known, typed)?.[1] ?? (own.has(typed) ? { name: typed, params: givenTo(calls, typed) } : undefined),
    names: [...known.keys(), ...own],
    ...(byDefault === undefined ? {} : { default: byDefault }),
  })
}

function givenTo(words: readonly string[], task: string): ParamInfo[] {
  const text = words.find((word) => word.startsWith(`${task}:`))?.slice(task.length + 1) ?? ''
  return text
    .split(',')
    .filter(Boolean)
    .map((part) => ({ name: part.split('=')[0]!, kind: 'value', placeholder: 'text', required: false }))
}

function complaint({ place, words }: Line, check: () => void): string[] {
  try {
    check()
    return []
  } catch (error) {
    return [`${place}: tasks ${words.join(' ')}: ${(error as Error).message}`]
  }
}

function commandLines(program: string): Line[] {
  return [...commandLinesInBlocks(program), ...commandsInText(program)]
}

/** `` `tasks …` `` in a sentence or a table. Made pages have placeholders in theirs. */
function commandsInText(program: string): Line[] {
  return pages()
    .filter((page) => page !== 'docs/troubleshooting.md')
    .flatMap((page) =>
      readFileSync(join(repository, page), 'utf8')
        .replace(/^```[\s\S]*?^```/gm, (block) => block.replace(/[^\n]/g, ''))
        .split('\n')
        .flatMap((text, index) =>
          [...text.matchAll(new RegExp(`\`(?:npx )?${program} ([^\`]+)\``, 'g'))]
            .filter(([, words]) => !/[…‹]|\bTASK\b|<|VERSION|NAME/.test(words!))
            .map(([, words]) => ({
              place: `${page}:${index + 1}`,
              page,
              words: wordsOf(words!.split(/\s+\\?\|\s/, 1)[0]!),
            })),
        ),
    )
}

/** Command lines in bash and yaml blocks: what follows the program's name up to a comment, a pipe or a redirection. */
function commandLinesInBlocks(program: string): Line[] {
  return allBlocks('bash', 'sh', 'console', 'yaml').flatMap(({ page, line, text }) =>
    text.split('\n').flatMap((raw, index) => {
      const command = new RegExp(
        `^\\s*(?:\\$ |- run: |run: |- )?(?:[A-Z_]+=\\S+ )*(?:npx )?${program}(?: (.*))?$`,
      ).exec(raw)
      if (!command) return []
      const [part = ''] = (command[1] ?? '').split(/\s+(?:#|\||>|2>|&&)/)
      return [{ place: `${page}:${line + index}`, page, words: wordsOf(part) }]
    }),
  )
}

function wordsOf(text: string): string[] {
  return [...text.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, single, double, bare]) => single ?? double ?? bare!)
}
