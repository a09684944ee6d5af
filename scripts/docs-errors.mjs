// Every failure that the source can tell of: its code, its sentence, what is true then, what to do next. Read from
// the syntax tree, so that the catalogue can't say what the program doesn't.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import ts from 'typescript'

/** Which argument is the code; the message follows it, and the details come last. */
const codeFirst = /Error$/
const withoutCode = new Set([
  'Error',
  'TypeError',
  'RangeError',
  'CommanderError',
  'AbortedError',
  'StubbedResultError',
])

/** All failures in the TypeScript files below `src`, in the order of code, file and line. */
export function findErrors(src) {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => /(?<!\.d)\.ts$/.test(file))
  const found = files.flatMap((file) => errorsOf(join(src, file), relative(join(src, '..'), join(src, file))))
  return found.sort((a, b) => order(a.code, b.code) || order(a.file, b.file) || a.line - b.line)
}

const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0)

function errorsOf(path, file) {
  const text = readFileSync(path, 'utf8')
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const makers = errorMakers(source)
  const errors = []
  const visit = (node) => {
    const call = constructed(node) ?? made(node, makers)
    if (call) errors.push(...described(call, file, source))
    else errors.push(...tabled(node, file, source))
    ts.forEachChild(node, visit)
  }
  visit(source)
  return errors.filter(({ code }) => /^[a-z][a-z0-9-]*$/.test(code))
}

/** Functions of a file that make errors from `(code, message, …)`: their names, and where the two are. */
function errorMakers(source) {
  const makers = new Map()
  const visit = (node) => {
    if (ts.isFunctionLike(node) && !ts.isConstructorDeclaration(node)) {
      const names = node.parameters.map((each) => each.name.getText())
      const name =
        node.name?.getText() ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name.getText() : undefined)
      const [code, message] = [names.indexOf('code'), names.indexOf('message')]
      if (name && code >= 0 && message >= 0) makers.set(name, { code, message, next: names.indexOf('next') })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return makers
}

function made(node, makers) {
  if (!ts.isCallExpression(node) || !ts.isIdentifier(node.expression)) return undefined
  const maker = makers.get(node.expression.text)
  if (!maker) return undefined
  const args = [node.arguments[maker.code], node.arguments[maker.message], ...node.arguments]
  return { name: 'SlipwayError', node, args, next: maker.next < 0 ? undefined : node.arguments[maker.next] }
}

/** Rows of tables, `{ code, message, next }`, and pairs, `['code', 'message']`. */
function tabled(node, file, source) {
  if (ts.isArrayLiteralExpression(node) && node.elements.length === 2 && file.endsWith('errors.ts')) {
    return described({ name: 'SlipwayError', node, args: node.elements }, file, source)
  }
  if (!ts.isObjectLiteralExpression(node)) return []
  const property = (name) =>
    node.properties.find((each) => ts.isPropertyAssignment(each) && each.name.getText() === name)?.initializer
  const [code, message] = [property('code'), property('message')]
  if (!code || !message || !ts.isStringLiteralLike(code)) return []
  return described({ name: 'SlipwayError', node, args: [code, message], next: property('next') }, file, source)
}

/** `new XError(…)`, or `super(…)` in a class that extends one. */
function constructed(node) {
  if (ts.isNewExpression(node) && ts.isIdentifier(node.expression)) {
    const name = node.expression.text
    return codeFirst.test(name) && !withoutCode.has(name) ? { name, node, args: node.arguments ?? [] } : undefined
  }
  if (!ts.isCallExpression(node) || node.expression.kind !== ts.SyntaxKind.SuperKeyword) return undefined
  let above = node.parent
  while (above && !ts.isClassLike(above)) above = above.parent
  const base = above?.heritageClauses?.[0]?.types[0]?.expression
  if (!base || !ts.isIdentifier(base) || !codeFirst.test(base.text) || base.text === 'Error') return undefined
  return { name: above.name?.text ?? base.text, node, args: node.arguments }
}

function described({ name, node, args, next }, file, source) {
  const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
  const [code, message] = args
  const details = args.slice(2).find(ts.isObjectLiteralExpression)
  const codes = code ? literals(code) : []
  const messages = message ? literals(message) : []
  const paired = codes.length > 1 && codes.length === messages.length
  return codes.map((each, index) => ({
    code: each,
    kind: name,
    file,
    line,
    messages: paired ? [messages[index]] : messages,
    state: propertyTexts(details, 'state'),
    next: next ? literals(next) : propertyTexts(details, 'next'),
  }))
}

function propertyTexts(details, name) {
  const property = details?.properties.find((each) => each.name?.getText() === name)
  if (!property) return []
  return ts.isPropertyAssignment(property) ? literals(property.initializer) : literals(property.name)
}

/** The texts that an expression can be: a template's values are shown as ‹name›, both branches of a choice count. */
function literals(expression) {
  if (ts.isParenthesizedExpression(expression)) return literals(expression.expression)
  if (ts.isStringLiteralLike(expression)) return [expression.text]
  if (ts.isTemplateExpression(expression)) {
    return [
      expression.head.text +
        expression.templateSpans.map((span) => `${placeholder(span.expression)}${span.literal.text}`).join(''),
    ]
  }
  if (ts.isConditionalExpression(expression)) {
    return [...literals(expression.whenTrue), ...literals(expression.whenFalse)]
  }
  if (ts.isArrowFunction(expression) && !ts.isBlock(expression.body)) return literals(expression.body)
  if (ts.isIdentifier(expression)) {
    const value = constant(expression)
    return value ? literals(value) : []
  }
  if (ts.isBinaryExpression(expression)) {
    const { kind } = expression.operatorToken
    if (kind === ts.SyntaxKind.PlusToken) {
      const right = literals(expression.right)
      return literals(expression.left).flatMap((left) => right.map((each) => left + each))
    }
    if (kind === ts.SyntaxKind.QuestionQuestionToken || kind === ts.SyntaxKind.BarBarToken) {
      return [...literals(expression.left), ...literals(expression.right)]
    }
  }
  return []
}

/** What a `const` of an enclosing block was set to. */
function constant(identifier) {
  for (let scope = identifier.parent; scope; scope = scope.parent) {
    if (!ts.isBlock(scope) && !ts.isSourceFile(scope)) continue
    for (const statement of scope.statements) {
      if (!ts.isVariableStatement(statement)) continue
      const found = statement.declarationList.declarations.find((each) => each.name.getText() === identifier.text)
      if (found?.initializer) return found.initializer
    }
  }
  return undefined
}

/** A name for a value in a message: ‹host›. */
function placeholder(expression) {
  if (ts.isStringLiteralLike(expression)) return expression.text
  if (ts.isConditionalExpression(expression)) {
    const [first] = literals(expression.whenTrue).filter((text) => text !== '')
    const [second] = literals(expression.whenFalse).filter((text) => text !== '')
    if (first !== undefined && second === undefined) return `[${first}]`
    if (second !== undefined && first === undefined) return `[${second}]`
    return first !== undefined ? `${first}|${second}` : '‹…›'
  }
  const calls = ts.isCallExpression(expression) ? expression.arguments[0] : undefined
  const names = (calls ?? expression).getText().match(/[A-Za-z_]\w*/g) ?? []
  const last = names.filter((name) => !ordinary.has(name)).at(-1) ?? names.find((name) => name !== 'this')
  return `‹${last ?? '…'}›`
}

const ordinary = new Set(['join', 'map', 'length', 'name', 'text', 'message', 'error', 'Error', 'String', 'this', 'as'])
