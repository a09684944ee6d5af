import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Built, buildSlipway } from '../../built.ts'
import { makeProject, type Project } from './project.ts'

let built: Built
let project: Project
beforeAll(async () => {
  built = await buildSlipway()
  project = makeProject({
    'package.json': '{"name":"shop","type":"module","scripts":{"start":"node server.js"}}',
    'server.js': `import { createServer } from 'node:http'
const server = createServer((request, response) => response.end('hello from the shop'))
server.listen(Number(process.env.PORT), '127.0.0.1')
process.on('SIGTERM', () => server.close())
`,
    '.gitignore': 'node_modules\n',
  })
})
afterAll(async () => {
  await slipway('sandbox', 'down')
  project.remove()
  built.remove()
})

const slipway = (...args: string[]) => project.run(built.slipway, args)
const tasks = (...args: string[]) => project.run(built.tasks, args)

it('names the commands as they are typed where the package is the project’s alone', async () => {
  const other = makeProject({ 'package.json': '{"name":"shop"}' })
  try {
    const { out } = await other.run(built.slipway, ['init'], { env: { npm_command: 'exec' } })
    expect(out).toContain('npx slipway sandbox up && npx tasks --sandbox init_staging start_app:release=staging')
    expect(out).toMatch(/: {2}npx slipway doctor\n.*: {8}npx tasks init_staging/)
  } finally {
    other.remove()
  }
})

it('a project of one’s own gets from nothing to a running staging in the sandbox with the commands that init names', async () => {
  const { out } = await slipway('init')
  expect(out).toContain('Found Node in project.')
  expect(out).toContain('slipway sandbox up && tasks --sandbox init_staging start_app:release=staging')
  expect(readFileSync(join(project.dir, '.gitignore'), 'utf8')).toBe('node_modules\n.env\n.slipway/\n')
  expect((await tasks('--list')).out).toContain('deploy_staging')
  // A port of this test's own, for the server on the host, which is this machine.
  const config = join(project.dir, 'config/deploy.ini')
  project.write(
    'config/deploy.ini',
    readFileSync(config, 'utf8').replace('port 8001', `port ${20_000 + (process.pid % 10_000)}`),
  )

  expect(await slipway('sandbox', 'up')).toMatchObject({ status: 0 })
  const deployed = await tasks('--sandbox', 'init_staging', 'start_app:release=staging')
  expect(deployed.err).toContain('done, ')
  expect(deployed.status).toBe(0)
  const { httpPort } = JSON.parse(readFileSync(join(project.dir, '.slipway/sandbox/state.json'), 'utf8')) as {
    httpPort: number
  }
  expect(await page(httpPort, 'staging.shop.example.org')).toBe('hello from the shop')

  const doctor = await slipway('doctor', '--sandbox', '--json')
  const { findings } = JSON.parse(doctor.out) as {
    findings: { area: string; state: string; text: string; fix?: string }[]
  }
  expect(findings.filter(({ area, state }) => area === 'deploy@shop.example.org' && state === 'failure')).toEqual([])
  expect(findings.map(({ text }) => text)).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^supervisord \d/),
      expect.stringMatching(/^nginx \d/),
      expect.stringMatching(/^node \d/),
      'nginx runs',
      'the home folder is writable',
      'supervisor: app-a running',
    ]),
  )
  expect(doctor.status).toBe(0)

  const ran = await slipway('run', 'staging', '--sandbox', '--', 'sh', '-c', 'echo release $SLIPWAY_RELEASE; exit 5')
  expect(ran.status).toBe(5)
  expect(ran.out + ran.err).toMatch(/release shop\d{4}r1/)
}, 120_000)

it('init a second time keeps everything', async () => {
  const { out } = await slipway('init')
  expect(out).not.toContain('written')
})

function page(port: number, host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', headers: { Host: host } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}
