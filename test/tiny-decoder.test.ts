/** Tiny decoders (TAESD): real pictures as previews, and pictures of mixes on request. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, recipe, requestSchema } from 'magicmix'
import type { LoadOptions, Mix, MixRequest, Picture } from 'magicmix'

import { assertClose } from './support/closeness.js'
import { formulaChunks, writeSafetensors } from './support/formula-model.js'
import { tinyHeads, tinyModel, tinyXlHeads, tinyXlModel } from './support/models.js'
import { native, nativeOf } from './support/native.js'
import { fixture, packageRoot } from './support/package-root.js'
import { runNode } from './support/programs.js'
import { coded } from './support/refusals.js'
import {
  type TinyDecoder,
  type TinyName,
  originalNames,
  tinyDecoders,
  tinyReference,
  tinyTensors,
  writeTinyFile,
  writeTinyFolder,
} from './support/tiny-decoders.js'

describe('a tiny decoder', function () {
  this.timeout(120_000)
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))
  })
  after(() => rm(folder, { recursive: true }))

  const at = (...names: string[]) => path.join(folder, ...names)

  async function load(tinyDecoder: string, more: LoadOptions = {}): Promise<MagicMix> {
    const plain = { config: tinyHeads, device: 'cpu', precision: 'f32', threads: 1 } as const
    return MagicMix.load({ model: await tinyModel(), ...plain, tinyDecoder, ...more })
  }

  const loadXl = async (tinyDecoder: string) =>
    load(tinyDecoder, { model: await tinyXlModel(), config: tinyXlHeads })

  async function decoded(mixer: MagicMix, name: TinyName): Promise<Float32Array> {
    const { picture, ...input } = tinyReference(name)
    const { rgb } = await nativeOf(mixer).decodeLatent({ ...input, tiny: true, stages: false }).done
    assert.equal(rgb.length, picture.length)
    return rgb
  }

  for (const name of Object.keys(tinyDecoders) as TinyName[]) {
    it(`gives diffusers' picture of a latent: ${name}`, async () => {
      await using mixer = await load(await writeTinyFolder(at(name), tinyDecoders[name]))
      const { width } = tinyDecoders[name]
      assert.deepEqual(mixer.model.tinyDecoder?.channels, [width, width, width, width])
      assertClose(name, await decoded(mixer, name), tinyReference(name).picture, 1e-6)
    })
  }

  it('is near it in the other precisions', async () => {
    const tinyDecoder = await writeTinyFolder(at('precisions'), tinyDecoders.small)
    for (const [precision, tolerance] of [
      ['f16', 1e-3],
      ['bf16', 0.02],
      ['q8_0', 0.03],
    ] as const) {
      await using mixer = await load(tinyDecoder, { precision })
      assertClose(
        precision,
        await decoded(mixer, 'small'),
        tinyReference('small').picture,
        tolerance,
      )
    }
  })

  it('is the same, to the bit, from a folder and from files with the original names', async () => {
    const { small } = tinyDecoders
    const pictures: Float32Array[] = []
    await mkdir(at('clone'))
    await writeTinyFile(at('clone', 'taesd_decoder.pth'), small)
    for (const form of [
      await writeTinyFolder(at('folder'), small),
      await writeTinyFile(at('taesd_decoder.safetensors'), small),
      at('clone', 'taesd_decoder.pth'),
      at('clone'),
      await writeTinyFile(at('bare.safetensors'), small, tinyTensors(small, 'F32')),
    ]) {
      await using mixer = await load(form)
      pictures.push(await decoded(mixer, 'small'))
      assert.deepEqual(pictures.at(-1), pictures[0], form)
      assert.equal(mixer.model.tinyDecoder?.path, form)
    }
  })

  it("gives the same picture, nearly, with ggml's own operations", async () => {
    const tinyDecoder = await writeTinyFolder(at('ggml'), tinyDecoders.small)
    process.env.MAGICMIX_KERNELS = 'off'
    try {
      await using mixer = await load(tinyDecoder)
      assertClose('off', await decoded(mixer, 'small'), tinyReference('small').picture, 1e-6)
    } finally {
      delete process.env.MAGICMIX_KERNELS
    }
  })

  describe('in a mix', () => {
    const request: MixRequest = {
      ...{ layout: fixture('landscape128x192.png'), content: 'a corgi', steps: 4, seed: 1 },
      ...{ width: 64, height: 72, trace: true },
    }
    let mixer: MagicMix
    let plain: MagicMix
    before(async () => {
      mixer = await load(await writeTinyFolder(at('mixing'), tinyDecoders.small), { threads: 2 })
      plain = await MagicMix.load({
        ...{ model: await tinyModel(), config: tinyHeads },
        ...{ device: 'cpu', precision: 'f32', threads: 1 },
      })
    })
    after(() => Promise.all([mixer?.dispose(), plain?.dispose()]))

    async function mixWithPreviews(
      by: MagicMix,
      more: Partial<MixRequest>,
    ): Promise<{ mix: Mix; previews: Picture[] }> {
      const previews: Picture[] = []
      const onProgress: MixRequest['onProgress'] = ({ preview }) => {
        if (preview) previews.push(preview)
      }
      return { mix: await by.mix({ ...request, previewEvery: 1, ...more, onProgress }), previews }
    }

    it('makes the picture only if it is asked to; nothing else changes', async () => {
      const [tiny, full, without] = await Promise.all([
        mixer.mix({ ...request, decoder: 'tiny' }),
        mixer.mix(request),
        plain.mix({ ...request, decoder: 'full' }),
      ])
      assert.deepEqual(full.data, without.data)
      assert.deepEqual(tiny.trace, full.trace)
      assert.equal(tiny.request.decoder, 'tiny')
      assert.equal(full.request.decoder, 'full')

      const { rgb } = await nativeOf(mixer).decodeLatent({
        ...{ latent: tiny.trace.at(-1)!.latent, latentWidth: 8, latentHeight: 9 },
        ...{ tiny: true, stages: false },
      }).done
      assert.deepEqual(tiny.data, pixelsOf(rgb))
      assert.notDeepEqual(tiny.data, full.data)
    })

    it('makes previews of the size of the mix, the last of which is nearly its picture', async () => {
      const { mix, previews } = await mixWithPreviews(mixer, { decoder: 'tiny' })
      assert.ok(previews.length > 0)
      for (const { width, height, data } of previews) {
        assert.deepEqual([width, height, data.length], [64, 72, 64 * 72 * 3])
      }
      // That of the clean latent, from which the mix's differs by the last noise level.
      const last = previews.at(-1)!.data
      const apart = last.reduce((sum, byte, i) => sum + Math.abs(byte - mix.data[i]!), 0)
      assert.ok(apart / last.length < 2, String(apart / last.length))
      assert.notDeepEqual(previews[0]!.data, last)

      const full = await mixWithPreviews(mixer, {})
      assert.deepEqual(full.previews, previews)
      assert.deepEqual(full.mix.data, (await plain.mix(request)).data)
    })

    it('leaves previews as they are where there is none', async () => {
      const { previews } = await mixWithPreviews(plain, {})
      assert.deepEqual([previews[0]!.width, previews[0]!.height], [8, 9])
    })

    it('is refused where none is loaded, with what to do', async () => {
      const wanted = { ...request, decoder: 'tiny' } as const
      const refusal = coded(
        'INVALID_ARGUMENT',
        /Expected 'full'.*tinyDecoder of load.* for decoder/,
      )
      await assert.rejects(plain.mix(wanted), refusal)
      await assert.rejects(plain.check(wanted), refusal)
      await mixer.check(wanted)
      await assert.rejects(
        mixer.mix({ ...request, decoder: 'small' as 'tiny' }),
        coded('INVALID_ARGUMENT', /'full', 'tiny' for decoder/),
      )
    })

    it('is named in recipes and in the schema of requests', () => {
      assert.equal(recipe({ ...request, decoder: 'tiny' }).decoder, 'tiny')
      const { decoder } = requestSchema.properties as Record<string, { enum?: string[] }>
      assert.deepEqual(decoder?.enum, ['full', 'tiny'])
    })

    it('stops with the mix', async () => {
      const stop = new AbortController()
      const onProgress = () => stop.abort()
      await assert.rejects(
        mixer.mix({ ...request, previewEvery: 1, onProgress, signal: stop.signal }),
        { name: 'AbortError' },
      )
      await mixer.mix({ ...request, decoder: 'tiny' })
    })

    it('works in a process of its own', async () => {
      const { tinyDecoder } = mixer.model
      await using isolated = await load(tinyDecoder!.path, { isolate: true })
      const wanted = { ...request, decoder: 'tiny' } as const
      assert.deepEqual((await isolated.mix(wanted)).data, (await mixer.mix(wanted)).data)
    })
  })

  it('that gives no numbers is an error, not a picture', async () => {
    const { small } = tinyDecoders
    const broken = tinyTensors(small).map((tensor) =>
      tensor.name === 'decoder.layers.3.conv.0.bias'
        ? { ...tensor, dtype: 'F32' as const, chunks: () => [new Uint8Array(48).fill(0xff)] }
        : tensor,
    )
    const tinyDecoder = await writeTinyFolder(at('broken'), small, {}, broken)
    for (const kernels of [undefined, 'off']) {
      if (kernels) process.env.MAGICMIX_KERNELS = kernels
      try {
        await using mixer = await load(tinyDecoder)
        const request = { layout: { prompt: 'a hill' }, content: 'a corgi', steps: 2 }
        await assert.rejects(
          mixer.mix({ ...request, width: 64, height: 64, decoder: 'tiny' }),
          coded('NOT_FINITE', /the tiny decoder/),
        )
      } finally {
        delete process.env.MAGICMIX_KERNELS
      }
    }
  })

  it('is described by inspect and by the model', async () => {
    const tinyDecoder = await writeTinyFolder(at('described'), tinyDecoders.taesd)
    const { model } = await native.inspect(await tinyModel(), tinyHeads, { tinyDecoder }).done
    assert.ok(model?.tinyDecoder)
    const { hash, ...described } = model.tinyDecoder
    assert.match(hash, /^[\da-f]{16}$/)
    assert.deepEqual(described, {
      path: tinyDecoder,
      parameters: tinyTensors(tinyDecoders.taesd).reduce(
        (sum, { shape }) => sum + shape.reduce((product, side) => product * side, 1),
        0,
      ),
      channels: [64, 64, 64, 64],
    })
    const without = await native.inspect(await tinyModel(), tinyHeads).done
    assert.equal(without.model?.tinyDecoder, null)
    assert.deepEqual(without.model?.parameters, model.parameters)
    assert.ok(without.model.memory.weights < model.memory.weights)
  })

  describe('of another kind', () => {
    const { small } = tinyDecoders
    const refused = async (made: Promise<string>, code: string, message: RegExp) => {
      await assert.rejects(load(await made), coded(code, message))
    }
    const sixteen: TinyDecoder = { ...small, latentChannels: 16 }
    const oneLevelLess: TinyDecoder = { ...small, blocks: [1, 1, 1] }

    it('has other latents', async () => {
      const message = /latents of 16 channels, as TAESD3 and TAEF1.*madebyollin\/taesd/
      await refused(writeTinyFolder(at('sd3'), sixteen), 'MODEL_UNSUPPORTED', message)
      await refused(writeTinyFile(at('sd3.pth'), sixteen), 'MODEL_UNSUPPORTED', message)
    })

    it('is, by its name, of Stable Diffusion XL', async () => {
      const message = /by its name.*Stable Diffusion XL.*madebyollin\/taesd/
      for (const made of [
        writeTinyFolder(at('taesdxl'), small),
        writeTinyFolder(at('models--madebyollin--taesdxl', 'snapshots', '0123'), small),
        writeTinyFolder(at('renamed'), small, { _name_or_path: 'madebyollin/taesdxl' }),
        writeTinyFile(at('TAESDXL_decoder.safetensors'), small),
      ]) {
        await refused(made, 'MODEL_UNSUPPORTED', message)
      }
    })

    it('is, by its name, not of Stable Diffusion XL, and the model is', async () => {
      const message = /by its name.*TAESD.*model is one of Stable Diffusion XL.*taesdxl/
      for (const made of [
        writeTinyFolder(at('taesd'), small),
        writeTinyFile(at('taesd_decoder.safetensors'), small),
      ]) {
        const loading = loadXl(await made)
        await assert.rejects(loading, coded('MODEL_UNSUPPORTED', message))
      }
      await using mixer = await loadXl(await writeTinyFolder(at('taesdxl'), small))
      assert.ok(mixer.model.tinyDecoder)
    })

    it('enlarges by another factor', async () => {
      await refused(writeTinyFolder(at('f4'), oneLevelLess), 'MODEL_UNSUPPORTED', /enlarges 4-fold/)
    })

    it('has layers that have no place', async () => {
      const pool = { name: 'decoder.layers.2.pool.0.weight', shape: [48, 12, 1, 1] }
      const tensors = [
        ...tinyTensors(small),
        { ...pool, dtype: 'F16' as const, chunks: () => formulaChunks(pool, 'F16') },
      ]
      await refused(
        writeTinyFolder(at('pool'), small, {}, tensors),
        'MODEL_UNSUPPORTED',
        /pool.*'decoder\.layers\.2\.pool\.0\.weight'.*no place/,
      )
    })

    it('lacks a tensor, or has one of another shape', async () => {
      const tensors = tinyTensors(small).filter(({ name }) => !name.endsWith('.3.conv.2.weight'))
      const lacking = writeTinyFolder(at('lacking'), small, {}, tensors)
      await refused(lacking, 'MODEL_FORMAT', /lacking' lacks tensor .*layers\.3\.conv\.2\.weight/)
      const odd = tinyTensors(small).map((tensor) => {
        if (!tensor.name.endsWith('.3.conv.2.weight')) return tensor
        const spec = { name: tensor.name, shape: [12, 12, 1, 1] }
        return { ...tensor, ...spec, chunks: () => formulaChunks(spec, 'F16') }
      })
      await refused(writeTinyFolder(at('odd'), small, {}, odd), 'MODEL_FORMAT', /\[12, 12, 1, 1\]/)
    })

    it('declares what is not computed, or what its weights are not', async () => {
      for (const [change, message] of [
        [{ act_fn: 'silu' }, /act_fn is "silu"/],
        [{ _class_name: 'AutoencoderKL' }, /_class_name is "AutoencoderKL".*TAESD/],
        [{ upsampling_scaling_factor: 4 }, /upsampling_scaling_factor/],
        [{ shift_factor: 0.1 }, /shift_factor/],
        [{ sharpness: 1 }, /sharpness is 1.*not known here/],
        [{ latent_channels: 16 }, /latents of 16 channels/],
      ] as const) {
        await refused(writeTinyFolder(at('declared'), small, change), 'MODEL_UNSUPPORTED', message)
        await rm(at('declared'), { recursive: true })
      }
      for (const [change, message] of [
        [{ num_decoder_blocks: [3, 3, 3, 1] }, /another num_decoder_blocks/],
        [{ decoder_block_out_channels: [64, 64, 64, 64] }, /another decoder_block_out_channels/],
        [{ scaling_factor: -1 }, /scaling_factor/],
        [{ scaling_factor: 'x' }, /scaling_factor is not a number/],
      ] as const) {
        await refused(writeTinyFolder(at('declared'), small, change), 'MODEL_FORMAT', message)
        await rm(at('declared'), { recursive: true })
      }
    })

    it('is its other half, a whole autoencoder, or something else', async () => {
      const encoder = originalNames(tinyTensors(small))
        .slice(0, 2)
        .map((tensor) => ({ ...tensor, name: tensor.name.replace('1.', '0.') }))
      const half = writeTinyFile(at('taesd_encoder.safetensors'), small, encoder)
      await refused(half, 'MODEL_FORMAT', /is the encoder.*taesd_decoder/)
      await refused(tinyModel(), 'MODEL_UNSUPPORTED', /autoencoder \(VAE\).*option vae/)
      const other = { name: 'something', shape: [4] }
      await writeSafetensors(at('other.safetensors'), [
        { ...other, dtype: 'F16', chunks: () => formulaChunks(other, 'F16') },
      ])
      await refused(Promise.resolve(at('other.safetensors')), 'MODEL_FORMAT', /no tiny decoder/)
      await mkdir(at('empty'))
      await refused(Promise.resolve(at('empty')), 'MODEL_FORMAT', /neither a config\.json nor/)
      await refused(
        Promise.resolve(at('nowhere')),
        'MODEL_NOT_FOUND',
        /There is no tiny decoder at .*nowhere/,
      )
    })

    it('is told where it belongs when it is given as a model or a VAE', async () => {
      const tiny = await writeTinyFolder(at('placed'), small)
      const model = await tinyModel()
      const options = { device: 'cpu', config: tinyHeads } as const
      const file = path.join(tiny, 'diffusion_pytorch_model.safetensors')
      const place = coded('MODEL_UNSUPPORTED', /tinyDecoder/)
      await assert.rejects(MagicMix.load({ ...options, model: tiny }), place)
      await assert.rejects(MagicMix.load({ ...options, model: file }), place)
      await assert.rejects(MagicMix.load({ ...options, model, vae: tiny }), place)
    })
  })

  it('is an option of the command line', async () => {
    const tinyDecoder = await writeTinyFolder(at('cli'), tinyDecoders.small)
    const magicmix = (...args: string[]) =>
      runNode([path.join(packageRoot, 'dist', 'cli', 'main.js'), ...args], folder)
    const heads = ['--unet-heads', '4', '--text-heads', '2', '--tiny-decoder', tinyDecoder]
    const inspected = await magicmix('inspect', await tinyModel(), ...heads)
    assert.match(inspected.stdout, /^tiny decoder {2}0\.0 M, channels 12\/12\/12\/12$/m)

    const mix = await magicmix(
      ...['mix', '--layout-prompt', 'a hill', 'a corgi', '--model', await tinyModel(), ...heads],
      ...['--width', '32', '--height', '32', '--steps', '2', '--threads', '1', '--json'],
      ...['--decoder', 'tiny', '-o', at('mix.png')],
    )
    const { request, model } = JSON.parse(mix.stdout) as Mix & { model: MagicMix['model'] }
    assert.equal(request.decoder, 'tiny')
    assert.equal(model.tinyDecoder?.path, tinyDecoder)

    // Before anything is loaded: there is no such model.
    const none = ['--layout-prompt', 'a hill', 'a corgi', '--model', 'none', '--decoder', 'tiny']
    const { code, stderr } = await magicmix('mix', ...none)
    assert.match(stderr, /--decoder tiny needs a --tiny-decoder/)
    assert.equal(code, 2)
  })
})

/** As the engine does it. */
function pixelsOf(planes: Float32Array): Uint8Array {
  const pixels = planes.length / 3
  const data = new Uint8Array(planes.length)
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) {
      const value = Math.fround(Math.fround(planes[c * pixels + i]! / 2) + 0.5)
      const level = Math.fround(Math.min(1, Math.max(0, value)) * 255)
      const floor = Math.floor(level)
      const half = level - floor === 0.5
      data[3 * i + c] = half ? floor + (floor % 2) : Math.round(level)
    }
  }
  return data
}
