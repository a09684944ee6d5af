import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeResponse, encodeCall, type RpcValue } from '../../../src/targets/vps/xmlrpc.ts'

test('a call is a method and its values', () => {
  expect(encodeCall('supervisor.startProcess', ['a<b&c', false])).toBe(
    '<?xml version="1.0"?><methodCall><methodName>supervisor.startProcess</methodName><params><param><value><string>a&lt;b&amp;c</string></value></param><param><value><boolean>0</boolean></value></param></params></methodCall>',
  )
})

test('a fault is an error with its number', () => {
  const xml = `<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n<value><int>60</int></value>\n</member>\n<member>\n<name>faultString</name>\n<value><string>ALREADY_STARTED: app-a</string></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n`
  expect(() => decodeResponse(xml)).toThrow(
    expect.objectContaining({ fault: 60, message: expect.stringContaining('ALREADY_STARTED: app-a') }),
  )
})

test('what is not XML-RPC is told with its beginning', () => {
  expect(() => decodeResponse('<html>no</html>')).toThrow(expect.objectContaining({ code: 'xml-rpc' }))
})

test('whatever is encoded is decoded the same', () => {
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.string().map((text) => text.replace(/[\0-\x1f\x7f\ufffe\uffff]/g, '')),
      fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      fc.boolean(),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(
        fc.string({ minLength: 1, unit: 'grapheme-ascii' }).filter((name) => name !== '__proto__'),
        tie('value'),
        { maxKeys: 4, noNullPrototype: true },
      ),
    ),
  }))
  fc.assert(
    fc.property(value, (sent) => {
      const call = encodeCall('m', [sent as RpcValue])
      const body = /<params>(.*)<\/params>/s.exec(call)?.[1] as string
      expect(decodeResponse(`<?xml version="1.0"?><methodResponse><params>${body}</params></methodResponse>`)).toEqual(
        sent,
      )
    }),
  )
})
