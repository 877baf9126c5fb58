/** The JSON Schema of requests against the checks of `mix`, with Ajv. */
import assert from 'node:assert/strict'

import Ajv from 'ajv/dist/2020'
import { recipe, requestSchema } from 'magicmix'

import { checkRequest } from '../dist/request/mix-options.js'

const validate = new Ajv({ allErrors: true, strict: false }).compile(requestSchema)
const smallest = { layout: 'corgi.jpg', content: 'a cat' }
const hash = 'a'.repeat(64)

/** Values that every number, text or flag is tried with. */
const anything: unknown[] = [
  ...[0, 1, -1, 0.5, 2, 8, 20, 100, 101, 999, 1000, 4096, 4104, 1e9, 2 ** 53 - 1, 2 ** 53],
  ...['', 'a', 'cover', 'ddim', true, false, null, [], {}, [1], { prompt: 'a' }],
]

const requests: object[] = [
  ...Object.keys(requestSchema.properties as object).flatMap((name) =>
    anything.map((value) => ({ ...smallest, [name]: value })),
  ),
  {},
  { layout: 'corgi.jpg' },
  { content: 'a cat' },
  { ...smallest, kmax: 1 },
  ...[
    { prompt: '' },
    { prompt: 'a', promt: 'b' },
    { path: 'a.png' },
    { path: '' },
    { path: 'a.png', sha256: hash },
    { path: 'a.png', sha256: 'abc' },
    { path: 'a.png', bytes: 'AAAA' },
    { bytes: 'AAAA' },
    { bytes: '' },
    { sha256: hash },
    { described: 'a sharp instance' },
    { data: 'AAAA', width: 1, height: 1, channels: 3 },
    { data: 'AAAA', width: 1, height: 1 },
    { data: 'AAAA', width: 0, height: 1, channels: 3 },
  ].map((layout) => ({ ...smallest, layout })),
  ...[
    { cat: 1.4, dog: -2 },
    { cat: 2.1 },
    { cat: '1' },
    { ' ': 1 },
    [{ text: 'a', scale: 1 }],
    [{ text: ' ', scale: 1 }],
    [{ text: 'a', scale: 1, occurrence: 1, from: 0.5, to: 0.2 }],
    [{ text: 'a', scale: 1, occurrence: 0 }],
    [{ text: 'a', scale: 1, form: 0 }],
    [{ scale: 1 }],
    [1],
  ].map((attention) => ({ ...smallest, attention })),
  ...[
    { prompt: 'a', weight: 0.5 },
    { prompt: 'a' },
    { prompt: 'a', weight: 2 },
    { prompt: 'a', weight: 1, more: 1 },
  ].map((interpolate) => ({ ...smallest, interpolate })),
  ...[
    'magicmix',
    'swap',
    'blend',
    null,
    { name: 'magicmix' },
    { name: 'switch' },
    { name: 'switch', at: 0.5 },
    { name: 'switch', at: 1.5 },
    { name: 'switch', every: 2 },
    { name: 'alternate', every: 1 },
    { name: 'swap', columns: 1, draw: 7 },
    { at: 0.5 },
    {},
  ].flatMap((method) => [
    { ...smallest, method },
    { ...smallest, layout: { prompt: 'a' }, method },
  ]),
  ...[
    [{ file: 'a' }],
    [{ file: 'a', strength: -10 }],
    [{ file: 'a', strength: 11 }],
    [{ file: '' }],
    [{ strength: 1 }],
    ['a'],
  ].map((loras) => ({ ...smallest, loras })),
]

/** What its documentation says beyond the schema: how kMin, kMax and steps, and samplers go together. */
const together = /at most kMax|at least 1\/steps|the sampler is|the method is/

function accepted(request: object): boolean {
  try {
    checkRequest(request)
    return true
  } catch (error) {
    return together.test((error as Error).message)
  }
}

describe('requestSchema', () => {
  it('accepts and refuses what mix does', () => {
    const disagreements = requests.filter((request) => validate(request) !== accepted(request))
    assert.deepEqual(disagreements, [])
    const count = requests.filter(accepted).length
    assert.ok(count > 50 && requests.length - count > 200, `${count} of ${requests.length}`)
  })

  it('accepts recipes', () => {
    for (const layout of ['a.png', Buffer.from('abc'), { prompt: 'a hill' }]) {
      assert.ok(validate(recipe({ ...smallest, layout, attention: { cat: 1.5 } })))
    }
  })

  it('describes every option, with its default', () => {
    const properties = requestSchema.properties as Record<string, Record<string, unknown>>
    for (const [name, { description, deprecated }] of Object.entries(properties)) {
      assert.ok(description || deprecated, name)
    }
    assert.equal(properties.nu?.default, 0.9)
    assert.deepEqual(requestSchema.required, ['layout', 'content'])
  })
})
