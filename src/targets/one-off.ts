/** What every one-off command has to have, wherever it runs. */
import { UsageError } from '../events/index.ts'

/** Throws a UsageError where there is nothing to run. */
export function requireCommand(command: readonly string[]): void {
  if (command.some((word) => word !== '')) return
  throw new UsageError('no-command', 'there is no command to run', {
    next: 'Write it behind two dashes: tasks run:release=staging -- ls -l',
  })
}
