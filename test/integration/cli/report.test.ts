import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { EventBody, RunEvent } from '../../../src/events/index.ts'
import { reportHtml } from '../../../src/output/index.ts'
import { repository } from '../../built.ts'

let browser: Browser
let dir: string
beforeAll(async () => {
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
  dir = mkdtempSync(join(tmpdir(), 'slipway-report-'))
})
afterAll(async () => {
  await browser.close()
  rmSync(dir, { recursive: true })
})

/** A deploy and a promotion of pony, as it would be told. */
function story(): RunEvent[] {
  let now = Date.UTC(2026, 10, 27, 10, 15)
  const events: RunEvent[] = []
  const tell = (body: EventBody, task?: string, ms = 0) => {
    now += ms
    events.push({ ...body, at: now, run: '20261127T101500-ab12cd', ...(task ? { task } : {}) })
  }
  const command = (id: string, host: string, display: string, text: string, ms: number, exitCode = 0, task = '2') => {
    tell({ type: 'command.started', id, host, display, kind: 'write', quiet: false }, task, 20)
    if (text) tell({ type: 'command.output', id, host, stream: 'stdout', text, quiet: false }, task, ms / 2)
    tell({ type: 'command.finished', id, host, exitCode, signal: null, durationMs: ms }, task, ms / 2)
  }
  const step = (id: string, title: string, ms: number, window = false) => {
    tell({ type: 'step.started', id, title, host: 'pony.example.org', ...(window ? { window } : {}) }, '3', 10)
    tell({ type: 'step.finished', id, outcome: 'ok', durationMs: ms }, '3', ms)
  }
  tell({
    type: 'run.started',
    argv: ['deploy_staging', 'promote_staging_to_production'],
    version: '0.1.0',
    user: 'ada',
    dryRun: false,
  })
  tell({ type: 'task.started', id: '1', name: 'deploy_staging', params: {} })
  tell({ type: 'task.started', id: '2', parent: '1', name: 'install_app', params: { release: 'staging' } })
  command('c1', 'web1.example.org', 'python3 -m venv .venv', '', 900)
  command(
    'c2',
    'web1.example.org',
    'pip install .',
    Array.from({ length: 40 }, (_, n) => `Collecting package-${n}\n`).join(''),
    2200,
  )
  command('c3', 'web2.example.org', 'pip install .', 'Collecting <script>alert(1)</script>\n', 1800)
  tell(
    {
      type: 'changed',
      host: 'web1.example.org',
      what: 'settings/active',
      diff: '--- a\n+++ b\n-workers = 2\n+workers = 4\n',
    },
    '2',
  )
  tell({ type: 'changed', host: 'web1.example.org', what: 'current → 20261127-101500-ab12cd' }, '2')
  const versions = '/home/deploy/webapps/pony2026r2/versions/20261127-101500-ab12cd/'
  tell({ type: 'changed', host: 'web1.example.org', what: `${versions}: 9 sent` }, '2')
  const asks = { id: 'c5', host: 'web1.example.org', display: 'crontab -l', kind: 'probe', quiet: true } as const
  tell({ type: 'command.started', ...asks }, '2', 5)
  tell({ type: 'command.finished', ...asks, exitCode: 1, signal: null, durationMs: 5 }, '2', 5)
  tell({ type: 'warning', text: 'the certificate of pony.example.org ends in 12 days' }, '2')
  tell({ type: 'task.finished', id: '2', outcome: 'ok', durationMs: 5000 })
  tell({ type: 'task.finished', id: '1', outcome: 'ok', durationMs: 5100 })
  tell({ type: 'task.started', id: '3', name: 'promote_staging_to_production', params: {} })
  step('s1', 'back up production', 900)
  step('s2', 'hold requests', 80, true)
  step('s3', 'copy the data', 700, true)
  step('s4', 'switch', 60, true)
  command('c4', 'pony.example.org', 'curl -fsS https://pony.example.org/up', 'curl: (22) 503\n', 400, 22, '3')
  tell({ type: 'task.finished', id: '3', outcome: 'failed', durationMs: 2300 })
  tell({
    type: 'error',
    error: {
      code: 'command-failed',
      message: 'the new production is not healthy',
      host: 'pony.example.org',
      detail: 'curl: (22) 503',
      state: 'Nothing was let in; the old production serves.',
      next: 'tasks promote_staging_to_production --undo',
    },
  })
  tell({ type: 'run.finished', outcome: 'failed', exitCode: 1, durationMs: now - Date.UTC(2026, 10, 27, 10, 15) })
  return events
}

async function open(events: RunEvent[], options: { width?: number; dark?: boolean } = {}) {
  const file = join(dir, `${Math.random()}.html`)
  writeFileSync(file, reportHtml(events))
  const context = await browser.newContext({
    viewport: { width: options.width ?? 1100, height: 900 },
    colorScheme: options.dark ? 'dark' : 'light',
  })
  const page = await context.newPage()
  const requests: string[] = []
  const errors: string[] = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('pageerror', (error) => errors.push(String(error)))
  page.on('dialog', (dialog) => errors.push(dialog.message()))
  const session = await context.newCDPSession(page)
  await session.send('Performance.enable', { timeDomain: 'threadTicks' })
  await page.goto(pathToFileURL(file).href)
  await page.locator('h1').first().isVisible()
  const cpuSeconds = async () => {
    const { metrics } = await session.send('Performance.getMetrics')
    return metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN
  }
  return { page, requests, errors, cpuSeconds }
}

describe('the report of a run', () => {
  it('shows what failed, what changed, when, and the tree, and asks the network for nothing', async () => {
    const { page, requests, errors } = await open(story())
    expect(await page.title()).toBe('tasks deploy_staging promote_staging_to_production: failed')
    expect(await page.locator('section.error').textContent()).toContain('the old production serves')
    expect(await page.locator('dl').textContent()).toContain('current → 20261127-101500-ab12cd')
    expect(await page.locator('.lane').count()).toBe(3)
    expect(await page.locator('.lane i.window').count()).toBe(3)
    expect(await page.getByText('Collecting package-39').isVisible()).toBe(false)
    await page.getByText('pip install .').first().click()
    expect(await page.getByText('Collecting package-39').isVisible()).toBe(true)
    expect(requests).toHaveLength(1)
    expect(errors).toEqual([])
  })

  it('marks a question that was answered with a status as no failure', async () => {
    const { page } = await open(story())
    const asked = page.locator('.work', { hasText: 'crontab -l' })
    expect(await asked.textContent()).toMatch(/^·\s*web1.example.org\s*crontab -l exit 1/)
    expect(await page.locator('.mark.failed').count()).toBeGreaterThan(0)
  })

  it('takes what hosts print as text', async () => {
    const { page, errors } = await open(story())
    expect(await page.locator('script').count()).toBe(0)
    expect(await page.content()).toContain('&lt;script&gt;alert(1)')
    expect(errors).toEqual([])
  })

  it.each([1100, 375])('fits %i pixels, light and dark', async (width) => {
    for (const dark of [false, true]) {
      const { page } = await open(story(), { width, dark })
      expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
      const background = await page.evaluate('getComputedStyle(document.body).backgroundColor')
      expect(background).toBe(dark ? 'rgb(15, 18, 22)' : 'rgb(255, 255, 255)')
      const pictures = process.env['SLIPWAY_PICTURES'] ? join(repository, 'docs/public/pictures') : dir
      mkdirSync(pictures, { recursive: true })
      const picture = join(pictures, `report-${width}-${dark ? 'dark' : 'light'}.png`)
      await page.screenshot({ path: picture })
      expect(statSync(picture).size).toBeGreaterThan(10_000)
    }
  })

  it('of 100,000 events opens in under a second', async () => {
    const events = story()
    const [first] = events
    const many = Array.from({ length: 100_000 }, (_, index): RunEvent => {
      const base = {
        at: first!.at + index,
        run: first!.run,
        task: '2',
        host: `web${index % 4}`,
        id: `m${Math.floor(index / 50)}`,
      }
      if (index % 50 === 0)
        return { ...base, type: 'command.started', display: `command ${index}`, kind: 'write', quiet: false }
      if (index % 50 === 49) return { ...base, type: 'command.finished', exitCode: 0, signal: null, durationMs: 49 }
      return {
        ...base,
        type: 'command.output',
        stream: 'stdout',
        text: `line ${index} of what a long build prints\n`,
        quiet: false,
      }
    })
    const { page, cpuSeconds } = await open([...events.slice(0, 3), ...many, ...events.slice(3)])
    expect(await page.locator('details.work').count()).toBeGreaterThan(2000)
    // The page's own time: what else the machine is doing is not its fault.
    expect(await cpuSeconds()).toBeLessThan(1)
  }, 120_000)
})
