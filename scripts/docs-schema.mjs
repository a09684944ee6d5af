// JSON schemas of what is printed as JSON, from the types in src/ that it is made of.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { docComment } from './docs-comments.mjs'

/** File name below schemas/ → the schema's text. */
export function schemas(src) {
  const types = declarations(src, [
    'events/events.ts',
    'tasks/collect.ts',
    'cli/doctor/finding.ts',
    'output/runs.ts',
    'sandbox/facts.ts',
  ])
  const version = { description: 'The version of the form. Within one, fields are only ever added.', const: 1 }
  const object = (properties) => ({ type: 'object', required: Object.keys(properties), properties })
  const list = (name) => ({ type: 'array', items: { $ref: `#/$defs/${name}` } })
  const events = types.get('EventBody').type.types.map((member) => ({
    ...objectSchema(member.members),
    ...about(member),
  }))
  const shared = types.get('RunEvent').type.types.find((each) => each.kind === ts.SyntaxKind.TypeLiteral)
  const event = { allOf: [{ ...objectSchema(shared.members), ...about(types.get('RunEvent')) }, { oneOf: events }] }
  const line = { ...event, allOf: [object({ v: version }), ...event.allOf] }
  return {
    'events.schema.json': text('A line of `tasks … --json` and of `slipway show --json`', line, types),
    'tasks.schema.json': text(
      '`tasks --list --json`',
      object({
        v: version,
        taskFile: { type: 'string' },
        default: { description: 'The default task', type: ['string', 'null'] },
        tasks: list('TaskInfo'),
      }),
      types,
    ),
    'doctor.schema.json': text(
      '`slipway doctor --json`',
      object({
        v: version,
        ok: { description: 'Nothing has to be put right', type: 'boolean' },
        findings: list('Finding'),
      }),
      types,
    ),
    'sandbox.schema.json': text(
      '`slipway sandbox status --json`, and of its other commands',
      { allOf: [object({ v: version }), { $ref: '#/$defs/SandboxFacts' }] },
      types,
    ),
    'history.schema.json': text('`slipway history --json`', object({ v: version, runs: list('RunSummary') }), types),
  }
}

/** Exported types and interfaces by name. */
function declarations(src, files) {
  const found = new Map()
  for (const file of files) {
    const source = ts.createSourceFile(file, readFileSync(join(src, file), 'utf8'), ts.ScriptTarget.Latest, true)
    for (const each of source.statements) {
      if (ts.isInterfaceDeclaration(each) || ts.isTypeAliasDeclaration(each)) found.set(each.name.text, each)
    }
  }
  return found
}

function text(title, schema, types) {
  const $defs = {}
  const collect = (value) => {
    if (Array.isArray(value)) return value.forEach(collect)
    if (typeof value !== 'object' || value === null) return
    const name = typeof value.$ref === 'string' ? value.$ref.replace('#/$defs/', '') : undefined
    if (name !== undefined && !(name in $defs)) {
      const declared = types.get(name)
      if (!declared) throw new Error(`${title}: no file that is read declares ${name}`)
      $defs[name] = {
        ...about(declared),
        ...(ts.isInterfaceDeclaration(declared) ? objectSchema(declared.members) : typeSchema(declared.type)),
      }
      collect($defs[name])
    }
    Object.values(value).forEach(collect)
  }
  collect(schema)
  const whole = { $schema: 'https://json-schema.org/draft/2020-12/schema', title, ...schema, $defs }
  return `${JSON.stringify(whole, undefined, 2)}\n`
}

function objectSchema(members) {
  return {
    type: 'object',
    required: members.filter((each) => !each.questionToken).map((each) => each.name.text),
    properties: Object.fromEntries(
      members.map((each) => [each.name.text, { ...typeSchema(each.type), ...about(each) }]),
    ),
  }
}

const keywords = new Map([
  [ts.SyntaxKind.StringKeyword, { type: 'string' }],
  [ts.SyntaxKind.NumberKeyword, { type: 'number' }],
  [ts.SyntaxKind.BooleanKeyword, { type: 'boolean' }],
  [ts.SyntaxKind.UnknownKeyword, {}],
])

function typeSchema(node) {
  const known = keywords.get(node.kind)
  if (known) return known
  if (ts.isLiteralTypeNode(node)) {
    if (node.literal.kind === ts.SyntaxKind.NullKeyword) return { type: 'null' }
    if (node.literal.kind === ts.SyntaxKind.TrueKeyword) return { const: true }
    if (ts.isStringLiteral(node.literal)) return { const: node.literal.text }
  }
  if (ts.isParenthesizedTypeNode(node)) return typeSchema(node.type)
  if (ts.isTypeOperatorNode(node)) return typeSchema(node.type)
  if (ts.isArrayTypeNode(node)) return { type: 'array', items: typeSchema(node.elementType) }
  if (ts.isTypeLiteralNode(node)) return objectSchema(node.members)
  if (ts.isUnionTypeNode(node)) {
    const all = node.types.map(typeSchema)
    if (all.every((each) => 'const' in each)) return { enum: all.map((each) => each.const) }
    return { anyOf: all }
  }
  if (ts.isTypeReferenceNode(node)) {
    const name = node.typeName.getText()
    if (name === 'Record') return { type: 'object', additionalProperties: typeSchema(node.typeArguments[1]) }
    return { $ref: `#/$defs/${name}` }
  }
  throw new Error(`a schema cannot be made of ${node.getText()}`)
}

/** The doc comment before a node, as its description; the first declaration of a file has the file's own before it. */
function about(node) {
  const description = docComment(node)
  return description === '' || description.startsWith('What a run tells. Everything') ? {} : { description }
}
