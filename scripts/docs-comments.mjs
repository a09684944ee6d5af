// What a doc comment says, for the pages and schemas that are made from types.
import ts from 'typescript'

/** The text of the doc comments before `node`, on one line. Those of a member of a union stand before its `|`. */
export function docComment(node) {
  const source = node.getSourceFile().text
  const all = ts.isUnionTypeNode(node.parent) ? node.parent.types : undefined
  const from = all ? (all[all.indexOf(node) - 1]?.end ?? node.parent.pos) : node.getFullStart()
  const comment = (ts.getLeadingCommentRanges(source, from) ?? [])
    .map(({ pos, end }) => source.slice(pos, end))
    .findLast((each) => each.startsWith('/**'))
  return (comment ?? '')
    .replace(/^\/\*\*[\s*]*|\s*\*\/$/g, '')
    .replace(/\s*\n\s*\*?\s*/g, ' ')
    .trim()
}
