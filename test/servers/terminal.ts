/** A command at a terminal of its own, which script(1) makes: what it asks is answered as a person would. */
import { spawn } from 'node:child_process'

export interface AtTerminal {
  cwd: string
  env: NodeJS.ProcessEnv
  /** Each answer is typed once what it answers is shown, in this order. */
  answers?: readonly [question: RegExp, answer: string][]
  /** 120 unless given. */
  seconds?: number
}

/** Runs shell text. Resolves with all that was shown, the typing included; rejects with it where it does not end in time. */
export function atTerminal(
  command: string,
  { cwd, env, answers = [], seconds = 120 }: AtTerminal,
): Promise<{ status: number | null; shown: string }> {
  // Made with no size at all, on which every letter would be a line.
  const sized = `stty cols 100 rows 30; ${command}`
  const child = spawn('script', ['-qec', sized, '/dev/null'], { cwd, env: { TERM: 'xterm', ...env } })
  const left = [...answers]
  let shown = ''
  let read = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text
    const [next] = left
    const found = next?.[0].exec(shown.slice(read))
    if (!next || !found) return
    read = shown.length
    left.shift()
    child.stdin.write(`${next[1]}\r`)
  })
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill('SIGHUP')
      reject(new Error(`it did not end within ${seconds} s: ${command}\n${shown}`))
    }, seconds * 1000)
    child.on('close', (status) => {
      clearTimeout(late)
      resolve({ status, shown })
    })
  })
}
