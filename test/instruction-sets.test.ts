/** Every set of kernels that this machine can run gives the same mix, and so do ggml's operations. */
import assert from 'node:assert/strict'

import { MagicMix, MagicMixError, type Precision } from 'magicmix'

import { difference } from './support/closeness.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { fixture } from './support/package-root.js'
import { smallMix } from './support/small-mix.js'

const names = ['amx', 'avx512bf16', 'avx512', 'avx2', 'neon', 'portable', 'off']
const inherited = process.env.MAGICMIX_KERNELS

describe('instruction sets', () => {
  afterEach(() => {
    if (inherited === undefined) delete process.env.MAGICMIX_KERNELS
    else process.env.MAGICMIX_KERNELS = inherited
  })

  /** The last latent of a mix, of odd sizes unless told. */
  async function mixWith(
    kernels: string,
    precision: Precision,
    threads = 1,
    size = { width: 72, height: 120 },
  ): Promise<number[]> {
    process.env.MAGICMIX_KERNELS = kernels
    const model = await tinyModel()
    await using mixer = await MagicMix.load({ model, config: tinyHeads, precision, threads })
    const mix = await mixer.mix({
      layout: fixture('landscape64.png'),
      content: 'a photo of a corgi wearing a red hat',
      attention: { hat: 1.5 },
      steps: 5,
      seed: 3,
      ...size,
      trace: true,
    })
    return Array.from(mix.trace.at(-1)!.latent)
  }

  it('stay those that a mixer was loaded with', async () => {
    const options = { model: await tinyModel(), config: tinyHeads, precision: 'bf16' } as const
    process.env.MAGICMIX_KERNELS = 'portable'
    await using mixer = await MagicMix.load(options)
    const expected = await smallMix(mixer)
    for (const name of ['off', 'avx9000', 'avx512bf16', '']) {
      process.env.MAGICMIX_KERNELS = name
      assert.deepEqual((await smallMix(mixer)).data, expected.data, name)
    }
  })

  for (const [precision, tolerance] of [
    ['f32', 1e-5],
    ['f16', 5e-3],
    ['bf16', 5e-2],
    ['q8_0', 5e-2],
  ] as const) {
    it(`agree in ${precision}`, async function () {
      this.timeout(120_000)
      const expected = await mixWith('portable', precision === 'q8_0' ? 'q8_0' : 'f32')
      for (const name of names) {
        if (name === 'off' && precision === 'q8_0') continue
        const actual = await mixWith(name, precision).catch((error: unknown) => error)
        if (actual instanceof MagicMixError && actual.message.includes('on this machine')) continue
        assert.ok(Array.isArray(actual), String(actual))
        const { relativeL2 } = difference(actual as number[], expected)
        console.log(`      ${name} ${precision}: ${relativeL2.toExponential(2)}`)
        assert.ok(relativeL2 <= tolerance, `${name}: ${relativeL2}`)
      }
    })
  }

  it('give the very same with any number of threads', async () => {
    const large = { width: 256, height: 264 } // a graph that is worth several threads
    for (const precision of ['f32', 'bf16'] as const) {
      const one = await mixWith('', precision, 1, large)
      for (const threads of [2, 64]) {
        const several = await mixWith('', precision, threads, large)
        assert.deepEqual(several, one, `${threads} threads`)
      }
    }
  })

  it('are named in the error if one is unknown', async () => {
    await assert.rejects(mixWith('avx9000', 'f32'), (error) => {
      assert.ok(error instanceof MagicMixError)
      assert.equal(error.code, 'INVALID_ARGUMENT')
      assert.match(error.message, /MAGICMIX_KERNELS is 'avx9000'.*portable, off/)
      return true
    })
  })

  it('without kernels have no q8_0', async () => {
    await assert.rejects(mixWith('off', 'q8_0'), { code: 'INVALID_ARGUMENT' })
  })
})
