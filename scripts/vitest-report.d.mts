export interface Counts {
  passed: number
  failed: number
  skipped: number
}

export function counted(file: string): Counts | undefined
