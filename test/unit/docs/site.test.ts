/** What the site's build would stumble over, without building it: that takes minutes on a small machine. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from './blocks.ts'

const docs = join(repository, 'docs')
const config = readFileSync(join(docs, '.vitepress/config.mts'), 'utf8')
const sidebar = [...config.matchAll(/page\('[^']+', '([^']+)'\)/g)].map((match) => match[1] as string)
const made = '/reference/'
/** As it is read by the site: decisions are for those who work on the source. */
const pages = readdirSync(docs, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.md') && !/^(reference|decisions|\.vitepress)\//.test(file))
  .map((file) => `/${file.slice(0, -'.md'.length)}`)

test('every page is in the sidebar, once, and every entry has its page', () => {
  expect([...sidebar].sort()).toEqual([...pages.filter((page) => page !== '/index'), made].sort())
})

test('no page links to one that the site leaves out', () => {
  const linking = pages.filter((page) => /\]\([^)]*decisions\//.test(readFileSync(join(docs, `${page}.md`), 'utf8')))
  expect(linking).toEqual([])
})

test('what builds it is there', () => {
  for (const bin of ['typedoc', 'vitepress']) expect(existsSync(join(repository, 'node_modules/.bin', bin))).toBe(true)
})
