/** The model in the box is there, fits the engine, and is what `load()` takes. */
import assert from 'node:assert/strict'
import path from 'node:path'

import { MagicMix, type Picture } from 'magicmix'
import sharp from 'sharp'

import { difference } from './support/closeness.js'
import { pixelsOf } from './support/golden.js'
import { idsOf, nativeOf } from './support/native.js'
import { fixture, packageRoot } from './support/package-root.js'
import { readSafetensors, tensorValues } from './support/safetensors.js'

const layout = path.join(packageRoot, 'models', 'layouts', 'heart.png')

describe('the model in the box', () => {
  let mixer: MagicMix
  before(async () => {
    mixer = await MagicMix.load({ precision: 'f32', threads: 1 })
  })
  after(() => mixer.dispose())

  it('is small', () => {
    assert.equal(mixer.model.family, 'sd1')
    assert.ok(mixer.model.parameters.total <= 16e6)
  })

  it('gives the numbers that PyTorch gives', async () => {
    const reference = readSafetensors(fixture('world_forward.safetensors'))
    const expected = (name: string) => Float32Array.from(tensorValues(reference, name))
    const engine = nativeOf(mixer)
    const compare = (name: string, actual: Float32Array, tolerance: number) => {
      const { relativeL2 } = difference(actual, expected(name))
      assert.ok(relativeL2 <= tolerance, `${name}: ${relativeL2}`)
    }

    const { states } = await engine.encodeText(idsOf(mixer, 'a photo of a tiger')).done
    compare('states', states, 1e-5)
    const { mean } = await engine.encodePicture({ ...(await pixelsOf(layout)), stages: false }).done
    compare('mean', mean, 1e-5)
    const { epsilon } = await engine.predictNoise({
      latent: expected('latent'),
      latentWidth: 16,
      latentHeight: 16,
      timestep: 501,
      states: expected('states'),
      pooled: new Float32Array(),
      attention: [],
      stages: false,
    }).done
    compare('epsilon', epsilon, 1e-5)
    const scaled = expected('mean').map((value) => value * 0.18215)
    const size = { latentWidth: 16, latentHeight: 16, stages: false }
    const { rgb } = await engine.decodeLatent({ latent: scaled, ...size }).done
    compare('rgb', rgb, 1e-3) // stored in half precision
  })

  it('scores a mix as PyTorch does', async () => {
    const request = { layout, content: 'a photo of a tiger', seed: 1, steps: 10, score: true }
    const { score } = await mixer.mix(request)
    // What diffusers' UNet makes of this latent, with the noise of torch.manual_seed(0).
    assert.ok(Math.abs(score!.content - 0.9001) < 1e-3, `${score!.content}`)
  })

  it('mixes in its native size by default', async () => {
    assert.equal(mixer.model.nativeSize, 128)
    const content = 'a photo of a tiger'
    const fromPicture = await mixer.mix({ layout, content, steps: 4 })
    assert.deepEqual([fromPicture.width, fromPicture.height], [128, 128])
    const fromPrompt = await mixer.mix({ layout: { prompt: 'a heart' }, content, steps: 4 })
    assert.deepEqual([fromPrompt.width, fromPrompt.height], [128, 128])
    const wide = await sharp(layout).resize(400, 200, { fit: 'fill' }).toBuffer()
    const fromWide = await mixer.mix({ layout: wide, content, steps: 4 })
    assert.deepEqual([fromWide.width, fromWide.height], [176, 96])
  })

  for (const [width, height] of [
    [256, 256],
    [72, 120],
  ] as const) {
    it(`makes ${width} x ${height} as well`, async () => {
      const mix = await mixer.mix({
        layout,
        content: 'a photo of a tiger',
        steps: 4,
        width,
        height,
      })
      assert.equal(mix.data.length, 3 * width * height)
    })
  }

  it('has previews that look like the picture', async () => {
    const previews: Picture[] = []
    const onProgress = ({ preview }: { preview?: Picture }) => {
      if (preview) previews.push(preview)
    }
    const content = 'a photo of a heart'
    const mix = await mixer.mix({ layout, content, kMax: 0.3, previewEvery: 1, onProgress })
    const last = previews.at(-1)!
    assert.deepEqual([last.width, last.height], [16, 16])
    const small = await mix.toSharp().resize(16, 16, { kernel: 'cubic' }).raw().toBuffer()
    const apart = last.data.reduce((sum, level, i) => sum + Math.abs(level - small[i]!), 0)
    assert.ok(apart / small.length < 16, `${apart / small.length} levels apart`)
  })
})
