/** Where this very package lies, and which version it is. Found from this module's place, built or not. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = fileURLToPath(import.meta.url)

/** The package's folder, absolute. */
export function packageRoot(): string {
  for (let dir = dirname(here); ; dir = dirname(dir)) {
    if (existsSync(join(dir, 'package.json'))) return dir
    if (dir === dirname(dir)) throw new Error(`no package.json above ${here}`)
  }
}

export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }).version
}

/** What `import 'slipway'` means inside a task file: this copy, wherever the file lies. */
export function packageEntries(): Record<string, string> {
  const root = packageRoot()
  const built = !here.startsWith(join(root, 'src'))
  const url = (path: string) => pathToFileURL(join(root, built ? `dist/${path}.js` : `src/${path}.ts`)).href
  return { slipway: url('index'), 'slipway/testing': url('testing/index') }
}
