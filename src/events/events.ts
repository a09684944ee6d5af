/**
 * What a run tells. Everything that is shown or kept (terminal, plain lines, JSON, CI, report, log) derives from
 * these, and from nothing else. Texts in events may still hold secrets: the output side scrubs them, at one place.
 */

export type Outcome = 'ok' | 'failed' | 'aborted' | 'stopped'

/** An error as it travels in events and journals: plain data. */
export interface ErrorRecord {
  code: string
  message: string
  state?: string
  next?: string
  detail?: string
  host?: string
  stack?: string
}

/** What a run tells, each kind with its own fields; docs/guide/events.md has them all. */
export type EventBody =
  | { type: 'run.started'; argv: string[]; version: string; user: string; dryRun: boolean; taskFile?: string }
  | { type: 'run.finished'; outcome: Outcome; exitCode: number; durationMs: number }
  | { type: 'task.started'; id: string; parent?: string; name: string; params: Record<string, string> }
  /** `reused`: it is `once`, and had run before. */
  | { type: 'task.finished'; id: string; outcome: Outcome; durationMs: number; error?: ErrorRecord; reused?: boolean }
  | { type: 'host.connecting'; host: string; endpoint: string }
  | {
      type: 'host.connected'
      host: string
      endpoint: string
      transport: 'ssh2' | 'openssh' | 'local'
      durationMs: number
      /** Why the system's ssh took over. */
      why?: string
    }
  | { type: 'host.lost'; host: string; reason: string }
  /** The same is begun on several hosts; `hosts.finished` with its `id` ends it. */
  | { type: 'hosts.started'; id: string; label: string; hosts: string[] }
  /** How it ended on each of them. `not-begun`: too many others had failed, or the run was interrupted. */
  | {
      type: 'hosts.finished'
      id: string
      outcomes: { host: string; outcome: 'ok' | 'failed' | 'not-begun'; durationMs: number; error?: string }[]
    }
  /** `id` ties a command's events together. `kind`: a probe reads, a write changes. `quiet` commands show only with -v. */
  | { type: 'command.started'; id: string; host: string; display: string; kind: 'probe' | 'write'; quiet: boolean }
  | {
      type: 'command.output'
      id: string
      host: string
      stream: 'stdout' | 'stderr'
      text: string
      quiet: boolean
      /** It is what the run was asked for: stdout goes to stdout as it is, stderr to stderr. */
      result?: boolean
    }
  | {
      type: 'command.finished'
      id: string
      host: string
      exitCode: number | null
      signal: string | null
      durationMs: number
      /** Its output was what the run was asked for. */
      result?: boolean
      /** As in `command.started`. */
      quiet?: boolean
    }
  /** A write that a dry run held back. */
  | { type: 'held-back'; host: string; display: string; diff?: string }
  /** A named part of an operation: an upload, a link, a step of a plan. */
  | {
      type: 'step.started'
      id: string
      title: string
      host?: string
      /** Part of a promotion's window. */
      window?: boolean
    }
  /** `held-back`: of a dry run, in which nothing or not all of the step was done. */
  | {
      type: 'step.finished'
      id: string
      outcome: Outcome | 'unchanged' | 'held-back'
      durationMs: number
      detail?: string
      /** As in `step.started`; not in every event. */
      title?: string
      host?: string
    }
  | {
      type: 'progress'
      id: string
      host?: string
      label: string
      done: number
      total?: number
      /** The total is an estimate. */
      about?: boolean
      unit: 'bytes' | 'items'
    }
  /** Something on a host (or in a cloud) is now different. `what` is a noun phrase: "current → 20261127-101500-ab12". */
  | { type: 'changed'; host?: string; what: string; diff?: string }
  | { type: 'note'; text: string; host?: string }
  | { type: 'warning'; text: string; host?: string }
  | { type: 'error'; error: ErrorRecord; task?: string }
  /** A line of a result: what `| jq` and `| less` get on stdout. */
  | { type: 'result'; text: string; value?: unknown }
  /** A line of a followed log. */
  | { type: 'log.line'; host: string; source: string; text: string; time?: string }

/** `at` is in milliseconds since the epoch; `run` is the run's id; `task` the id of the task it happened in. */
export type RunEvent = EventBody & { at: number; run: string; task?: string }
export type EventType = RunEvent['type']
