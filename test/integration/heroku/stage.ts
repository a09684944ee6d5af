/** A stage for tests: the platform's emulator, a project folder with the fixture app in git, and deployments on it. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { AppConfig, Config, HerokuConfig } from '../../../src/config/types.ts'
import {
  createBus,
  createRun,
  type Prompter,
  type Run,
  type RunEvent,
  type RunOptions,
  withRun,
} from '../../../src/events/index.ts'
import type { HerokuDeployment } from '../../../src/targets/heroku/deployment.ts'
import { type HerokuSetup, herokuDeployment } from '../../../src/targets/heroku/index.ts'
import { type HerokuEmulator, startHerokuEmulator } from '../../emulators/heroku/emulator.ts'

export const fixtureApp = join(import.meta.dirname, '../../emulators/heroku/fixture-app')

export interface Stage {
  readonly dir: string
  readonly heroku: HerokuEmulator
  readonly config: Config
  staging: HerokuDeployment
  production: HerokuDeployment
  /** A deployment with some of its configuration changed. */
  deployment(name: string, changes?: Partial<HerokuConfig>): HerokuDeployment
  /** Runs `fn` in a run of its own; resolves with its value and the run's events. */
  run<T>(
    fn: (run: Run) => Promise<T>,
    options?: RunOptions,
    setup?: { signal?: AbortSignal; prompter?: Prompter },
  ): Promise<{ value: T; events: RunEvent[] }>
  /** Changes the fixture app and commits it. */
  commit(files: Record<string, string>): string
  /** An HTTP call to an app through its router. */
  get(app: string, path: string): Promise<{ status: number; body: unknown; version: string | null }>
  post(app: string, name: string): Promise<number>
  close(): Promise<void>
}

export async function setStage(options: { apps?: Partial<AppConfig> } = {}): Promise<Stage> {
  const dir = mkdtempSync(join(tmpdir(), 'slipway-heroku-'))
  const project = join(dir, 'project')
  mkdirSync(join(project, 'config'), { recursive: true })
  cpSync(fixtureApp, project, { recursive: true })
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', project, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  git('init', '-q', '-b', 'main')
  git('config', 'user.email', 'ada@example.com')
  git('config', 'user.name', 'Ada')
  writeFileSync(join(project, '.gitignore'), '__pycache__/\nconfig/\n.slipway/\n')
  const heroku = await startHerokuEmulator({ dir: join(dir, 'heroku') })
  const env = { ...heroku.env, HOME: dir, SLIPWAY_STATE_HOME: dir, PATH: process.env['PATH'] }
  const app: AppConfig = {
    name: 'pony',
    source: '.',
    root: '~/webapps',
    exclude: [],
    install: [],
    build: [],
    migrations: 'none',
    server: 'exec python3 web.py',
    listen: { kind: 'port', port: 8000 },
    workers: {},
    drainSeconds: 30,
    health: { path: '/up', status: 200, deadlineMs: 5000 },
    shared: {},
    databases: {},
    spools: [],
    logs: {},
    remove: [],
    modes: {},
    links: {},
    environment: {},
    keepVersions: 5,
    hooks: {},
    schedule: {},
    ...options.apps,
  }
  const make = (name: string): HerokuConfig => ({
    name,
    target: 'heroku',
    app,
    herokuApp: `pony-${name}`,
    pipeline: 'pony',
    addons: { 'heroku-postgresql': 'essential-0' },
    buildpacks: [],
    features: [],
    strategy: 'pipeline',
    place: { file: 'config/deploy.ini', line: 1 },
  })
  const config: Config = {
    dir: project,
    file: join(project, 'config/deploy.ini'),
    app,
    deployments: { staging: make('staging'), production: make('production') },
    domains: { provider: 'none', options: {} },
    notifications: [],
    places: {},
  }
  const stage: Stage = {
    dir: project,
    heroku,
    config,
    deployment(name, changes = {}) {
      const changed = { ...(config.deployments[name] as HerokuConfig), ...changes }
      config.deployments[name] = changed
      return herokuDeployment(changed, { config, env })
    },
    staging: undefined as never,
    production: undefined as never,
    async run(fn, runOptions = {}, setup = {}) {
      const events: RunEvent[] = []
      const bus = createBus()
      bus.on((event) => events.push(event))
      const run = createRun({ bus, options: { projectDir: project, yes: true, ...runOptions }, ...setup })
      try {
        return { value: await withRun(run, () => fn(run)), events }
      } finally {
        await withRun(run, () => run.finish())
      }
    },
    commit(files) {
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(join(project, name, '..'), { recursive: true })
        writeFileSync(join(project, name), text)
      }
      git('add', '-A')
      git('commit', '-q', '--allow-empty', '-m', 'change')
      return git('rev-parse', 'HEAD')
    },
    async get(name, path) {
      const port = heroku.state.apps.get(name)?.port
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { Connection: 'close' } })
      const text = await response.text()
      return {
        status: response.status,
        body: /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : text,
        version: response.headers.get('x-version'),
      }
    },
    async post(name, who) {
      const port = heroku.state.apps.get(name)?.port
      const response = await fetch(`http://127.0.0.1:${port}/pledges`, {
        method: 'POST',
        body: `name=${who}`,
        headers: { Connection: 'close' },
      })
      await response.arrayBuffer()
      return response.status
    },
    async close() {
      await heroku.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
  stage.staging = stage.deployment('staging')
  stage.production = stage.deployment('production')
  stage.commit({ 'version.txt': '1' })
  return stage
}

/** Ctrl-C while a deploy builds: resolves once the platform has cancelled the build. */
export async function interruptBuild(stage: Stage): Promise<void> {
  stage.commit({ 'bin/post_compile': '#!/usr/bin/env bash\nexec sleep 60\n' })
  const controller = new AbortController()
  const deploying = stage.run(() => stage.staging.deploy(), {}, { signal: controller.signal })
  const app = stage.heroku.state.apps.get('pony-staging')!
  while (!app.builds.at(-1)?.process || app.builds.at(-1)?.status !== 'pending')
    await new Promise((resolve) => setTimeout(resolve, 5))
  controller.abort()
  await expect(deploying).rejects.toMatchObject({ exitCode: 130 })
  while (app.builds.at(-1)?.status === 'pending') await new Promise((resolve) => setTimeout(resolve, 5))
  expect(app.builds.at(-1)).toMatchObject({ status: 'failed', canceled: true })
  stage.commit({ 'bin/post_compile': '#!/usr/bin/env bash\necho built\n' })
}

/** How many columns `colour` an app's database has: what the second migration brings. */
export const colours = (stage: Stage, app: string): Promise<string> =>
  stage.heroku.sql(app, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'colour'")

/** Two apps whose exchange moves data: Ada on production, and staging a version and a migration ahead. */
export async function setSwap(stage: Stage, prepare: () => Promise<unknown>): Promise<HerokuSetup> {
  await makeApps(stage.heroku)
  await stage.run(() => stage.production.deploy())
  await stage.post('pony-production', 'Ada')
  await prepare()
  stage.commit({ 'version.txt': '2', 'migrations/0002_colour.sql': 'ALTER TABLE pledges ADD colour text;' })
  await stage.run(() => stage.staging.deploy())
  await stage.post('pony-staging', 'Test')
  stage.production = stage.deployment('production', { strategy: 'swap' })
  return { config: stage.config, env: { ...stage.heroku.env, HOME: stage.dir, PATH: process.env['PATH'] } }
}

/** An exchange whose health check fails is taken back. */
export async function failSwap(stage: Stage, swap: () => Promise<void>): Promise<void> {
  stage.staging = stage.deployment('staging', {
    app: { ...stage.config.app, health: { path: '/up', status: 418, deadlineMs: 300 } },
  })
  await expect(stage.run(swap)).rejects.toMatchObject({ code: 'step-failed', undone: true })
  stage.staging = stage.deployment('staging', { app: stage.config.app })
}

/** The platform's own calls, for setting a scene without the code under test. */
// biome-ignore lint/suspicious/noExplicitAny: replies are looked at in tests
export async function api(heroku: HerokuEmulator, method: string, path: string, body?: unknown): Promise<any> {
  const response = await fetch(`${heroku.url}${path}`, {
    method,
    headers: { Authorization: `Bearer ${heroku.token}`, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return text ? JSON.parse(text) : undefined
}

/** Apps in a pipeline, with databases, and nothing deployed. */
export async function makeApps(
  heroku: HerokuEmulator,
  names = ['pony-staging', 'pony-production'],
  databases = true,
): Promise<void> {
  const pipeline = await api(heroku, 'POST', '/pipelines', { name: 'pony' })
  for (const name of names) {
    await api(heroku, 'POST', '/apps', { name })
    await api(heroku, 'POST', '/pipeline-couplings', {
      app: name,
      pipeline: pipeline.id,
      stage: name.endsWith('production') ? 'production' : 'staging',
    })
    if (!databases) continue
    const addon = await api(heroku, 'POST', `/apps/${name}/addons`, { plan: 'heroku-postgresql:essential-0' })
    while ((await api(heroku, 'GET', `/addons/${addon.id}`)).state === 'provisioning')
      await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
