/** Logs that programs print are bounded, while they are written and while they are followed. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
  project.configure((text) =>
    text.replace(/^mailer = .*$/m, 'mailer = i=0; while :; do i=$((i+1)); echo "line $i"; sleep 0.02; done'),
  )
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.workers.start()
    await staging.schedule.push()
  })
}, 90_000)
afterAll(() => project.stop())

test('a log past its size is renamed, its program goes on in a new one, and no line is lost to who follows', async () => {
  const log = join(project.release, 'logs/mailer.out')
  const controller = new AbortController()
  const seen: number[] = []
  let before: number | undefined
  let began: (() => void) | undefined
  const begun = new Promise<void>((resolve) => {
    began = resolve
  })
  const following = project
    .run(
      async (staging) => {
        for await (const line of staging.workers.tail({ follow: true, lines: 1 })) {
          const number = Number(/^line (\d+)$/.exec(line.text)?.[1])
          if (number) seen.push(number)
          began?.()
          if (before !== undefined && number > before + 50) controller.abort()
        }
      },
      { signal: controller.signal },
    )
    .catch((error: unknown) => {
      if (!controller.signal.aborted) throw error
    })
  await begun
  // More than it may have, in one piece that is no line of the program's.
  appendFileSync(log, `${'x'.repeat(11 * 1024 * 1024)}\n`)
  execFileSync('/bin/sh', [join(project.release, 'bin/rotate')])
  before = seen.at(-1) ?? 0
  await following
  expect(statSync(`${log}.1`).size).toBeGreaterThan(10 * 1024 * 1024)
  expect(statSync(log).size).toBeLessThan(1024 * 1024)
  const numbers = [`${log}.1`, log].flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(/line (\d+)$/gm)].map((match) => Number(match[1])),
  )
  expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  // What was appended from outside may have cut one line in two for the follower; every other one came.
  expect(seen.every((number, index) => index === 0 || number - (seen[index - 1] as number) <= 2)).toBe(true)
}, 90_000)

test('a short log is left alone, and the crontab keeps at it without an operator', () => {
  execFileSync('/bin/sh', [join(project.release, 'bin/rotate')])
  expect(existsSync(join(project.release, 'logs/mailer.out.2'))).toBe(false)
  expect(execFileSync('/bin/sh', [join(project.home, '../bin/crontab'), '-l']).toString()).toContain(
    `*/10 * * * * /bin/sh ${project.release}/bin/rotate >/dev/null 2>&1`,
  )
})
