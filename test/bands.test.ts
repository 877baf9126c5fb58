/**
 * The autoencoder makes what lies between two operations on a large picture in bands. With `stages` every tensor is
 * whole and has a place of its own.
 */
import assert from 'node:assert/strict'

import { MagicMix } from 'magicmix'

import { tinyHeads, tinyModel } from './support/models.js'
import { native, nativeOf } from './support/native.js'

describe('a large picture in bands', function () {
  this.timeout(300_000)
  // Some bands of the finest level, the last one of which is lower.
  const size = { width: 40, height: 112 }

  for (const precision of ['f32', 'bf16'] as const) {
    it(`is decoded and encoded to the same bits in ${precision}`, async () => {
      await using mixer = await MagicMix.load({
        ...{ model: await tinyModel(), config: tinyHeads, device: 'cpu', precision },
      })
      const engine = nativeOf(mixer)
      const latent = native.randn(5, 4 * size.width * size.height)
      const [bands, whole] = await Promise.all(
        [false, true].map((stages) => {
          const input = { latent, latentWidth: size.width, latentHeight: size.height, stages }
          return engine.decodeLatent(input).done
        }),
      )
      assert.ok(whole!.stages.length > 0)
      assert.deepEqual(bytesOf(bands!.rgb), bytesOf(whole!.rgb))

      const picture = { width: 8 * size.width, height: 8 * size.height }
      const data = new Uint8Array(3 * picture.width * picture.height)
      data.forEach((_, i) => (data[i] = (i * i) >> 5))
      const [mean, meanOfWhole] = await Promise.all(
        [false, true].map((stages) => engine.encodePicture({ data, ...picture, stages }).done),
      )
      assert.deepEqual(bytesOf(mean!.mean), bytesOf(meanOfWhole!.mean))
    })
  }
})

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}
