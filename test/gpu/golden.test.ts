/**
 * The golden numbers on a GPU: `npm run test:gpu`, on the device that MAGICMIX_TEST_DEVICE names, else
 * on Vulkan. Without a GPU that is Mesa's software renderer, which ggml takes only if
 * GGML_VK_VISIBLE_DEVICES names it.
 *
 * GPUs multiply f32 with fewer bits unless told otherwise, Vulkan by GGML_VK_DISABLE_F16=1 and CUDA by
 * NVIDIA_TF32_OVERRIDE=0. So f32 is compared in a run of its own, with one of these.
 *
 * MAGICMIX_TEST_ONE_IN=4 takes a quarter of the cases in bf16, for software renderers.
 */
import assert from 'node:assert/strict'

import { MagicMix, devices } from 'magicmix'

import { describeGolden } from '../support/golden.js'
import { describeXl } from '../support/golden-xl.js'
import type { ModelCase } from '../support/manifest.js'
import { fixture } from '../support/package-root.js'
import { tinyHeads, tinyModel, tinyXlHeads, tinyXlModel } from '../support/models.js'

const device = process.env['MAGICMIX_TEST_DEVICE'] ?? 'vulkan'
const exact =
  Boolean(process.env['GGML_VK_DISABLE_F16']) || process.env['NVIDIA_TF32_OVERRIDE'] === '0'

/** Of the cases in bf16, which software renderers have to make of f32. */
const oneIn = Number(process.env['MAGICMIX_TEST_ONE_IN'] ?? 1)

describe(device, () => {
  it('is there', async () => {
    const found = (await devices()).filter(({ id, backend }) => [id, backend].includes(device))
    assert.ok(found[0]?.usable, found[0]?.reason)
  })

  describeGolden(
    'tiny',
    async (precision) =>
      MagicMix.load({
        model: await tinyModel(),
        config: tinyHeads,
        device,
        precision,
        threads: 1,
      }),
    exact ? ['f32'] : ['f16', 'bf16'],
    exact ? ` on ${device}, exact` : ` on ${device}`,
    (golden, precision, i) =>
      (golden.kind !== 'magicmix' || (exact && isSmall(golden))) &&
      (precision !== 'bf16' || i % oneIn === 0),
  )

  for (const precision of exact ? (['f32'] as const) : (['f16', 'bf16'] as const)) {
    describeXl(
      `on ${device}`,
      precision,
      async (options) =>
        MagicMix.load({
          ...{ model: await tinyXlModel(), config: tinyXlHeads },
          ...{ device, precision, threads: 1, ...options },
        }),
      ({ id }) => /^xl-(text-2|unet-b|decode-4)$/.test(id) || (exact && id === 'xl-mix-scales'),
    )
  }
})

describe(`batches of seeds on ${device}`, () => {
  it('are the mixes of single ones', async function () {
    if (!exact && (await isSoftware())) this.skip()
    const worst = await worstOfBatch({ size: 64, seeds: 2, steps: 1 })
    assert.ok(worst <= (exact ? 1 : 4), `${worst} levels`)
  })

  /** Sizes at which kernels come to their limits, which golden numbers are too small for. */
  it('are so where kernels come to their limits', async function () {
    if (isFake || (await isSoftware())) this.skip()
    const worst = await worstOfBatch({ size: 512, seeds: 8, steps: 1 })
    assert.ok(worst <= 4, `${worst} levels`)
  })

  /** The CPU that tests take for a GPU. */
  const isFake = process.env.FAKE_GPU_LOG !== undefined

  async function isSoftware(): Promise<boolean> {
    const found = (await devices()).find(({ id, backend }) => [id, backend].includes(device))
    return found?.kind === 'software'
  }

  /** Of 255: how far values of a sweep's pictures are from those of the same sweep in one batch. */
  async function worstOfBatch({ size, seeds, steps }: Record<'size' | 'seeds' | 'steps', number>) {
    const request = {
      ...{ layout: fixture('landscape256.png'), content: 'a corgi', width: size, height: size },
      ...{ steps, kMin: 0, kMax: 1 },
      vary: { seed: Array.from({ length: seeds }, (_, i) => i + 1) },
    }
    const options = { config: tinyHeads, device, precision: exact ? 'f32' : 'f16' } as const
    await using mixer = await MagicMix.load({ model: await tinyModel(), ...options })
    const bytes = async (batch: number) => {
      const all: (readonly [number, Uint8Array])[] = []
      for await (const { index, mix } of mixer.sweep({ ...request, batch })) all.push([index, mix.data]) // prettier-ignore
      return all.sort(([a], [b]) => a - b).flatMap(([, data]) => [...data])
    }
    const [single, together] = [await bytes(1), await bytes(seeds)]
    assert.equal(together.length, 3 * size * size * seeds)
    return single.reduce((most, value, i) => Math.max(most, Math.abs(value - together[i]!)), 0)
  }
})

/** A software renderer takes half a minute for other mixes. */
function isSmall({ id }: Extract<ModelCase, { kind: 'magicmix' }>): boolean {
  return id.startsWith('tiny-mix-64x64-n10-') || id.startsWith('tiny-mix-scale-')
}
