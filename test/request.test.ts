import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'

import sharp from 'sharp'

import { checkLoadOptions } from '../dist/models/load-options.js'
import { type FilledMixRequest, checkRequest } from '../dist/request/mix-options.js'
import { embeddedRecipe } from '../dist/request/recipe.js'

const smallest = { layout: 'corgi.jpg', content: 'a cat' }

describe('request', () => {
  it('fills in the defaults of the paper', () => {
    const { seed, ...filled } = checkRequest(smallest)
    assert.deepEqual(filled, {
      layout: 'corgi.jpg',
      content: 'a cat',
      kMin: 0.3,
      kMax: 0.6,
      nu: 0.9,
      attention: [],
      interpolate: null,
      layouts: null,
      contents: null,
      nuMap: null,
      kMaxMap: null,
      method: 'magicmix',
      promptSyntax: 'plain',
      loras: undefined, // the mixer's
      negativePrompt: '',
      guidanceScale: 7.5,
      steps: 50,
      eta: 0,
      width: undefined,
      height: undefined,
      fit: 'cover',
      background: 'white',
      truncate: false,
      decoder: 'full',
      previewEvery: 0,
      sampler: 'ddim',
      spacing: undefined, // the model's
      guidanceInterval: [0, 1],
      cache: null,
      conditioning: null,
      fast: 'off',
      gamma: 0.3,
      trace: false,
      score: false,
      onProgress: undefined,
      signal: undefined,
    })
    assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)
  })

  it('draws another seed each time', () => {
    const seeds = Array.from({ length: 8 }, () => checkRequest(smallest).seed)
    assert.ok(new Set(seeds).size > 1)
  })

  it('treats undefined like a missing value', () => {
    assert.equal(checkRequest({ ...smallest, nu: undefined }).nu, 0.9)
  })

  it('keeps what is allowed', () => {
    const { signal } = new AbortController()
    const onProgress = () => {}
    const request = {
      ...smallest,
      loras: [{ file: 'a.safetensors', strength: -1 }],
      negativePrompt: 'rain',
      kMin: 0,
      kMax: 1,
      nu: 0,
      guidanceScale: 0,
      steps: 1,
      eta: 1,
      seed: Number.MAX_SAFE_INTEGER,
      width: 8,
      height: 4096,
      fit: 'fill',
      background: '#123456',
      truncate: true,
      decoder: 'tiny',
      previewEvery: 5,
      trace: true,
      score: true,
      onProgress,
      signal,
    }
    assert.deepEqual(checkRequest(request), {
      ...request,
      attention: [],
      interpolate: null,
      layouts: null,
      contents: null,
      nuMap: null,
      kMaxMap: null,
      method: 'magicmix',
      promptSyntax: 'plain',
      sampler: 'ddim',
      spacing: undefined,
      guidanceInterval: [0, 1],
      cache: null,
      conditioning: null,
      fast: 'off',
      gamma: 0.3,
    })
  })

  it('lets kMin follow a smaller kMax', () => {
    assert.equal(checkRequest({ ...smallest, kMax: 0.2 }).kMin, 0.2)
  })

  it('accepts a single step, in spite of rounding', () => {
    assert.equal(checkRequest({ ...smallest, kMin: 0.29, kMax: 0.29, steps: 100 }).kMax, 0.29)
    assert.equal(checkRequest({ ...smallest, kMin: 0, kMax: 0.02 }).kMax, 0.02)
  })

  it('accepts every kind of layout', () => {
    const pixels = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 }
    for (const layout of [
      'a.png',
      Buffer.from([1]),
      new Uint8Array(1),
      new ArrayBuffer(1),
      sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } }),
      pixels,
      { prompt: 'a hill' },
      { prompt: '' },
    ]) {
      assert.deepEqual(checkRequest({ ...smallest, layout }).layout, layout)
    }
  })

  it('reads attention as an object and as a list', () => {
    assert.deepEqual(checkRequest({ ...smallest, attention: { cat: 1.4, ' a ': -2 } }).attention, [
      { text: 'cat', scale: 1.4, from: 0, to: 1 },
      { text: 'a', scale: -2, from: 0, to: 1 },
    ])
    const attention = [
      { text: 'cat', scale: 0, occurrence: 2, from: 0.8, to: 0.1 },
      { text: 'a', scale: 1 },
    ]
    assert.deepEqual(checkRequest({ ...smallest, attention }).attention, [
      { text: 'cat', scale: 0, occurrence: 2, from: 0.1, to: 0.8 },
      { text: 'a', scale: 1, from: 0, to: 1 },
    ])
  })

  it('takes a filled-in request again', () => {
    const { onProgress, signal, ...filled } = checkRequest({
      ...smallest,
      attention: { cat: 1.4 },
      width: 64,
      height: 64,
    })
    assert.deepEqual(checkRequest(filled), { ...filled, onProgress, signal })
  })

  const refusals: [what: string, change: object, message: RegExp][] = [
    ['no layout', { layout: undefined }, /for layout but received undefined/],
    ['an empty path', { layout: '' }, /for layout but received ''/],
    ['no bytes', { layout: Buffer.alloc(0) }, /for layout but received a Buffer of 0 bytes/],
    ['a number as layout', { layout: 7 }, /for layout but received 7/],
    ['a list as layout', { layout: ['a.png'] }, /for layout but received an array of 1/],
    ['a layout prompt that is no text', { layout: { prompt: 7 } }, /layout\.prompt/],
    [
      'pixels without channels',
      { layout: { data: new Uint8Array(3), width: 1, height: 1 } },
      /channels/,
    ],
    [
      'too few pixels',
      { layout: { data: new Uint8Array(11), width: 2, height: 2, channels: 3 } },
      /Expected width x height x channels = 12 bytes for layout\.data but received a Uint8Array of 11/,
    ],
    [
      'pixels that are no bytes',
      { layout: { data: [0, 0, 0], width: 1, height: 1, channels: 3 } },
      /Expected a Uint8Array for layout\.data/,
    ],
    ['no content', { content: undefined }, /Expected a string for content but received undefined/],
    ['content that is no text', { content: ['a'] }, /content/],
    ['kMax above 1', { kMax: 1.1 }, /Expected a number between 0 and 1 for kMax but received 1.1/],
    ['kMin below 0', { kMin: -0.1 }, /kMin/],
    ['kMin above kMax', { kMin: 0.7 }, /Expected at most kMax \(0\.6\) for kMin but received 0\.7/],
    ['NaN', { kMin: NaN }, /kMin but received NaN/],
    [
      'no step left',
      { kMin: 0, kMax: 0.01 },
      /Expected at least 1\/steps \(0\.0200 with 50 steps\)/,
    ],
    ['no step left of one', { steps: 1, kMax: 0.99 }, /for kMax/],
    ['nu above 1', { nu: 1.5 }, /nu/],
    ['nu as text', { nu: '0.5' }, /Expected a number between 0 and 1 for nu but received '0\.5'/],
    ['null', { nu: null }, /nu but received null/],
    ['an infinite guidance scale', { guidanceScale: Infinity }, /guidanceScale/],
    ['a negative guidance scale', { guidanceScale: -1 }, /guidanceScale/],
    ['no steps', { steps: 0 }, /Expected an integer between 1 and 999 for steps but received 0/],
    ['half a step', { steps: 2.5 }, /steps/],
    ['more steps than timesteps', { steps: 1000 }, /steps/],
    ['eta above 1', { eta: 2 }, /eta/],
    ['a negative seed', { seed: -1 }, /seed/],
    ['an unsafe seed', { seed: 2 ** 53 }, /seed/],
    ['a big integer as seed', { seed: 1n }, /seed but received 1n/],
    ['a width of 0', { width: 0 }, /Expected a multiple of 8 between 8 and 4096 for width|width/],
    [
      'a width of 100',
      { width: 100 },
      /Expected a multiple of 8 between 8 and 4096 for width but received 100/,
    ],
    ['a height above 4096', { height: 4104 }, /height/],
    [
      'another fit',
      { fit: 'crop' },
      /Expected one of 'cover', 'contain', 'fill' for fit but received 'crop'/,
    ],
    ['no background', { background: '' }, /background/],
    ['truncate as text', { truncate: 'yes' }, /Expected true or false for truncate/],
    ['a negative preview', { previewEvery: -1 }, /previewEvery/],
    ['trace as number', { trace: 1 }, /trace/],
    ['score as number', { score: 1 }, /score/],
    ['onProgress that is no function', { onProgress: {} }, /Expected a function for onProgress/],
    [
      'a controller as signal',
      { signal: new AbortController() },
      /Expected an AbortSignal for signal/,
    ],
    ['a prompt without weight', { interpolate: { prompt: 'a dog' } }, /interpolate\.weight/],
    ['a weight above 1', { interpolate: { prompt: 'a dog', weight: 1.5 } }, /between 0 and 1/],
    ['interpolation with nothing', { interpolate: { weight: 0.5 } }, /interpolate\.prompt/],
    ['attention as text', { attention: 'cat=1' }, /attention/],
    [
      'a scale above 2',
      { attention: { cat: 2.1 } },
      /between -2 and 2 for the attention scale of 'cat'/,
    ],
    ['an empty phrase', { attention: { ' ': 1 } }, /phrase/],
    ['a scale without text', { attention: [{ scale: 1 }] }, /attention\[0\]\.text/],
    ['a scale without scale', { attention: [{ text: 'a' }] }, /attention\[0\]\.scale/],
    ['occurrence 0', { attention: [{ text: 'a', scale: 1, occurrence: 0 }] }, /occurrence/],
    [
      'a window outside of T',
      { attention: [{ text: 'a', scale: 1, to: 1.5 }] },
      /attention\[0\]\.to/,
    ],
  ]
  for (const [what, change, message] of refusals) {
    it(`refuses ${what}`, () => {
      assert.throws(() => checkRequest({ ...smallest, ...change }), {
        name: 'MagicMixError',
        code: 'INVALID_ARGUMENT',
        message,
      })
    })
  }

  for (const request of [undefined, null, 'corgi.jpg', [], 7]) {
    it(`refuses ${JSON.stringify(request)} as request`, () => {
      assert.throws(() => checkRequest(request), {
        code: 'INVALID_ARGUMENT',
        message: /the request/,
      })
    })
  }

  const typos: [change: object, message: string][] = [
    [{ guidance_scale: 7 }, "mix has no option 'guidance_scale'; did you mean 'guidanceScale'?"],
    [{ kmax: 0.5 }, "mix has no option 'kmax'; did you mean 'kMax'?"],
    [{ sead: 1 }, "mix has no option 'sead'; did you mean 'seed'?"],
    [
      { layout: { prompt: 'a', promt: 'b' } },
      "layout has no option 'promt'; did you mean 'prompt'?",
    ],
    [
      { attention: [{ text: 'a', scale: 1, form: 0 }] },
      "attention[0] has no option 'form'; did you mean 'from'?",
    ],
  ]
  for (const [change, message] of typos) {
    it(`knows better: ${message}`, () => {
      assert.throws(() => checkRequest({ ...smallest, ...change }), {
        code: 'UNKNOWN_OPTION',
        message,
      })
    })
  }

  it('lists the options if none is near', () => {
    assert.throws(() => checkRequest({ ...smallest, somethingElseEntirely: 1 }), {
      code: 'UNKNOWN_OPTION',
      message: /it has layout, layouts, content, contents, kMin/,
    })
  })

  it('makes a request for files that JSON can hold and that tells no folders and no pixels', () => {
    const sha256 = createHash('sha256').update(Buffer.alloc(9)).digest('hex')
    const source = { of: 'file', sha256, bytes: 9, width: 3, height: 1 } as const
    const embedded = (layout: FilledMixRequest['layout']) => {
      const { onProgress, signal, ...request } = checkRequest({ layout, content: 'a', seed: 1 })
      const loras = [{ file: '/home/me/style.safetensors', strength: 1 }]
      const filled = { ...request, width: 8, height: 8, loras }
      const json = JSON.stringify(embeddedRecipe(filled, { layout: source }))
      assert.doesNotMatch(json, /home/)
      return (JSON.parse(json) as { layout: unknown }).layout
    }
    assert.deepEqual(embedded('/home/me/corgi.jpg'), { path: 'corgi.jpg', sha256 })
    assert.deepEqual(embedded({ path: '/home/me/corgi.jpg' }), { path: 'corgi.jpg', sha256 })
    assert.deepEqual(embedded(Buffer.alloc(9)), { sha256 })
    assert.deepEqual(embedded({ prompt: 'a hill' }), { prompt: 'a hill' })
    const pixels = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 } as const
    assert.deepEqual(embedded(pixels), { sha256 })
  })
})

describe('load options', () => {
  it('fills in the defaults', () => {
    assert.deepEqual(checkLoadOptions({ model: 'sd.safetensors' }).native, {
      model: 'sd.safetensors',
      device: 'auto',
      precision: 'auto',
      threads: 0,
      config: {},
      embeddings: {},
      keepOnCpu: [],
      releaseTextEncoders: false,
      kernels: '',
      loras: [],
      vae: undefined,
      tinyDecoder: undefined,
      clipSkip: 0, // as the family has it
      cacheBytes: 134217728,
      originalConfig: '',
    })
  })

  it('passes the config on', () => {
    const config = {
      unet: { heads: 4, headWidth: 16, prediction: 'v_prediction', normGroups: 16 },
      textEncoder: { heads: 2 },
      vae: { normGroups: 8, scalingFactor: 0.5 },
    }
    assert.deepEqual(checkLoadOptions({ model: 'm', config }).native.config, config)
  })

  it('takes the model in the box if none is asked for', () => {
    for (const options of [undefined, {}, { model: undefined }]) {
      assert.match(checkLoadOptions(options).native.model, /models.world-128$/)
    }
  })

  const refusals: [what: string, change: object, code: string, message: RegExp][] = [
    ['an empty model', { model: '' }, 'INVALID_ARGUMENT', /model/],
    [
      'another precision',
      { precision: 'q8' },
      'INVALID_ARGUMENT',
      /'auto', 'f32', 'f16', 'bf16', 'q8_0'/,
    ],
    ['no threads', { threads: 0 }, 'INVALID_ARGUMENT', /threads/],
    ['a device that is no text', { device: 0 }, 'INVALID_ARGUMENT', /device/],
    [
      'half a head',
      { config: { unet: { heads: 1.5 } } },
      'INVALID_ARGUMENT',
      /config\.unet\.heads/,
    ],
    [
      'another prediction',
      { config: { unet: { prediction: 'v' } } },
      'INVALID_ARGUMENT',
      /'epsilon', 'v_prediction' for config\.unet\.prediction/,
    ],
    ['no scaling', { config: { vae: { scalingFactor: 0 } } }, 'INVALID_ARGUMENT', /scalingFactor/],
    ['a config that is no object', { config: 4 }, 'INVALID_ARGUMENT', /config/],
    ['an unknown part', { config: { uent: {} } }, 'UNKNOWN_OPTION', /did you mean 'unet'/],
    ['an unknown number', { config: { unet: { head: 4 } } }, 'UNKNOWN_OPTION', /'heads'/],
    ['an unknown option', { modle: 'x' }, 'UNKNOWN_OPTION', /did you mean 'model'/],
  ]
  for (const [what, change, code, message] of refusals) {
    it(`refuses ${what}`, () => {
      assert.throws(() => checkLoadOptions({ model: 'm', ...change }), { code, message })
    })
  }
})
