/** Logs that programs print are bounded, while they are written and while they are followed. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, closeSync, existsSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject({ nginx: true })
  project.configure((text) =>
    text
      .replace(
        /^mailer = .*$/m,
        'mailer = exec 3>>"$SLIPWAY_LOGS/own.log"; i=0; while :; do i=$((i+1)); echo "line $i"; echo "own $i" >&3; sleep 0.02; done',
      )
      .replace(/^mailer = logs.*$/m, 'own = logs/own.log\nfixed = logs/fixed.log'),
  )
  await project.run(async (staging) => {
    await staging.initApp()
    await staging.upload()
    await staging.install()
    await staging.workers.start()
    await staging.schedule.push()
  })
}, 90_000)
afterAll(() => project.stop())

/** Follows lines `WORD NUMBER` of a source; `seen` grows, and `end` resolves when 50 more have come. */
async function follow(source: string, word: string): Promise<{ seen: number[]; end(): Promise<void> }> {
  const controller = new AbortController()
  const seen: number[] = []
  let before: number | undefined
  let began: (() => void) | undefined
  const begun = new Promise<void>((resolve) => {
    began = resolve
  })
  const line = new RegExp(`^${word} (\\d+)$`)
  const following = project
    .run(
      async (staging) => {
        for await (const { text } of staging.logs({ source, follow: true, lines: 1 })) {
          const number = Number(line.exec(text)?.[1])
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
  return {
    seen,
    end() {
      before = seen.at(-1) ?? 0
      return following.then(() => {})
    },
  }
}

/** Makes a log longer than it may be while `source` is followed, rotates it, and gives back its lines in both files. */
async function rotated(source: string, word: string, log: string): Promise<{ seen: number[]; numbers: number[] }> {
  const { seen, end } = await follow(source, word)
  // More than it may have, in one piece that is no line of the program's.
  appendFileSync(log, `${'x'.repeat(11 * 1024 * 1024)}\n`)
  execFileSync('/bin/sh', [join(project.release, 'bin/rotate')])
  await end()
  expect(statSync(`${log}.1`).size).toBeGreaterThan(10 * 1024 * 1024)
  expect(statSync(log).size).toBeLessThan(1024 * 1024)
  const line = new RegExp(`${word} (\\d+)$`, 'gm')
  const numbers = [`${log}.1`, log].flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(line)].map((match) => Number(match[1])),
  )
  return { seen, numbers }
}

test('a log past its size is renamed, its program goes on in a new one, and no line is lost to who follows', async () => {
  const { seen, numbers } = await rotated('mailer', 'line', join(project.release, 'logs/mailer.out'))
  expect(numbers).toEqual(numbers.map((_, index) => index + 1))
  // What was appended from outside may have cut one line in two for the follower; every other one came.
  expect(seen.every((number, index) => index === 0 || number - (seen[index - 1] as number) <= 2)).toBe(true)
}, 90_000)

test('a short log is left alone, and the crontab keeps at it without an operator', () => {
  execFileSync('/bin/sh', [join(project.release, 'bin/rotate')])
  expect(existsSync(join(project.release, 'logs/mailer.out.2'))).toBe(false)
  expect(execFileSync('/bin/sh', [join(project.home, '../bin/crontab'), '-l']).toString()).toContain(
    `*/10 * * * * /bin/sh ${project.release}/bin/rotate >>${project.release}/logs/rotate.out 2>&1`,
  )
})

test("the app's own log is copied and emptied while it is appended to, and its follower misses no line", async () => {
  const { seen, numbers } = await rotated('own', 'own', join(project.release, 'logs/own.log'))
  // Between the last look and the emptying is a moment: a line a second would have to be very unlucky.
  const missing = numbers.filter((number, index) => index > 0 && number !== (numbers[index - 1] as number) + 1)
  expect(missing.length).toBeLessThanOrEqual(1)
  expect(seen.every((number, index) => index === 0 || number - (seen[index - 1] as number) <= 2)).toBe(true)
}, 90_000)

test('a log that its program does not append to is left as it is, and that is said', () => {
  const log = join(project.release, 'logs/fixed.log')
  const file = openSync(log, 'w')
  try {
    writeSync(file, Buffer.alloc(11 * 1024 * 1024, 'y'))
    const said = execFileSync('/bin/sh', ['-c', `/bin/sh ${join(project.release, 'bin/rotate')} 2>&1`]).toString()
    expect(said).toContain('fixed.log is left as it is: it is not opened for appending')
    expect(statSync(log).size).toBe(11 * 1024 * 1024)
  } finally {
    closeSync(file)
  }
  execFileSync('/bin/sh', [join(project.release, 'bin/rotate')])
  expect(statSync(log).size).toBe(0)
})

test('what nginx writes of the site is a source of its own, and is rotated', async () => {
  const site = join(project.home, '.slipway/pony/sites/staging')
  await ask(project.httpPort as number, '/before')
  const lines = async () => {
    const texts: string[] = []
    await project.run(async (staging) => {
      for await (const { text, source } of staging.logs({ source: 'web', lines: 20 })) texts.push(`${source} ${text}`)
    })
    return texts.join('\n')
  }
  expect(await lines()).toMatch(/^web .*GET \/before /m)
  appendFileSync(join(site, 'access.log'), `${'z'.repeat(11 * 1024 * 1024)}\n`)
  const rotate = (environment: Record<string, string>) =>
    execFileSync('/bin/sh', ['-c', `/bin/sh ${join(project.release, 'bin/rotate')} 2>&1`], {
      env: { PATH: `${join(project.home, '../bin')}:/usr/bin:/bin`, HOME: project.home, ...environment },
    }).toString()
  rotate({ SLIPWAY_SANDBOX: '1' })
  expect(statSync(join(site, 'access.log.1')).size).toBeGreaterThan(10 * 1024 * 1024)
  await expect
    .poll(async () => {
      await ask(project.httpPort as number, '/after')
      return readFileSync(join(site, 'access.log'), 'utf8')
    })
    .toMatch(/GET \/after /)
  expect(statSync(join(site, 'access.log')).size).toBeLessThan(1024 * 1024)
}, 60_000)
