/**
 * The beginning of what a command prints, in memory; all of it in a file of this machine once it is longer. Where the
 * disk is slower than the command, the command waits: what is in memory stays bounded.
 */
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Writable } from 'node:stream'
import { SlipwayError } from '../events/errors.ts'
import type { Run } from '../events/run.ts'

export interface Captured {
  text: string
  /** Where all of it is, when it was longer than what is kept. */
  file?: string
}

export interface Spill {
  file: string
  stream: Writable
}

/** Bytes on their way to the disk before the command has to wait. */
const underWay = 4 * 1024 * 1024

async function openSpill(name: string): Promise<Spill> {
  const file = join(await mkdtemp(join(tmpdir(), 'slipway-output-')), name)
  return { file, stream: createWriteStream(file, { mode: 0o600 }) }
}

export class Capture {
  /** Called when `add` may go on after it has said no. */
  onRoom: () => void = () => {}
  readonly #limit: number
  readonly #name: string
  readonly #open: (name: string) => Promise<Spill>
  #chunks: Buffer[] = []
  #size = 0
  #kept = 0
  #pending: Buffer[] = []
  #waiting = 0
  #full = false
  #spill: Promise<Spill> | undefined
  #failure: Error | undefined

  /** Keeps `limit` bytes. `name` is that of the file for the rest. */
  constructor(limit: number, name: string, open = openSpill) {
    this.#limit = limit
    this.#name = name
    this.#open = open
  }

  /** False: no more, until `onRoom`. */
  add(chunk: Buffer): boolean {
    this.#size += chunk.length
    if (this.#failure) return true
    if (this.#spill) {
      this.#pending.push(chunk)
      this.#waiting += chunk.length
    } else {
      this.#chunks.push(chunk)
      if (this.#size <= this.#limit) {
        this.#kept = this.#size
        return true
      }
      this.#pending = [...this.#chunks]
      this.#waiting = this.#size
      this.#kept = this.#limit
      this.#chunks = [Buffer.concat(this.#chunks).subarray(0, this.#limit)]
      this.#spill = this.#open(this.#name)
      this.#spill.then(
        ({ stream }) => stream.on('error', (error) => this.#fail(error)),
        (error: Error) => this.#fail(error),
      )
    }
    void this.#flush()
    this.#full = this.#waiting > underWay
    return !this.#full
  }

  async #flush(): Promise<void> {
    const spill = await this.#spill?.catch(() => undefined)
    for (let chunk = this.#pending.shift(); chunk; chunk = this.#pending.shift()) {
      const { length } = chunk
      spill?.stream.write(chunk, () => {
        this.#waiting -= length
        if (this.#waiting <= underWay / 2) this.#goOn()
      })
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#pending = []
    this.#goOn()
  }

  #goOn(): void {
    if (!this.#full) return
    this.#full = false
    this.onRoom()
  }

  /** What is kept; the file goes with the run. Rejects where the file could not be written. */
  async finish(run: Run): Promise<Captured> {
    const text = Buffer.concat(this.#chunks, this.#kept).toString('utf8')
    if (!this.#spill) return { text }
    await this.#flush()
    const spill = await this.#spill.catch(() => undefined)
    if (spill) {
      run.defer(() => rm(dirname(spill.file), { recursive: true, force: true }))
      if (!this.#failure) {
        const ended = await new Promise<Error | null | undefined>((resolve) => spill.stream.end(resolve))
        if (ended) this.#fail(ended)
      }
    }
    if (spill && !this.#failure) return { text, file: spill.file }
    throw new SlipwayError(
      'output-not-kept',
      'the output was too long for memory, and could not be kept on disk here',
      {
        detail: this.#failure?.message,
        state: 'The command itself came to its end.',
        next: `Make room in ${tmpdir()}, or read the output as it comes with .stdout().`,
      },
    )
  }
}
