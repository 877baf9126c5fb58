/** The cache of the UNet's inner levels, against DeepCache's own on diffusers' UNet, and what holds of it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import { MagicMix, recipe, requestSchema } from 'magicmix'
import type { LoadOptions, MixRequest, UnetCache, UnetCalls } from 'magicmix'

import { assertClose, difference } from './support/closeness.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'
import { readSafetensors, tensorValues } from './support/safetensors.js'

interface Case {
  id: string
  /** A layout that is a text names a fixture. */
  request: MixRequest
  calls: UnetCalls
  /** How far from the mix without a cache the reference is. */
  change: number
}
const cases = JSON.parse(readFileSync(fixture('cache.json'), 'utf8')) as Case[]
const lastStates = readSafetensors(fixture('cache.safetensors'))

const picture = { layout: fixture('landscape64.png'), content: 'a corgi', width: 64, height: 64 }
/** Mixing from step 4 to step 7, then three steps more. */
const ten = { ...picture, steps: 10, kMax: 0.6, kMin: 0.3, seed: 1 }

async function load(options: LoadOptions = {}): Promise<MagicMix> {
  const model = await tinyModel()
  return MagicMix.load({ model, config: tinyHeads, device: 'cpu', threads: 1, ...options })
}

describe('a cache of the inner levels', function () {
  this.timeout(120_000)
  let mixer: MagicMix
  before(async () => {
    mixer = await load({ precision: 'f32' })
  })
  after(() => mixer.dispose())

  describe("makes the states that DeepCache's authors' code makes", () => {
    for (const { id, request, calls, change } of cases) {
      it(id, async () => {
        const { layout } = request
        const from = typeof layout === 'string' ? fixture(layout) : layout
        const mix = await mixer.mix({ ...request, layout: from, trace: true })
        assert.deepEqual(mix.unetCalls, calls)
        const found = mix.trace.at(-1)!.latent
        assertClose(id, found, tensorValues(lastStates, id), 1e-4)
        assert.ok(change > 100 * 1e-4, 'a mix without a cache would pass')
      })
    }
  })

  describe('in the other ways to compute', () => {
    for (const precision of ['f16', 'bf16', 'q8_0'] as const) {
      it(`is nearer than its effect in ${precision}`, async () => {
        await using other = await load({ precision })
        await assertNearReference(other)
      })
    }

    it("is the same with ggml's operations", async () => {
      const inherited = process.env.MAGICMIX_KERNELS
      process.env.MAGICMIX_KERNELS = 'off'
      try {
        await using other = await load({ precision: 'f32' })
        await assertNearReference(other, 1e-4)
      } finally {
        if (inherited === undefined) delete process.env.MAGICMIX_KERNELS
        else process.env.MAGICMIX_KERNELS = inherited
      }
    })

    it('is the same with any number of threads', async () => {
      const { data } = await mixer.mix({ ...ten, cache: {} })
      await using other = await load({ precision: 'f32', threads: 2 })
      assert.deepEqual((await other.mix({ ...ten, cache: {} })).data, data)
    })
  })

  /** The last state of the first case, whose layout is the same picture. */
  async function assertNearReference(other: MagicMix, tolerance?: number): Promise<void> {
    const { id, request, change } = cases[0]!
    const mix = await other.mix({ ...request, layout: picture.layout, trace: true })
    const found = mix.trace.at(-1)!.latent
    assertClose(id, found, tensorValues(lastStates, id), tolerance ?? change / 3)
  }

  it('changes no bit if every step refreshes', async () => {
    const off = await mixer.mix({ ...ten, trace: true })
    for (const cache of [null, { every: 1 }, { every: 1, blocks: 12 }]) {
      const { data, trace, unetCalls } = await mixer.mix({ ...ten, cache, trace: true })
      assert.deepEqual(data, off.data)
      assert.deepEqual(trace, off.trace)
      assert.deepEqual(unetCalls, { full: 6, cached: 0, unguided: 0 })
    }
  })

  it('changes no bit of the steps before the first that is cached', async () => {
    const off = await mixer.mix({ ...ten, trace: true })
    const { trace } = await mixer.mix({ ...ten, cache: { every: 3 }, trace: true })
    assert.deepEqual(trace[1], off.trace[1])
    assert.ok(difference(trace[2]!.latent, off.trace[2]!.latent).relativeL2 > 1e-3)
  })

  it('comes nearer to the mix without it with every block', async () => {
    const off = await mixer.mix({ ...ten, trace: true })
    const errors: number[] = []
    for (const blocks of [1, 6, 12]) {
      const { trace } = await mixer.mix({ ...ten, cache: { every: 3, blocks }, trace: true })
      errors.push(difference(trace.at(-1)!.latent, off.trace.at(-1)!.latent).relativeL2)
    }
    const [one, six, twelve] = errors as [number, number, number]
    assert.ok(one > six && six > twelve && twelve > 0, errors.join(', '))
  })

  it('is as fresh in a second mix, and after one that was cancelled', async () => {
    const request = { ...ten, cache: { every: 4 } }
    const first = await mixer.mix(request)
    const cancel = new AbortController()
    const onProgress = ({ stage, step }: { stage: string; step: number }) => {
      if (stage === 'content' && step === 2) cancel.abort()
    }
    // So long that it is not over before an event loop that is late gets to hear of it.
    const long = { steps: 999, width: 256, height: 256 }
    const cancelled = { ...request, ...long, signal: cancel.signal, onProgress }
    await assert.rejects(mixer.mix(cancelled), { name: 'AbortError' })
    assert.deepEqual((await mixer.mix(request)).data, first.data)
  })

  describe('is refreshed', () => {
    const prompt = { layout: { prompt: 'a loaf' } }
    const scale = { text: 'corgi', scale: 1.4, from: 0, to: 0.5 }
    const rows: [where: string, change: Partial<MixRequest>, calls: UnetCalls][] = [
      ['where mixing begins and ends', {}, { full: 2, cached: 4, unguided: 0 }],
      ['where mixing begins, if it never ends', { kMin: 0 }, { full: 1, cached: 5, unguided: 0 }],
      ['once where it ends at once', { kMin: 0.6 }, { full: 1, cached: 5, unguided: 0 }],
      ['in the run of a layout prompt', prompt, { full: 3, cached: 9, unguided: 0 }],
      ['where a scale begins', { attention: [scale] }, { full: 3, cached: 3, unguided: 0 }],
      [
        'where guidance begins and ends',
        { kMin: 0, guidanceInterval: [0.15, 0.35] },
        { full: 3, cached: 3, unguided: 4 },
      ],
      ['never by guidance that is not', { guidanceScale: 1 }, { full: 2, cached: 4, unguided: 6 }],
      [
        'every so many steps',
        { kMin: 0, cache: { every: 2 } },
        { full: 3, cached: 3, unguided: 0 },
      ],
      [
        'every so many steps while mixing',
        { cache: { every: 100, whileMixing: 2 } },
        { full: 3, cached: 3, unguided: 0 },
      ],
      [
        'every step behind the mixing',
        { cache: { every: 1, whileMixing: 100 } },
        { full: 4, cached: 2, unguided: 0 },
      ],
      [
        'every step of the run of a layout prompt',
        { ...prompt, cache: { every: 1, whileMixing: 100 } },
        { full: 10, cached: 2, unguided: 0 },
      ],
    ]
    for (const [where, change, calls] of rows) {
      it(where, async () => {
        const mix = await mixer.mix({ ...ten, cache: { every: 100 }, ...change })
        assert.deepEqual(mix.unetCalls, calls)
        assert.equal(mix.timings.steps.length, calls.full + calls.cached)
        assert.deepEqual((mix.toJSON() as { unetCalls: UnetCalls }).unetCalls, calls)
      })
    }
  })

  it('fills in its defaults, and comes back from JSON', async () => {
    assert.deepEqual(recipe({ ...ten, cache: {} }).cache, { every: 3, whileMixing: 3, blocks: 1 })
    assert.equal(recipe(ten).cache, null)
    const mix = await mixer.mix({ ...ten, cache: { blocks: 2 } })
    const again = JSON.parse(JSON.stringify(recipe(mix.request))) as MixRequest
    assert.deepEqual(again.cache, { every: 3, whileMixing: 3, blocks: 2 })
    assert.deepEqual((await mixer.mix(again)).data, mix.data)
    const { cache } = requestSchema['properties'] as Record<string, { anyOf: object[] }>
    assert.equal(cache!.anyOf.length, 2)
  })

  describe('refuses', () => {
    const refused: [cache: unknown, message: RegExp][] = [
      [{ every: 0 }, /cache\.every but received 0/],
      [{ every: 2.5 }, /cache\.every but received 2\.5/],
      [{ whileMixing: 0 }, /cache\.whileMixing but received 0/],
      [{ blocks: 0 }, /cache\.blocks but received 0/],
      [
        { blocks: 13 },
        /at most 12, which this model's UNet has, for cache\.blocks but received 13/,
      ],
      [true, /cache but received true/],
    ]
    for (const [cache, message] of refused) {
      it(JSON.stringify(cache), async () => {
        const request = { ...ten, cache: cache as UnetCache }
        await assert.rejects(mixer.mix(request), coded('INVALID_ARGUMENT', message))
        await assert.rejects(mixer.check(request), coded('INVALID_ARGUMENT', message))
      })
    }

    it('what it does not know', async () => {
      const request = { ...ten, cache: { level: 1 } as UnetCache }
      await assert.rejects(mixer.mix(request), coded('UNKNOWN_OPTION', /level/))
    })
  })
})
