/** The public API, re-exported, and nothing else. Loading it is cheap: what is heavy is imported when first used. */
import './only-copy.ts'

export type { Application, ApplicationOptions } from './application.ts'
export { application, onHeroku, onHosts, show } from './application.ts'
export type { Config, DeploymentConfig, HerokuConfig, VpsConfig } from './config/types.ts'
export type { ErrorDetails, EventBody, Outcome, Run, RunEvent, RunOptions, Selection } from './events/index.ts'
export {
  AbortedError,
  currentRun,
  OutcomeUnknownError,
  SlipwayError,
  StubbedResultError,
  together,
  UsageError,
} from './events/index.ts'
export type {
  EachOptions,
  Forward,
  ForwardOptions,
  Host,
  HostGroup,
  HostOutcome,
  Result,
  RsyncOptions,
  RsyncResult,
  RunCommandOptions,
  Running,
  ScriptOptions,
  ScriptStep,
  StepResult,
  TailLine,
  TailOptions,
  WriteOptions,
} from './hosts/index.ts'
export {
  CommandError,
  ConnectError,
  FleetError,
  forward,
  host,
  hosts,
  local,
  ScriptError,
  TimeoutError,
  tailHosts,
} from './hosts/index.ts'
export { secret } from './secret.ts'
export type { Command, Word } from './shell/index.ts'
export { raw, Secret, sh } from './shell/index.ts'
export { browse } from './targets/browser.ts'
export type * from './targets/deployment.ts'
export { fileSize, processTable, statusText, table, versionTable } from './targets/status-text.ts'
export type {
  CallParams,
  ParamDefinition,
  Params,
  ParamType,
  ParamValues,
  Task,
  TaskDefinition,
} from './tasks/index.ts'
export { ask, choice, exitWith, flag, note, number, param, rest, result, string, task, warn } from './tasks/index.ts'
