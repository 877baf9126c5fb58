/** The JSON Schema of requests against the checks of `mix`, with Ajv. */
import assert from 'node:assert/strict'

import Ajv from 'ajv/dist/2020'
import { recipe, requestSchema, sweepSchema } from 'magicmix'

import { checkRequest } from '../dist/request/mix-options.js'
import { checkSweep } from '../dist/sweep/axes.js'

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
    { from: 0.2, to: 0.9 },
    { from: 0.2, to: 0.9, curve: 'cosine' },
    { from: 0.2, to: 0.9, curve: 'sine' },
    { from: 0.2 },
    { from: 0.2, to: 1.2 },
    Array(14).fill(0.5),
    Array(1000).fill(0.5),
    [2],
  ].map((nu) => ({ ...smallest, nu })),
  ...[
    [{ prompt: 'a' }],
    [
      { prompt: 'a', weight: -1 },
      { prompt: 'b', weight: 2, attention: { b: 1.5 } },
    ],
    [{ prompt: 'a', weight: 101 }],
    [{ prompt: 'a', wieght: 1 }],
    [{ weight: 1 }],
    ['a'],
    Array(9).fill({ prompt: 'a' }),
  ].flatMap((contents) => [
    { layout: 'corgi.jpg', contents },
    { ...smallest, contents },
  ]),
  ...[
    ['a.png'],
    ['a.png', { picture: 'b.png', weight: 0.5 }],
    [{ picture: { path: 'a.png', sha256: hash } }],
    [{ picture: { prompt: 'a hill' } }],
    [{ prompt: 'a hill' }],
    [{ picture: 'a.png', weight: -1 }],
    [{ picture: 'a.png', share: 1 }],
    Array(9).fill('a.png'),
  ].flatMap((layouts) => [
    { content: 'a cat', layouts },
    { ...smallest, layouts },
  ]),
  ...['map.png', { bytes: 'AAAA' }, { prompt: 'a' }].map((nuMap) => ({ ...smallest, nuMap })),
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
const together =
  /at most kMax|at least 1\/steps|the sampler is|the method is|as many numbers as states|whose sum is above 0|has a weight above 0|nothing beside contents|contents is given/

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
    assert.equal(requestSchema.required, undefined) // each has another that may take its place
  })
})

describe('sweepSchema', () => {
  const validateSweep = new Ajv({ allErrors: true, strict: false }).compile(sweepSchema)
  const sweeps: object[] = [
    { ...smallest },
    ...[
      ...[{}, { nu: [] }, { nu: 0.5 }, { nu: [0.5] }, { nu: [0.5, 1.5] }, { nuu: [0.5] }],
      ...[{ trace: [true, false] }, { previewEvery: [1, 2] }, { cells: ['a'] }],
      ...[
        { nu: [0.1], kMax: [1], seed: [1] },
        { nu: [0.1], kMax: [1], seed: [1], eta: [0] },
      ],
      ...[{ nu: { from: 0, to: 1, step: 0.5 } }, { nu: { from: 0, to: 1, count: 3 } }],
      ...[{ nu: { from: 0, to: 1 } }, { nu: { from: 0, to: 1, step: 0.5, count: 3 } }],
      ...[{ nu: { from: 0, to: 1, step: 0 } }, { nu: { from: 0, to: 1, count: 1 } }],
      ...[{ content: { from: 0, to: 1, step: 1 } }, { content: ['a', 'b'] }, { layout: ['a.png'] }],
      ...[{ layout: [{ prompt: 'a' }, { bytes: 'AAAA' }] }, { loras: [[], [{ file: 'a' }]] }],
      ...[{ guidanceInterval: [[0, 1]] }, { guidanceInterval: [0, 1] }, { cache: [null, {}] }],
    ].map((vary) => ({ ...smallest, vary })),
    { vary: { content: ['a'], layout: ['b'] } },
    { ...smallest, vary: { nu: [0.5] }, cells: 'folder' },
    { ...smallest, vary: { nu: [0.5] }, cells: '' },
    { ...smallest, vary: { nu: [0.5] }, sells: 'folder' },
  ]

  it('accepts and refuses what sweep does', () => {
    const isAccepted = (sweep: object) => {
      try {
        checkSweep(sweep)
        return true
      } catch {
        return false
      }
    }
    const disagreements = sweeps.filter((sweep) => validateSweep(sweep) !== isAccepted(sweep))
    assert.deepEqual(disagreements, [])
    const count = sweeps.filter(isAccepted).length
    assert.ok(count > 8 && sweeps.length - count > 12, `${count} of ${sweeps.length}`)
  })
})
