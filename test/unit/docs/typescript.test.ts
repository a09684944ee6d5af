/** Every TypeScript block of the docs type-checks against the package's own source, all in one program. */
import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { allBlocks, type Block, repository } from './blocks.ts'

/** What a fragment may use without saying where it comes from: the names of a task file. */
const surroundings = `
import type * as slipway from 'slipway'
declare global {
  const app: slipway.Application<'staging' | 'production'>
  const task: typeof slipway.task
  const note: typeof slipway.note
  const result: typeof slipway.result
  const flag: typeof slipway.flag
  const string: typeof slipway.string
  const hosts: typeof slipway.hosts
  const onHeroku: typeof slipway.onHeroku
  const host: slipway.Host
}
`

const wrong: Block = { page: 'docs/wrong.md', line: 11, language: 'ts', text: '\nawait host.$`true`.txt()\n' }
const blocks = allBlocks('ts')
// One program for both tests: making it is what takes time.
const mistakes = mistakesIn([...blocks, wrong])

test('every ts block type-checks', () => {
  expect(blocks.length).toBeGreaterThan(10)
  expect(mistakes.filter((mistake) => !mistake.startsWith(wrong.page))).toEqual([])
})

test('a block with a mistake is found, at its page and line', () => {
  const found = mistakes.filter((mistake) => mistake.startsWith(wrong.page))
  expect(found).toEqual([expect.stringMatching(/^docs\/wrong\.md:12: Property 'txt' does not exist/)])
})

function mistakesIn(blocks: readonly Block[]): string[] {
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(repository, 'tsconfig.json'), ts.sys.readFile).config,
    ts.sys,
    repository,
  )
  // A page's blocks lie beside each other, so that one may import another by its title.
  const files = new Map<string, { text: string; block?: Block }>()
  blocks.forEach((block, index) => {
    const folder = join(repository, 'test/unit/docs/pages', block.page)
    const name = block.title?.endsWith('.ts') ? block.title : `block-${index}.ts`
    const path = files.has(join(folder, name)) ? join(folder, `block-${index}.ts`) : join(folder, name)
    // Whatever has no import or export is a module all the same, so that names don't meet.
    files.set(path, { text: `${block.text}\nexport {}\n`, block })
  })
  files.set(join(repository, 'test/unit/docs/pages/surroundings.d.ts'), { text: surroundings })

  const host = ts.createCompilerHost(options)
  const { fileExists, readFile, getSourceFile, directoryExists } = host
  host.fileExists = (path) => files.has(path) || fileExists(path)
  host.readFile = (path) => files.get(path)?.text ?? readFile(path)
  host.directoryExists = (path) =>
    [...files.keys()].some((file) => file.startsWith(`${path}/`)) || (directoryExists?.(path) ?? true)
  host.getSourceFile = (path, languageVersion, ...rest) => {
    const file = files.get(path)
    return file ? ts.createSourceFile(path, file.text, languageVersion) : getSourceFile(path, languageVersion, ...rest)
  }
  const program = ts.createProgram([...files.keys()], options, host)
  return [...files].flatMap(([path, { block }]) => {
    const source = program.getSourceFile(path)!
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((diagnostic) => {
      const line = source.getLineAndCharacterOfPosition(diagnostic.start ?? 0).line + (block?.line ?? 1)
      const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ')
      return `${block?.page ?? 'surroundings'}:${line}: ${text}`
    })
  })
}
