/**
 * A change in parts that can be shown, resumed and undone. Steps are values with real facts in them; the plan is
 * their list; the journal is the record of them where the deployment lives. Knows no target and no transport.
 */

export type StepState = 'todo' | 'done' | 'unclear'

/** One part of a change. Each function probes or acts; none assumes what an earlier run did. */
export interface Step {
  /** Stable within a kind of change; what the journal is keyed on. */
  readonly id: string
  /** With real values: `stop pony2026r1: app (pid 4123) and 2 workers`. */
  readonly title: string
  /** What undoing it does, or undefined with `irreversible` saying why. */
  readonly undoTitle?: string
  readonly irreversible?: string
  /** Where the real world stands: what resume and undo look at. */
  check(): Promise<StepState>
  /** Reads what undo will need, before anything changes; kept with the intent, so that a crash in `do` loses nothing. */
  prepare?(): Promise<UndoData>
  /** Makes the change. What it returns is kept in the journal for `undo`. Must be safe to repeat when check says todo. */
  do(record: UndoData): Promise<UndoData | undefined>
  /** Proves it; rejects with what is wrong. */
  verify?(): Promise<void>
  undo?(data: UndoData): Promise<void>
  /** Part of the window: runs on the host, the operator only watches. */
  readonly window?: boolean
}

export type UndoData = Readonly<Record<string, unknown>>

export interface Plan {
  /** `promote`, `restore`, `rollback`, `clone` … */
  readonly kind: string
  /** `pony: 2026r2 becomes production` */
  readonly title: string
  /** All facts that the steps rest on. A plan whose facts changed since is refused. */
  readonly facts: Readonly<Record<string, unknown>>
  readonly steps: readonly Step[]
  /** Lock scopes, taken in this (sorted) order: the deployments' names or release names. */
  readonly locks: readonly string[]
  readonly notes?: readonly string[]
  /** Undo is lossless up to and without this step's id; after it, undo is refused. */
  readonly pointOfNoReturn?: string
  /** Runs the steps marked `window`, which are all together, where the deployment lives. */
  readonly window?: WindowRunner
  /** What to type where undo is refused. */
  readonly afterwards?: string
}

/**
 * Runs a plan's window on the host, detached from whoever started it. It writes intents and outcomes into the journal
 * itself. Both calls start it or join one that is running, and resolve when it has ended, one way or the other: what
 * became of it is in the journal.
 */
export interface WindowRunner {
  /** Does what is not done. On a failure before the point of no return it goes back by itself. */
  forward(journal: Journal): Promise<void>
  /** Goes back, as far as there is something to go back from. */
  back(journal: Journal): Promise<void>
  /**
   * Where the host is at the window, waits until it has ended, before this run writes into the journal itself. With
   * `back` it is asked to turn round first, which it does unless it has passed the point of no return.
   */
  settle?(journal: Journal, direction: 'forward' | 'back'): Promise<void>
}

export type JournalEntry =
  | {
      at: string
      entry: 'begin'
      id: string
      kind: string
      title: string
      by: Owner
      facts: Record<string, unknown>
      steps: string[]
      /** The scopes that this change locks for as long as it is unfinished. */
      locks?: readonly string[]
    }
  | { at: string; entry: 'intent'; step: string; direction: 'do' | 'undo'; data?: UndoData }
  | {
      at: string
      entry: 'outcome'
      step: string
      direction: 'do' | 'undo'
      ok: boolean
      durationMs: number
      data?: UndoData
      error?: string
    }
  | { at: string; entry: 'note'; text: string; data?: UndoData }
  | { at: string; entry: 'end'; result: 'done' | 'undone' | 'abandoned' }

/** Append-only, checksummed lines, fsynced; a torn last line is ignored. */
export interface Journal {
  readonly id: string
  append(entry: JournalEntry): Promise<void>
  entries(): Promise<JournalEntry[]>
}

/** Where journals and locks live: files on the host of a VPS, a table in production's Postgres on Heroku. */
export interface ChangeStore {
  begin(entry: Extract<JournalEntry, { entry: 'begin' }>): Promise<Journal>
  open(id: string): Promise<Journal>
  /** Newest first. */
  list(): Promise<JournalSummary[]>
  /** Takes every scope, in sorted order, or none; rejects with a LockedError that says whose and since when. */
  lock(scopes: readonly string[], owner: Owner, options?: LockOptions): Promise<Lock>
  /** Who holds `scope`, or undefined. */
  holder(scope: string): Promise<LockInfo | undefined>
  /** Breaks a lock, whoever holds it; says whose it was. */
  breakLock(scope: string, by: Owner): Promise<LockInfo | undefined>
  audit(line: AuditLine): Promise<void>
  audits(limit: number): Promise<AuditLine[]>
}

export interface LockOptions {
  /**
   * The unfinished journal that is being resumed or undone: it does not stand in the way, and the locks that its
   * last run left behind are taken over.
   */
  journal?: string
}

export interface Owner {
  /** The run's id: the token of the lock. */
  run: string
  user: string
  machine: string
  command: string
  /** The tool's process on that machine: whether a lock's owner is dead can be told there. */
  pid?: number
}

export interface LockInfo extends Owner {
  scope: string
  since: string
  /** From boot id and uptime, never wall clock; undefined when the host was rebooted since. */
  ageSeconds?: number
  /** An unfinished journal that is itself the lock. */
  journal?: string
}

export interface Lock {
  readonly scopes: readonly string[]
  /** Shell text that exits non-zero unless this lock is still this run's; for `script`'s guard. Files stores only. */
  readonly guard?: string
  release(): Promise<void>
}

export interface JournalSummary {
  id: string
  kind: string
  title: string
  by: Owner
  begun: string
  ended?: string
  result: 'done' | 'undone' | 'abandoned' | 'unfinished'
  lastStep?: string
}

export interface AuditLine {
  at: string
  run: string
  who: string
  what: string
  deployment: string
  commit?: string
  outcome: 'ok' | 'failed'
  detail?: string
}
