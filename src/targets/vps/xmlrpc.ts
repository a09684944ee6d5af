/** XML-RPC as supervisord speaks it: a call to text, an answer to a value. Pure. */
import { SlipwayError } from '../../events/errors.ts'

export type RpcValue = string | number | boolean | readonly RpcValue[] | { readonly [name: string]: RpcValue }

/** An error that the other side answered with; `fault` is its number (10 BAD_NAME, 60 ALREADY_STARTED …). */
export class RpcFault extends SlipwayError {
  override readonly name: string = 'RpcFault'
  readonly fault: number

  constructor(fault: number, message: string) {
    super('supervisor-fault', `supervisord answered: ${message}`, {})
    this.fault = fault
  }
}

export function encodeCall(method: string, params: readonly RpcValue[]): string {
  const encoded = params.map((param) => `<param>${encodeValue(param)}</param>`).join('')
  return `<?xml version="1.0"?><methodCall><methodName>${escaped(method)}</methodName><params>${encoded}</params></methodCall>`
}

function encodeValue(value: RpcValue): string {
  if (typeof value === 'string') return `<value><string>${escaped(value)}</string></value>`
  if (typeof value === 'boolean') return `<value><boolean>${value ? 1 : 0}</boolean></value>`
  if (typeof value === 'number') {
    return Number.isInteger(value) ? `<value><int>${value}</int></value>` : `<value><double>${value}</double></value>`
  }
  if (Array.isArray(value)) {
    return `<value><array><data>${value.map((each: RpcValue) => encodeValue(each)).join('')}</data></array></value>`
  }
  const members = Object.entries(value as Record<string, RpcValue>)
    .map(([name, each]) => `<member><name>${escaped(name)}</name>${encodeValue(each)}</member>`)
    .join('')
  return `<value><struct>${members}</struct></value>`
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** The value of an answer. Throws an RpcFault where it is one. */
export function decodeResponse(xml: string): RpcValue {
  const reader = new Reader(xml)
  reader.skipProlog()
  reader.open('methodResponse')
  if (reader.tryOpen('fault')) {
    const fault = reader.value() as { faultCode: number; faultString: string }
    throw new RpcFault(fault.faultCode, fault.faultString)
  }
  reader.open('params')
  reader.open('param')
  return reader.value()
}

/** Reads tags in order; anything unexpected is an error with its place. */
class Reader {
  private at = 0
  private readonly xml: string

  constructor(xml: string) {
    this.xml = xml
  }

  private space(): void {
    while (/\s/.test(this.xml[this.at] ?? '')) this.at++
  }

  skipProlog(): void {
    this.space()
    if (this.xml.startsWith('<?', this.at)) this.at = this.xml.indexOf('?>', this.at) + 2
  }

  tryOpen(tag: string): boolean {
    this.space()
    if (!this.xml.startsWith(`<${tag}>`, this.at)) return false
    this.at += tag.length + 2
    return true
  }

  private tryEmpty(tag: string): boolean {
    this.space()
    if (!this.xml.startsWith(`<${tag}/>`, this.at)) return false
    this.at += tag.length + 3
    return true
  }

  open(tag: string): void {
    if (!this.tryOpen(tag)) this.fail(`<${tag}>`)
  }

  close(tag: string): void {
    this.space()
    if (!this.xml.startsWith(`</${tag}>`, this.at)) this.fail(`</${tag}>`)
    this.at += tag.length + 3
  }

  private fail(expected: string): never {
    throw new SlipwayError('xml-rpc', `supervisord's answer is not XML-RPC: ${expected} expected at ${this.at}`, {
      detail: this.xml.slice(Math.max(0, this.at - 40), this.at + 80),
    })
  }

  private text(): string {
    const end = this.xml.indexOf('<', this.at)
    if (end < 0) this.fail('a tag')
    const text = this.xml.slice(this.at, end)
    this.at = end
    return unescaped(text)
  }

  value(): RpcValue {
    if (this.tryEmpty('value')) return ''
    this.open('value')
    const value = this.typed()
    this.close('value')
    return value
  }

  private typed(): RpcValue {
    const start = this.at
    for (const [tag, read] of scalars) {
      if (this.tryEmpty(tag)) return read('')
      if (this.tryOpen(tag)) {
        const value = read(this.text())
        this.close(tag)
        return value
      }
    }
    if (this.tryOpen('array')) return this.array()
    if (this.tryEmpty('struct')) return {}
    if (this.tryOpen('struct')) return this.struct()
    if (this.tryEmpty('nil')) return ''
    // A value without a type is a string, white space and all.
    this.at = start
    return this.text()
  }

  private array(): RpcValue[] {
    const values: RpcValue[] = []
    if (!this.tryEmpty('data')) {
      this.open('data')
      for (;;) {
        this.space()
        if (!this.xml.startsWith('<value', this.at)) break
        values.push(this.value())
      }
      this.close('data')
    }
    this.close('array')
    return values
  }

  private struct(): Record<string, RpcValue> {
    const members: Record<string, RpcValue> = {}
    while (this.tryOpen('member')) {
      this.open('name')
      const name = this.text()
      this.close('name')
      members[name] = this.value()
      this.close('member')
    }
    this.close('struct')
    return members
  }
}

const scalars: readonly [string, (text: string) => RpcValue][] = [
  ['string', (text) => text],
  ['int', Number],
  ['i4', Number],
  ['i8', Number],
  ['double', Number],
  ['boolean', (text) => text.trim() === '1'],
  ['base64', (text) => Buffer.from(text, 'base64').toString('utf8')],
  ['dateTime.iso8601', (text) => text],
]

function unescaped(text: string): string {
  return text.replace(/&(#x[0-9a-f]+|#\d+|amp|lt|gt|quot|apos);/gi, (_, name: string) => {
    if (name.startsWith('#x')) return String.fromCodePoint(Number.parseInt(name.slice(2), 16))
    if (name.startsWith('#')) return String.fromCodePoint(Number(name.slice(1)))
    return { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }[name.toLowerCase()] as string
  })
}
