/** The names of `slipway`'s commands and what each is for: for its help and for completion, which loads little. */
export const toolCommands = {
  init: 'Set up a project: looks at it, and writes a task file and its configuration',
  doctor: 'Check tools, configuration, SSH and hosts; each finding with its fix',
  sandbox: 'A throwaway host on this machine to rehearse on: up, status, down, reset',
  ssh: 'A shell on a host, over the connection that tasks use',
  run: 'A command in the current version of a deployment, with its environment',
  history: 'The runs of this project, newest first',
  show: 'A run as it was shown: the last one, or one of `slipway history`',
  report: 'A run as an HTML page to look at and to pass on',
  completion: 'The script that makes a shell complete tasks, parameters and hosts',
  help: 'About a topic',
} as const

export type ToolCommand = keyof typeof toolCommands
