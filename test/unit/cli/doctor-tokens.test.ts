/** `slipway doctor` asks whether tokens are taken: Heroku's, and a hosting provider's. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { recordRun } from 'slipway/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { doctorCommand } from '../../../src/cli/doctor/doctor.ts'
import type { Finding } from '../../../src/cli/doctor/finding.ts'
import { tokenFindings } from '../../../src/cli/doctor/tokens.ts'
import { loadConfig } from '../../../src/config/index.ts'
import { startOpalstack } from '../../emulators/opalstack/index.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'slipway-doctor-'))
  mkdirSync(join(dir, 'config'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(dir, { recursive: true })
})
const configure = (text: string) => writeFileSync(join(dir, 'config/deploy.ini'), text)

test('Heroku is asked whose the token is', async () => {
  const platform = createServer((request, response) => {
    const taken = request.headers.authorization === 'Bearer HRKU-right'
    response.statusCode = !taken ? 401 : request.url === '/account' ? 200 : 404
    const id = taken ? 'not_found' : 'unauthorized'
    response.end(
      JSON.stringify(response.statusCode === 200 ? { id: '1', email: 'ada@example.com' } : { id, message: id }),
    )
  })
  await new Promise<void>((resolve) => platform.listen(0, '127.0.0.1', resolve))
  vi.stubEnv('HEROKU_API_URL', `http://127.0.0.1:${(platform.address() as AddressInfo).port}`)
  configure('[app]\nname = pony\nserver = exec x\n[staging]\ntarget = heroku\napp = pony-staging\n')
  const asked = async (token: string) => {
    vi.stubEnv('HEROKU_API_KEY', token)
    let out = ''
    const say = (text: string) => {
      out += text
    }
    const io = { out: say, err() {}, cwd: dir, env: process.env, stdin: {}, stdout: {}, stderr: {}, onBrokenPipe() {} }
    const status = await doctorCommand({ json: true }, io)
    expect(out).not.toContain(token)
    const { findings } = JSON.parse(out) as { findings: Finding[] }
    return { status, heroku: findings.filter(({ area }) => area === 'heroku') }
  }
  try {
    expect((await asked('HRKU-right')).heroku).toEqual([
      { area: 'heroku', state: 'ok', text: "the token is ada@example.com's" },
    ])
    expect(await asked('HRKU-wrong')).toMatchObject({
      status: 1,
      heroku: [
        { state: 'failure', text: expect.stringContaining('does not accept the token'), fix: expect.any(String) },
      ],
    })
  } finally {
    platform.close()
  }
})

test('a provider is asked where the domain leads, which it tells nobody else', async () => {
  const there = await startOpalstack()
  configure(
    `[app]\nname = pony\nserver = exec x\nlisten = port 8001\n[staging]\ntarget = vps\nhosts = web1\nrelease = r1\ndomain = pony.example.org\n[domains]\nprovider = opalstack\nurl = ${there.url}\n`,
  )
  const asked = async (token: string) => {
    writeFileSync(join(dir, '.env'), `OPALSTACK_TOKEN=${token}\n`)
    const { result } = await recordRun(() => tokenFindings(loadConfig(dir), new Set(['web1'])), { projectDir: dir })
    expect(JSON.stringify(result)).not.toContain(token)
    return result
  }
  try {
    expect(await asked(there.token)).toEqual([
      { area: 'opalstack', state: 'ok', text: 'the credentials are taken; pony.example.org leads nowhere yet' },
    ])
    expect(await asked('a-wrong-token')).toMatchObject([
      { area: 'opalstack', state: 'failure', fix: expect.any(String) },
    ])
  } finally {
    await there.close()
  }
})
