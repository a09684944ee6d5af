import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { type Command, createScriptParser, renderScript, sh } from '../../../src/shell/index.ts'

const shells = [['dash'], ['bash'], ['busybox', 'sh']]
const nonce = 'n0nce'

function run(shell: string[], text: string) {
  const [program, ...args] = shell as [string, ...string[]]
  const { stdout, stderr, status } = spawnSync(program, [...args, '-c', 'eval "$(cat)"'], { input: text })
  return { stdout: String(stdout), stderr: String(stderr), status }
}

function script(...commands: Command[]) {
  return renderScript(
    commands.map((command) => ({ command })),
    nonce,
  )
}

describe.each(shells)('a script in %s', (...shell) => {
  it('gives each step its own output and status', () => {
    const { stdout, stderr } = run(shell, script(sh`echo a; echo b >&2`, sh`printf c; exit 7`, sh`echo never`))
    const parser = createScriptParser(nonce)
    expect([...parser.push(stdout), ...parser.flush()]).toEqual([
      { type: 'begin', index: 0 },
      { type: 'output', index: 0, text: 'a\n' },
      { type: 'end', index: 0, exitCode: 0 },
      { type: 'begin', index: 1 },
      { type: 'output', index: 1, text: 'c' },
      { type: 'end', index: 1, exitCode: 7 },
    ])
    expect(stderr).toContain('b\n')
  })

  it('stops a step at its first failing command', () => {
    expect(run(shell, script(sh`false; echo went-on`)).stdout).not.toContain('went-on')
  })

  it('stops a step at an unset variable', () => {
    expect(run(shell, script(sh`echo "$never_set"; echo went-on`)).stdout).not.toContain('went-on')
  })

  it('runs nothing, wherever it is cut short', () => {
    const text = script(sh`echo ran`, sh`echo ran`)
    for (let length = 0; length < text.length - 1; length++) {
      expect(run(shell, text.slice(0, length)).stdout, `cut at ${length}`).not.toContain('ran\n')
    }
  }, 60_000)

  it('changes nothing when the guard fails', () => {
    const text = renderScript([{ command: sh`echo changed` }], nonce, sh`echo held by someone else >&2; exit 9`)
    const { stdout, stderr, status } = run(shell, text)
    expect(stdout).not.toContain('changed')
    expect(stderr).toContain('held by someone else')
    expect(status).toBe(9)
  })

  it('does not let a step read the rest of the script', () => {
    expect(run(shell, script(sh`cat`, sh`echo second`)).stdout).toContain('second')
  })
})

describe('createScriptParser', () => {
  it('finds marks cut anywhere', () => {
    const text = `noise\x1e${nonce} begin 0\nout\x1ey\x1e${nonce} end 0 3\n`
    for (let at = 0; at <= text.length; at++) {
      const parser = createScriptParser(nonce)
      const events = [...parser.push(text.slice(0, at)), ...parser.push(text.slice(at)), ...parser.flush()]
      const output = events.flatMap((event) => (event.type === 'output' && event.index === 0 ? [event.text] : []))
      expect(output.join('')).toBe('out\x1ey')
      expect(events.at(-1)).toEqual({ type: 'end', index: 0, exitCode: 3 })
    }
  })
})
