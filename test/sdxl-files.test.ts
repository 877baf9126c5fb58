/** Files of Stable Diffusion XL and its relatives as people have them, and those that are refused. */
import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, convert } from 'magicmix'
import type { LoadOptions, MixState, StoredType } from 'magicmix'

import { assertClose, difference } from './support/closeness.js'
import { openClipNames } from './support/diffusers.js'
import { transposed } from './support/diffusers-xl.js'
import type { XlFolderOptions } from './support/diffusers-xl.js'
import { formulaTensors, sdxlConfig, tinyXlConfig } from './support/formula-model.js'
import type { TensorSpec } from './support/formula-model.js'
import { readGguf } from './support/gguf-reader.js'
import { ggufBytes, ggufTypes, q8_0 } from './support/gguf-writer.js'
import type { GgufTensor } from './support/gguf-writer.js'
import {
  distilledXl,
  distilledXlModel,
  tinyXlDiffusers,
  tinyXlHeads,
  tinyXlModel,
} from './support/models.js'
import { idsOf, native, nativeOf } from './support/native.js'
import { fixture } from './support/package-root.js'
import { coded } from './support/refusals.js'
import {
  headerOf,
  readSafetensors,
  safetensorsBytes,
  singleOfHalf,
  tensorValues,
} from './support/safetensors.js'
import type { Entry, SafetensorsFile } from './support/safetensors.js'
import { statesOf } from './support/small-mix.js'
import { quantisedTypes } from './support/stored-types.js'

const first = 'conditioner.embedders.0.transformer.'
const second = 'conditioner.embedders.1.model.'
const unet = 'model.diffusion_model.'
const vae = 'first_stage_model.'

/** What becomes of a tensor: nothing, another name, or others. */
type Changed = Part[] | string | undefined
interface Part {
  name: string
  entry?: Partial<Entry>
  bytes?: Buffer
}

function partsOf(changed: Changed): Part[] {
  return typeof changed === 'string' ? [{ name: changed }] : (changed ?? [])
}

const load = (options: LoadOptions) =>
  MagicMix.load({ device: 'cpu', threads: 1, precision: 'f32', ...options })

describe('SDXL files', function () {
  this.timeout(120_000)
  let folder: string
  let base: SafetensorsFile
  let expected: MixState[]
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))
    base = readSafetensors(await tinyXlModel())
    expected = await statesOf(await tinyXlModel(), { config: tinyXlHeads, precision: 'f32' })
  })
  after(() => rm(folder, { recursive: true }))

  /** The model gives the very numbers of the plain single file. */
  async function assertSame(model: string, options: Partial<LoadOptions> = {}): Promise<void> {
    assert.deepEqual(await statesOf(model, { precision: 'f32', ...options }), expected)
  }

  /** A file with the tensors of the plain one under other names, or with others in their place. */
  async function rewritten(
    change: (name: string, entry: Entry, bytes: Buffer) => Changed,
    more: [name: string, entry: { dtype: string; shape: number[] }, bytes: Buffer][] = [],
  ): Promise<string> {
    const header: Record<string, Entry> = {}
    const data: Buffer[] = []
    let at = 0
    const put = (name: string, entry: { dtype: string; shape: number[] }, bytes: Buffer) => {
      header[name] = { ...entry, data_offsets: [at, (at += bytes.length)] }
      data.push(bytes)
    }
    for (const [name, entry] of Object.entries(base.header)) {
      const bytes = base.data.subarray(...entry.data_offsets)
      for (const part of partsOf(change(name, entry, bytes))) {
        put(part.name, { ...entry, ...part.entry }, part.bytes ?? bytes)
      }
    }
    for (const [name, entry, bytes] of more) put(name, entry, bytes)
    const file = path.join(folder, 'rewritten.safetensors')
    await writeFile(file, safetensorsBytes(header, Buffer.concat(data)))
    return file
  }

  /** A file with the header of these tensors, and a hole for their values. */
  async function holeOf(tensors: TensorSpec[]): Promise<string> {
    const file = path.join(folder, 'hole.safetensors')
    const { header, dataBytes } = headerOf(tensors, 'F16')
    const bytes = safetensorsBytes(header, Buffer.alloc(0))
    await writeFile(file, bytes)
    await truncate(file, bytes.length + dataBytes)
    return file
  }

  describe('distilled relatives give what diffusers gives', () => {
    const reference = readSafetensors(fixture('sdxl/distilled.safetensors'))
    // As the configurations of these models are written.
    const configs = {
      ssd: {
        mid_block_type: 'UNetMidBlock2D',
        reverse_transformer_layers_per_block: [[3, 3, 4], [2, 1, 1], 1],
        transformer_layers_per_block: [1, [2, 2], [3, 3]],
      },
      vega: { mid_block_type: 'UNetMidBlock2D' },
      koala: { mid_block_type: null, transformer_layers_per_block: [0, 1, 2] },
    }

    for (const name of ['ssd', 'vega', 'koala'] as const) {
      const asFolder = () => tinyXlDiffusers({ config: distilledXl[name], unet: configs[name] })
      it(`${name} as a single file`, async () =>
        compare(await distilledXlModel(name), { config: tinyXlHeads }))
      it(`${name} as a folder`, async () => compare(await asFolder()))
      it(`${name} converted`, async () => {
        const output = path.join(folder, `${name}.gguf`)
        await convert({ input: await asFolder(), output, type: 'f16' })
        await compare(output)
      })

      async function compare(model: string, options: LoadOptions = {}): Promise<void> {
        await using mixer = await load({ model, ...options })
        const engine = nativeOf(mixer)
        const sizes = { originalHeight: 128, originalWidth: 192, cropTop: 0, cropLeft: 0 }
        const { epsilon } = await engine.predictNoise({
          ...(await engine.encodeText(idsOf(mixer, 'a coffee machine, studio lighting')).done),
          latent: native.randn(1, 4 * 16 * 24),
          ...{ latentWidth: 24, latentHeight: 16, timestep: 981 },
          conditioning: { ...sizes, targetHeight: 128, targetWidth: 192 },
          ...{ attention: [], stages: false },
        }).done
        assertClose('epsilon', epsilon, tensorValues(reference, `${name}.out`), 1e-5)
        const mix = await mixer.mix({
          layout: { prompt: 'a photo of a corgi wearing a red hat' },
          content: 'a coffee machine, studio lighting',
          ...{ steps: 4, kMax: 0.75, kMin: 0.25, seed: 7, width: 64, height: 64, trace: true },
        })
        const states = mix.trace.flatMap(({ latent }) => [...latent])
        assertClose('states', states, tensorValues(reference, `${name}.states`), 1e-5)
      }
    }

    it('and a configuration that says otherwise than the weights is an error', async () => {
      const { ssd } = distilledXl
      for (const [config, message] of [
        [{ ...configs.ssd, mid_block_type: null }, /no middle block.*one ResBlock/],
        [
          { ...configs.ssd, transformer_layers_per_block: [1, [2, 3], [3, 3]] },
          /transformer_layers_per_block \[2, 3\].*\[2, 2\]/,
        ],
        [
          { ...configs.ssd, reverse_transformer_layers_per_block: [[3, 4, 3], [2, 1, 1], 1] },
          /reverse_transformer_layers_per_block \[3, 4, 3\].*\[3, 3, 4\]/,
        ],
      ] as const) {
        const model = await tinyXlDiffusers({ config: ssd, unet: config })
        await assert.rejects(load({ model }), coded('MODEL_FORMAT', message))
      }
    })
  })

  describe('folders', () => {
    const variants: Record<string, XlFolderOptions> = {
      'as diffusers writes them': {},
      'with the variant fp16': { variant: '.fp16' },
      'with keys of text encoders without text_model': { bareTextNames: true },
      'with shards': { shardBytes: 5_000_000 },
      'with shards of the variant fp16': { shardBytes: 5_000_000, variant: '.fp16' },
      'in single precision': { dtype: 'F32' },
    }
    for (const [title, options] of Object.entries(variants)) {
      it(title, async () => assertSame(await tinyXlDiffusers(options)))
    }
  })
  describe('single files', () => {
    /** As transformers names what OpenCLIP does, in the place where `convert` puts it. */
    const withTransformersNames = (name: string, entry: Entry, bytes: Buffer): Changed => {
      if (!name.startsWith(second)) return name
      const root = 'conditioner.embedders.1.transformer.'
      const inside = name.slice(second.length)
      if (inside === 'text_projection') {
        const turned = transposed(bytes, entry.shape, bytes.length / (96 * 96))
        return [{ name: `${root}text_projection.weight`, bytes: turned }]
      }
      const [, layer, part = ''] = /^transformer\.resblocks\.(\d+)\.(.+)$/.exec(inside) ?? []
      const kind = inside.endsWith('bias') ? 'bias' : 'weight'
      const place = layer === undefined ? '' : `encoder.layers.${layer}.`
      const module = (layer === undefined ? inside : part).replace(/[._](weight|bias)$/, '')
      if (module !== 'attn.in_proj') {
        return `${root}text_model.${place}${openClipNames[module] ?? ''}.${kind}`
      }
      const [rows = 0, ...columns] = entry.shape
      return ['q', 'k', 'v'].map((projection, i) => ({
        name: `${root}text_model.${place}self_attn.${projection}_proj.${kind}`,
        entry: { shape: [rows / 3, ...columns] },
        bytes: bytes.subarray((i * bytes.length) / 3, ((i + 1) * bytes.length) / 3),
      }))
    }

    /** As stable-diffusion.cpp names them with --convert-name. */
    const withForeignNames = (name: string): string => {
      if (name.startsWith(first)) return name.replace(first, 'cond_stage_model.transformer.')
      if (!name.startsWith(second)) return name
      const root = 'cond_stage_model.1.transformer.text_model.'
      return (root + name.slice(second.length))
        .replace('transformer.resblocks', 'encoder.layers')
        .replace(/attn\.in_proj_(\w+)$/, 'self_attn.in_proj.$1')
        .replace('attn.out_proj', 'self_attn.out_proj')
        .replace('ln_1', 'layer_norm1')
        .replace('ln_2', 'layer_norm2')
        .replace('mlp.c_fc', 'mlp.fc1')
        .replace('mlp.c_proj', 'mlp.fc2')
        .replace('ln_final', 'final_layer_norm')
        .replace('token_embedding', 'embeddings.token_embedding')
        .replace('positional_embedding', 'embeddings.position_embedding.weight')
    }

    const forms: Record<string, (name: string, entry: Entry, bytes: Buffer) => Changed> = {
      'with the first encoder without text_model': (name) => name.replace('.text_model.', '.'),
      'with text_projection.weight, turned, under the prefix of OpenCLIP': (name, entry, bytes) =>
        name === `${second}text_projection`
          ? [{ name: `${name}.weight`, bytes: transposed(bytes, entry.shape, 2) }]
          : name,
      'with the names of transformers in the second encoder': withTransformersNames,
      'with the names of transformers, without text_model': (name, entry, bytes) => {
        const changed = partsOf(withTransformersNames(name, entry, bytes))
        return changed.map((part) => ({ ...part, name: part.name.replace('.text_model.', '.') }))
      },
      'with the names of stable-diffusion.cpp': withForeignNames,
      'with the names that it gives to the encoders of diffusers': (name, entry, bytes) => {
        const rename = (each: string) =>
          each
            .replace(first, 'cond_stage_model.transformer.')
            .replace('conditioner.embedders.1.', 'cond_stage_model.1.')
            .replace('transformer.text_projection.weight', 'transformer.text_model.text_projection')
        const changed = partsOf(withTransformersNames(name, entry, bytes))
        return changed.map((part) => ({ ...part, name: rename(part.name) }))
      },
    }
    for (const [title, change] of Object.entries(forms)) {
      it(title, async () => assertSame(await rewritten(change), { config: tinyXlHeads }))
    }

    it('as ComfyUI saves them, with what does not count', async () => {
      const positions = Buffer.alloc(8 * 77)
      const one = Buffer.alloc(4)
      const model = await rewritten(
        (name) => name,
        [
          [
            `${first}text_model.embeddings.position_ids`,
            { dtype: 'I64', shape: [1, 77] },
            positions,
          ],
          [`${second}logit_scale`, { dtype: 'F32', shape: [] }, one],
          ['conditioner.embedders.0.logit_scale', { dtype: 'F32', shape: [] }, one],
          ['denoiser.sigmas', { dtype: 'F32', shape: [1] }, one],
        ],
      )
      await assertSame(model, { config: tinyXlHeads })
    })

    for (const type of ['F32', 'F64', 'BF16', 'F8_E4M3', 'F8_E5M2']) {
      it(`with fused projections in ${type}`, async () => {
        const inType = (name: string, entry: Entry, bytes: Buffer): [Entry, Buffer] =>
          name.includes('attn.in_proj_')
            ? [{ ...entry, dtype: type }, inFloats(bytes, type)]
            : [entry, bytes]
        const plain = await statesOf(
          await rewritten((name, entry, bytes) => {
            const [typed, values] = inType(name, entry, bytes)
            return [{ name, entry: typed, bytes: values }]
          }),
          { config: tinyXlHeads, precision: 'f32' },
        )
        const apart = await rewritten((name, entry, bytes) => {
          const [typed, values] = inType(name, entry, bytes)
          const parts = partsOf(withTransformersNames(name, typed, values))
          return parts.map((part) => ({
            ...{ bytes: values, ...part },
            entry: { ...typed, ...part.entry },
          }))
        })
        assert.deepEqual(plain, await statesOf(apart, { config: tinyXlHeads, precision: 'f32' }))
        if (type === 'F32' || type === 'F64') assert.deepEqual(plain, expected)
      })
    }

    it('with fused projections in blocks of eight bits, as GGUF', async () => {
      const file = (change: (name: string, entry: Entry, bytes: Buffer) => Changed) => {
        const tensors: GgufTensor[] = []
        for (const [name, entry] of Object.entries(base.header)) {
          const bytes = base.data.subarray(...entry.data_offsets)
          const blocks = name.startsWith(second) && /in_proj_weight$/.test(name)
          const values = blocks ? q8_0(tensorValues(base, name)).data : bytes
          for (const part of partsOf(change(name, entry, values))) {
            const { shape = entry.shape } = part.entry ?? {}
            const type = blocks ? ggufTypes.Q8_0 : ggufTypes.F16
            tensors.push({ name: part.name, shape, type, data: part.bytes ?? values })
          }
        }
        return ggufBytes({ tensors })
      }
      const model = path.join(folder, 'blocks.gguf')
      await writeFile(
        model,
        file((name) => name),
      )
      const plain = await statesOf(model, { config: tinyXlHeads, precision: 'f32' })
      await writeFile(model, file(withTransformersNames))
      assert.deepEqual(plain, await statesOf(model, { config: tinyXlHeads, precision: 'f32' }))
      assert.notDeepEqual(plain, expected)
      await writeFile(model, file(withForeignNames))
      assert.deepEqual(plain, await statesOf(model, { config: tinyXlHeads, precision: 'f32' }))
    })

    it('take an autoencoder from elsewhere, with either naming', async () => {
      const bare = await rewritten((name) => (name.startsWith(vae) ? undefined : name))
      const model = path.join(folder, 'without-vae.safetensors')
      await rename(bare, model)
      const config = tinyXlHeads
      await assert.rejects(
        load({ model, config }),
        coded('MODEL_FORMAT', /lacks an autoencoder \(VAE\) .*option vae.*sdxl_vae\.safetensors/),
      )
      const original = await rewritten((name) =>
        name.startsWith(vae) ? name.slice(vae.length) : undefined,
      )
      await assertSame(model, { config, vae: original })
      const diffusers = path.join(await tinyXlDiffusers(), 'vae')
      await assertSame(model, { config, vae: diffusers })
      const file = path.join(diffusers, 'diffusion_pytorch_model.safetensors')
      await assertSame(model, { config, vae: file })
    })

    it('without text encoders say which are missing', async () => {
      for (const [gone, message] of [
        [[second], /lacks the second text encoder \(OpenCLIP ViT-bigG\)[^,]*; give a whole/],
        [[first], /lacks the first text encoder \(CLIP ViT-L\)[^,]*; give a whole/],
        [[second, vae], /lacks an autoencoder .* and the second text encoder/],
        [[unet], /lacks a UNet/],
      ] as const) {
        const model = await rewritten((name) =>
          gone.some((prefix) => name.startsWith(prefix)) ? undefined : name,
        )
        await assert.rejects(load({ model, config: tinyXlHeads }), coded('MODEL_FORMAT', message))
      }
      for (const [kept, message] of [
        [/^(model\.|first_stage)/, /lacks the first text encoder .* and the second text encoder/],
        [/^model\./, /lacks an autoencoder .* and the first .* and the second text encoder/],
      ] as const) {
        const model = await holeOf(formulaTensors(sdxlConfig).filter(({ name }) => kept.test(name)))
        await assert.rejects(load({ model }), coded('MODEL_FORMAT', message))
      }
    })

    it('say by markers that they predict v, to zero terminal SNR', async () => {
      const none = Buffer.alloc(0)
      const marker = (name: string): [string, { dtype: string; shape: number[] }, Buffer] => [
        name,
        { dtype: 'F16', shape: [0] },
        none,
      ]
      const config = tinyXlHeads
      const v = await statesOf(await rewritten((name) => name, [marker('v_pred')]), {
        config,
        precision: 'f32',
      })
      const asFolder = (scheduler: object) => tinyXlDiffusers({ scheduler })
      const options = { precision: 'f32' } as const
      const ofFolder = await statesOf(await asFolder({ prediction_type: 'v_prediction' }), options)
      assert.deepEqual(v, ofFolder)
      assert.notDeepEqual(v, expected)
      const model = await rewritten((name) => name, [marker('v_pred'), marker('ztsnr')])
      const both = await statesOf(model, { config, precision: 'f32' })
      const snr = { prediction_type: 'v_prediction', rescale_betas_zero_snr: true }
      assert.deepEqual(both, await statesOf(await asFolder(snr), options))
      assert.notDeepEqual(both, v)
    })
  })

  describe('what looks alike is refused by name', () => {
    const tensors = formulaTensors(tinyXlConfig)
    const refused = (model: string, message: RegExp) =>
      assert.rejects(load({ model, config: tinyXlHeads }), coded('MODEL_UNSUPPORTED', message))

    for (const [channels, message] of [
      [9, /an inpainting UNet \(9 input channels\)/],
      [8, /edits pictures by instruction \(8 input channels\)/],
    ] as const) {
      it(`a single file with ${channels} input channels`, async () => {
        const model = await holeOf(
          tensors.map(({ name, shape }) => ({
            name,
            shape: name.endsWith('input_blocks.0.0.weight') ? [32, channels, 3, 3] : shape,
          })),
        )
        await refused(model, message)
      })
      it(`a folder with ${channels} input channels`, async () => {
        const model = await changedFolder('unet/config.json', { in_channels: channels })
        const file = path.join(model, 'unet', 'diffusion_pytorch_model.safetensors')
        const { header, data } = readSafetensors(file)
        const { data_offsets } = header['conv_in.weight']!
        const [begin, end] = [data.length, data.length + 2 * 32 * channels * 9]
        header['conv_in.weight'] = {
          ...{ dtype: 'F16', shape: [32, channels, 3, 3], data_offsets: [begin, end] },
        }
        // What was there belongs to something of no use.
        const rest = { dtype: 'F16', shape: [32, 4, 3, 3], data_offsets }
        const all = { ...header, 'conv_in.position_ids': rest }
        await writeFile(
          file,
          safetensorsBytes(all, Buffer.concat([data, Buffer.alloc(end - begin)])),
        )
        await refused(model, message)
      })
    }

    it('the refiner, as a single file', async () => {
      const model = await holeOf([
        { name: 'conditioner.embedders.0.model.ln_final.weight', shape: [1280] },
        { name: `${unet}label_emb.0.0.weight`, shape: [1536, 2560] },
        { name: `${unet}input_blocks.0.0.weight`, shape: [384, 4, 3, 3] },
      ])
      await refused(model, /is the refiner of Stable Diffusion XL/)
    })

    it('the refiner without its text encoder', async () => {
      const model = await holeOf([
        { name: `${unet}label_emb.0.0.weight`, shape: [1536, 2560] },
        { name: `${unet}input_blocks.0.0.weight`, shape: [384, 4, 3, 3] },
      ])
      await refused(model, /is the refiner of Stable Diffusion XL/)
    })

    it('the refiner, as a folder', async () => {
      const model = await changedFolder('model_index.json', {
        _class_name: 'StableDiffusionXLImg2ImgPipeline',
        requires_aesthetics_score: true,
        text_encoder: [null, null],
        tokenizer: [null, null],
      })
      await refused(model, /refiner of Stable Diffusion XL/)
    })

    for (const key of ['edm_mean', 'edm_vpred.sigma_max']) {
      it(`a single file with ${key}`, async () => {
        const model = await rewritten(
          (name) => name,
          [[key, { dtype: 'F32', shape: [1] }, Buffer.alloc(4)]],
        )
        await refused(model, /\(EDM\)/)
      })
    }

    it('Playground 2.5, as a folder', async () => {
      const model = await changedFolder('scheduler/scheduler_config.json', {
        _class_name: 'EDMDPMSolverMultistepScheduler',
        ...{ sigma_data: 0.5, sigma_max: 80, sigma_min: 0.002 },
      })
      // Its autoencoder has statistics of its own, but it is the schedule that tells what it is.
      const vaeConfig = path.join(model, 'vae', 'config.json')
      const json = JSON.parse(await readFile(vaeConfig, 'utf8')) as object
      await writeFile(vaeConfig, JSON.stringify({ ...json, latents_mean: [-1.6, 1.1, 3.3, -2] }))
      await refused(model, /is Playground 2\.5.*\(EDM\) \(scheduler 'EDMDPMSolver/)
      await changeJson(model, 'scheduler/scheduler_config.json', {
        _class_name: 'EulerDiscreteScheduler',
      })
      await writeFile(vaeConfig, JSON.stringify(json))
      await refused(model, /sigma_(data|max|min).*EDM.*Playground 2\.5/)
    })

    it('pipelines of other models', async () => {
      for (const [pipeline, message] of [
        ['StableDiffusionXLInpaintPipeline', /is an inpainting model/],
        ['StableDiffusionXLInstructPix2PixPipeline', /edits pictures by instruction/],
        ['StableDiffusionXLControlNetPipeline', /is a ControlNet/],
        ['KolorsPipeline', /is Kolors/],
        ['StableCascadeDecoderPipeline', /is Stable Cascade/],
        ['PixArtSigmaPipeline', /is PixArt/],
        ['StableDiffusion3Pipeline', /is Stable Diffusion 3/],
        ['FluxPipeline', /is Flux/],
      ] as const) {
        await refused(await changedFolder('model_index.json', { _class_name: pipeline }), message)
      }
    })

    it('Kolors, as a single file', async () => {
      const kolors = { name: `${unet}encoder_hid_proj.weight`, shape: [2048, 4096] }
      await refused(await holeOf([...tensors, kolors]), /is Kolors/)
    })

    async function changedFolder(file: string, change: object): Promise<string> {
      const model = path.join(folder, 'changed')
      await rm(model, { recursive: true, force: true })
      await cp(await tinyXlDiffusers(), model, { recursive: true })
      await changeJson(model, file, change)
      return model
    }

    async function changeJson(model: string, file: string, change: object): Promise<void> {
      const place = path.join(model, file)
      const json = JSON.parse(await readFile(place, 'utf8')) as object
      await writeFile(place, JSON.stringify({ ...json, ...change }))
    }
  })

  describe('with the .yaml of Stability AI beside them', () => {
    it('are the same, if it says so', async () => {
      const model = await beside({})
      await assertSame(model, { config: { textEncoder: { heads: 4 }, textEncoder2: { heads: 6 } } })
    })

    it('predict what it says', async () => {
      const scaling = 'sgm.modules.diffusionmodules.denoiser_scaling.VScaling'
      const { textEncoder, textEncoder2 } = tinyXlHeads
      await using mixer = await load({
        model: await beside({ scaling }),
        config: { textEncoder, textEncoder2 },
      })
      assert.equal(mixer.model.prediction, 'v_prediction')
      assert.deepEqual(mixer.model.sizes.unet.heads, [2, 4, 6])
    })

    it('are refused where it says what they are not', async () => {
      for (const [change, code, message] of [
        [{ added: 2816 }, 'MODEL_FORMAT', /projection_class_embeddings_input_dim|adm_in_channels/],
        [{ input: 'aesthetic_score' }, 'MODEL_UNSUPPORTED', /input_key.*refiner/],
        [
          { scaling: 'sgm.modules.diffusionmodules.denoiser_scaling.EDMScaling' },
          'MODEL_UNSUPPORTED',
          /scaling_config\.target.*EDMScaling/,
        ],
      ] as const) {
        const model = await beside(change)
        await assert.rejects(load({ model, config: tinyXlHeads }), coded(code, message))
      }
    })

    interface Change {
      scaling?: string
      added?: number
      input?: string
    }
    /** The model, with the keys that Stability AI's configuration has beside it. */
    async function beside(change: Change): Promise<string> {
      const target = (name: string, params?: object) => ({
        target: `sgm.${name}`,
        ...(params ? { params } : {}),
      })
      const embedder = (key: string, name: string, params: object) => ({
        ...{ is_trainable: false, input_key: key },
        ...target(`modules.encoders.modules.${name}`, params),
      })
      const sizes = ['original_size_as_tuple', 'crop_coords_top_left', 'target_size_as_tuple']
      if (change.input) sizes[2] = change.input
      const { scaling = 'sgm.modules.diffusionmodules.denoiser_scaling.EpsScaling' } = change
      const model = target('models.diffusion.DiffusionEngine', {
        ...{ scale_factor: 0.13025, disable_first_stage_autocast: true },
        denoiser_config: target('modules.diffusionmodules.denoiser.DiscreteDenoiser', {
          num_idx: 1000,
          scaling_config: { target: scaling },
          discretization_config: target(
            'modules.diffusionmodules.discretizer.LegacyDDPMDiscretization',
          ),
        }),
        network_config: target('modules.diffusionmodules.openaimodel.UNetModel', {
          ...{ adm_in_channels: change.added ?? 1632, num_classes: 'sequential' },
          ...{ use_checkpoint: true, in_channels: 4, out_channels: 4, model_channels: 32 },
          ...{ attention_resolutions: [4, 2], num_res_blocks: 2, channel_mult: [1, 2, 3] },
          ...{ num_head_channels: 16, use_linear_in_transformer: true, context_dim: 160 },
          ...{ transformer_depth: [1, 1, 2], spatial_transformer_attn_type: 'softmax-xformers' },
        }),
        conditioner_config: target('modules.GeneralConditioner', {
          emb_models: [
            embedder('txt', 'FrozenCLIPEmbedder', { layer: 'hidden', layer_idx: 11 }),
            embedder('txt', 'FrozenOpenCLIPEmbedder2', {
              ...{ arch: 'ViT-bigG-14', version: 'laion2b_s39b_b160k', freeze: true },
              ...{ layer: 'penultimate', always_return_pooled: true, legacy: false },
            }),
            ...sizes.map((key) => embedder(key, 'ConcatTimestepEmbedderND', { outdim: 256 })),
          ],
        }),
        first_stage_config: target('models.autoencoder.AutoencoderKL', {
          ...{ embed_dim: 4, monitor: 'val/rec_loss' },
          ddconfig: {
            ...{ attn_type: 'vanilla-xformers', double_z: true, z_channels: 4, resolution: 256 },
            ...{ in_channels: 3, out_ch: 3, ch: 32, ch_mult: [1, 2, 2, 2], num_res_blocks: 2 },
            ...{ attn_resolutions: [], dropout: 0 },
          },
          lossconfig: { target: 'torch.nn.Identity' },
        }),
      })
      const file = path.join(folder, 'beside.safetensors')
      await cp(await tinyXlModel(), file)
      await writeFile(path.join(folder, 'beside.yaml'), JSON.stringify({ model }))
      return file
    }
  })

  describe('converted', () => {
    /** Relative distance of the last latent. */
    const far = async (model: string) =>
      difference(
        (await statesOf(model, { precision: 'f32' })).at(-1)!.latent,
        expected.at(-1)!.latent,
      ).relativeL2

    for (const type of ['f32', 'f16'] as const) {
      for (const format of ['gguf', 'safetensors']) {
        it(`to ${type} as ${format}, of a file and of a folder, lose nothing`, async () => {
          const output = path.join(folder, `${type}.${format}`)
          for (const input of [await tinyXlModel(), await tinyXlDiffusers()]) {
            await convert({ input, output, type, config: tinyXlHeads, overwrite: true })
            await assertSame(output)
          }
        })
      }
    }

    it('have the names and the bytes of an original file', async () => {
      const output = path.join(folder, 'original.safetensors')
      await convert({ input: await tinyXlDiffusers(), output, type: 'f16' })
      const { header, data } = readSafetensors(output)
      const { __metadata__, ...entries } = header
      assert.ok(__metadata__)
      assert.deepEqual(Object.keys(entries).sort(), Object.keys(base.header).sort())
      for (const [name, { dtype, shape, data_offsets }] of Object.entries(base.header)) {
        const entry = entries[name]!
        assert.deepEqual([entry.dtype, entry.shape], [dtype, shape], name)
        const bytes = base.data.subarray(...data_offsets)
        assert.ok(bytes.equals(data.subarray(...entry.data_offsets)), name)
      }
    })

    // About 1.3 times what was measured. Rows of 64 and 96 values have no blocks of 256: the types with
    // k are others here.
    const bounds: Partial<Record<StoredType, number>> = {
      ...{ q8_0: 0.05, q6_k: 0.05, q5_k: 0.36, q5_1: 0.36, q5_0: 0.33, q4_k: 0.35 },
      ...{ q4_1: 0.7, q4_0: 0.66, q3_k: 0.69, q2_k: 0.74 },
    }
    for (const type of quantisedTypes) {
      for (const compatible of [false, true]) {
        it(`to ${type}${compatible ? ', compatible' : ''}`, async () => {
          const output = path.join(folder, `${type}.gguf`)
          const options = { type, compatible, overwrite: true }
          await convert({ input: await tinyXlDiffusers(), output, ...options })
          const distance = await far(output)
          assert.ok(distance <= (bounds[type] ?? 0), `${distance}`)
          assert.equal(readGguf(output).pairs['general.architecture'], 'sdxl')
        })
      }
    }

    it('to a UNet alone, which is named as one of XL, too', async () => {
      const output = path.join(folder, 'unet.gguf')
      const input = await rewritten((name) => (name.startsWith(unet) ? name : undefined))
      await rename(input, path.join(folder, 'unet.safetensors'))
      await assert.rejects(
        convert({ input: path.join(folder, 'unet.safetensors'), output }),
        coded('MODEL_UNSUPPORTED', /more than text/), // its vector has not XL's width
      )
    })
  })

  it('whose autoencoder is too large for f16 are told what to do', async () => {
    // Values of 2e5 go into the first upsampling, which ggml computes in the type of the weights.
    const large = (name: string) =>
      /first_stage_model\.(post_quant_conv|decoder\.conv_in)\.weight$/.test(name)
    const model = await rewritten((name, entry, bytes) => {
      if (!large(name)) return name
      const values = Float32Array.from(
        { length: bytes.length / 2 },
        (_, i) => 400 * singleOfHalf(bytes.readUInt16LE(2 * i)),
      )
      return [{ name, entry: { dtype: 'F32' }, bytes: Buffer.from(values.buffer) }]
    })
    const kernels = process.env.MAGICMIX_KERNELS
    try {
      process.env.MAGICMIX_KERNELS = 'off'
      for (const precision of ['f32', 'bf16'] as const) {
        await statesOf(model, { config: tinyXlHeads, precision })
      }
      await assert.rejects(
        statesOf(model, { config: tinyXlHeads, precision: 'f16' }),
        coded('NOT_FINITE', /autoencoder.*bf16 or f32.*option vae/),
      )
    } finally {
      if (kernels === undefined) delete process.env.MAGICMIX_KERNELS
      else process.env.MAGICMIX_KERNELS = kernels
    }
  })
})

/** Halfs as other floats; those of eight bits are only some that differ. */
function inFloats(halfs: Buffer, type: string): Buffer {
  const values = Array.from({ length: halfs.length / 2 }, (_, i) => halfs.readUInt16LE(2 * i))
  switch (type) {
    case 'F32':
      return Buffer.from(Float32Array.from(values, singleOfHalf).buffer)
    case 'F64':
      return Buffer.from(Float64Array.from(values, singleOfHalf).buffer)
    case 'BF16': {
      const singles = new Uint32Array(Float32Array.from(values, singleOfHalf).buffer)
      return Buffer.from(Uint16Array.from(singles, (bits) => bits >>> 16).buffer)
    }
    case 'F8_E5M2':
      return Buffer.from(Uint8Array.from(values, (half) => half >>> 8))
    default: // F8_E4M3: sign, exponent with a bias of 7, three bits of fraction
      return Buffer.from(
        Uint8Array.from(values, (half) => {
          const magnitude = ((half & 0x7fff) >>> 7) - (8 << 3)
          return ((half >>> 8) & 0x80) | Math.max(0, Math.min(magnitude, 0x7e))
        }),
      )
  }
}
