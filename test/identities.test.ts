/** What must hold for any model: the paper's special cases, and an independent sampler. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import path from 'node:path'
import { promisify } from 'node:util'

import { MagicMix } from 'magicmix'
import type { LoadOptions, Mix, MixRequest } from 'magicmix'
import sharp from 'sharp'

import type { TokenScale } from '../dist/input/attention.js'
import { assertClose } from './support/closeness.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { fixture, packageRoot } from './support/package-root.js'
import { imageToImage, indexAt, referenceMix } from './support/reference.js'
import type { Pixels, ReferenceMix, ReferenceRequest } from './support/reference.js'

/** f32 sums in another order, which a picture of one latent cell makes the most of; nothing else may differ. */
const rounding = 4e-5

const content = 'a photo of a corgi wearing a red hat'
const otherPrompt = 'a coffee machine, studio lighting'

describe('identities', () => {
  let options: LoadOptions
  let mixer: MagicMix
  let square: Pixels
  /** 72 x 120: latent sides of 9 x 15, which no level of the UNet halves evenly */
  let odd: Pixels

  before(async () => {
    options = {
      model: await tinyModel(),
      config: tinyHeads,
      device: 'cpu',
      precision: 'f32',
      threads: 1,
    }
    mixer = await MagicMix.load(options)
    square = await resized(64, 64)
    odd = await resized(72, 120)
  })
  after(() => mixer?.dispose())

  /** The defaults of these tests. */
  function base(layout: Pixels | { prompt: string } = square): ReferenceRequest {
    const { width, height } = 'prompt' in layout ? square : layout
    const sizes = { width, height, steps: 10, seed: 5 }
    return { layout, content, kMin: 0.3, kMax: 0.6, nu: 0.5, guidanceScale: 7.5, ...sizes }
  }

  function mix(
    request: ReferenceRequest,
    more: Partial<MixRequest> = {},
    by: MagicMix = mixer,
  ): Promise<Mix> {
    const { layout, scales: _, ...rest } = request
    const asked = 'prompt' in layout ? layout : { ...layout, channels: 3 as const }
    return by.mix({ ...rest, layout: asked, trace: true, ...more })
  }

  describe('of the paper', () => {
    for (const kMin of [0, 0.3]) {
      it(`nu = 1 equals plain img2img from kMax, kMin ${kMin}`, async () => {
        const request = { ...base(), layout: square, nu: 1, kMin }
        const mixed = await mix(request)
        assertStates(mixed, await imageToImage(mixer, request))
      })
    }

    it('kMax = kMin never mixes: nu is without effect', async () => {
      const request = { ...base(), kMin: 0.6 }
      const [near, far] = [await mix({ ...request, nu: 0.1 }), await mix({ ...request, nu: 0.9 })]
      assertSame(near, far)
      assertStates(near, await imageToImage(mixer, { ...request, layout: square }))
    })

    it('nu has an effect otherwise', async () => {
      const [near, far] = [await mix({ ...base(), nu: 0.1 }), await mix({ ...base(), nu: 0.9 })]
      assertDiffer(near, far)
    })

    it("nu = 0 down to kMin keeps the layout's states", async () => {
      const request = { ...base({ prompt: otherPrompt }), nu: 0 }
      const mixed = await mix(request)
      const iMin = indexAt(request.kMin, request.steps)
      const states = mixed.trace.filter(({ index }) => index < iMin)
      assert.equal(states.length, 3)
      for (const { index, latent } of states) {
        assert.deepEqual(latent, mixed.layoutTrace[index]!.latent, `state ${index}`)
      }
    })

    for (const nu of [0, 0.5, 1]) {
      it(`text-text with equal prompts is one plain run, nu ${nu}`, async () => {
        const request = { ...base({ prompt: content }), nu }
        const mixed = await mix(request)
        const whole = await mix({ ...request, kMin: 1, kMax: 1 })
        const iMin = indexAt(request.kMin, request.steps)
        for (const { index, latent } of mixed.trace) {
          if (index < iMin) {
            const layout = mixed.layoutTrace[index]!.latent
            assertClose(`layout state ${index}`, latent, layout, rounding)
          }
          assertClose(`state ${index}`, latent, whole.trace[index]!.latent, rounding)
        }
      })
    }
  })

  describe('of attention scales', () => {
    it('scale 1 for every token equals no scale', async () => {
      assertSame(await mix(base()), await mix(base(), { attention: { [content]: 1 } }))
    })

    it('a window that covers no step equals no scale', async () => {
      const attention = [{ text: 'hat', scale: -2, from: 0.7, to: 1 }]
      assertSame(await mix(base()), await mix(base(), { attention }))
    })

    it('a full window equals no window', async () => {
      const windowed = [{ text: 'hat', scale: -2, from: 0, to: 1 }]
      const scaled = await mix(base(), { attention: { hat: -2 } })
      assertSame(scaled, await mix(base(), { attention: windowed }))
      assertDiffer(scaled, await mix(base()))
    })

    it('half a window is neither', async () => {
      const windowed = await mix(base(), {
        attention: [{ text: 'hat', scale: -2, from: 0.3, to: 1 }],
      })
      assertDiffer(windowed, await mix(base()))
      assertDiffer(windowed, await mix(base(), { attention: { hat: -2 } }))
    })

    it("the unconditional branch and the layout's prompt are left alone", async () => {
      const request = { ...base({ prompt: content }), guidanceScale: 0, negativePrompt: 'hat' }
      const scaled = await mix(request, { attention: { hat: -2 } })
      assertSame(scaled, await mix(request))
      const layout = await mix(base({ prompt: content }), { attention: { hat: -2 } })
      const plain = await mix(base({ prompt: content }))
      assert.deepEqual(layout.layoutTrace, plain.layoutTrace)
      assertDiffer(layout, plain)
    })
  })

  describe('of seeds', () => {
    it('the same seed gives the same bytes, whatever came before', async () => {
      const once = await mix(base())
      await mix({ ...base({ prompt: otherPrompt }), seed: 6, steps: 4, width: 128 })
      assertSame(once, await mix(base()))
    })

    it('the same seed gives the same bytes in another process', async () => {
      const request = { ...base({ prompt: otherPrompt }), steps: 5 }
      const here = await mix(request)
      const { scales: _, ...asked } = request
      const script = `
        const { MagicMix } = require(${JSON.stringify(path.join(packageRoot, 'dist', 'index.js'))})
        const { createHash } = require('node:crypto')
        MagicMix.load(${JSON.stringify(options)})
          .then(async (mixer) => {
            const mix = await mixer.mix(${JSON.stringify(asked)})
            process.stdout.write(createHash('sha256').update(mix.data).digest('hex'))
            await mixer.dispose()
          })`
      const { stdout } = await promisify(execFile)(process.execPath, ['-e', script])
      assert.equal(stdout, createHash('sha256').update(here.data).digest('hex'))
    })

    it('another number of threads gives the same states, but for rounding', async () => {
      const here = await mix(base())
      await using other = await MagicMix.load({ ...options, threads: 2 })
      assertStates(
        here,
        (await mix(base(), {}, other)).trace.map(({ latent }) => latent),
      )
    })

    it('another seed gives another picture', async () => {
      assertDiffer(await mix(base()), await mix({ ...base(), seed: 6 }))
    })

    it('eta > 0 is deterministic by seed, and not eta 0', async () => {
      const request = { ...base(), eta: 0.7 }
      const once = await mix(request)
      assertSame(once, await mix(request))
      assertDiffer(once, await mix({ ...request, seed: 6 }))
      assertDiffer(once, await mix(base()))
    })
  })

  describe('of guidance', () => {
    it('guidance 1 is the conditional branch only', async () => {
      const request = { ...base(), guidanceScale: 1 }
      const mixed = await mix(request)
      assertSame(mixed, await mix({ ...request, negativePrompt: 'blurry' }))
      assertStates(mixed, await imageToImage(mixer, { ...request, layout: square, nu: 1 }), 1)
    })

    it('guidance 0 is the negative prompt only', async () => {
      const request = { ...base(), guidanceScale: 0, negativePrompt: 'blurry' }
      assertSame(await mix(request), await mix({ ...request, content: otherPrompt }))
    })
  })

  describe('with a sampler in TypeScript', () => {
    const cases: Record<string, () => Partial<ReferenceRequest>> = {
      '72 x 120': () => ({ ...base(odd) }),
      '120 x 72, from a prompt': () => ({
        layout: { prompt: otherPrompt },
        width: 120,
        height: 72,
      }),
      '8 x 8, the smallest': () => ({ layout: { prompt: otherPrompt }, width: 8, height: 8 }),
      '72 x 120, kMin 0, kMax 1': () => ({ ...base(odd), kMin: 0, kMax: 1, nu: 0.3 }),
      'kMin = kMax = 1': () => ({ kMin: 1, kMax: 1 }),
      'kMin 0.29, kMax 0.58 of 100 steps': () => ({ kMin: 0.29, kMax: 0.58, steps: 100 }),
      '7 steps, which do not divide 1000': () => ({ steps: 7, kMin: 0.2, kMax: 0.9 }),
      '1 step': () => ({ steps: 1, kMin: 0, kMax: 1 }),
      'from a prompt, kMin 0, kMax 1': () => ({
        layout: { prompt: otherPrompt },
        kMin: 0,
        kMax: 1,
      }),
      'a negative prompt': () => ({ negativePrompt: 'blurry, low quality', guidanceScale: 4 }),
      'eta 1': () => ({ eta: 1 }),
      'eta 0.5, from a prompt': () => ({ layout: { prompt: otherPrompt }, eta: 0.5 }),
      'a large seed': () => ({ seed: 2 ** 40 + 17 }),
    }
    for (const [name, change] of Object.entries(cases)) {
      it(name, async () => {
        const request = { ...base(), ...change() }
        assertReference(await mix(request), await referenceMix(mixer, request))
      })
    }

    // a photo of a corgi wearing a red hat
    // 1 2     3  4 5     6       7 8   9
    it('several scales of several tokens, with windows', async () => {
      const request = {
        ...base(odd),
        scales: [
          scaleOf([5, 6], -1.5),
          scaleOf([8, 9], 2, { from: 0.3, to: 0.5 }),
          scaleOf([2], 0),
          scaleOf([1, 4, 7], 0.5, { from: 0, to: 0.2 }),
        ].flat(),
      }
      const attention = [
        { text: 'corgi wearing', scale: -1.5 },
        { text: 'red hat', scale: 2, from: 0.3, to: 0.5 },
        { text: 'photo', scale: 0 },
        { text: 'a', scale: 0.5, from: 0, to: 0.2 },
      ]
      assertReference(await mix(request, { attention }), await referenceMix(mixer, request))
    })

    it('one occurrence of a repeated word', async () => {
      const request = { ...base(), scales: scaleOf([4], -2) }
      const attention = [{ text: 'a', scale: -2, occurrence: 2 }]
      assertReference(await mix(request, { attention }), await referenceMix(mixer, request))
    })

    it('a scale in a mix of two prompts', async () => {
      const request = { ...base({ prompt: otherPrompt }), scales: scaleOf([5], 1.7) }
      const attention = { corgi: 1.7 }
      assertReference(await mix(request, { attention }), await referenceMix(mixer, request))
    })

    it('where two scales cover a token, the later one wins', async () => {
      const request = { ...base(), scales: [...scaleOf([8], 2), ...scaleOf([9], -1)] }
      const attention = [
        { text: 'red hat', scale: 2 },
        { text: 'hat', scale: -1 },
      ]
      assertReference(await mix(request, { attention }), await referenceMix(mixer, request))
    })
  })
})

function scaleOf(
  positions: number[],
  scale: number,
  window: { from: number; to: number } = { from: 0, to: 1 },
): TokenScale[] {
  return positions.map((position) => ({ position, scale, ...window }))
}

async function resized(width: number, height: number): Promise<Pixels> {
  const picture = sharp(fixture('landscape256.png')).resize(width, height, { fit: 'fill' })
  return { data: new Uint8Array(await picture.raw().toBuffer()), width, height }
}

function assertReference(mixed: Mix, { states, layoutStates }: ReferenceMix): void {
  const layoutTrace = mixed.layoutTrace ?? []
  assert.equal(layoutTrace.length, layoutStates.length, 'number of layout states')
  for (const [i, { latent }] of layoutTrace.entries()) {
    assertClose(`layout state ${i}`, latent, layoutStates[i]!, rounding)
  }
  assertStates(mixed, states)
}

/** The first `count` states of the mix against those expected. */
function assertStates(mixed: Mix, expected: Float32Array[], count = expected.length): void {
  const trace = mixed.trace ?? []
  assert.equal(trace.length, expected.length, 'number of states')
  for (const { index, latent } of trace.slice(0, count)) {
    const at = index - trace[0]!.index
    assertClose(`state ${index}`, latent, expected[at]!, rounding)
  }
}

function assertSame(a: Mix, b: Mix): void {
  assert.deepEqual(a.trace, b.trace)
  assert.ok(Buffer.from(a.data).equals(Buffer.from(b.data)), 'the pictures differ')
}

function assertDiffer(a: Mix, b: Mix): void {
  assert.ok(!Buffer.from(a.data).equals(Buffer.from(b.data)), 'the pictures are the same')
}
