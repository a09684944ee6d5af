import { ask, host, hosts, note, type RunEvent, result, Secret, sh, type TailOptions, task } from 'slipway'
import { fakeHosts, nameTasks, recordRun } from 'slipway/testing'
import { describe, expect, it } from 'vitest'

const uptime = task({
  about: 'Load on the web hosts',
  run: () => hosts('web1', 'web2').each(async (each) => result(`${each.name}: ${await each.probe`uptime -p`.text()}`)),
})

describe('fake hosts', () => {
  it('record commands and answer them', async () => {
    const fakes = fakeHosts({
      answer: (command, name) => (command === 'uptime -p' ? `up ${name.at(-1)} days` : undefined),
    })
    const { results, events } = await recordRun(() => nameTasks({ uptime }).uptime(), { hosts: fakes })
    expect(results.sort()).toEqual(['web1: up 1 days', 'web2: up 2 days'])
    expect(fakes.commands().sort()).toEqual(['web1: uptime -p', 'web2: uptime -p'])
    expect(events[0]).toMatchObject({ type: 'task.started', name: 'uptime' })
  })

  it('see a command as it was written, wherever and as whomever it runs', async () => {
    const fakes = fakeHosts()
    await recordRun(
      async () => {
        const web = host('web1')
          .cd('/srv/it’s here')
          .env({ MODE: 'a b', KEY: new Secret('hunter2-hunter2') })
        await web.$`make ${['x', "it's"]}`
        await host('web1').cd('~/app').$`echo ${'!'} \\ ok`
      },
      { hosts: fakes },
    )
    expect(fakes.commands('web1')).toEqual([`make x 'it'\\''s'`, `echo '!' \\ ok`])
  })

  it('fail as told, with the error that a host would give', async () => {
    const fakes = fakeHosts({ answer: () => ({ exitCode: 3, stderr: 'no space left\n' }) })
    const { error } = await recordRun(() => host('db').$`pg_dump app`, { hosts: fakes })
    expect(error).toMatchObject({ code: 'command-failed', host: 'db', detail: 'no space left' })
  })

  it('keep files in memory', async () => {
    const fakes = fakeHosts({ files: { web1: { '/etc/motd': 'hello\n' } } })
    const { result: done, error } = await recordRun(
      async () => {
        const web = host('web1')
        const changed = [
          await web.write('~/a.ini', 'x = 1\n'),
          await web.write('~/a.ini', 'x = 1\n'),
          await web.edit('~/a.ini', (text) => `${text}y = 2\n`),
        ]
        const seen = [await web.read('/etc/motd'), await web.exists('~/a.ini'), await web.exists('~/b.ini')]
        await web.symlink('versions/2', '~/current')
        const link = await web.readlink('~/current')
        await web.remove('/etc/motd')
        return {
          changed,
          seen,
          link,
          gone: await web.read('/etc/motd').catch((thrown: { code: string }) => thrown.code),
        }
      },
      { hosts: fakes },
    )
    expect(error).toBeUndefined()
    expect(done).toEqual({
      changed: [true, false, true],
      seen: ['hello\n', true, false],
      link: 'versions/2',
      gone: 'file-missing',
    })
    expect(fakes.file('web1', '~/a.ini')).toBe('x = 1\ny = 2\n')
    expect(fakes.link('web1', '~/current')).toBe('versions/2')
    expect(fakes.commands()).toEqual([])
  })

  it('answer each step of a script', async () => {
    const fakes = fakeHosts({ answer: (command) => (command.startsWith('false') ? { exitCode: 1 } : `did ${command}`) })
    const step = (name: string, command: string, nothrow = false) => ({
      name,
      command: sh([command] as unknown as TemplateStringsArray),
      nothrow,
    })
    const { result: done } = await recordRun(
      () => host('h').script([step('one', 'echo 1'), step('two', 'false 2', true), step('three', 'echo 3')]),
      { hosts: fakes },
    )
    expect(done?.map(({ name, exitCode, stdout }) => [name, exitCode, stdout])).toEqual([
      ['one', 0, 'did echo 1\n'],
      ['two', 1, ''],
      ['three', 0, 'did echo 3\n'],
    ])
    const { error } = await recordRun(() => host('h').script([step('one', 'false 1'), step('two', 'echo 2')]), {
      hosts: fakes,
    })
    expect(error).toMatchObject({
      code: 'step-failed',
      message: expect.stringContaining('one failed with exit status 1'),
    })
    expect(fakes.commands('h')).toEqual(['echo 1', 'false 2', 'echo 3', 'false 1'])
  })

  it('run nothing on this machine either, and refuse what they cannot do', async () => {
    const fakes = fakeHosts()
    const { local } = await import('slipway')
    await recordRun(() => local().$`touch /tmp/slipway-must-not-be-here`, { hosts: fakes })
    expect(fakes.commands('local')).toEqual(['touch /tmp/slipway-must-not-be-here'])
    const { error } = await recordRun(() => host('h').openStream('/run/x.sock'), { hosts: fakes })
    expect(error).toMatchObject({ code: 'fake-host' })
  })
})

describe('a log on a fake host', () => {
  const hosts = () => fakeHosts({ files: { h: { 'log/app.log': 'one\ntwo\nthree\n', '~/other': 'x\n' } } })
  const tail = (path: string | string[], options: TailOptions) => async () => {
    for await (const { text } of host('h').tail(path, options)) note(text)
  }
  const notes = (events: readonly RunEvent[]) => events.flatMap((event) => (event.type === 'note' ? [event.text] : []))

  it('is shown from its last lines', async () => {
    const { events, error } = await recordRun(tail(['log/app.log', '~/other'], { lines: 2, follow: false }), {
      hosts: hosts(),
    })
    expect(error).toBeUndefined()
    expect(notes(events)).toEqual(['two', 'three', 'x'])
  })

  it('that is not there is an error', async () => {
    const { error } = await recordRun(tail('nowhere.log', { follow: false }), { hosts: hosts() })
    expect(error).toMatchObject({ code: 'file-missing' })
  })

  it('that is followed ends once it has been shown, with an error: nobody waits for lines that can’t come', async () => {
    const { events, error } = await recordRun(tail('log/app.log', { lines: 1 }), { hosts: hosts() })
    expect(notes(events)).toEqual(['three'])
    expect(error).toMatchObject({ code: 'tail-ended', message: 'following log/app.log on h ended by itself' })
  })
})

describe('a recorded run', () => {
  it('holds back changes in a dry run', async () => {
    const fakes = fakeHosts()
    const { events } = await recordRun(() => host('h').$`reboot`, { hosts: fakes, dryRun: true })
    expect(fakes.commands()).toEqual([])
    expect(events).toContainEqual(expect.objectContaining({ type: 'held-back', display: 'reboot' }))
  })

  it('with --step asks before each change, and ends before the one that is refused', async () => {
    const fakes = fakeHosts()
    const asked: string[] = []
    const confirm = async (message: string) => {
      asked.push(message)
      return asked.length < 3
    }
    const { error } = await recordRun(
      async () => {
        await host('h').probe`uptime`
        await host('h').$`one`
        await host('h').write('a', 'x')
        await host('h').$`three`
      },
      { hosts: fakes, step: true, prompter: { confirm } },
    )
    expect(asked).toEqual(['h: one', 'h: write a', 'h: three'])
    expect(fakes.commands()).toEqual(['h: uptime', 'h: one'])
    expect(error).toMatchObject({ code: 'not-approved', message: 'not approved on h: three' })
  })

  it('answers questions as told, and refuses the others', async () => {
    const sure = () => ask.confirm('Sure?')
    expect((await recordRun(sure, { prompter: { confirm: async () => true } })).result).toBe(true)
    expect((await recordRun(sure)).error).toMatchObject({ code: 'no-terminal', exitCode: 2 })
  })
})
