/** What is wrong is told in a sentence, and nothing on the host is changed by it. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createProject, type Project } from './host.ts'

let project: Project
beforeAll(async () => {
  project = await createProject()
}, 30_000)
afterAll(() => project.stop())

/** Sees to it that a version is there that could be harmed. */
async function installed(): Promise<void> {
  if (existsSync(join(project.release, 'current'))) return
  await project.run(async (staging) => {
    await staging.upload()
    await staging.install()
  })
}

/** Replaces .env; returns what was there. */
function setEnv(text: string): string {
  const file = join(project.dir, '.env')
  const before = readFileSync(file, 'utf8')
  writeFileSync(file, text)
  return before
}

/** Whether anything of an app is on the host. */
const untouched = () => !existsSync(join(project.home, 'webapps')) && !existsSync(join(project.home, '.slipway'))

test('a missing variable of .env is named, with what needs it, before anything connects', async () => {
  project.edit('config/staging.ini', (text) => `${text}mail_password = {{ secret:MAIL_PASSWORD }}\n`)
  await expect(project.run((staging) => staging.upload())).rejects.toMatchObject({
    code: 'no-secret',
    message: 'the secret MAIL_PASSWORD is nowhere to be found; config/staging.ini needs it',
    state: 'Nothing has connected.',
    exitCode: 2,
  })
  project.edit('config/staging.ini', (text) => text.replace(/^mail_password.*\n/m, ''))
  expect(untouched()).toBe(true)
})

test('so is one that only init_db will need, and one that is missed later claims no more than is true', async () => {
  const answers = setEnv('')
  await expect(project.run((staging) => staging.initApp())).rejects.toMatchObject({
    code: 'no-secret',
    message: expect.stringContaining('PONY_ADMIN_PASSWORD'),
    state: 'Nothing has connected.',
    exitCode: 2,
  })
  expect(untouched()).toBe(true)
  const late = project.run(async (staging) => {
    await staging.status()
    await staging.database.init()
  })
  await expect(late).rejects.toMatchObject({ code: 'no-secret', state: undefined })
  setEnv(answers)
})

test('a placeholder that is not known is named with its line', async () => {
  project.edit('config/staging.ini', (text) => `${text}x = {{ sharde }}\n`)
  await expect(
    project.run(async (staging) => {
      await staging.upload()
      await staging.install()
    }),
  ).rejects.toMatchObject({
    code: 'settings',
    message: 'config/staging.ini:4: {{ sharde }} is not known',
    exitCode: 2,
  })
  project.edit('config/staging.ini', (text) => text.replace(/^x = .*\n/m, ''))
})

test('services that are not there are refused, and nothing is made of them', async () => {
  const before = readdirSync(project.home, { recursive: true }).sort()
  project.configure((text) => text.replace('[staging]\n', '[staging]\nservices = systemd\n'))
  const refused = await project.run((staging) => staging.install()).catch((error: unknown) => error)
  project.configure((text) => text.replace('services = systemd\n', ''))
  expect(refused).toMatchObject({
    code: 'no-systemd',
    state: 'Nothing was changed.',
    next: expect.stringContaining('services = supervisor'),
  })
  expect(readdirSync(project.home, { recursive: true }).sort()).toEqual(before)
})

test('a source folder that is not there', async () => {
  project.configure((text) => text.replace('source = app', 'source = ap'))
  await expect(project.run((staging) => staging.upload())).rejects.toMatchObject({ code: 'no-source', exitCode: 2 })
  project.configure((text) => text.replace('source = ap\n', 'source = app\n'))
})

test('another branch and a dirty tree are refused where a branch is named; a ref is taken from git, not from the tree', async () => {
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: project.dir })
      .toString()
      .trim()
  git('init', '-q', '-b', 'main')
  writeFileSync(join(project.dir, '.gitignore'), '.env\n')
  git('add', '.')
  git('commit', '-qm', 'one')
  project.configure((text) => text.replace('release = r2', 'release = r2\nbranch = main'))
  project.edit('app/pony/pages.py', (text) => `${text}# not committed\n`)
  await expect(project.run((staging) => staging.upload())).rejects.toMatchObject({ code: 'dirty-tree', exitCode: 2 })
  git('checkout', '-qb', 'other')
  await expect(project.run((staging) => staging.upload())).rejects.toMatchObject({
    code: 'wrong-branch',
    message: 'staging takes the branch main, and this is other',
  })
  await expect(project.run((staging) => staging.upload({ ref: 'no-such' }))).rejects.toMatchObject({ code: 'no-ref' })
  git('commit', '-qam', 'two')
  await expect(project.run((staging) => staging.upload({ ref: 'other' }))).rejects.toMatchObject({
    code: 'wrong-branch',
    message: 'other is not on main, which is what staging takes',
  })
  const { value: version } = await project.run(async (staging) => {
    await staging.upload({ ref: 'main' })
    return staging.install()
  })
  expect(version.commit).toBe(git('rev-parse', 'main'))
  expect(version.id).toMatch(new RegExp(`${git('rev-parse', 'main').slice(0, 4)}$`))
  expect(project.read('webapps/ponyr2/current/pony/pages.py')).not.toContain('not committed')
  project.configure((text) => text.replace('\nbranch = main', ''))
}, 30_000)

test('a gate that says no stops a deploy before anything connects', async () => {
  const versions = readdirSync(join(project.release, 'versions'))
  project.configure((text) =>
    text.replace('drain = 10s', 'drain = 10s\ngate = echo tests of $SLIPWAY_COMMIT are red; exit 1'),
  )
  await expect(project.run((staging) => staging.upload({ ref: 'main' }))).rejects.toMatchObject({
    code: 'gate',
    message: expect.stringMatching(/^[0-9a-f]{10} may not be deployed: .*status 1: tests of [0-9a-f]{40} are red$/),
    exitCode: 2,
  })
  project.configure((text) => text.replace(/gate = .*\n/, ''))
  expect(readdirSync(join(project.release, 'versions'))).toEqual(versions)
})

test('a host without supervisord and one without rsync are told what to install', async () => {
  const bin = join(project.home, 'bin-without')
  mkdirSync(bin)
  for (const program of [
    'sh',
    'cat',
    'printf',
    'id',
    'uname',
    'readlink',
    'sed',
    'df',
    'tail',
    'mkdir',
    'mv',
    'rm',
    'ln',
    'chmod',
    'python3',
    'tr',
    'grep',
    'cut',
    'sleep',
    'env',
    'cp',
    'ls',
    'head',
    'date',
    'wc',
    'sort',
    'basename',
    'dirname',
    'sync',
    'mktemp',
    'base64',
    'stat',
    'ps',
    'setsid',
    'sha256sum',
    'cksum',
    'od',
    'touch',
    'find',
    'awk',
    'hostname',
    'expr',
    'test',
    'true',
    'kill',
    'bash',
    'flock',
    'dd',
  ]) {
    const path = ['/usr/bin', '/bin'].map((dir) => join(dir, program)).find(existsSync)
    if (path) execFileSync('ln', ['-s', path, join(bin, program)])
  }
  const poor = await createProject({ sshd: { extraConfig: '', environment: { PATH: bin } } })
  try {
    await expect(poor.run((staging) => staging.upload())).rejects.toMatchObject({
      code: 'no-rsync',
      next: expect.stringContaining('apt-get install rsync'),
    })
    execFileSync('ln', ['-s', '/usr/bin/rsync', join(bin, 'rsync')])
    await poor.run(async (staging) => {
      await staging.upload()
      await staging.install()
    })
    await expect(poor.run((staging) => staging.server.start())).rejects.toMatchObject({
      code: 'no-supervisord',
      next: expect.stringContaining('apt-get install supervisor'),
    })
  } finally {
    await poor.stop()
  }
}, 30_000)

test('install without an upload, and a start without an install, say what comes first', async () => {
  project.configure((text) => text.replace('release = r2', 'release = r9'))
  await expect(project.run((staging) => staging.install())).rejects.toMatchObject({
    code: 'nothing-uploaded',
    next: expect.stringContaining('tasks rsync_code'),
  })
  for (const start of ['server', 'workers'] as const) {
    await expect(project.run((staging) => staging[start].start())).rejects.toMatchObject({
      code: 'not-installed',
      next: expect.stringContaining('tasks rsync_code install_app'),
    })
  }
  await expect(project.run((staging) => staging.database.init())).rejects.toMatchObject({ code: 'not-installed' })
  project.configure((text) => text.replace('release = r9', 'release = r2'))
})

test('a required shared file that is missing stops the install, and is named', async () => {
  project.configure((text) => `${text}\n[app.shared]\nkeys/mail.pem = required\n`)
  await expect(
    project.run(async (staging) => {
      await staging.upload()
      await staging.install()
    }),
  ).rejects.toMatchObject({
    code: 'install-failed',
    detail: expect.stringContaining('shared/keys/mail.pem is required'),
  })
  project.configure((text) => text.replace(/\n\[app\.shared\]\n.*\n/, ''))
})

test('a failed install keeps its remains where that was asked for', async () => {
  project.configure((text) => text.replace('drain = 10s', 'drain = 10s\ninstall = echo made > made-by-install; false'))
  await expect(
    project.run(
      async (staging) => {
        await staging.upload()
        await staging.install()
      },
      { keepFailed: true },
    ),
  ).rejects.toMatchObject({ code: 'install-failed', state: expect.stringContaining('What is left lies in') })
  const { value: versions } = await project.run((staging) => staging.versions())
  expect(versions[0]).toMatchObject({ state: 'failed', current: false })
  expect(project.read(`webapps/ponyr2/versions/${versions[0]?.id}/made-by-install`)).toBe('made\n')
  project.configure((text) => text.replace(/install = .*\n/, ''))
})

test('Ctrl-C in the middle of an upload leaves the current version and no lock', async () => {
  await installed()
  const controller = new AbortController()
  const big = join(project.dir, 'app/big.bin')
  writeFileSync(big, Buffer.alloc(60_000_000, 1))
  const before = project.read('webapps/ponyr2/current/pony/web.py')
  const upload = project.run((staging) => staging.upload(), { signal: controller.signal })
  const versions = join(project.release, 'versions')
  const known = readdirSync(versions)
  let torn: string | undefined
  const begun = setInterval(() => {
    torn = readdirSync(versions).find((id) => !known.includes(id))
    if (torn) controller.abort()
  }, 5)
  await expect(upload).rejects.toThrow()
  clearInterval(begun)
  expect(controller.signal.aborted).toBe(true)
  rmSync(big)
  expect(project.read('webapps/ponyr2/current/pony/web.py')).toBe(before)
  const { value: status } = await project.run((staging) => staging.status())
  expect(status.lock).toBeUndefined()
  // The next upload clears what was left.
  await project.run((staging) => staging.upload())
  expect(readdirSync(versions)).not.toContain(torn)
  const { value: after } = await project.run((staging) => staging.versions())
  expect(after.map((version) => version.id)).not.toContain(torn)
}, 30_000)

test('an install command that is killed is told by its signal, and its version is gone', async () => {
  await installed()
  project.configure((text) => text.replace('drain = 10s', 'drain = 10s\ninstall = sh -c "kill -KILL \\$\\$"'))
  const known = readdirSync(join(project.release, 'versions'))
  await expect(
    project.run(async (staging) => {
      await staging.upload()
      await staging.install()
    }),
  ).rejects.toMatchObject({
    code: 'install-failed',
    exitCode: 1,
    detail: expect.stringMatching(/Killed|status 137/),
    state: expect.stringContaining('The failed version was removed.'),
  })
  expect(readdirSync(join(project.release, 'versions'))).toEqual(known)
  project.configure((text) => text.replace(/install = sh.*\n/, ''))
})

test('an install command that hangs ends with Ctrl-C, with all its processes; nothing is current, nothing locked', async () => {
  await installed()
  const pidFile = join(project.home, 'hanging.pid')
  project.configure((text) =>
    text.replace('drain = 10s', `drain = 10s\ninstall = sh -c 'echo \\$\\$ >${pidFile}; sleep 600; true'`),
  )
  const before = readlinkSync(join(project.release, 'current'))
  const controller = new AbortController()
  const hanging = setInterval(() => existsSync(pidFile) && controller.abort(), 20)
  await expect(
    project.run(
      async (staging) => {
        await staging.upload()
        await staging.install()
      },
      { signal: controller.signal },
    ),
  ).rejects.toMatchObject({ code: 'aborted', exitCode: 130 })
  clearInterval(hanging)
  const pid = Number(readFileSync(pidFile, 'utf8'))
  await vi.waitFor(() => expect(existsSync(`/proc/${pid}`)).toBe(false), 10_000)
  expect(readlinkSync(join(project.release, 'current'))).toBe(before)
  const { value: status } = await project.run((staging) => staging.status())
  expect(status.lock).toBeUndefined()
  project.configure((text) => text.replace(/install = sh.*\n/, ''))
}, 30_000)

test.runIf(process.getuid?.() === 0)(
  'a full disk stops the upload or the install, and is named',
  async () => {
    const full = await createProject()
    const webapps = join(full.home, 'webapps')
    mkdirSync(webapps)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=700k', 'tmpfs', full.home], { stdio: 'ignore' })
    } catch {
      // Not everybody's root may mount.
      await full.stop()
      return
    }
    try {
      await full.run(async (staging) => {
        await staging.upload()
        await staging.install()
      })
      const before = readlinkSync(join(full.release, 'current'))
      const known = readdirSync(join(full.release, 'versions'))
      full.configure((text) => text.replace('drain = 10s', 'drain = 10s\ninstall = head -c 900000 /dev/zero >big'))
      await expect(
        full.run(async (staging) => {
          await staging.upload()
          await staging.install()
        }),
      ).rejects.toMatchObject({ code: 'install-failed', detail: expect.stringContaining('No space left on device') })
      writeFileSync(join(full.dir, 'app/big.bin'), Buffer.alloc(900_000, 1))
      await expect(full.run((staging) => staging.upload())).rejects.toMatchObject({
        code: 'disk-full',
        message: expect.stringContaining('pony-host'),
        exitCode: 1,
      })
      expect(full.read('.slipway/pony/audit.log').trim().split('\n').at(-1)).toMatch(
        /"what":"upload".*"outcome":"failed"/,
      )
      expect(readlinkSync(join(full.release, 'current'))).toBe(before)
      expect(readdirSync(join(full.release, 'versions'))).toEqual(known)
      expect((await full.run((staging) => staging.status())).value.lock).toBeUndefined()
    } finally {
      execFileSync('umount', [full.home])
      await full.stop()
    }
  },
  60_000,
)

test('a host name that is not there, and a port that nobody listens on', async () => {
  writeFileSync(
    join(project.dir, 'ssh_config'),
    'Host pony-host\n  HostName no-such-host.invalid\nHost refused\n  HostName 127.0.0.1\n  Port 1\n',
  )
  await expect(
    project.run((staging) => staging.status(), { sshConfigFile: join(project.dir, 'ssh_config') }),
  ).rejects.toMatchObject({
    name: 'ConnectError',
    host: 'pony-host',
    state: expect.stringContaining('Nothing was run'),
  })
  project.configure((text) => text.replaceAll('hosts = pony-host', 'hosts = refused'))
  await expect(
    project.run((staging) => staging.status(), { sshConfigFile: join(project.dir, 'ssh_config') }),
  ).rejects.toMatchObject({ name: 'ConnectError', message: expect.stringMatching(/refuse/) })
  project.configure((text) => text.replaceAll('hosts = refused', 'hosts = pony-host'))
}, 30_000)

test('a release folder that can not be written', async () => {
  if (process.getuid?.() === 0) {
    // Root writes everywhere; a file in the folder's place is in everyone's way.
    writeFileSync(join(project.home, 'webapps/ponyr7'), '')
  } else {
    mkdirSync(join(project.home, 'webapps/ponyr7'))
    chmodSync(join(project.home, 'webapps/ponyr7'), 0o500)
  }
  project.configure((text) => text.replace('release = r2', 'release = r7'))
  await expect(project.run((staging) => staging.upload())).rejects.toMatchObject({
    code: 'step-failed',
    message: expect.stringContaining('make the folders'),
    detail: expect.stringContaining('ponyr7'),
  })
  project.configure((text) => text.replace('release = r7', 'release = r2'))
})
