/** What the `tasks` command is made of, without the `slipway` command beside it. */
import '../only-copy.ts'

export * from './io.ts'
export * from './tasks.ts'
