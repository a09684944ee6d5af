/** What `--step` asks about in a deploy: every change, and nothing that the tool keeps for itself. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { noPrompter } from '../../../src/events/index.ts'
import { createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
}, 30_000)
afterAll(() => project.stop())

/** An upload of which every change is asked about. `answer` gets the number of questions so far. */
async function upload(answer: (asked: number) => boolean, signal?: AbortSignal) {
  const asked: string[] = []
  const confirm = async (question: string) => {
    asked.push(question)
    return answer(asked.length)
  }
  const prompter = { ...noPrompter, interactive: true, confirm }
  const options = { step: true, prompter, ...(signal ? { signal } : {}) }
  const error = await project
    .run((staging) => staging.upload(), options)
    .then(
      () => undefined,
      (failure: Error) => failure,
    )
  return { asked, error }
}

const locks = () => readdirSync(join(project.home, '.slipway/pony/locks')).filter((name) => !name.startsWith('.'))

test('locks, journals and the audit log are no questions', async () => {
  const { asked, error } = await upload(() => true)
  expect(error).toBeUndefined()
  expect(asked.length).toBeGreaterThan(1)
  expect(asked.filter((question) => /rsync/.test(question))).toHaveLength(1)
  expect(asked.filter((question) => /lock|audit|journal/.test(question))).toEqual([])
  expect(locks()).toEqual([])
}, 30_000)

test('at the first no the upload ends; what is asked then is whether the unfinished goes, and nothing stays locked', async () => {
  const { asked, error } = await upload((count) => count < 2)
  expect(asked.slice(2)).toEqual([expect.stringMatching(/^pony-host: remove the unfinished /)])
  expect(error).toMatchObject({ code: 'not-approved' })
  expect(locks()).toEqual([])
}, 30_000)

test('who interrupts at a question is not asked whether it may be left tidy', async () => {
  const interrupt = new AbortController()
  const { asked, error } = await upload((count) => {
    if (count === 2) interrupt.abort(new Error('interrupted'))
    return count < 2
  }, interrupt.signal)
  expect(asked.slice(2)).toEqual([])
  expect(error).toBeDefined()
  expect(locks()).toEqual([])
}, 30_000)
