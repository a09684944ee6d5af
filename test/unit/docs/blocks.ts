/** The fenced code blocks of README.md and docs/, with their places. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export const repository = join(import.meta.dirname, '../../..')

export interface Block {
  /** Relative to the repository. */
  page: string
  /** Of the block's first line of code. */
  line: number
  language: string
  /** What stands in brackets behind the language: the file that the block is. */
  title?: string
  text: string
}

/** Pages that people read: README.md and docs/ without what is generated from doc comments. */
export function pages(): string[] {
  const docs = readdirSync(join(repository, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((page) => page.endsWith('.md') && !page.startsWith('reference/') && !page.startsWith('.vitepress/'))
    .map((page) => `docs/${page}`)
    .sort()
  return [...(existsSync(join(repository, 'README.md')) ? ['README.md'] : []), ...docs]
}

export function blocksOf(page: string, text = readFileSync(join(repository, page), 'utf8')): Block[] {
  const blocks: Block[] = []
  let open: { block: Block; fence: string; indent: string } | undefined
  text.split('\n').forEach((line, index) => {
    const fence = /^(\s*)(`{3,})\s*([\w-]*)\s*(?:\[([^\]]*)\])?/.exec(line)
    if (open) {
      if (fence && fence[2] === open.fence && !fence[3]) {
        blocks.push(open.block)
        open = undefined
      } else open.block.text += `${line.startsWith(open.indent) ? line.slice(open.indent.length) : line}\n`
    } else if (fence) {
      const [, indent = '', marks = '', language = '', title] = fence
      const block = { page, line: index + 2, language, text: '', ...(title ? { title } : {}) }
      open = { block, fence: marks, indent }
    }
  })
  return blocks
}

export const allBlocks = (...languages: string[]): Block[] =>
  pages()
    .flatMap((page) => blocksOf(page))
    .filter(({ language }) => languages.includes(language))

/** Names of the tasks that the blocks of a page define; the page on performance speaks of the bench's. */
export function tasksDefinedOn(page: string): Set<string> {
  const blocks = blocksOf(page).filter(({ language }) => language === 'ts')
  const bench = page === 'docs/performance.md' ? readFileSync(join(repository, 'bench/tasks.ts'), 'utf8') : ''
  const code = [bench, ...blocks.map(({ text }) => text)].join('\n')
  return new Set([...code.matchAll(/export const (\w+) = task\(/g)].map(([, name]) => name!))
}
