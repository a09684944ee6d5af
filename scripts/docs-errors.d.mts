/** A place in the source that makes an error. */
export interface FoundError {
  code: string
  /** The class: UsageError ends a run with exit status 2. */
  kind: string
  /** Relative to the repository. */
  file: string
  line: number
  /** Its sentences: several where the source chooses between them; none where they are put together elsewhere. */
  messages: string[]
  state: string[]
  next: string[]
}

/** All failures in the TypeScript files below `src`. */
export function findErrors(src: string): FoundError[]
