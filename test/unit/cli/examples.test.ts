/** Every command's help has examples, and every example is a call that would be taken: its tasks, parameters and options exist. */
import { describe, expect, test } from 'vitest'
import { helpTopics } from '../../../src/cli/help-topics.ts'
import type { Io } from '../../../src/cli/io.ts'
import { parseCore, taskHelp, tasksHelp } from '../../../src/cli/parse.ts'
import { slipwayProgram } from '../../../src/cli/slipway.ts'
import { splitCalls, splitCore } from '../../../src/cli/split.ts'
import { toolCommands } from '../../../src/cli/tool-commands.ts'
import { sandboxCommand } from '../../../src/sandbox/index.ts'
import { collectTasks, describeTasks, taskNamed } from '../../../src/tasks/collect.ts'
import { givenValues } from '../../../src/tasks/values.ts'
import * as taskFile from '../../../tasks.ts'

const collected = collectTasks(taskFile, 'tasks.ts', () => false)
const infos = describeTasks(collected)
const known = new Map(infos.map((info) => [info.name, info]))

const io: Io = {
  out() {},
  err() {},
  cwd: '/',
  env: {},
  stdin: {},
  stdout: {},
  stderr: {},
  onBrokenPipe() {},
}

/** Words of a line, up to what it says about itself: after two spaces, or a pipe. */
const wordsOf = (line: string) =>
  line
    .trim()
    .split(/\s{2,}|\s\||\s&&/, 1)[0]!
    .split(' ')
    .slice(1)
const examplesIn = (text: string, program: string) =>
  text
    .split('\n')
    .filter(
      (line) =>
        new RegExp(`^  ${program}(?: |$)`).test(line) && !/[…|]|\bTOPIC\b/.test(line.trim().split(/\s{2,}/, 1)[0]!),
    )

/** Throws what the command line would refuse with. */
function takeTasks(line: string): void {
  const { core, words, rest } = splitCore(wordsOf(line))
  const options = parseCore(core, {})
  if (options.list || options.help || (words.length === 0 && options.run.selection?.hosts)) return
  const calls = splitCalls(words, rest, {
    find: (typed) => taskNamed(known, typed)?.[1],
    names: [...known.keys()],
    ...(collected.default === undefined ? {} : { default: collected.default }),
  })
  expect(calls.length).toBeGreaterThan(0)
  for (const { task, given } of calls) {
    const params = collected.tasks.get(task)?.definition.params ?? {}
    // Values that only a configuration can check are named as placeholders, and left to it.
    if (Object.values(given).some((value) => typeof value === 'string' && /^<.*>$/.test(value))) continue
    try {
      givenValues(task, params, given)
    } catch (error) {
      if ((error as { code?: string }).code !== 'no-config') throw error
    }
  }
}

/** Throws what `slipway` would refuse with; nothing is done. */
async function takeSlipway(line: string): Promise<void> {
  const words = wordsOf(line.replace(/^ *eval "\$\((.*)\)"/, '  $1'))
  if (words[0] === 'sandbox') {
    expect(await sandboxCommand([...words.slice(1), '--help'], () => {})).toBe(0)
    return
  }
  const program = slipwayProgram(io, () => {})
  for (const command of program.commands) command.action(() => {})
  await program.parseAsync(words, { from: 'user' })
}

function helpOf(name: string): string {
  let text = ''
  const program = slipwayProgram(
    {
      ...io,
      out: (part) => {
        text += part
      },
    },
    () => {},
  )
  const command = program.commands.find((each) => each.name() === name)!
  command.outputHelp()
  return text
}

describe('examples', () => {
  test('of tasks --help are calls that would be taken', () => {
    const lines = examplesIn(tasksHelp(120), 'tasks')
    expect(lines.length).toBeGreaterThanOrEqual(7)
    for (const line of lines) expect(() => takeTasks(line), line).not.toThrow()
  })

  test.each(infos.map((info) => [info.name, info] as const))('of tasks %s --help', (_, info) => {
    const text = taskHelp(info, 120)
    const lines = examplesIn(text, 'tasks')
    expect(lines.length).toBeGreaterThanOrEqual(2)
    for (const line of lines) expect(() => takeTasks(line), line).not.toThrow()
  })

  test.each(Object.keys(toolCommands).filter((name) => name !== 'sandbox'))('of slipway %s --help', async (name) => {
    const lines = helpOf(name)
      .split('\n')
      .filter((line) => /^ {2}(eval "\$\()?slipway /.test(line))
    expect(lines.length).toBeGreaterThanOrEqual(2)
    for (const line of lines) await expect(takeSlipway(line), line).resolves.toBeUndefined()
  })

  test('of slipway sandbox --help', async () => {
    let usage = ''
    await sandboxCommand(['--help'], (text) => {
      usage += text
    })
    const lines = usage
      .slice(usage.indexOf('Examples:'))
      .split('\n')
      .filter((line) => line.startsWith('  slipway '))
    expect(lines.length).toBeGreaterThanOrEqual(3)
    for (const line of lines) await takeSlipway(line)
  })

  test.each(Object.entries(helpTopics))('of slipway help %s', async (_, { text }) => {
    for (const line of examplesIn(text, 'tasks')) expect(() => takeTasks(line), line).not.toThrow()
    for (const line of examplesIn(text, 'slipway')) await expect(takeSlipway(line), line).resolves.toBeUndefined()
  })

  test('that name what there isn’t are found', async () => {
    expect(() => takeTasks('  tasks deploy_stagign')).toThrow('there is no task "deploy_stagign"')
    expect(() => takeTasks('  tasks start_app:relase=staging')).toThrow('has no parameter "relase"')
    await expect(takeSlipway('  slipway doctor --lokal')).rejects.toThrow('unknown option')
  })
})
