export interface LoadOptions {
  /** 127.0.0.1 unless given. */
  address?: string
  port: number
  /** The Host header: the name of the site. */
  host?: string
  /** 32 unless given; every second one is kept alive. */
  connections?: number
  /** 0 to 1; 0.2 unless given. */
  writeShare?: number
  /** The brevet registered for. 200 unless given. */
  brevet?: number
  /** Milliseconds that each connection rests between two requests. 0 unless given. */
  pauseMs?: number
}

export interface LoadReport {
  requests: number
  /** Answered with 200, or 201 for a write. */
  ok: number
  statuses: Record<string, number>
  /** Everything else, except refusals. */
  failures: { at: number; what: string; writes: boolean }[]
  /** 503 with Retry-After: maintenance. */
  refused: { at: number; status: number }[]
  longestMs: number
  /** By X-Release: when the first good answer's request began, when the last came, and how many there were. */
  releases: Record<string, { first: number; last: number; answers: number }>
  /** Keys of writes that were acknowledged. */
  ledger: string[]
  /** Keys of writes that failed: they may have been done or not. */
  uncertain: string[]
  startedAt: number
  endedAt: number
}

export interface Load {
  /** As it is now. */
  readonly report: Readonly<LoadReport>
  /** Lets the requests under way finish. */
  stop(): Promise<LoadReport>
}

export function startLoad(options: LoadOptions): Load
