/** What a release needs besides the code: papers, and a workflow that finds what it names. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { repository } from './blocks.ts'

const read = (file: string) => readFileSync(join(repository, file), 'utf8')
const workflow = read('.github/workflows/release.yml')
const { version, license, scripts } = JSON.parse(read('package.json')) as {
  version: string
  license: string
  scripts: Record<string, string>
}

test('the version is a semantic one, and the workflow’s own words find its part of the changelog', () => {
  expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
  const program = /awk -v version="\$version" '([^']+)' CHANGELOG\.md/.exec(workflow)?.[1] ?? ''
  // Until it is released, its part is called so.
  const heading = read('CHANGELOG.md').includes(`## ${version}`) ? version : 'Unreleased'
  const notes = execFileSync('awk', ['-v', `version=${heading}`, program, 'CHANGELOG.md'], {
    cwd: repository,
    encoding: 'utf8',
  })
  expect(notes.trim()).not.toBe('')
})

test('publishing proves where the package came from, and keeps no token', () => {
  expect(workflow).toMatch(/id-token: write/)
  expect(workflow).toMatch(/npm publish \S+ --provenance/)
  expect(workflow).not.toMatch(/NPM_TOKEN|NODE_AUTH_TOKEN/)
})

test('the licence is the one that the package names; security has its paper', () => {
  expect(read('LICENSE')).toContain(`${license} License`)
  expect(read('SECURITY.md')).toMatch(/report/i)
})

test('the map of the house has every room, and no other', () => {
  const map = read('CONTRIBUTING.md')
  const rooms = [...map.matchAll(/^ {2}(\w+)\/ /gm)].map(([, name]) => name)
  const there = readdirSync(join(repository, 'src'), { withFileTypes: true })
  expect(rooms.sort()).toEqual(
    there
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort(),
  )
})

test('the commands that it lists are there', () => {
  const named = [...read('CONTRIBUTING.md').matchAll(/`npm run ([\w:]+)`/g)].map(([, name = '']) => name)
  expect(named.length).toBeGreaterThan(4)
  expect(named.filter((name) => !(name in scripts))).toEqual([])
  expect(existsSync(join(repository, 'scripts/bare-machine.sh'))).toBe(true)
})
