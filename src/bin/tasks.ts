#!/usr/bin/env node
// Lists and completion come first and load little: they are what one types most, and what shells ask at a keystroke.
import { completionRequest, fastComplete } from '../cli/fast-complete.ts'
import { fastList, listRequest } from '../cli/fast-list.ts'

const argv = process.argv.slice(2)
const packageJson = new URL('../../package.json', import.meta.url)
const text = (await completion()) ?? (await list())
if (text !== undefined) process.stdout.write(text)
else {
  const { leave, processIo, tasksCommand } = await import('../cli/run-tasks.ts')
  await leave(await tasksCommand(argv, processIo()))
}

async function completion(): Promise<string | undefined> {
  const request = completionRequest(argv)
  return (
    request && fastComplete(request, packageJson, async (file) => (await import('../cli/relist.ts')).describe(file))
  )
}

async function list(): Promise<string | undefined> {
  const request = listRequest(argv)
  const listed = request && fastList(request, packageJson)
  if (!request || !listed) return undefined
  if ('text' in listed) return listed.text
  const { relist } = await import('../cli/relist.ts')
  // What is wrong with the file is for the long way to show.
  return await relist(listed.file, request.json).catch(() => undefined)
}
