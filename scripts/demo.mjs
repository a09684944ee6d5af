/**
 * `npm run demo`: the whole story on this machine, with real servers and the real commands. A sandbox, an app deployed
 * to its staging, changed, deployed again, promoted to production, and a second release promoted under load; then the
 * same task file on an emulator of Heroku. It works in .slipway/demo, a copy of this repository's task file, configuration and app; run again, it goes on there.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join, relative } from 'node:path'
import { styleText } from 'node:util'
import { build, installDependencies, root } from './dependencies.mjs'
import { startLoad } from './load.mjs'
import { setup } from './setup.mjs'

const dir = join(root, '.slipway/demo')
const herokuDir = join(root, '.slipway/demo-heroku')
const names = { staging: 'staging.pony.example.org', production: 'pony.example.org' }

class Failed extends Error {}

const colours = process.stdout.isTTY && !process.env.NO_COLOR
const styled = (style, text) => (colours ? styleText(style, text) : text)
const say = (text) => console.log(`\n${styled(['bold', 'cyan'], text)}`)

/** Runs one of the two commands as a user would type it, its output shown. */
const type = (command, ...args) => typeIn(dir, command, ...args)

function typeIn(folder, command, ...args) {
  console.log(`\n${styled('bold', `$ ${command} ${args.join(' ')}`)}`)
  const { status } = spawnSync(process.execPath, [join(root, `dist/bin/${command}.js`), ...args], {
    cwd: folder,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) throw new Failed(`\`${command} ${args.join(' ')}\` ended with status ${status}`)
}
const tasks = (...args) => type('tasks', '--sandbox', ...args)

/** The same while this process goes on: a load has to run beside it. */
async function tasksBeside(...args) {
  const { spawn } = await import('node:child_process')
  console.log(`\n${styled('bold', `$ tasks --sandbox ${args.join(' ')}`)}`)
  const child = spawn(process.execPath, [join(root, 'dist/bin/tasks.js'), '--sandbox', ...args], {
    cwd: dir,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const status = await new Promise((resolve) => child.once('exit', resolve))
  if (status !== 0) throw new Failed(`\`tasks --sandbox ${args.join(' ')}\` ended with status ${status}`)
}

function sandboxFacts() {
  const { stdout } = spawnSync(process.execPath, [join(root, 'dist/bin/slipway.js'), 'sandbox', 'status', '--json'], {
    cwd: dir,
    encoding: 'utf8',
  })
  return JSON.parse(stdout)
}

/** A request as a visitor of the site sends it: to nginx, with the site's name. */
function visit(deployment, path = '/', body) {
  const { httpPort } = sandboxFacts()
  return new Promise((resolve, reject) => {
    const headers = { host: names[deployment], ...(body && { 'content-type': 'application/json' }) }
    const options = { host: '127.0.0.1', port: httpPort, path, headers, method: body ? 'POST' : 'GET', agent: false }
    const sent = request(options, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk
      })
      response.once('end', () => resolve({ status: response.statusCode, release: response.headers['x-release'], text }))
    })
    sent.once('error', reject)
    sent.end(body && JSON.stringify(body))
  })
}

/** Fetches the front page and shows what a visitor sees of it. */
async function show(deployment) {
  const { status, release, text } = await visit(deployment)
  console.log(`\n${styled('bold', `GET http://${names[deployment]}/`)}   through nginx`)
  console.log(`  ${status}   X-Release: ${release}`)
  for (const line of visible(text)) console.log(`  │ ${line}`)
  if (status !== 200) throw new Failed(`the page of ${deployment} answers ${status}`)
  return { release, text }
}

/** The text of a page, a line for each of its parts. */
function visible(html) {
  const body = html.replace(/<head>.*?<\/head>|<footer>.*?<\/footer>/gs, '').replace(/\s+/g, ' ')
  const lines = body.replace(/<(p|h1|h2|main)(?=[ >])[^>]*>|<div class="card">/g, '\n').replace(/<[^>]+>/g, ' ')
  return lines
    .split('\n')
    .map((line) => line.replace(/\s+/g, ' ').trim())
    .filter(Boolean)
}

/** The project: this repository's own task file and configuration, and a copy of the app that may be changed. */
function project() {
  mkdirSync(dir, { recursive: true })
  for (const part of ['config', 'examples']) rmSync(join(dir, part), { recursive: true, force: true })
  for (const part of ['tasks.ts', 'config', 'examples/pony']) {
    const filter = (path) => !path.includes('__pycache__') && !path.endsWith('/var')
    cpSync(join(root, part), join(dir, part), { recursive: true, filter })
  }
  writeFileSync(join(dir, '.env'), 'PONY_ADMIN_PASSWORD=allons-y\n', { mode: 0o600 })
}

function changeTheApp() {
  const file = join(dir, 'examples/pony/pony/pages.py')
  const now = new Date().toISOString().slice(11, 19)
  const changed = `Long rides, self-supported; as of ${now}.`
  writeFileSync(file, readFileSync(file, 'utf8').replace(/Long rides, self-supported[^.]*\./, changed))
  console.log(`\n${styled('bold', relative(root, file))}: the front page now says "${changed}"`)
  return changed
}

/** Which release is staging and which production, by the host's own record. */
function roles() {
  const file = join(sandboxFacts().home, '.slipway/pony/roles.json')
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
}

/** `2026r3` where 2026r2 is the last there is. */
function nextRelease() {
  const webapps = join(sandboxFacts().home, 'webapps')
  const numbers = readdirSync(webapps).flatMap((name) => /^pony2026r(\d+)$/.exec(name)?.[1] ?? [])
  return `2026r${Math.max(...numbers.map(Number)) + 1}`
}

/** What the worker of the staging release has sent, if it has. */
function sentMail(key) {
  const file = join(sandboxFacts().home, 'webapps', roles().staging, 'shared/mail/sent', `${key}.eml`)
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined
}

async function eventually(look, deadlineMs = 10_000) {
  for (const deadline = Date.now() + deadlineMs; Date.now() < deadline; ) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Failed(`it did not happen within ${deadlineMs / 1000} s`)
}

function initialize() {
  tasks('init_staging_app')
  tasks('init_staging')
  tasks('start_app:release=staging', 'start_staging_supervisor')
}

async function stagingStory() {
  say('Staging: from nothing to a running app')
  if (roles().production) tasks(`new_staging_release:${nextRelease()}`)
  initialize()
  const first = await show('staging')

  say('A change, deployed')
  const changed = changeTheApp()
  tasks('deploy_staging')
  const second = await show('staging')
  if (second.release === first.release) throw new Failed('the second deploy answers as the first')
  if (!second.text.includes(changed)) throw new Failed('the page does not show the change')

  say('Somebody registers, and the worker mails them')
  const rider = { name: 'Madeleine', email: 'madeleine@example.org' }
  const { status, text } = await visit('staging', '/brevets/200/riders', rider)
  if (status !== 201) throw new Failed(`registering answers ${status}: ${text}`)
  console.log(`\n  201   ${text.trim()}`)
  const mail = await eventually(() => sentMail(JSON.parse(text).key))
  for (const line of mail.split('\n').filter((each) => /^(From|To|Subject):/.test(each))) console.log(`  │ ${line}`)

  say('What runs, and its log')
  tasks('status:release=staging')
  tasks('tail_app_log:release=staging,lines=5')
}

async function promotionStory() {
  if (!roles().production) {
    say('Staging becomes production')
    tasks('--yes', 'promote_staging_to_production')
    await show('production')
    say('The next release, on staging')
    tasks(`new_staging_release:${nextRelease()}`)
    initialize()
    await show('staging')
  } else {
    say('Production, from the last time')
    tasks('start_app:release=production', 'start_production_supervisor')
    await show('production')
  }
  say('It becomes production under load: 32 connections that never retry, a fifth of the requests are writes')
  const load = startLoad({ port: sandboxFacts().httpPort, host: names.production, pauseMs: 5 })
  let report
  try {
    await tasksBeside('--yes', 'promote_staging_to_production')
  } finally {
    report = await load.stop()
  }
  const riders = JSON.parse((await visit('production', '/riders.json')).text)
  const times = new Map()
  for (const { key } of riders) times.set(key, (times.get(key) ?? 0) + 1)
  const lost = report.ledger.filter((key) => !times.has(key))
  const twice = report.ledger.filter((key) => times.get(key) > 1)
  console.log(`
  ${report.requests} requests in ${((report.endedAt - report.startedAt) / 1000).toFixed(1)} s: ${report.failures.length} failed, ${report.refused.length} refused
  longest wait ${report.longestMs} ms
  ${report.ledger.length} registrations acknowledged: ${lost.length} missing from the new production, ${twice.length} there twice`)
  const mails = await mailsOf('production', riders.length)
  console.log(
    `  ${mails.sent} mails sent so far, ${mails.queued} queued, for ${riders.length} riders; ${mails.twice} sent twice`,
  )
  for (const [release, { answers }] of Object.entries(report.releases))
    console.log(`  ${answers} answered by ${release}`)
  await show('production')
  if (report.failures.length > 0 || lost.length > 0 || twice.length > 0)
    throw new Failed('the promotion lost something')
}

const herokuIni = `; The same task file; only this differs.
[app]
name = pony
source = app
init_db = python3 populate.py

[staging]
target = heroku
app = pony-staging
pipeline = pony

[staging.addons]
heroku-postgresql = essential-0

[production]
target = heroku
app = pony-production
pipeline = pony

[production.addons]
heroku-postgresql = essential-0
`

/** The same task file on Heroku: on an emulator of it that runs here, with real processes and databases. */
async function herokuStory() {
  say('The same task file on Heroku, on its emulator: only config/deploy.ini differs')
  // From nothing each time, as its emulator is: locks of a demo that was interrupted go as well.
  if (existsSync(herokuDir)) typeIn(herokuDir, 'slipway', 'sandbox', 'down')
  rmSync(herokuDir, { recursive: true, force: true })
  mkdirSync(join(herokuDir, 'config'), { recursive: true })
  cpSync(join(root, 'tasks.ts'), join(herokuDir, 'tasks.ts'))
  cpSync(join(root, 'test/emulators/heroku/fixture-app'), join(herokuDir, 'app'), { recursive: true })
  writeFileSync(join(herokuDir, 'config/deploy.ini'), herokuIni)
  const version = (text) => writeFileSync(join(herokuDir, 'app/version.txt'), `${text}\n`)
  const heroku = (...args) => typeIn(herokuDir, 'tasks', '--sandbox', ...args)
  typeIn(herokuDir, 'slipway', 'sandbox', 'up', '--heroku')
  try {
    version('first')
    heroku('--yes', 'init_staging')
    heroku('--yes', 'init_production_app')
    heroku('deploy:release=production')
    version('second')
    heroku('deploy_staging')
    heroku('--yes', 'promote_staging_to_production')
    heroku('status:release=production')
    const { stdout } = spawnSync(
      process.execPath,
      [join(root, 'dist/bin/tasks.js'), '--sandbox', 'open:release=production'],
      { cwd: herokuDir, encoding: 'utf8' },
    )
    const answer = await (await fetch(new URL('/up', stdout.trim()))).json()
    console.log(`\n${styled('bold', `GET ${stdout.trim()}up`)}   ${JSON.stringify(answer)}`)
    if (answer.version !== 'second') throw new Failed('production does not run what was promoted')
  } finally {
    typeIn(herokuDir, 'slipway', 'sandbox', 'down')
  }
}

/** Where the mails of a deployment are; waits until there is one for each rider, which the app sees to on its own. */
async function mailsOf(deployment, riders) {
  await eventually(async () => {
    const { mails } = JSON.parse((await visit(deployment, '/up')).text)
    return Object.values(mails).reduce((sum, count) => sum + count, 0) >= riders ? true : undefined
  })
  const log = join(sandboxFacts().home, 'webapps', roles()[deployment], 'shared/mail/sent.log')
  const sent = existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : []
  return { sent: sent.length, queued: riders - sent.length, twice: sent.length - new Set(sent).size }
}

function taskNames() {
  const { stdout } = spawnSync(process.execPath, [join(root, 'dist/bin/tasks.js'), '--list', '--json'], {
    cwd: dir,
    encoding: 'utf8',
  })
  return JSON.parse(stdout).tasks.map(({ name }) => name)
}

function next() {
  const { httpPort } = sandboxFacts()
  const here = relative(process.cwd(), dir) || '.'
  const worthTyping = [
    ['status'],
    ['ps'],
    ['tail_app_log', ':release=production,follow'],
    ['promotions'],
    ['demote', ' --plan'],
  ]
  const listed = new Set(taskNames())
  say('All of this runs on. Look around:')
  console.log(`
  http://${names.production}.localhost:${httpPort}/     in a browser

  cd ${here}
  npx tasks --list`)
  for (const [name, rest = ''] of worthTyping) if (listed.has(name)) console.log(`  npx tasks --sandbox ${name}${rest}`)
  console.log(`  npx slipway ssh production --sandbox
  npx slipway sandbox down                     ends it; here alone, since it was started here`)
}

try {
  await setup('demo')
  installDependencies()
  if (!build()) throw new Failed('the build failed')
  project()
  say('A throwaway host on this machine: sshd and nginx, with a home of its own')
  type('slipway', 'sandbox', 'up')
  await stagingStory()
  await promotionStory()
  await herokuStory()
  next()
} catch (error) {
  console.error(`\n${styled('red', 'The demo failed:')} ${error.message}`)
  if (!(error instanceof Failed)) console.error(error.stack)
  console.error(`The sandbox stays as it is, to look at: ${relative(process.cwd(), dir)}`)
  process.exitCode = 1
}
