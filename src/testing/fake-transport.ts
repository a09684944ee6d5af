/** A connection to a host that is not there: takes apart what is sent as hosts/wire.ts puts it together, and answers. */
import { PassThrough } from 'node:stream'
import { SlipwayError } from '../events/errors.ts'
import type { Channel, Transport } from '../hosts/transport.ts'

/** What a fake host gives for a command: nothing printed and success unless said. */
export interface Answer {
  stdout?: string
  stderr?: string
  exitCode?: number
}

/** What stands behind the connection: gets a command's text (and its input) and says what came of it. */
export type Answerer = (command: string, input: Buffer) => Answer

export function fakeTransport(answer: Answerer): Transport {
  let close: (() => void) | undefined
  const lost = new Promise<Error>((resolve) => {
    close = () => resolve(new Error('it was closed'))
  })
  const notHere = (what: string) => () =>
    Promise.reject(
      new SlipwayError('fake-host', `a fake host has no ${what}`, {
        next: 'Use the sandbox for it: sandbox() of slipway/testing.',
      }),
    )
  return {
    kind: 'local',
    exec: async (line) => fakeChannel(line, answer),
    openStream: notHere('sockets'),
    openTcp: notHere('network'),
    rsyncShell: notHere('rsync'),
    lost,
    close: async () => close?.(),
  }
}

function fakeChannel(line: string, answer: Answerer): Channel {
  const stdin = new PassThrough()
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  const sent: Buffer[] = []
  stdin.on('data', (chunk: Buffer) => sent.push(chunk))
  const exit = new Promise<{ exitCode: number; signal: null }>((resolve) => {
    const begin = () => {
      const { nonce, body, input } = takeApart(line, Buffer.concat(sent))
      if (nonce) stdout.write(`\x1e${nonce} 1\n`)
      const {
        stdout: out = '',
        stderr: err = '',
        exitCode = 0,
      } = body === 'eval "$(cat)"'
        ? runScript(input.toString(), answer)
        : /^slipway_\w+\(\) \{\n/.test(body)
          ? runScript(body, answer)
          : answer(body, input)
      stdout.end(out)
      stderr.end(err)
      resolve({ exitCode, signal: null })
    }
    // A follower's input is open for as long as it follows; here it ends once it has said what there is.
    if (isFollower(line)) begin()
    else stdin.once('end', begin)
  })
  return { stdin, stdout, stderr, exit, signal: () => {}, resize: () => {}, close: () => stdin.end() }
}

const isFollower = (line: string) =>
  unquoted(line.slice(line.indexOf('sh -c ') + 'sh -c '.length)).includes('exec 9<&0')

/** The command as it was written, without what makes it travel. */
function takeApart(line: string, input: Buffer): { nonce?: string; body: string; input: Buffer } {
  const inner = unquoted(line.slice(line.indexOf('sh -c ') + 'sh -c '.length))
  const [, nonce] = /printf '\\036(\w+) %s\\n'/.exec(inner) ?? []
  const after = inner.slice(inner.indexOf('"$$"; ') + '"$$"; '.length)
  if (!inner.includes('IFS= read -r p')) return { ...(nonce ? { nonce } : {}), body: withoutScope(after), input }
  // With secrets in it, it came as the first line of standard input.
  const newline = input.indexOf('\n')
  const body = percentB(input.subarray(0, newline).toString())
  return { ...(nonce ? { nonce } : {}), body: withoutScope(body), input: input.subarray(newline + 1) }
}

function unquoted(word: string): string {
  const encoded = /^'eval "\$\(printf %b "([^"]*)"\)"'$/.exec(word)?.[1]
  return encoded === undefined ? word.slice(1, -1).replaceAll("'\\''", "'") : percentB(encoded)
}

const percentB = (text: string) =>
  text.replace(/\\0([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

/** Without the directory and the variables that come before a command. */
function withoutScope(body: string): string {
  return body
    .replace(/^cd (?:'[^']*'|[^;' ])+ \|\| exit; /, '')
    .replace(/^(?:export \w+=(?:'[^']*'|\\'|[^;'])*; )+/, '')
}

/** The steps of shell/script.ts's form, each answered on its own, with the marks that tell them apart. */
function runScript(text: string, answer: Answerer): Answer {
  let stdout = ''
  let stderr = ''
  const lines = text.split('\n')
  for (let at = 0; at < lines.length; at++) {
    const [, nonce, index] = /^printf '\\036(\w+) begin (-?\d+)\\n'; /.exec(lines[at]!) ?? []
    if (nonce === undefined) continue
    const end = lines.indexOf(') </dev/null', at)
    const command = lines.slice(at + 3, end).join('\n')
    const { stdout: out = '', stderr: err = '', exitCode = 0 } = answer(command, Buffer.alloc(0))
    stdout += `\x1e${nonce} begin ${index}\n${out}\x1e${nonce} end ${index} ${exitCode}\n`
    stderr += `\x1e${nonce} begin ${index}\n${err}\x1e${nonce} end ${index} ${exitCode}\n`
    const stops = lines[end + 3]?.startsWith('[ "$s" = 0 ]')
    if (exitCode !== 0 && stops) return { stdout, stderr, exitCode }
    at = end
  }
  return { stdout, stderr, exitCode: 0 }
}
