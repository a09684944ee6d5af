/**
 * What a command prints, as a stream for whoever reads it. While the reader is busy, chunks are put together: a reader
 * that writes them to a file makes one write of them, in place of one for each packet that came.
 */
import { Readable } from 'node:stream'

/** Kept while the reader is busy; then the command has to wait. */
const room = 1024 * 1024

export class OutputStream extends Readable {
  #chunks: Buffer[] = []
  #size = 0
  #wanted = false
  #whole = false

  constructor() {
    // Asked for only when nothing is left to read: what waits, waits here, and grows.
    super({ highWaterMark: 1 })
  }

  /** False: no more of it until `room` is emitted. */
  add(chunk: Buffer): boolean {
    if (this.destroyed) return true
    this.#chunks.push(chunk)
    this.#size += chunk.length
    if (this.#wanted) this.#pass()
    return this.#size < room
  }

  /** Nothing follows. */
  finish(): void {
    this.#whole = true
    if (this.#wanted) this.#pass()
  }

  override _read(): void {
    this.#wanted = true
    this.#pass()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#chunks = []
    this.#size = 0
    this.emit('room')
    done(error)
  }

  #pass(): void {
    if (this.#size === 0) {
      if (this.#whole) this.push(null)
      return
    }
    this.#wanted = false
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks, this.#size)
    const full = this.#size >= room
    this.#chunks = []
    this.#size = 0
    this.push(all)
    if (full) this.emit('room')
  }
}
