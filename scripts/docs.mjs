// node scripts/docs.mjs: writes the pages of docs/ that are made from the source. --check: says which are stale.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { madePages } from './docs-pages.mjs'

const docs = join(import.meta.dirname, '../docs')
const check = process.argv.includes('--check')

for (const [page, text] of Object.entries(await madePages())) {
  const file = join(docs, page)
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue
  if (check) {
    console.error(`docs/${page} is stale: node scripts/docs.mjs`)
    process.exitCode = 1
  } else {
    writeFileSync(file, text)
    console.log(`docs/${page}`)
  }
}
