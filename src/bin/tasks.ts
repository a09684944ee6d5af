#!/usr/bin/env node
import { fastList } from '../cli/fast-list.ts'

const argv = process.argv.slice(2)
const listed = fastList(argv, new URL('../../package.json', import.meta.url))
if (listed !== undefined) {
  process.stdout.write(listed)
} else {
  const { processIo, leave, tasksCommand } = await import('../cli/index.ts')
  await leave(await tasksCommand(argv, processIo()))
}
