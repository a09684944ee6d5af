import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deploymentContract } from '../../contract/deployment.ts'
import { makeApps, setStage } from './stage.ts'

deploymentContract('Heroku', async () => {
  const stage = await setStage({ apps: { initDb: 'python3 populate.py' } })
  await makeApps(stage.heroku, ['pony-staging'])
  let changes = 0
  const web = join(stage.dir, 'web.py')
  const edit = (change: (text: string) => string): void => writeFileSync(web, change(readFileSync(web, 'utf8')))
  return {
    run: (fn, options) => stage.run(() => fn(stage.staging), options),
    changeCode: () => writeFileSync(join(stage.dir, 'version.txt'), `changed ${++changes}`),
    breakCode: () => edit((text) => `raise SystemExit(1)\n${text}`),
    repairCode: () => edit((text) => text.replace('raise SystemExit(1)\n', '')),
    visit: async (path) => {
      const { status, version } = await stage.get('pony-staging', path)
      return { status, release: version ?? '' }
    },
    addRow: async () => void (await stage.post('pony-staging', `row-${++changes}`)),
    rows: async () => Number(await stage.heroku.sql('pony-staging', 'SELECT count(*) FROM pledges')),
    worker: 'worker',
    setting: 'BANNER',
    logSource: 'web',
    stop: () => stage.close(),
  }
})
