/** Requests of all kinds, right ones and hopeless ones, as fast-check makes them. */
import fc from 'fast-check'

const nothing = fc.constant(undefined)
const strange = fc.oneof(
  fc.anything({ withBigInt: true, withDate: true, withTypedArray: true, withNullPrototype: true }),
  fc.constantFrom(NaN, Infinity, -Infinity, -0, 2 ** 53, 1e308, '', '7', [], {}, () => 1, Symbol()),
  fc.string({ unit: 'binary', maxLength: 200 }),
)

/** Mostly of the kind that is wanted. */
const mostly = (wanted: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 40, arbitrary: wanted }, { weight: 1, arbitrary: strange })

/** What suits only some requests. */
const seldom = (wanted: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 3, arbitrary: nothing }, { weight: 1, arbitrary: mostly(wanted) })

/** What another option has to make room for. */
const hardly = (wanted: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 30, arbitrary: nothing }, { weight: 1, arbitrary: mostly(wanted) })

const share = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0, 0.3, 0.6, 1))
const word = fc.constantFrom(
  ...['a', 'cat', 'dog', 'Käse', 'a photo of a cat', 'a hill', '猫', ''],
  ...['a [cat:dog:0.5]', '[a|[b:c:1]|]', '[a', '(a)'],
)
const side = fc.constantFrom(8, 16, 24, 32)
const pixels = fc.record({
  data: mostly(fc.uint8Array({ minLength: 12, maxLength: 12 })),
  width: mostly(fc.constant(2)),
  height: mostly(fc.constant(2)),
  channels: mostly(fc.constant(3)),
})
const scale = fc.record(
  {
    text: mostly(word),
    scale: mostly(fc.double({ min: -3, max: 3 })),
    occurrence: mostly(fc.nat(3)),
    from: mostly(share),
    to: mostly(share),
  },
  { requiredKeys: ['text', 'scale'] },
)

export const anyRequest = mostly(
  fc.record(
    {
      layout: mostly(
        fc.oneof(
          fc.record({ prompt: mostly(word) }),
          pixels,
          fc.uint8Array({ maxLength: 40 }),
          fc.record({ bytes: mostly(fc.base64String()), sha256: seldom(word) }),
          fc.constantFrom('missing.png', '/', 'data:image/png;base64,AAAA', 'file:///', 'http://a'),
        ),
      ),
      layouts: hardly(
        fc.array(fc.oneof(pixels, fc.record({ picture: pixels, weight: mostly(share) })), {
          maxLength: 3,
        }),
      ),
      content: mostly(word),
      contents: hardly(
        fc.array(fc.record({ prompt: mostly(word), weight: mostly(share) }), { maxLength: 3 }),
      ),
      nuMap: seldom(fc.oneof({ weight: 9, arbitrary: pixels }, fc.uint8Array({ maxLength: 40 }))),
      kMaxMap: seldom(pixels),
      kMin: mostly(share),
      kMax: mostly(share),
      nu: fc.oneof(
        { weight: 18, arbitrary: mostly(share) },
        fc.record({ from: mostly(share), to: mostly(share), curve: seldom(word) }),
        fc.array(mostly(share), { maxLength: 3 }),
      ),
      attention: seldom(
        fc.oneof(
          fc.array(mostly(scale), { maxLength: 3 }),
          fc.dictionary(word, mostly(fc.double({ min: -2, max: 2, noNaN: true }))),
        ),
      ),
      method: seldom(
        fc.oneof(
          fc.constantFrom('magicmix', 'switch', 'alternate', 'split', 'swap', 'interpolate'),
          fc.record(
            {
              name: mostly(fc.constantFrom('switch', 'alternate', 'interpolate', 'swap', 'split')),
              at: seldom(share),
              every: seldom(fc.nat(4)),
              columns: seldom(share),
              weight: seldom(share),
            },
            { requiredKeys: ['name'] },
          ),
        ),
      ),
      promptSyntax: seldom(fc.constantFrom('plain', 'a1111')),
      interpolate: seldom(fc.record({ prompt: mostly(word), weight: mostly(share) })),
      loras: seldom(
        fc.array(fc.record({ file: mostly(fc.constant('missing')), strength: mostly(share) })),
      ),
      negativePrompt: mostly(word),
      guidanceScale: mostly(fc.constantFrom(1, 7.5, 0, 100)),
      sampler: mostly(fc.constantFrom('ddim', 'ddim', 'euler', 'euler_a', 'dpm++2m', 'lcm', 'tcd')),
      spacing: seldom(fc.constantFrom('leading', 'trailing', 'linspace', 'karras')),
      gamma: seldom(share),
      guidanceInterval: seldom(fc.tuple(mostly(share), mostly(share))),
      cache: seldom(
        fc.oneof(
          fc.constant(null),
          fc.record(
            {
              every: mostly(fc.nat(4)),
              whileMixing: mostly(fc.nat(4)),
              blocks: mostly(fc.nat(14)),
            },
            { requiredKeys: [] },
          ),
        ),
      ),
      fast: seldom(fc.constantFrom('off', 'safe', 'max')),
      steps: mostly(fc.integer({ min: 1, max: 4 })),
      eta: mostly(share),
      seed: mostly(fc.nat()),
      width: mostly(side),
      height: mostly(side),
      fit: mostly(fc.constantFrom('cover', 'contain', 'fill')),
      background: mostly(fc.constantFrom('white', '#123456', 'rgb(1, 2, 3)')),
      truncate: mostly(fc.boolean()),
      decoder: mostly(fc.constant('full')),
      previewEvery: mostly(fc.nat(2)),
      trace: mostly(fc.boolean()),
      score: mostly(fc.boolean()),
      onProgress: fc.oneof({ weight: 40, arbitrary: nothing }, { weight: 1, arbitrary: strange }),
      signal: fc.oneof({ weight: 40, arbitrary: nothing }, { weight: 1, arbitrary: strange }),
    },
    { requiredKeys: ['layout', 'content', 'steps', 'width', 'height'] },
  ),
)

const some = (value: fc.Arbitrary<unknown>) =>
  mostly(
    fc.oneof(
      { weight: 9, arbitrary: fc.uniqueArray(value, { minLength: 1, maxLength: 4 }) },
      { weight: 1, arbitrary: fc.array(mostly(value), { maxLength: 4 }) },
    ),
  )
const numbers = fc.oneof(
  some(share),
  fc.record(
    { from: mostly(share), to: mostly(share), step: seldom(share), count: seldom(fc.nat(9)) },
    { requiredKeys: ['from', 'to'] },
  ),
)
export const anyVary = mostly(
  fc.oneof(
    fc.record({ nu: numbers, seed: some(fc.nat()) }),
    fc.record({ kMin: numbers, content: some(word) }),
    fc.record({ kMax: numbers, guidanceScale: some(fc.constantFrom(1, 7.5)) }),
    fc.record({ sampler: some(fc.constantFrom('ddim', 'euler')), nu: numbers, fit: some(word) }),
    fc.dictionary(fc.constantFrom('nu', 'steps', 'layout', 'trace', 'kmax'), numbers),
  ),
)

export const anyLoadOptions = mostly(
  fc.record(
    {
      model: mostly(fc.constantFrom('missing', '/', __filename)),
      device: mostly(fc.constantFrom('cpu', 'auto', 'cuda:7')),
      precision: mostly(fc.constantFrom('f32', 'bf16', 'f64')),
      threads: mostly(fc.integer({ min: 0, max: 2000 })),
      config: mostly(
        fc.record(
          {
            unet: mostly(fc.record({ heads: mostly(fc.nat(9)), normGroups: mostly(fc.nat(40)) })),
            textEncoder: mostly(fc.record({ heads: mostly(fc.nat(9)) })),
            vae: mostly(fc.record({ scalingFactor: mostly(share) })),
          },
          { requiredKeys: [] },
        ),
      ),
      keepOnCpu: mostly(fc.constantFrom([], ['vae'], ['unet'])),
      releaseTextEncoders: mostly(fc.boolean()),
      embeddings: mostly(fc.dictionary(word, mostly(fc.constant('missing')))),
      loras: mostly(fc.array(mostly(fc.record({ file: mostly(word), strength: mostly(share) })))),
      tinyDecoder: seldom(fc.constantFrom('missing', '/', __filename)),
      maxQueue: mostly(fc.nat(3)),
      timeLimit: mostly(fc.nat(3)),
    },
    { requiredKeys: ['model'] },
  ),
)
