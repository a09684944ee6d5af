/**
 * A real nginx as the current user on a free loopback port, everything it writes below one folder: the front door
 * of a sandbox. Sites are included from files, and a reload is checked before it is trusted.
 */
import { execFile, spawn } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { SlipwayError } from '../events/errors.ts'
import { freePort, isFree } from './ports.ts'
import { descendants, endProcesses, identify, isRunning, type ProcessIdentity } from './process.ts'
import { programIn, systemFolders } from './programs.ts'
import { sandboxMarker } from './standins.ts'

export interface NginxOptions {
  /** Where configuration, logs and temporary files lie. */
  dir: string
  address?: string
  /** A free port unless given. */
  port?: number
  /** Files of sites, each at http level; patterns with * work. */
  include: readonly string[]
  /** Survives this process. */
  detached?: boolean
}

export interface Nginx {
  readonly address: string
  readonly port: number
  readonly process: ProcessIdentity
  readonly configFile: string
  /** `nginx` with the arguments that make it this one: add `-t` or `-s reload`. */
  readonly command: readonly string[]
  log(): Promise<string>
  /** Loads the sites again. Rejects, and the old ones stay, where a site is wrong or two claim the same name. */
  reload(): Promise<void>
  stop(): Promise<void>
}

const run = promisify(execFile)

/** Rejects with `nginx-missing`, or with `nginx-failed` and nginx's own words. Resolves once it accepts connections. */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  const { dir, address = '127.0.0.1' } = options
  const program = await nginxProgram()
  await mkdir(join(dir, 'nginx'), { recursive: true, mode: 0o700 })
  const configFile = join(dir, 'nginx', 'nginx.conf')
  const errorLog = join(dir, 'nginx', 'error.log')
  const command = [program, '-e', errorLog, '-p', join(dir, 'nginx'), '-c', configFile]

  // Whoever has it would answer in nginx's place.
  if (options.port !== undefined && !(await isFree(options.port, address)))
    throw notStarted(`${address}:${options.port}`, '')
  for (let attempt = 1; ; attempt += 1) {
    const port = options.port ?? (await freePort(address))
    await writeFile(configFile, nginxConfig({ dir, address, port, include: options.include }))
    await writeFile(errorLog, '')
    const child = spawn(program, [...command.slice(1), '-g', 'daemon off;'], {
      detached: options.detached ?? false,
      stdio: 'ignore',
      env: { PATH: process.env['PATH'], ...sandboxMarker(dir) },
    })
    child.unref()
    const pid = await new Promise<number>((resolve, reject) => {
      child.once('error', reject)
      child.once('spawn', () => resolve(child.pid as number))
    })
    const identity = await identify(pid)
    if (identity && (await accepts(address, port, identity))) {
      return {
        address,
        port,
        process: identity,
        configFile,
        command,
        log: () => readFile(errorLog, 'utf8'),
        reload: () => reloadNginx(command, identity.pid),
        stop: async () => {
          await endProcesses([identity])
        },
      }
    }
    const log = await readFile(errorLog, 'utf8').catch(() => '')
    if (identity) await endProcesses([identity])
    const taken = log.includes('Address already in use')
    if (taken && options.port === undefined && attempt < 5) continue
    throw notStarted(`${address}:${port}`, log, taken ? undefined : command)
  }
}

/** `command`: of an nginx whose port was free. */
const notStarted = (endpoint: string, log: string, command?: readonly string[]): SlipwayError =>
  new SlipwayError('nginx-failed', `nginx did not start on ${endpoint}`, {
    detail: log.trim() || undefined,
    state: 'Nothing is left running.',
    next: command ? `Mend what it names, then try: ${command.join(' ')} -t` : 'Choose another port.',
  })

/**
 * Checks the configuration, has the running nginx (its master's pid) load it, and waits until no worker with the old
 * one accepts connections: nginx itself returns about 100 ms before. A name claimed twice, which nginx only warns
 * of, counts as wrong.
 */
async function reloadNginx(command: readonly string[], master: number): Promise<void> {
  const [program = 'nginx', ...args] = command
  const checked = await run(program, [...args, '-t']).catch((error: { stderr?: string }) => {
    throw new SlipwayError('nginx-config', 'nginx does not accept its configuration', {
      detail: error.stderr?.trim(),
      state: 'The old configuration keeps serving.',
    })
  })
  if (checked.stderr.includes('conflicting server name')) {
    throw new SlipwayError('nginx-conflict', 'two sites claim the same domain', {
      detail: checked.stderr.trim(),
      state: 'The old configuration keeps serving.',
    })
  }
  const old = (await descendants([master])).map(({ pid }) => pid)
  await run(program, [...args, '-s', 'reload'])
  for (const deadline = Date.now() + 30_000; ; await delay(10)) {
    const titles = await Promise.all(old.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')))
    if (titles.every((title) => title === '' || title.includes('shutting down'))) return
    if (Date.now() > deadline) {
      throw new SlipwayError('nginx-failed', 'nginx did not take up its new configuration within half a minute', {
        state: 'The old configuration keeps serving.',
        next: `Look at its error log: ${args[args.indexOf('-e') + 1] ?? ''}`,
      })
    }
  }
}

interface MainConfig {
  dir: string
  address: string
  port: number
  include: readonly string[]
}

/** nginx.conf. As root the workers stay root as well: the sockets they connect to are in folders of mode 700. */
export function nginxConfig({ dir, address, port, include }: MainConfig): string {
  const own = join(dir, 'nginx')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `# Written by slipway for a sandbox.
${process.getuid?.() === 0 ? 'user root;\n' : ''}worker_processes 1;
worker_rlimit_nofile 16384;
pid ${own}/nginx.pid;
error_log ${own}/error.log notice;
events {
  worker_connections 4096;
}
http {
  default_type application/octet-stream;
  server_names_hash_bucket_size 128;
  server_tokens off;
  access_log ${own}/access.log;
${temporary.map((kind) => `  ${kind}_temp_path ${own}/${kind};`).join('\n')}
  server {
    listen ${address}:${port} default_server backlog=4096;
    server_name _;
    default_type text/plain;
    return 404 "No site of this sandbox has the name $host.\\n";
  }
  # Browsers take every name below localhost to this machine: <site>.localhost is the site.
  server {
    listen ${address}:${port};
    server_name ~^(?<site>.+)\\.localhost$;
    location / {
      proxy_pass http://${address}:${port};
      proxy_http_version 1.1;
      proxy_set_header Host $site;
      proxy_set_header Connection '';
      client_max_body_size 0;
    }
  }
${include.map((pattern) => `  include ${pattern};`).join('\n')}
}
`
}

/** Its path. */
export async function nginxProgram(folders = systemFolders): Promise<string> {
  const program = await programIn(folders, 'nginx')
  if (program !== undefined) return program
  throw new SlipwayError('nginx-missing', 'there is no nginx on this machine', {
    next: 'Install it: sudo apt-get install nginx-light',
  })
}

async function accepts(address: string, port: number, identity: ProcessIdentity): Promise<boolean> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    if (!(await isRunning(identity))) return false
    const connected = await new Promise<boolean>((resolve) => {
      const socket = createConnection({ host: address, port })
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (connected) return true
    await delay(10)
  }
  return false
}
