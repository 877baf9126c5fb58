/** The larger part of cuda.test.ts: models that take long to read. */
import assert from 'node:assert/strict'

import { failed, tried } from './support/cuda-room.js'
import { FakeGpu } from './support/fake-gpu.js'
import { sd15Config, sdxlConfig } from './support/formula-model.js'

describe('CUDA', () => {
  const gpu = new FakeGpu('cuda')

  it('has room for every batch of Stable Diffusion 1.5 in other precisions', async () => {
    const sizes = ['64x64', '512x512', '520x776']
    assert.deepEqual(failed(await tried(gpu, sd15Config, ['f32', 'bf16'], sizes)), [])
  })

  it('has room for every batch of Stable Diffusion XL', async () => {
    const sizes = ['1024x1024', '1152x896']
    assert.deepEqual(failed(await tried(gpu, sdxlConfig, ['f16', 'bf16', 'f32'], sizes)), [])
  })

  it('has room where a small memory cuts pictures into bands', async () => {
    const sizes = ['768x768', '1024x1024']
    const found = await tried(gpu, sd15Config, ['f16', 'f32'], sizes, 8e9)
    assert.deepEqual(failed(found.filter(({ batch }) => batch === 1)), [])
    for (const { failure, ...which } of failed(found)) {
      const isNamed = ['MODEL_UNSUPPORTED', 'OUT_OF_MEMORY'].includes(failure)
      assert.ok(isNamed, `${failure}: ${JSON.stringify(which)}`)
    }
  })
})
