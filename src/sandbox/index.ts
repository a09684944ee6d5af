export { sandboxCommand, sandboxUsage } from './command.ts'
export { removeSandbox, type Sandbox, startSandbox, stopSandbox } from './sandbox.ts'
export { type SandboxState, sandboxSshConfig, sandboxState } from './state.ts'
