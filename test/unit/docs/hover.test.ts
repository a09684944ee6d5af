/** What an editor shows on hover: every public name says what it is, and what one begins with shows how. */
import { join } from 'node:path'
import ts from 'typescript'
import { beforeAll, expect, it } from 'vitest'
import { repository } from './blocks.ts'

const files = ['src/index.ts', 'src/testing/index.ts'].map((file) => join(repository, file))
/** Public name → what its hover says, and whether it has an example. */
const hovers = new Map<string, { about: string; example: boolean }>()

beforeAll(() => {
  const program = ts.createProgram(files, {
    allowImportingTsExtensions: true,
    noEmit: true,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    skipLibCheck: true,
    types: [],
  })
  const checker = program.getTypeChecker()
  for (const file of files) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(file) as ts.SourceFile) as ts.Symbol
    for (const exported of checker.getExportsOfModule(module)) {
      const symbol = (exported.flags & ts.SymbolFlags.Alias) === 0 ? exported : checker.getAliasedSymbol(exported)
      const about = ts.displayPartsToString(symbol.getDocumentationComment(checker))
      hovers.set(exported.name, { about, example: symbol.getJsDocTags(checker).some(({ name }) => name === 'example') })
    }
  }
}, 120_000)

it('of every public name there is a sentence', () => {
  expect(hovers.size).toBeGreaterThan(80)
  expect([...hovers].filter(([, { about }]) => !/\w{2,} \w/.test(about)).map(([name]) => name)).toEqual([])
})

it.each([
  ...['application', 'task', 'host', 'hosts', 'local', 'sh', 'secret', 'onHosts', 'show', 'together', 'tailHosts'],
  ...['choice', 'flag', 'rest', 'string', 'number', 'note', 'warn', 'result', 'ask'],
  ...['recordRun', 'fakeHosts', 'sandbox'],
])('%s shows how it is used', (name) => {
  expect(hovers.get(name)).toMatchObject({ example: true })
})
