/** Links between the pages lead somewhere. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { pages, repository } from './blocks.ts'

test('every relative link and picture is there', () => {
  const broken = pages().flatMap((page) => {
    const text = readFileSync(join(repository, page), 'utf8').replace(/^```[\s\S]*?^```/gm, '')
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
    return targets
      .filter((target) => !/^(https?:|mailto:|#)/.test(target))
      .filter((target) => {
        const path = target.split('#', 1)[0]!
        return !existsSync(join(repository, path.startsWith('/') ? `docs/public${path}` : join(dirname(page), path)))
      })
      .map((target) => `${page}: ${target}`)
  })
  expect(broken).toEqual([])
})

test('every anchor into a page is a heading of it', () => {
  const broken = pages().flatMap((page) => {
    const text = readFileSync(join(repository, page), 'utf8')
    return [...text.matchAll(/\]\(([^)\s]+\.md)#([\w-]+)\)/g)]
      .filter(([, path, anchor]) => {
        const file = join(repository, dirname(page), path!)
        return existsSync(file) && !anchorsOf(readFileSync(file, 'utf8')).includes(anchor!)
      })
      .map(([, path, anchor]) => `${page}: ${path}#${anchor}`)
  })
  expect(broken).toEqual([])
})

function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .trim()
      .replace(/\s+/g, '-'),
  )
}
