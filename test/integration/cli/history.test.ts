import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { makeProject, type Project } from './project.ts'

let built: Built
let project: Project
beforeAll(async () => {
  built = await buildSlipway()
})
afterAll(() => built.remove())
afterEach(() => project.remove())

const taskFile = `import { note, task } from 'slipway'
export const good = task({ about: 'g', run: () => note('all is well') })
export const bad = task({ about: 'b', run: () => { throw new Error('all is lost') } })
`
const slipway = (...args: string[]) => project.run(built.slipway, args)

async function afterTwoRuns() {
  project = makeProject({ 'tasks.ts': taskFile, 'sub/x': '' })
  await project.run(built.tasks, ['good'])
  await project.run(built.tasks, ['bad', '--dry-run'])
  // Oldest first. Ids sort by the second only.
  const { runs } = JSON.parse((await slipway('history', '--json')).out) as { runs: { id: string }[] }
  return runs.map(({ id }) => id).reverse()
}

describe('looking back', () => {
  it('history lists who ran what, newest first, from anywhere in the project', async () => {
    await afterTwoRuns()
    const { out } = await project.run(built.slipway, ['history'], { cwd: 'sub' })
    expect(out.split('\n').slice(0, 3)).toEqual([
      expect.stringMatching(/^RUN +WHEN +OUTCOME +TIME +WHO +WHAT$/),
      expect.stringMatching(/^\w{6} {2}\d{4}-\d\d-\d\d \d\d:\d\d {2}failed, dry run +\d+ ms +\w+ +bad --dry-run$/),
      expect.stringMatching(/ok +\d+ ms +\w+ +good$/),
    ])
    expect(JSON.parse((await slipway('history', '--json', '-c', '1')).out).runs).toHaveLength(1)
  })

  it('show repeats a run on stdout: the last, or one by the end of its id', async () => {
    const [first] = await afterTwoRuns()
    expect((await slipway('show')).out).toContain('all is lost')
    expect((await slipway('show', first!.slice(-6))).out).toContain('all is well')
  })

  it('a run that was killed is unfinished, and a torn line is no event', async () => {
    const [first] = await afterTwoRuns()
    const file = join(project.dir, '.slipway/runs', `${first}.jsonl`)
    appendFileSync(file, '{"type":"note","te')
    expect((await slipway('show', first!)).out).toContain('all is well')
    expect((await slipway('history')).out).toMatch(/\w+ {2}.*good/)
  })

  it('report says in words why a page cannot be written', async () => {
    await afterTwoRuns()
    const { status, out, err } = await slipway('report', '-o', 'tasks.ts/run.html')
    expect({ status, out }).toEqual({ status: 2, out: '' })
    expect(err).toMatch(/^error: .*run\.html cannot be written: a file stands where a folder would have to be\n {2}→ /)
    expect(err).not.toMatch(/ENOTDIR|EEXIST/)
  })

  it('report writes a page, or prints it', async () => {
    const [, last] = await afterTwoRuns()
    expect((await slipway('report')).out).toBe(`slipway-${last}.html\n`)
    expect(readFileSync(join(project.dir, `slipway-${last}.html`), 'utf8')).toContain('all is lost')
    expect((await slipway('report', '-o', '-')).out).toMatch(/^<!doctype html>/)
  })

  it('says what to do where there is nothing, or not that', async () => {
    project = makeProject({ 'tasks.ts': taskFile })
    expect(await slipway('show')).toMatchObject({ status: 2, err: expect.stringContaining('no run has been logged') })
    expect(await slipway('history')).toMatchObject({ status: 0, out: '' })
    await project.run(built.tasks, ['good'])
    expect((await slipway('show', 'zzz')).err).toContain('there is no run "zzz"\n  → `slipway history` lists them.')
    expect(existsSync(join(project.dir, '.slipway/.gitignore'))).toBe(true)
  })
})

it.each([
  [[], 2, 'Usage: slipway'],
  [['--help'], 0, 'Usage: slipway'],
  [['histroy'], 2, 'Did you mean history?'],
  [['history', '--jsn'], 2, 'Did you mean --json?'],
  [['history', '-c', 'x'], 2, '"x" is not a number above 0'],
  [['show', '--help'], 0, 'Examples:'],
])('slipway %j', async (args, status, text) => {
  project = makeProject()
  const done = await slipway(...args)
  expect(done.status).toBe(status)
  expect(done.out + done.err).toContain(text)
})
