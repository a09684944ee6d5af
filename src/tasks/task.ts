/** What a task is: a described, typed function. Tasks call each other as functions. */
import type { ParamType } from './params.ts'

/** The parameters of a task by name. */
export type Params = Readonly<Record<string, ParamType<never, boolean> | ParamType<unknown, boolean>>>

type ValueOf<P> = P extends ParamType<infer T, boolean> ? T : never
type RequiredNames<P> = { [K in keyof P]: P[K] extends ParamType<infer _T, true> ? K : never }[keyof P]

/** What `run` gets: every parameter has its value. */
export type ParamValues<P> = { readonly [K in keyof P]: ValueOf<P[K]> }
/** What a caller gives: the required ones; text is parsed as on the command line. */
export type CallParams<P> = { readonly [K in RequiredNames<P>]: ValueOf<P[K]> | string } & {
  readonly [K in Exclude<keyof P, RequiredNames<P>>]?: ValueOf<P[K]> | string
}

/** What `task()` is told: what it does, what it takes, and how it runs. */
export interface TaskDefinition<P, R> {
  /** One line: what it does. Further lines are shown by `tasks <task> --help`. */
  about: string
  params?: P
  /** At most once a run, for the same parameters; later calls get the first one's result. */
  once?: boolean
  /** The heading it is listed under. */
  group?: string
  /** Left out of the list. */
  hidden?: boolean
  run(params: ParamValues<P>): R
}

/** A described function: called from the command line by its name, and from other tasks as a function. */
export interface Task<P = Params, R = unknown> {
  (
    ...params: [RequiredNames<P>] extends [never] ? [params?: CallParams<P>] : [params: CallParams<P>]
  ): Promise<Awaited<R>>
  readonly definition: TaskDefinition<P, R>
  /** The name it was exported under; set when the task file is loaded. */
  readonly taskName: string
}
