/**
 * The golden numbers on Vulkan: `npm run test:vulkan`. Without a GPU, that is Mesa's software renderer,
 * which ggml takes only if GGML_VK_VISIBLE_DEVICES names it. ggml multiplies f32 in f16 where a device
 * has it, unless GGML_VK_DISABLE_F16 is set; so f32 is compared in a run of its own.
 */
import assert from 'node:assert/strict'

import { MagicMix, devices } from 'magicmix'

import { describeGolden } from '../support/golden.js'
import type { ModelCase } from '../support/manifest.js'
import { tinyHeads, tinyModel } from '../support/models.js'

const exact = Boolean(process.env['GGML_VK_DISABLE_F16'])

describe('Vulkan', () => {
  it('is there', async () => {
    const found = (await devices()).filter(({ backend }) => backend === 'vulkan')
    assert.ok(found[0]?.usable, found[0]?.reason)
  })

  describeGolden(
    'tiny',
    async (precision) =>
      MagicMix.load({
        model: await tinyModel(),
        config: tinyHeads,
        device: 'vulkan',
        precision,
        threads: 1,
      }),
    exact ? ['f32'] : ['f16', 'bf16'],
    exact ? ' on Vulkan, exact' : ' on Vulkan',
    (golden) => golden.kind !== 'magicmix' || (exact && isSmall(golden)),
  )
})

/** A software renderer takes half a minute for other mixes. */
function isSmall({ id }: Extract<ModelCase, { kind: 'magicmix' }>): boolean {
  return id.startsWith('tiny-mix-64x64-n10-') || id.startsWith('tiny-mix-scale-')
}
