export { sandboxCommand, sandboxUsage } from './command.ts'
export { type HerokuState, herokuState, startHeroku, stopHeroku } from './heroku.ts'
export { removeSandbox, type Sandbox, startSandbox, stopSandbox } from './sandbox.ts'
export { type SandboxState, sandboxSshConfig, sandboxState } from './state.ts'
