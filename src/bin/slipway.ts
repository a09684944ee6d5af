#!/usr/bin/env node
import { completionRequest } from '../cli/fast-complete.ts'
import { toolCommands } from '../cli/tool-commands.ts'

const argv = process.argv.slice(2)
const request = completionRequest(argv)
if (request) {
  const begun = request.words.length === 1 ? (request.words[0] ?? '') : undefined
  for (const [name, about] of Object.entries(toolCommands)) {
    if (begun !== undefined && name.startsWith(begun))
      process.stdout.write(request.about ? `${name}\t${about}\n` : `${name}\n`)
  }
} else {
  const { leave, processIo, slipwayCommand } = await import('../cli/index.ts')
  await leave(await slipwayCommand(argv, processIo()))
}
