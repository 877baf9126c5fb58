/**
 * Stable Diffusion XL: two text encoders, added conditioning, deeper transformers; against numbers from
 * PyTorch and diffusers.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { MagicMix, convert } from 'magicmix'
import type { LoadOptions, MixRequest } from 'magicmix'

import { type Case, describeXl } from './support/golden-xl.js'
import { pixelsOf } from './support/golden.js'
import { tinyHeads, tinyModel, tinyXlHeads, tinyXlModel } from './support/models.js'
import { nativeOf, padded } from './support/native.js'
import { fixture, packageRoot } from './support/package-root.js'
import { coded } from './support/refusals.js'

const load = async (options: LoadOptions): Promise<MagicMix> =>
  MagicMix.load({ config: tinyXlHeads, device: 'cpu', threads: 1, ...options })

for (const precision of ['f32', 'f16', 'bf16', 'q8_0'] as const) {
  describeXl('as a single file', precision, async (options) =>
    load({ model: await tinyXlModel(), precision, ...options }),
  )
}

const rejectsWith = (code: string, message: RegExp, promise: Promise<unknown>): Promise<void> =>
  assert.rejects(promise, coded(code, message))

describe('SDXL, converted', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))))
  after(() => rm(folder, { recursive: true }))

  const some = ({ id }: Case) => /^xl-(text-4|unet-b|decode-4|mix-picture|lora-sgm)$/.test(id)
  for (const format of ['gguf', 'safetensors']) {
    describeXl(
      `as ${format}`,
      'f32',
      async (options) => {
        const output = path.join(folder, `tiny-xl.${format}`)
        await convert({ input: await tinyXlModel(), output, config: tinyXlHeads, overwrite: true })
        // With nothing said: the file tells.
        return MagicMix.load({
          model: output,
          precision: 'f32',
          device: 'cpu',
          threads: 1,
          ...options,
        })
      },
      some,
    )
  }
})

describe('SDXL', () => {
  let mixer: MagicMix
  before(async () => (mixer = await load({ model: await tinyXlModel(), precision: 'f32' })))
  after(async () => mixer.dispose())

  const request = {
    layout: { prompt: 'a photo of a corgi' },
    content: 'a coffee machine',
    width: 64,
    height: 64,
    steps: 4,
    seed: 3,
  }
  const pictureOf = async (options: Partial<MixRequest>) =>
    Buffer.from((await mixer.mix({ ...request, ...options })).data)

  it('tells its family, its sizes and those of both text encoders', () => {
    const { family, prediction, nativeSize, sizes, parameters } = mixer.model
    assert.deepEqual([family, prediction, nativeSize], ['sdxl', 'epsilon', 1024])
    assert.deepEqual(sizes.unet.heads, [2, 4, 6])
    assert.equal(sizes.unet.contextWidth, 160)
    const { textEncoder, textEncoder2 } = sizes
    const common = { vocabulary: 49408 }
    assert.deepEqual(textEncoder, { ...common, width: 64, layers: 2, heads: 4, padding: 49407 })
    assert.deepEqual(textEncoder2, { ...common, width: 96, layers: 3, heads: 6, padding: 0 })
    assert.equal(parameters.total, 15_826_347) // those that are used
  })

  it('takes the head width of the first text encoder for the second', async () => {
    const { unet, textEncoder } = tinyXlHeads
    await using other = await load({ model: await tinyXlModel(), config: { unet, textEncoder } })
    assert.equal(other.model.sizes.textEncoder2?.heads, 6)
  })

  it('takes the state behind another layer for clipSkip', async () => {
    await using last = await load({ model: await tinyXlModel(), clipSkip: 1, precision: 'f32' })
    await using usual = await load({ model: await tinyXlModel(), clipSkip: 2, precision: 'f32' })
    const { textEncoder, textEncoder2 } = last.model.sizes
    assert.deepEqual([textEncoder.layers, textEncoder2?.layers], [3, 4])
    const statesOf = async (one: MagicMix) =>
      await nativeOf(one).encodeText(padded([49406, 320, 49407], one)).done
    const [a, b, c] = await Promise.all([last, usual, mixer].map(statesOf))
    assert.deepEqual(b, c)
    assert.notDeepEqual(a?.states, b?.states)
    assert.deepEqual(a?.pooled, b?.pooled) // always of the last layer
    await rejectsWith(
      'INVALID_ARGUMENT',
      /clipSkip is 5, but the text encoder has only 3 layers/,
      load({ model: await tinyXlModel(), clipSkip: 5 }),
    )
  })

  it('takes sizes as arrays and as objects, and the size of the mix by default', async () => {
    const given = await pictureOf({
      conditioning: { originalSize: [64, 64], cropTopLeft: [0, 0], targetSize: [64, 64] },
    })
    assert.deepEqual(given, await pictureOf({}))
    assert.deepEqual(given, await pictureOf({ conditioning: {} }))
    const wide = await pictureOf({ conditioning: { originalSize: [32, 96] } })
    assert.deepEqual(
      wide,
      await pictureOf({ conditioning: { originalSize: { width: 96, height: 32 } } }),
    )
    assert.notDeepEqual(wide, given)
    assert.notDeepEqual(wide, await pictureOf({ conditioning: { originalSize: [96, 32] } }))
  })

  it('refuses sizes that are none', async () => {
    const refused = (conditioning: unknown, message: RegExp) =>
      rejectsWith(
        'INVALID_ARGUMENT',
        message,
        mixer.mix({ ...request, conditioning } as MixRequest),
      )
    await refused({ originalSize: [0, 64] }, /originalSize \(height\)/)
    await refused({ originalSize: 64 }, /\[height, width\] for conditioning.originalSize/)
    await refused({ cropTopLeft: { top: -1, left: 0 } }, /cropTopLeft \(top\)/)
    await refused({ targetSize: [64, 64.5] }, /targetSize \(width\)/)
    await refused({ targetSize: { width: 64 } }, /targetSize \(height\)/)
    await rejectsWith(
      'UNKNOWN_OPTION',
      /did you mean 'cropTopLeft'/,
      mixer.mix({ ...request, conditioning: { cropTopleft: [0, 0] } } as unknown as MixRequest),
    )
  })

  it('takes sizes on the command line', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))
    try {
      const output = path.join(folder, 'mix.png')
      const run = async (...sizes: string[]) =>
        promisify(execFile)(process.execPath, [
          ...[path.join(packageRoot, 'dist', 'cli', 'main.js'), 'mix', '--threads', '1'],
          ...[fixture('landscape64.png'), request.content, '--model', await tinyXlModel()],
          ...['--unet-head-width', '16', '--text-heads', '4', '--precision', 'f32'],
          ...['--width', '64', '--height', '64', '--steps', '4', '--seed', '3', ...sizes],
          ...['--output', output],
        ])
      await run('--original-size', '32,96', '--crop-top-left', '8,0')
      const { data } = await pixelsOf(output)
      const conditioning = { originalSize: [32, 96], cropTopLeft: [8, 0] } as const
      const layout = fixture('landscape64.png')
      assert.deepEqual(Buffer.from(data), await pictureOf({ layout, conditioning }))
      await assert.rejects(run('--target-size', '64'), /Expected height,width for --target-size/)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('is the only family that is told sizes', async () => {
    const model = await tinyModel()
    await using other = await MagicMix.load({ model, config: tinyHeads, device: 'cpu', threads: 1 })
    await rejectsWith(
      'INVALID_ARGUMENT',
      /only Stable Diffusion XL is told sizes/,
      other.mix({ ...request, conditioning: { originalSize: [64, 64] } }),
    )
  })

  it('interpolates both text states and the pooled vector', async () => {
    const prompt = 'a photo of a tiger'
    const half = await pictureOf({ interpolate: { prompt, weight: 0.5 } })
    assert.deepEqual(
      await pictureOf({ interpolate: { prompt, weight: 1 } }),
      await pictureOf({ content: prompt }),
    )
    assert.notDeepEqual(half, await pictureOf({}))
  })

  it('scales a token for a part of the steps only', async () => {
    const scaled = (from: number, to: number) =>
      pictureOf({ attention: [{ text: 'coffee', scale: -1, from, to }] })
    assert.notDeepEqual(await scaled(0, 1), await pictureOf({}))
    assert.deepEqual(await scaled(0.95, 1), await pictureOf({})) // before kMax
  })

  it('gives the same picture with a cache that is off and any number of threads', async () => {
    await using two = await load({ model: await tinyXlModel(), precision: 'f32', threads: 2 })
    const { data } = await two.mix(request)
    assert.deepEqual(Buffer.from(data), await pictureOf({ cache: { every: 1 } }))
    assert.notDeepEqual(Buffer.from(data), await pictureOf({ cache: { every: 3 } }))
  })
})
