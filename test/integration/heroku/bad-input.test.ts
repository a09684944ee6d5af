/** What can go wrong that a person can mend: each has its own code and sentence, and names the command that mends it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { HerokuConfig } from '../../../src/config/types.ts'
import { SlipwayError } from '../../../src/events/index.ts'
import { herokuDeployment, promoteHeroku } from '../../../src/targets/heroku/index.ts'
import { api, makeApps, type Stage, setStage } from './stage.ts'

let stage: Stage
let env: Record<string, string | undefined>
beforeAll(async () => {
  stage = await setStage()
  env = { ...stage.heroku.env, HOME: stage.dir, XDG_CONFIG_HOME: undefined, PATH: process.env['PATH'] }
  await makeApps(stage.heroku)
  await stage.run(() => stage.production.deploy())
  stage.commit({ 'version.txt': '2' })
  await stage.run(() => stage.staging.deploy())
}, 90_000)
afterAll(() => stage.close())

/** A deployment that is not remembered by the stage. */
const like = (changes: Partial<HerokuConfig>, environment: Record<string, string | undefined> = {}) =>
  herokuDeployment({ ...stage.staging.config, ...changes }, { config: stage.config, env: { ...env, ...environment } })
const promote = () => promoteHeroku(stage.staging, stage.production, { setup: { config: stage.config, env } })
const app = (name: string) => stage.heroku.state.apps.get(name)!
interface Case {
  what: string
  code: string
  message: RegExp
  next: RegExp
  /** Sets the scene; what it resolves with takes it away again. */
  given?: () => undefined | (() => void)
  does: () => Promise<unknown>
}

const cases: Case[] = [
  {
    what: 'no token',
    code: 'heroku-no-token',
    message: /there is no Heroku token/,
    next: /`tasks heroku_login`/,
    does: () => like({}, { HEROKU_API_KEY: undefined }).status(),
  },
  {
    what: 'a wrong token',
    code: 'heroku-unauthorized',
    message: /does not accept the token/,
    next: /`tasks heroku_login`/,
    does: () => like({}, { HEROKU_API_KEY: 'HRKU-wrong' }).status(),
  },
  {
    what: 'no access',
    code: 'heroku-no-access',
    message: /may not see or change foreign-app/,
    next: /heroku access:add YOU@… --app foreign-app/,
    given: () => void stage.heroku.state.foreignApps.add('foreign-app'),
    does: () => like({ herokuApp: 'foreign-app' }).versions(),
  },
  {
    what: 'an app that is not there',
    code: 'heroku-app-not-found',
    message: /no Heroku app named pony-nowhere/,
    next: /`tasks init_staging_app`/,
    does: () => like({ herokuApp: 'pony-nowhere' }).versions(),
  },
  {
    what: 'a name that is taken',
    code: 'heroku-name-taken',
    message: /www is already taken: app names are shared/,
    next: /another `app =`.*`tasks init_staging_app`/,
    does: () => like({ herokuApp: 'www' }).initApp(),
  },
  {
    what: 'a plan that is gone',
    code: 'heroku-plan-gone',
    message: /no plan heroku-postgresql:dev/,
    next: /There are .*essential-0.*\[staging\.addons\].*`tasks init_staging_app`/,
    does: () => like({ herokuApp: 'pony-plan', pipeline: undefined, addons: { 'heroku-postgresql': 'dev' } }).initApp(),
  },
  {
    what: 'a quota',
    code: 'heroku-quota',
    message: /limit is reached: Cannot run more than 1 /,
    next: /`tasks scale:release=staging,worker=worker,to=0`/,
    given: () => {
      stage.heroku.faults.on.dynoQuota = 1
      return () => {
        stage.heroku.faults.on.dynoQuota = 100
      }
    },
    does: () => like({}).run(['true']),
  },
  {
    what: 'a region that there is not',
    code: 'heroku-region',
    message: /Region mars is not available/,
    next: /`heroku regions`.*`tasks init_staging_app`/,
    does: () => like({ herokuApp: 'pony-mars', region: 'mars' }).initApp(),
  },
  {
    what: 'a stack that there is not',
    code: 'heroku-stack',
    message: /Stack cedar is not available/,
    next: /`heroku stack`.*`tasks init_staging_app`/,
    does: () => like({ herokuApp: 'pony-cedar', stack: 'cedar' }).initApp(),
  },
  {
    what: 'a build that fails',
    code: 'heroku-build-failed',
    message: /pony-staging: the build failed/,
    next: /tasks deploy:release=staging/,
    given: () => {
      stage.heroku.faults.on.failBuild = true
      return () => {
        stage.heroku.faults.on.failBuild = false
      }
    },
    does: () => stage.staging.deploy(),
  },
  {
    what: 'a release phase that fails',
    code: 'heroku-release-failed',
    message: /the release phase of v\d+ failed/,
    next: /tasks deploy:release=staging/,
    given: () => {
      stage.heroku.faults.on.failRelease = true
      return () => {
        stage.heroku.faults.on.failRelease = false
      }
    },
    does: () => stage.staging.deploy(),
  },
  {
    what: 'a pipeline that is missing',
    code: 'heroku-no-pipeline',
    message: /pony-staging and pony-production are not in one pipeline/,
    next: /`pipeline = NAME`.*`tasks init_staging_app`/,
    given: () => {
      const all = stage.heroku.state.couplings
      stage.heroku.state.couplings = all.filter((each) => each.app.name !== 'pony-staging')
      return () => {
        stage.heroku.state.couplings = all
      }
    },
    does: promote,
  },
  {
    what: 'stacks that differ',
    code: 'heroku-stacks-differ',
    message: /pony-staging is on heroku-24 and pony-production on heroku-22/,
    next: /`heroku stack:set heroku-24 --app pony-production`/,
    given: () => {
      Object.assign(app('pony-production'), { stack: 'heroku-22', buildStack: 'heroku-22' })
      return () => void Object.assign(app('pony-production'), { stack: 'heroku-24', buildStack: 'heroku-24' })
    },
    does: promote,
  },
  {
    what: 'container apps',
    code: 'heroku-container',
    message: /pony-production is on the container stack/,
    next: /`heroku container:release`/,
    given: () => {
      Object.assign(app('pony-production'), { buildStack: 'container' })
      return () => void Object.assign(app('pony-production'), { buildStack: 'heroku-24' })
    },
    does: promote,
  },
  {
    what: 'a tarball for a container app',
    code: 'heroku-container',
    message: /container stack/,
    next: /`stack = heroku-24`.*`tasks init_staging_app`/,
    given: () => {
      Object.assign(app('pony-staging'), { buildStack: 'container' })
      return () => void Object.assign(app('pony-staging'), { buildStack: 'heroku-24' })
    },
    does: () => stage.staging.deploy(),
  },
  {
    what: 'a database that is too large to be cloned',
    code: 'heroku-too-large',
    message: /pony-production::DATABASE has \d+ MB, and the plan of pony-staging::DATABASE \(\S+\) holds 1 MB/,
    next: /\[staging\.addons\] and run `tasks init_staging_app`/,
    given: smallPlans,
    does: () => stage.production.database.copyTo(stage.staging),
  },
  {
    what: 'a backup that is too large to be restored',
    code: 'heroku-too-large',
    message: /the backup b\d+ has \d+ MB, and the plan of pony-production::DATABASE \(\S+\) holds 1 MB/,
    next: /\[production\.addons\] and run `tasks init_production_app`/,
    given: smallPlans,
    does: async () => {
      const backup = await stage.production.database.backup()
      await stage.production.database.restore(backup.id)
    },
  },
  {
    what: 'an extension that is missing',
    code: 'heroku-extension',
    message: /the extension postgis is not in the target database/,
    next: /heroku pg:psql --app pony-staging -c 'CREATE EXTENSION postgis'/,
    given: () => {
      stage.heroku.faults.on.failTransfers = 'extensions'
      return undefined
    },
    does: () => stage.production.database.copyTo(stage.staging),
  },
]

function smallPlans(): () => void {
  stage.heroku.faults.on.planBytes = 1e6
  return () => {
    stage.heroku.faults.on.planBytes = 1e9
  }
}

/** The failure that a person is shown: a step's is the cause of the change's. */
function shown(error: unknown): SlipwayError {
  if (!(error instanceof SlipwayError)) throw error
  return error.code === 'step-failed' && error.cause instanceof SlipwayError ? error.cause : error
}

test.each(cases)(
  '$what: a sentence, and the command that mends it',
  async ({ code, message, next, given, does }) => {
    const undo = given?.()
    try {
      const error = shown(
        await stage.run(does).then(
          () => undefined,
          (reason: unknown) => reason,
        ),
      )
      expect({ code: error.code, message: error.message, next: error.next }).toEqual({
        code,
        message: expect.stringMatching(message),
        next: expect.stringMatching(next),
      })
    } finally {
      undo?.()
    }
  },
  60_000,
)

test('two promotions at once: the second is told who is at it, since when, and what to do', async () => {
  // The first one stands still at its first step.
  let goOn = (): void => undefined
  const held = new Promise<void>((resolve) => {
    goOn = resolve
  })
  stage.heroku.faults.add('POST', /\/backups$/, { kind: 'hold', until: held })
  const first = stage.run(promote)
  while (stage.heroku.faults.rules.some((rule) => rule.times > 0))
    await new Promise((resolve) => setTimeout(resolve, 10))
  const error = await stage.run(promote).then(
    () => undefined,
    (reason: SlipwayError) => reason,
  )
  expect(error).toMatchObject({
    code: 'locked',
    message: expect.stringMatching(/(staging|production) is locked by \S+/),
    state: 'Nothing was changed by this run.',
    next: expect.stringMatching(/tasks unlock:release=(staging|production)/),
  })
  goOn()
  await first
  expect(stage.heroku.state.promotions.filter((each) => each.targets.length > 0)).toHaveLength(1)
  expect((await stage.get('pony-production', '/up')).version).toBe('2')
}, 60_000)

test('no failure left anything half done that the journal does not know of', async () => {
  const open = `SELECT scopes, step->>'step', step->>'ok' FROM slipway.journals
    JOIN slipway.entries ON id = journal, LATERAL (SELECT entry AS step) AS each
    WHERE result IS NULL AND entry->>'entry' = 'outcome' ORDER BY n`
  // The app whose add-on has no such plan was made by then, and is without it.
  expect((await stage.heroku.sql('pony-production', open)).split('\n')).toEqual([
    '{pony-plan.init}|create the app pony-plan|true',
    '{pony-plan.init}|create the add-on heroku-postgresql:dev|false',
  ])
  expect(await stage.heroku.sql('pony-production', 'SELECT count(*) FROM slipway.locks')).toBe('0')
  for (const name of ['pony-staging', 'pony-production']) {
    expect(app(name)).toMatchObject({ maintenance: false })
    expect(
      (await api(stage.heroku, 'GET', `/apps/${name}/releases`)).some(
        (each: { status: string }) => each.status === 'pending',
      ),
    ).toBe(false)
  }
})
