/**
 * An app that was deployed by hand, or by another tool, as the production that a promotion takes over from: where its
 * data lies, what runs of it, and how it is stopped and started again.
 */
import { SlipwayError } from '../../../events/index.ts'
import type { Host } from '../../../hosts/host.ts'
import { sh } from '../../../shell/index.ts'
import { absolute } from '../layout.ts'
import type { Data, Side } from './facts.ts'
import { scriptFiles } from './window.ts'

export interface AdoptOptions {
  /** The folder of the app on the host: `~/webapps/pony2013r1`. */
  from: string
  /** Where data lies in it, by the name that [app.databases] and spools have: `{ main: 'pony-production.sqlite' }`. */
  data?: Readonly<Record<string, string>> | undefined
  /** Shell text, run in that folder, that stops it. TERM to its processes unless given. */
  stop?: string | undefined
  /** Shell text, run in that folder, that starts it again, should all go back. */
  start?: string | undefined
}

/** What a promotion knows of such an app. */
export interface Adopted {
  folder: string
  /** Absolute paths by the name of the data. */
  paths: Record<string, string>
  stop?: string
  start?: string
}

interface Found {
  folder: string
  exists: boolean
  files: Record<string, number>
  folders: string[]
  processes: Record<string, string>
  ports: number[]
}

/** Looks at it, and changes nothing. Rejects where data can't be found, or it could not be started again. */
export async function lookAt(
  host: Host,
  python: string,
  home: string,
  options: AdoptOptions,
  items: readonly Data[],
): Promise<{ adopted: Adopted; bytes: Record<string, number>; port?: number; running: string[] }> {
  const given = absolute(options.from, home)
  const text = await host
    .run(sh`${python} -c ${scriptFiles()['adopted.py'] ?? ''} ${given}`, {
      kind: 'probe',
      quiet: true,
      label: `look at ${given}`,
    })
    .text()
  const found = JSON.parse(text) as Found
  if (!found.exists) {
    throw new SlipwayError('adopt-folder', `there is no folder ${given}`, {
      host: host.name,
      state: 'Nothing was changed.',
      next: 'Name the folder in which the app was deployed by hand: from=~/webapps/….',
    })
  }
  const running = Object.values(found.processes)
  if (running.length > 0 && options.start === undefined) {
    throw new SlipwayError(
      'adopt-start',
      `nobody has said how the app in ${given} is started again, should all go back`,
      {
        host: host.name,
        state: 'Nothing was changed.',
        detail: running.join('\n'),
        next: "Say it: start='bin/start', as it is started by hand in that folder.",
      },
    )
  }
  const paths: Record<string, string> = {}
  const bytes: Record<string, number> = {}
  for (const item of items) {
    const place = placeOf(item, found, options.data?.[item.name])
    if (place === undefined) throw noData(host, found, item)
    paths[item.name] = `${found.folder}/${place}`
    bytes[item.path] = found.files[place] ?? 0
  }
  return {
    adopted: {
      folder: found.folder,
      paths,
      ...(options.stop === undefined ? {} : { stop: options.stop }),
      ...(options.start === undefined ? {} : { start: options.start }),
    },
    bytes,
    running,
    ...(found.ports.length === 1 ? { port: found.ports[0] as number } : {}),
  }
}

/** Below the folder: as said, else where the configuration has it, else the only file of that name. */
export function placeOf(item: Data, found: Pick<Found, 'files' | 'folders'>, said?: string): string | undefined {
  const known = item.kind === 'sqlite' ? Object.keys(found.files) : found.folders
  if (said !== undefined) return known.includes(said) ? said : undefined
  const likely = [item.path, `shared/${item.path}`, `current/${item.path}`].find((path) => known.includes(path))
  if (likely !== undefined) return likely
  const name = item.path.split('/').pop()
  const named = known.filter((path) => path.split('/').pop() === name)
  // A spool that is not there yet is empty.
  return named.length === 1 ? named[0] : item.kind === 'tree' && named.length === 0 ? item.path : undefined
}

function noData(host: Host, found: Found, item: Data): SlipwayError {
  const what = item.kind === 'sqlite' ? 'database' : 'folder'
  const known = Object.keys(found.files)
  return new SlipwayError('adopt-data', `which ${what} in ${found.folder} is ${item.name} can't be told`, {
    host: host.name,
    state: 'Nothing was changed.',
    detail: known.length > 0 ? known.join('\n') : 'There is no SQLite database in it.',
    next: `Say it: data=${item.name}=${known[0] ?? 'FILE'}`,
  })
}

/** The app as the side that is replaced: it has no programs that a supervisord of ours would know. */
export function adoptedSide(deployment: string, adopted: Adopted, port: number | undefined): Side {
  return {
    deployment,
    release: adopted.folder,
    version: '',
    dir: adopted.folder,
    server: [],
    workers: [],
    workerSeconds: 60,
    serverSeconds: 60,
    ...(port === undefined ? {} : { port }),
  }
}
