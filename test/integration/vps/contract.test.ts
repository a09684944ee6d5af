import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { deploymentContract } from '../../contract/deployment.ts'
import { ask, createProject } from './host.ts'

deploymentContract('hosts of one’s own', async () => {
  const project = await createProject()
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
  })
  const socket = join(project.home, '.slipway/pony/sites/staging/current.sock')
  const database = join(project.release, 'shared/db/pony.sqlite')
  const sql = (text: string) => execFileSync('/usr/bin/sqlite3', [database, text]).toString().trim()
  let changes = 0
  return {
    run: (fn, options) => project.run(fn, options),
    changeCode: () => project.edit('app/pony/pages.py', (text) => `${text}\n# ${++changes}\n`),
    breakCode: () =>
      project.edit('app/pony/web.py', (text) => text.replace('def main()', 'raise SystemExit(1)\n\n\ndef main()')),
    repairCode: () => project.edit('app/pony/web.py', (text) => text.replace('raise SystemExit(1)\n\n\n', '')),
    visit: (path) => ask(socket, path),
    addRow: () => void sql(`INSERT INTO settings VALUES ('row-${++changes}', 'x')`),
    rows: () => Number(sql('SELECT count(*) FROM settings')),
    worker: 'mailer',
    setting: 'pony.banner',
    logSource: 'app',
    stop: () => project.stop(),
  }
})
