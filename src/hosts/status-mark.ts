/**
 * The exit status of a command, told at the end of its standard error, for a way of reaching a host that tells it too
 * late or not at all: the system's ssh waits for whoever holds the output, and has one status for every signal. That
 * it began is told first, before it reads anything. Pure.
 */
import { quoteForAnyShell } from './wire.ts'

/** The kernel takes 128 KiB as one argument, and quoting makes a command longer: such a one goes without a mark. */
const longestLine = 130_000

/** What the mark says in place of a status where the command begins. */
const begun = 'begun'

/** `\x1e<nonce> begun`, `command`, and its status behind `\x1e<nonce> `. A signal is 128 and its number, as a shell counts. */
export function withStatusMark(command: string, nonce: string): string {
  // What the outer shell itself would say of a signal (`Killed`, with the command) is not the command's.
  const body = `exec 3>&2 2>/dev/null; printf '\\036${nonce} ${begun}\\n' >&3; ( ${command} ) 2>&3 3>&-; s=$?; printf '\\036${nonce} %s\\n' "$s" >&3; exit $s`
  const line = `sh -c ${quoteForAnyShell(body)}`
  return Buffer.byteLength(line) > longestLine ? command : line
}

/** Takes the marks out of a stream, wherever its pieces are cut. What a background job writes behind it is let through. */
export class StatusMarkFilter {
  readonly #head: Buffer
  #held: Buffer = Buffer.alloc(0)
  #status: number | undefined

  constructor(nonce: string) {
    this.#head = Buffer.from(`\x1e${nonce} `)
  }

  get status(): number | undefined {
    return this.#status
  }

  /** What of `chunk` is the command's own; the rest may be the beginning of the mark. */
  push(chunk: Buffer): Buffer {
    if (this.#status !== undefined) return chunk
    const all: Buffer = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const at = all.indexOf(this.#head)
    const end = at < 0 ? -1 : all.indexOf(10, at)
    if (end >= 0) {
      const said = all.toString('latin1', at + this.#head.length, end)
      const others = Buffer.concat([all.subarray(0, at), all.subarray(end + 1)])
      this.#held = Buffer.alloc(0)
      if (said === begun) return this.push(others)
      this.#status = Number(said)
      return others
    }
    const from = at >= 0 ? at : this.#beginning(all)
    // A copy: the memory of a chunk may be used again.
    this.#held = Buffer.from(all.subarray(from))
    return all.subarray(0, from)
  }

  /** What is held back when the stream ends without a mark. */
  flush(): Buffer {
    const held = this.#held
    this.#held = Buffer.alloc(0)
    return held
  }

  /** Where the mark may have begun at the end of `bytes`. */
  #beginning(bytes: Buffer): number {
    const at = bytes.lastIndexOf(0x1e)
    const tail = at < 0 ? undefined : bytes.subarray(at)
    return tail && this.#head.subarray(0, tail.length).equals(tail) ? at : bytes.length
  }
}
