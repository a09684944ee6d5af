import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { Config } from '../../../src/config/types.ts'
import { createRun, withRun } from '../../../src/events/index.ts'
import { checkGate, verdict } from '../../../src/targets/gate.ts'
import { messageText, notify, webhookBody } from '../../../src/targets/notify.ts'

const facts = { user: 'ann', app: 'pony', release: 'staging', url: 'https://x/', head: 'ab12' }

/** A web server that answers everything with `status` and `answer`, and remembers what it was asked. */
async function withServer<T>(
  status: number,
  answer: unknown,
  fn: (url: string, asked: { url: string; body: string }[]) => Promise<T>,
): Promise<T> {
  const asked: { url: string; body: string }[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      asked.push({ url: request.url ?? '', body })
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    return await fn(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked)
  } finally {
    server.close()
  }
}

const configOf = (...urls: string[]): Config =>
  ({
    dir: '/nowhere',
    notifications: urls.map((url, index) => ({
      name: `n${index}`,
      kind: 'slack',
      url,
      message: '{{user}} {{event}} {{release}} {{head}} {{nope}}',
      on: ['deploy'],
    })),
  }) as unknown as Config

test('placeholders are filled in; what is not one stays', () => {
  expect(messageText('{{user}} of {{ app }} at {{url}}: {{head}} {{detail}} {{other}}', 'deploy', facts)).toBe(
    'ann of pony at https://x/: ab12  {{other}}',
  )
  expect(webhookBody('discord', 'x', 'deploy', facts)).toEqual({ content: 'x' })
  expect(webhookBody('generic', 'x', 'deploy', facts)).toMatchObject({ text: 'x', event: 'deploy', app: 'pony' })
})

test('a webhook gets its message, and one that fails is a warning that fails nothing', async () => {
  const run = createRun()
  const warnings: string[] = []
  run.bus.on((event) => event.type === 'warning' && warnings.push(event.text))
  await withServer(200, {}, (url, asked) =>
    withRun(run, async () => {
      await notify(configOf(`${url}/hook`, 'http://127.0.0.1:1/'), 'deploy', facts)
      await notify(configOf(`${url}/hook`), 'rollback', facts)
      expect(asked).toEqual([{ url: '/hook', body: '{"text":"ann deploy staging ab12 {{nope}}"}' }])
    }),
  )
  expect(warnings).toEqual([expect.stringMatching(/^\[notify\.n1\] was not told of the deploy/)])
})

test('a commit has passed when everything that judges it says so', () => {
  const check = (conclusion: string | null, status = 'completed') => ({ name: 'tests', status, conclusion })
  expect(verdict('success', [])).toBeUndefined()
  expect(verdict(undefined, [check('success'), check('skipped')])).toBeUndefined()
  expect(verdict(undefined, [])).toBe('no check has judged it')
  expect(verdict('pending', [check('success')])).toBe('its status is pending')
  expect(verdict('success', [check('failure')])).toBe('tests failed')
  expect(verdict('success', [check(null, 'in_progress')])).toBe('tests has not finished')
})

test('GitHub is asked about the commit, and an answer that is an error is a no', async () => {
  const answer = { state: 'success', total_count: 1, check_runs: [] }
  const gate = (status: number) =>
    withServer(status, answer, async (url, asked) => {
      process.env['GITHUB_API_URL'] = url
      try {
        await withRun(createRun(), () =>
          checkGate(configOf(), 'github:acme/pony', { commit: 'abcdef0123456', dirty: false }),
        )
      } finally {
        delete process.env['GITHUB_API_URL']
      }
      return asked.map((each) => each.url).sort()
    })
  expect(await gate(200)).toEqual([
    '/repos/acme/pony/commits/abcdef0123456/check-runs?per_page=100',
    '/repos/acme/pony/commits/abcdef0123456/status',
  ])
  await expect(gate(500)).rejects.toMatchObject({
    code: 'gate',
    message: expect.stringContaining('GitHub answered 500'),
  })
  await expect(
    withRun(createRun(), () => checkGate(configOf(), 'true', { commit: 'abc', dirty: true })),
  ).rejects.toMatchObject({ code: 'gate', exitCode: 2 })
})
