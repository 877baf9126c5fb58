/** What one mix has encoded serves the next, and changes nothing. */
import assert from 'node:assert/strict'

import { MagicMix } from 'magicmix'
import type { MixRequest } from 'magicmix'

import { fieldFile } from './support/field.js'
import { tinyHeads, tinyModel } from './support/models.js'
import { fixture } from './support/package-root.js'

describe('what is kept', function () {
  this.timeout(120_000)
  const request = {
    ...{ layout: fixture('landscape128x192.png'), content: 'a corgi', negativePrompt: 'rain' },
    ...{ steps: 4, seed: 1, width: 96, height: 64 },
  }
  const lora = { file: fieldFile('files/control-lora-kohya.safetensors') }
  const plain = { config: tinyHeads, device: 'cpu', precision: 'f32', threads: 1 } as const
  let keeping: MagicMix
  let forgetful: MagicMix
  before(async () => {
    const model = await tinyModel()
    keeping = await MagicMix.load({ ...plain, model })
    forgetful = await MagicMix.load({ ...plain, model, cacheBytes: 0 })
  })
  after(() => Promise.all([keeping.dispose(), forgetful.dispose()]))

  it('makes the same pictures as what is encoded anew, with other weights as well', async () => {
    const variants: Partial<MixRequest>[] = [
      {},
      {},
      { loras: [lora] },
      { loras: [lora], layout: { prompt: 'a corgi' } },
      {},
      { layout: fixture('landscape64.png') },
      { width: 128, height: 128 },
      { attention: { corgi: -1 } },
      { interpolate: { prompt: 'rain', weight: 0.5 } },
      { loras: [{ ...lora, strength: 0.5 }] },
      {},
    ]
    for (const variant of variants) {
      const [kept, anew] = await Promise.all(
        [keeping, forgetful].map((mixer) => mixer.mix({ ...request, ...variant })),
      )
      assert.deepEqual(kept!.data, anew!.data, JSON.stringify(variant))
    }
  })

  it('never takes more than it may', async () => {
    const model = await tinyModel()
    // A prompt of the tiny model takes some 20 KB, a latent of this size 2, its key 18.
    await using mixer = await MagicMix.load({ ...plain, model, cacheBytes: 50_000 })
    const right = await forgetful.mix(request)
    for (let i = 0; i < 4; i++) {
      await mixer.mix({ ...request, content: `a corgi in room ${i}` })
      assert.deepEqual((await mixer.mix(request)).data, right.data)
    }
  })
})
