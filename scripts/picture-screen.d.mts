export interface Piece {
  text: string
  /** `bold`, `dim`, a colour, or empty. */
  style: string
}

/** What a terminal shows once all of `recorded` was written to it: lines of pieces. */
export function finalScreen(recorded: string): Piece[][]

/** Lines as an SVG, each cut at `columns`. */
export function svg(lines: readonly (readonly Piece[])[], columns: number): string
