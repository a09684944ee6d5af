import { execFile, spawnSync } from 'node:child_process'
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { resolveSshConfig } from '../../../src/hosts/ssh-config.ts'
import {
  removeSandbox,
  type Sandbox,
  sandboxCommand,
  sandboxSshConfig,
  sandboxState,
  startSandbox,
  stopSandbox,
} from '../../../src/sandbox/index.ts'
import { descendants, identify, isRunning } from '../../../src/sandbox/process.ts'
import { repository } from '../../built.ts'
import { ask } from '../../servers/pony.ts'

const run = promisify(execFile)
const ssh = async (sandbox: { sshConfigFile: string }, command: string) =>
  (await run('ssh', ['-F', sandbox.sshConfigFile, 'web1.example.org', command])).stdout.trim()

async function output(...argv: string[]): Promise<{ status: number; text: string }> {
  let text = ''
  const status = await sandboxCommand(argv, (printed) => {
    text += printed
  })
  return { status, text }
}

/** A site as a deployment would make one, answering without an app. */
async function addSite(sandbox: { home: string; httpPort: number }, deployment: string, domain: string): Promise<void> {
  const dir = join(sandbox.home, '.slipway/pony/sites', deployment)
  await mkdir(dir, { recursive: true })
  const lines = [`listen 127.0.0.1:${sandbox.httpPort};`, `server_name ${domain};`, `return 200 "${deployment}";`]
  await writeFile(join(dir, 'nginx.conf'), `server {\n  ${lines.join('\n  ')}\n}\n`)
}

let dir: string
beforeAll(async () => {
  dir = await mkdtemp('/tmp/slipway-project-')
})
afterAll(async () => {
  await removeSandbox({ dir })
  await rm(dir, { recursive: true })
})

describe('a sandbox', () => {
  let sandbox: Sandbox
  beforeAll(async () => {
    sandbox = await startSandbox({ dir })
  })
  afterEach(async () => {
    sandbox = await startSandbox({ dir })
  })

  test('is reached by any name, in a home of its own, and keeps out of the real one', async () => {
    expect(await ssh(sandbox, 'pwd; echo $HOME')).toBe(`${sandbox.home}\n${sandbox.home}`)
    expect(sandbox.home).toBe(join(await realpath(join(dir, '.slipway/sandbox/root')), 'home'))
    expect((await run('ssh', ['-F', sandbox.sshConfigFile, '-G', 'web1'])).stdout).not.toMatch(/\/\.ssh\//)
  })

  test('is reached by destinations with any user and port, as far as tasks go', async () => {
    for (const destination of ['deploy@pony.example.org', 'ssh://deploy@web1:2222', 'pony']) {
      const resolved = await resolveSshConfig(destination, sandbox.sshConfigFile)
      expect(resolved).toMatchObject({ hostName: '127.0.0.1', port: sandbox.sshPort, user: sandbox.user })
    }
  })

  test('says what it is, and is up once', async () => {
    const again = await startSandbox({ dir })
    expect(again).toMatchObject({ started: false, sshPort: sandbox.sshPort })
    expect(await sandboxState(dir)).toMatchObject({ home: sandbox.home, httpPort: sandbox.httpPort })
    expect(await sandboxSshConfig(dir)).toBe(sandbox.sshConfigFile)
    const both = await Promise.all([startSandbox({ dir }), startSandbox({ dir })])
    expect(both.map(({ sshd }) => sshd.pid)).toEqual([sandbox.sshd.pid, sandbox.sshd.pid])
  })

  test('serves the sites of its home by their names once nginx reloads, and lists them', async () => {
    await addSite(sandbox, 'staging', 'staging.pony.example.org')
    await addSite(sandbox, 'production', 'pony.example.org www.pony.example.org')
    await ssh(sandbox, 'sudo -n nginx -t && sudo -n nginx -s reload')
    const get = async (host: string) => (await ask({ port: sandbox.httpPort }, { headers: { host } })).body
    await expect.poll(() => get('staging.pony.example.org'), { timeout: 15_000 }).toBe('staging')
    await expect.poll(() => get('www.pony.example.org'), { timeout: 15_000 }).toBe('production')
    const local = `staging.pony.example.org.localhost:${sandbox.httpPort}`
    await expect.poll(() => get(local), { timeout: 15_000 }).toBe('staging')
    const { status, text } = await output('status', '--dir', dir)
    expect(status).toBe(0)
    expect(text).toContain(`http://www.pony.example.org.localhost:${sandbox.httpPort}/`)
    const facts = JSON.parse((await output('status', '--json', '--dir', dir)).text) as { sites: { domain: string }[] }
    const schema = JSON.parse(await readFile(join(repository, 'schemas/sandbox.schema.json'), 'utf8')) as object
    expect(new Ajv2020({ strict: false }).compile(schema)(facts)).toBe(true)
    expect(facts.sites.map(({ domain }) => domain)).toEqual([
      'pony.example.org',
      'www.pony.example.org',
      'staging.pony.example.org',
    ])
  })

  test('tells commands where its sites listen', async () => {
    expect(await ssh(sandbox, 'echo $SLIPWAY_NGINX_LISTEN')).toBe(`127.0.0.1:${sandbox.httpPort}`)
  })

  test('has sudo mean its own user, so that nothing reaches the real nginx', async () => {
    expect(await ssh(sandbox, 'sudo -n -u root -- id -u')).toBe(`${process.getuid?.()}`)
    expect(await ssh(sandbox, "sudo NAME=value sh -c 'echo $NAME; command -v nginx'")).toBe(
      `value\n${join(sandbox.root, 'bin/nginx')}`,
    )
  })

  test('taken down, leaves nothing running, keeps its files, and comes back on the same ports', async () => {
    const started = 'setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!; touch kept'
    const pid = Number(await ssh(sandbox, started))
    expect(await identify(pid)).toBeDefined()
    expect(await stopSandbox({ dir })).toBe(true)
    const pids = [pid, sandbox.sshd.pid, sandbox.nginx.pid]
    expect(await Promise.all(pids.map(identify))).toEqual([undefined, undefined, undefined])
    expect(await stopSandbox({ dir })).toBe(false)
    expect(await sandboxState(dir)).toBeUndefined()
    const back = await startSandbox({ dir })
    expect(back).toMatchObject({ sshPort: sandbox.sshPort, httpPort: sandbox.httpPort })
    expect(await ssh(back, 'ls kept')).toBe('kept')
  })

  test('half dead is down, and up mends it', async () => {
    const workers = await descendants([sandbox.nginx.pid])
    expect(workers).toHaveLength(1)
    process.kill(sandbox.nginx.pid, 'SIGKILL')
    await expect.poll(() => sandboxState(dir), { timeout: 15_000 }).toBeUndefined()
    const mended = await startSandbox({ dir })
    expect(mended).toMatchObject({ started: true, httpPort: sandbox.httpPort })
    expect(await Promise.all(workers.map(isRunning))).toEqual([false])
    expect((await ask({ port: mended.httpPort })).status).toBe(404)
    expect(await ssh(mended, 'echo hello')).toBe('hello')
  })

  test('moves its sites along when its port was taken meanwhile', async () => {
    await addSite(sandbox, 'staging', 'staging.pony.example.org')
    await stopSandbox({ dir })
    const thief = createServer().listen(sandbox.httpPort, '127.0.0.1')
    await new Promise((resolve) => thief.once('listening', resolve))
    const moved = await startSandbox({ dir })
    thief.close()
    expect(moved.httpPort).not.toBe(sandbox.httpPort)
    const answer = await ask({ port: moved.httpPort }, { headers: { host: 'staging.pony.example.org' } })
    expect(answer.body).toBe('staging')
  })
})

describe('the command', () => {
  test('starts, shows, stops and removes', async () => {
    const project = await mkdtemp('/tmp/slipway-project-')
    const sandbox = (...argv: string[]) => output(...argv, '--dir', project)
    expect(await sandbox('status')).toMatchObject({ status: 1, text: expect.stringContaining('slipway sandbox up') })
    await expect(sandboxSshConfig(project)).rejects.toMatchObject({
      code: 'sandbox-down',
      next: expect.stringContaining('sandbox up'),
    })
    expect(await sandbox('up')).toMatchObject({ status: 0, text: expect.stringContaining('ssh -F') })
    await ssh({ sshConfigFile: await sandboxSshConfig(project) }, 'touch leftover')
    expect(await sandbox('reset')).toMatchObject({ status: 0, text: expect.stringContaining('an empty one is up') })
    expect(await ssh({ sshConfigFile: await sandboxSshConfig(project) }, 'ls')).toBe('')
    expect(await sandbox('down')).toMatchObject({ status: 0 })
    expect((await sandbox('reset')).text).toBe('The sandbox has been removed.\n')
    expect(await readdir(join(project, '.slipway'))).toEqual([])
    await rm(project, { recursive: true })
  })

  test('refuses what it does not know', async () => {
    await expect(output('start')).rejects.toMatchObject({ exitCode: 2, next: expect.stringContaining('up, status') })
    await expect(output('up', '--no')).rejects.toMatchObject({ exitCode: 2 })
    await expect(output()).rejects.toMatchObject({ exitCode: 2 })
  })
})

test('in a deep checkout with spaces, the home is short and of this user alone', async () => {
  const base = await mkdtemp('/tmp/slipway-project-')
  const project = join(base, 'a folder with spaces', 'd'.repeat(80))
  await mkdir(project, { recursive: true })
  const sandbox = await startSandbox({ dir: project })
  expect(Buffer.byteLength(sandbox.home)).toBeLessThanOrEqual(38)
  expect((await stat(sandbox.root)).mode & 0o777).toBe(0o700)
  expect(await realpath(join(project, '.slipway/sandbox/root'))).toBe(sandbox.root)
  expect(await ssh(sandbox, 'pwd')).toBe(sandbox.home)
  await removeSandbox({ dir: project })
  await expect(lstat(sandbox.root)).rejects.toMatchObject({ code: 'ENOENT' })
  await rm(base, { recursive: true })
})

// Root in a container may lack the right to mount, which these need to have account files of their own.
const mayMount = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0

/** The command as a file of its own, for a user who may not read the repository. */
async function bundled(dir: string): Promise<string> {
  const outfile = join(dir, 'sandbox.mjs')
  const { build } = await import('esbuild')
  await build({
    stdin: {
      contents: `import { sandboxCommand } from './src/sandbox/index.ts'
        process.exitCode = await sandboxCommand(process.argv.slice(2))`,
      resolveDir: join(import.meta.dirname, '../../..'),
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
  })
  return outfile
}

test.runIf(mayMount)(
  'works for an ordinary user',
  async () => {
    const base = await mkdtemp('/tmp/sl-user-')
    const bundle = await bundled(base)
    await chmod(base, 0o755)
    // A user with a shell, in account files of our own: nothing is added to the machine.
    const account = 'slipway-user:x:7654:7654::/nonexistent:/bin/sh'
    await writeFile(join(base, 'passwd'), `${await readFile('/etc/passwd', 'utf8')}${account}\n`)
    await mkdir(join(base, 'project'))
    await run('chown', ['7654:7654', join(base, 'project')])
    const script = `set -e
    mount --bind ${base}/passwd /etc/passwd
    as() { setpriv --reuid 7654 --regid 7654 --clear-groups env -i PATH="$PATH" HOME=/nonexistent "$@"; }
    cd ${base}/project
    as ${process.execPath} ${bundle} up --dir . >&2
    as ssh -F .slipway/sandbox/root/ssh_config pony 'id -u; pwd; nginx -t 2>&1 | tail -1; sudo -n id -u'
    echo hello > /tmp/slipway-letter-$$
    as rsync -e 'ssh -F .slipway/sandbox/root/ssh_config' /tmp/slipway-letter-$$ pony:letter
    rm /tmp/slipway-letter-$$
    cat .slipway/sandbox/root/home/letter
    as ${process.execPath} ${bundle} down --dir . >&2
    as ${process.execPath} ${bundle} status --dir . || echo "status $?"`
    const { stdout } = await run('unshare', ['--mount', 'sh', '-c', script])
    const home = join(await readlink(join(base, 'project/.slipway/sandbox/root')), 'home')
    expect(stdout.trim().split('\n')).toEqual([
      '7654',
      home,
      expect.stringContaining('test is successful'),
      '7654',
      'hello',
      expect.stringContaining('is down'),
      'status 1',
    ])
    await rm(join(home, '../..'), { recursive: true })
    await rm(base, { recursive: true })
  },
  30_000,
)

test.runIf(mayMount)(
  'works for root without a password',
  async () => {
    const base = await mkdtemp('/tmp/sl-user-')
    const bundle = await bundled(base)
    // A shadow file of our own, in which the account is locked: nothing is changed on the machine.
    const shadow = (await readFile('/etc/shadow', 'utf8')).replace(/^root:[^:]*:/m, 'root:!:')
    await writeFile(join(base, 'shadow'), shadow, { mode: 0o600 })
    const script = `set -e
    mount --bind ${base}/shadow /etc/shadow
    cd ${base}
    ${process.execPath} ${bundle} up --dir . >&2
    ssh -F .slipway/sandbox/root/ssh_config pony 'echo here'
    ${process.execPath} ${bundle} down --dir . >&2
    ${process.execPath} ${bundle} reset --dir . >&2`
    const { stdout } = await run('unshare', ['--mount', 'sh', '-c', script])
    expect(stdout).toBe('here\n')
    await rm(base, { recursive: true })
  },
  30_000,
)

test('a project made anew at the path of a deleted one begins with an empty sandbox', async () => {
  const project = await mkdtemp('/tmp/slipway-project-of-some-length-')
  const before = await startSandbox({ dir: project })
  await ssh(before, 'touch leftover')
  await rm(project, { recursive: true })
  await mkdir(project)
  const after = await startSandbox({ dir: project })
  expect(after.root).toBe(before.root)
  expect(await ssh(after, 'ls')).toBe('')
  expect(await Promise.all([before.sshd, before.nginx].map(isRunning))).toEqual([false, false])
  await removeSandbox({ dir: project })
  await rm(project, { recursive: true })
})

test('in a short folder, everything lies below it', async () => {
  const { sandboxPlace } = await import('../../../src/sandbox/place.ts')
  const base = await mkdtemp('/tmp/')
  expect((await sandboxPlace(base)).root).toBe(join(base, '.slipway/sandbox/root'))
  await rm(base, { recursive: true })
})

test('a folder in /tmp that somebody else could have made is not used', async () => {
  const { makePlace } = await import('../../../src/sandbox/place.ts')
  const base = await mkdtemp('/tmp/slipway-project-')
  await mkdir(join(base, 'real'))
  await symlink(join(base, 'real'), join(base, 'planted'))
  await mkdir(join(base, 'dir'))
  const attempt = makePlace({ dir: join(base, 'dir'), root: join(base, 'planted') })
  await expect(attempt).rejects.toMatchObject({ code: 'sandbox-folder' })
  await rm(base, { recursive: true })
})
