/**
 * CUDA, for which graphs are made of their own, on a machine without a GPU: a CPU in its disguise
 * computes them, and refuses what CUDA's kernels have no room for (gpu/cuda_limits.h). The real one would
 * end the process there, as it once did at a batch of sixteen latents.
 */
import assert from 'node:assert/strict'

import { failed, tried } from './support/cuda-room.js'
import { FakeGpu } from './support/fake-gpu.js'
import { sd15Config } from './support/formula-model.js'

describe('CUDA', function () {
  this.timeout(300_000)
  const gpu = new FakeGpu('cuda')

  it('computes the golden numbers in f32', async () => {
    const computed = await gpu.passesGolden({ NVIDIA_TF32_OVERRIDE: '0' })
    for (const name of ['IM2COL', 'PAD', 'SOFT_MAX']) assert.ok(computed.includes(name), name)
  })

  it('computes them in f16 and bf16, with fused attention', async () => {
    const computed = await gpu.passesGolden({ MAGICMIX_TEST_ONE_IN: '4' })
    for (const name of ['IM2COL', 'FLASH_ATTN_EXT']) assert.ok(computed.includes(name), name)
  })

  it('has room for every batch of Stable Diffusion 1.5', async () => {
    const sizes = ['64x64', '512x512', '520x776', '1024x1024']
    assert.deepEqual(failed(await tried(gpu, sd15Config, ['f16'], sizes)), [])
  })

  it('is not asked for tensors that it cannot count', async () => {
    for (const { failure, ...which } of await tried(gpu, sd15Config, ['f16'], ['4096x4096'])) {
      assert.equal(failure, 'MODEL_UNSUPPORTED', JSON.stringify(which))
    }
  })
})
