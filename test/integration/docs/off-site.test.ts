/** The lines of the guide that send backups elsewhere, and bring one back: between two real hosts, with the real age. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Sshd, startSshd } from '../../servers/sshd.ts'
import { blocksOf } from '../../unit/docs/blocks.ts'
import { createProject, type Project } from '../vps/host.ts'

const blocks = blocksOf('docs/guide/databases.md')
const [send, back] = ['tar -c', 'tar -x'].map(
  (words) => blocks.find(({ text }) => text.includes(words))?.text as string,
)

let project: Project
let vault: Sshd
/** Lines of the guide for this vault: who it is there, and to whom it is encrypted. */
let here: (text: string) => string

beforeAll(async () => {
  vault = await startSshd({ address: '127.0.0.14' })
  project = await createProject({
    sshd: {
      extraClientConfig: `Host backup.example.org
  HostName ${vault.address}
  Port ${vault.port}
  IdentityFile ${vault.clientKeyFile}
  UserKnownHostsFile ${vault.knownHostsFile}
`,
    },
  })
  execFileSync('age-keygen', ['-o', join(project.home, 'key.txt')], { stdio: 'pipe' })
  const recipient = /age1\w+/.exec(readFileSync(join(project.home, 'key.txt'), 'utf8'))?.[0] as string
  here = (text) => text.replaceAll('vault@', `${vault.user}@`).replace('age1…', recipient)
  project.configure((text) => `${text}\n${here(send as string)}`)
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
    await staging.database.init()
  })
  mkdirSync(join(project.release, 'shared/media'))
  writeFileSync(join(project.release, 'shared/media/photo.jpg'), 'a photo')
  mkdirSync(join(vault.home, 'media'))
}, 60_000)
afterAll(async () => {
  await project?.stop()
  await vault?.stop()
})

const sql = (text: string) =>
  execFileSync('/usr/bin/sqlite3', [join(project.release, 'shared/db/pony.sqlite'), text])
    .toString()
    .trim()
const backups = () => join(project.home, '.slipway/pony/backups')

test('a backup and the media are on the other host; one that was lost here comes back, is verified and restored', async () => {
  sql("INSERT INTO settings VALUES ('colour', 'sent')")
  const { value: backup } = await project.run((staging) => staging.database.backup())
  const sent = readFileSync(join(vault.home, `pony-${backup.id}.tar.age`))
  expect(sent.subarray(0, 21).toString()).toBe('age-encryption.org/v1')
  expect(readFileSync(join(vault.home, 'media/photo.jpg'), 'utf8')).toBe('a photo')
  rmSync(backups(), { recursive: true })
  sql("UPDATE settings SET value = 'later' WHERE name = 'colour'")
  const bin = join(project.home, '../bin')
  execFileSync('/bin/sh', ['-euc', here(back as string).replace(/^id=.*/, `id=${backup.id}`)], {
    cwd: project.home,
    env: { HOME: project.home, PATH: `${bin}:/usr/bin:/bin` },
  })
  await project.run(async (staging) => {
    await staging.database.verify(backup.id)
    await staging.database.restore(backup.id)
  })
  expect(sql("SELECT value FROM settings WHERE name = 'colour'")).toBe('sent')
}, 60_000)

test('where it can not be encrypted, or the other host does not answer, that is told, and the backup is there', async () => {
  const plain = readFileSync(join(project.dir, 'config/deploy.ini'), 'utf8')
  project.configure((text) => text.replace(/age1\w+/, 'age1nobody'))
  const state = expect.stringMatching(/^The backup staging-\S+ is there, and whole\.$/)
  await expect(project.run((staging) => staging.database.backup())).rejects.toMatchObject({
    code: 'after-backup',
    detail: expect.stringContaining('age1nobody'),
    state,
  })
  project.configure(() => plain)
  await vault.stop()
  await expect(project.run((staging) => staging.database.backup())).rejects.toMatchObject({
    code: 'after-backup',
    detail: expect.stringContaining('Connection refused'),
    state,
  })
  const whole = readdirSync(backups()).filter((name) => existsSync(join(backups(), name, 'manifest.json')))
  expect(whole.filter((name) => name.startsWith('staging-')).length).toBeGreaterThanOrEqual(3)
}, 60_000)
