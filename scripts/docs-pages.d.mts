/** The pages of docs/ that are made from the source: content by path below docs/. */
export function madePages(): Promise<Record<string, string>>
