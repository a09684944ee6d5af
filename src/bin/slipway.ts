#!/usr/bin/env node
import { completionRequest } from '../cli/fast-complete.ts'

const argv = process.argv.slice(2)
const request = completionRequest(argv)
if (request) {
  const [{ completeTool }, { completionLines }] = await Promise.all([
    import('../cli/complete-tool.ts'),
    import('../cli/complete.ts'),
  ])
  process.stdout.write(completionLines(await completeTool(request.words), request.about))
} else {
  const { leave, processIo, slipwayCommand } = await import('../cli/index.ts')
  await leave(await slipwayCommand(argv, processIo()))
}
