/** Models that cannot be mixed with are told by what they are, and what to give instead. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, open, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, MagicMixError } from 'magicmix'

import { formulaTensors, sd15Config, sdxlConfig, tinyConfig } from './support/formula-model.js'
import type { TensorSpec } from './support/formula-model.js'
import { native } from './support/native.js'
import { headerOf, safetensorsBytes } from './support/safetensors.js'

describe('families', () => {
  let folder: string
  before(async () => (folder = await mkdtemp(path.join(tmpdir(), 'magicmix-'))))
  after(() => rm(folder, { recursive: true }))

  /** A file with the header of these tensors, and a hole for their values. */
  async function fileOf(tensors: TensorSpec[], metadata?: object): Promise<string> {
    const file = path.join(folder, 'model.safetensors')
    const { header, dataBytes } = headerOf(tensors, 'F16')
    const all = metadata ? { __metadata__: metadata, ...header } : header
    const bytes = safetensorsBytes(all, Buffer.alloc(0))
    const handle = await open(file, 'w')
    await handle.write(bytes)
    await handle.truncate(bytes.length + dataBytes)
    await handle.close()
    return file
  }

  async function assertRefused(model: string, message: RegExp): Promise<void> {
    await assert.rejects(MagicMix.load({ model, device: 'cpu', threads: 1 }), (error) => {
      assert.ok(error instanceof MagicMixError, String(error))
      assert.equal(error.code, 'MODEL_UNSUPPORTED', error.message)
      assert.match(error.message, message)
      assert.ok(error.message.includes(model), error.message)
      return true
    })
  }

  describe('single files, by their names', () => {
    const unet = 'model.diffusion_model.input_blocks.0.0.weight'
    const telltales: [names: string[], message: RegExp][] = [
      [['conditioner.embedders.0.model.ln_final.weight', unet], /refiner of Stable Diffusion XL/],
      [['model.diffusion_model.label_emb.0.0.weight', unet], /more than text/],
      [['model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight'], /Stable Diffusion 3/],
      [['model.diffusion_model.double_blocks.0.img_attn.qkv.weight'], /is Flux/],
      [['double_blocks.0.img_attn.qkv.weight', 'img_in.weight'], /is Flux/],
      [['clf.1.weight', 'clip_txt_pooled_mapper.weight'], /Stable Cascade/],
      [['effnet_mapper.0.weight', 'down_blocks.0.0.channelwise.0.weight'], /Stable Cascade/],
      [['t_block.1.weight', 'blocks.0.scale_shift_table'], /PixArt/],
      [['adaln_single.linear.weight', 'pos_embed.proj.weight'], /PixArt/],
      [['depth_model.model.pretrained.model.cls_token', unet], /depth-to-image/],
      [['low_scale_model.betas', unet], /upscaler/],
      [['noise_augmentor.betas', unet], /unCLIP/],
      [['control_model.input_blocks.0.0.weight', unet], /is a ControlNet/],
      [['controlnet_cond_embedding.conv_in.weight', 'conv_in.weight'], /is a ControlNet/],
      [['input_hint_block.0.weight', 'input_blocks.0.0.weight'], /is a ControlNet/],
      [['lora_unet_mid_block_attentions_0_proj_in.lora_down.weight'], /is a LoRA.*in loras/],
      [['lora_te_text_model_encoder_layers_0_mlp_fc1.alpha'], /is a LoRA/],
      [['unet.mid_block.attentions.0.proj_in.lora_A.weight'], /is a LoRA/],
      [['unet.mid_block.attentions.0.proj_in.lora.down.weight'], /is a LoRA/],
      [['input_blocks.0.0.weight', 'time_embed.0.weight'], /a UNet without text encoder/],
      [['down_blocks.0.resnets.0.conv1.weight', 'conv_in.weight'], /a UNet.*give the folder/],
      [['encoder.conv_in.weight', 'decoder.conv_in.weight'], /an autoencoder \(VAE\) without/],
      [['text_model.embeddings.token_embedding.weight'], /a text encoder without/],
      [['transformer.resblocks.0.ln_1.weight', 'ln_final.weight'], /a text encoder without/],
      [['encoder.block.0.layer.0.SelfAttention.q.weight'], /T5/],
      [['emb_params'], /is an embedding .*in embeddings/],
      [['<cat-toy>'], /is an embedding/],
    ]
    for (const [names, message] of telltales) {
      it(names[0]!, async () => {
        const tensors = names.map((name) => ({ name, shape: [1, 768] }))
        await assertRefused(await fileOf(tensors), message)
      })
    }
  })

  describe('UNets, by their input channels', () => {
    for (const [channels, message] of [
      [5, /depth-to-image/],
      [7, /upscaler/],
      [8, /by instruction/],
      [9, /inpainting UNet \(9 input channels\)/],
    ] as const) {
      it(`${channels}`, async () => {
        const tensors = formulaTensors(tinyConfig).map(({ name, shape }) => {
          const [out = 0, , ...kernel] = shape
          const first = name === 'model.diffusion_model.input_blocks.0.0.weight'
          return { name, shape: first ? [out, channels, ...kernel] : shape }
        })
        const file = await fileOf(tensors)
        assert.match(
          (await native.inspect(file, { textEncoder: { heads: 2 } }).done).problem,
          message,
        )
      })
    }
  })

  describe('parts of models', () => {
    for (const [part, present, missing] of [
      ['a UNet', /^model\./, /lacks an autoencoder .* and a text encoder/],
      ['an autoencoder', /^first_stage/, /lacks a UNet .* and a text encoder/],
      ['a UNet and a text encoder', /^(model|cond_stage_model)\./, /lacks an autoencoder [^,]*;/],
    ] as const) {
      it(part, async () => {
        const tensors = formulaTensors(tinyConfig).filter(({ name }) => present.test(name))
        assert.match((await native.inspect(await fileOf(tensors), {}).done).problem, missing)
      })
    }
  })

  describe('diffusers folders', () => {
    it('by their pipelines', async () => {
      for (const [pipeline, message] of [
        ['StableDiffusion3Pipeline', /Stable Diffusion 3/],
        ['FluxPipeline', /Flux/],
        ['StableCascadePriorPipeline', /Stable Cascade/],
        ['PixArtAlphaPipeline', /PixArt/],
        ['StableDiffusionInpaintPipeline', /inpainting/],
        ['StableDiffusionDepth2ImgPipeline', /depth-to-image/],
        ['StableDiffusionUpscalePipeline', /upscaler/],
        ['StableDiffusionControlNetPipeline', /ControlNet/],
        ['StableUnCLIPPipeline', /unCLIP/],
        ['StableDiffusionInstructPix2PixPipeline', /by instruction/],
        ['HunyuanVideoPipeline', /unknown family.*HunyuanVideoPipeline/],
      ] as const) {
        await assertFolderRefused('model_index.json', { _class_name: pipeline }, message)
      }
    })

    it('by the class of the only part that they hold', async () => {
      for (const [config, message] of [
        [{ _class_name: 'UNet2DConditionModel' }, /a UNet alone.*give the folder above/],
        [{ _class_name: 'AutoencoderKL' }, /an autoencoder \(VAE\) alone/],
        [{ architectures: ['CLIPTextModel'] }, /a text encoder alone/],
        [{ _class_name: 'ControlNetModel' }, /ControlNet/],
        [{ _class_name: 'FluxTransformer2DModel' }, /Flux/],
      ] as const) {
        await assertFolderRefused('config.json', config, message)
      }
    })

    it('by inputs of the UNet that ours does not have', async () => {
      for (const [name, message] of [
        ['add_embedding.linear_1.weight', /takes more than text/],
        ['class_embedding.weight', /unCLIP/],
        ['time_embedding.cond_proj.weight', /latent consistency/],
      ] as const) {
        const model = await mkdtemp(path.join(folder, 'folder-'))
        await mkdir(path.join(model, 'unet'))
        const index = JSON.stringify({ _class_name: 'StableDiffusionPipeline' })
        await writeFile(path.join(model, 'model_index.json'), index)
        const weights = path.join(model, 'unet', 'diffusion_pytorch_model.safetensors')
        await rename(await fileOf([{ name, shape: [4, 4] }]), weights)
        await assertRefused(model, message)
      }
    })

    async function assertFolderRefused(file: string, json: object, message: RegExp): Promise<void> {
      const model = await mkdtemp(path.join(folder, 'folder-'))
      await writeFile(path.join(model, file), JSON.stringify(json))
      await assertRefused(model, message)
    }
  })

  describe('of Stable Diffusion, by the sizes in a single file', () => {
    const sd2 = { ...sd15Config, unet: { ...sd15Config.unet, linearProjections: true as const } }
    const openClip = { ...sd15Config.text, width: 1024, mlpWidth: 4096 }

    it('1.5', async () => {
      const { family, prediction, sizes, nativeSize } = await modelOf(formulaTensors(sd15Config))
      assert.deepEqual([family, prediction, nativeSize], ['sd1', 'unknown', 512])
      assert.deepEqual(sizes.unet.heads, [8, 8, 8, 8])
    })

    for (const [title, layers, names] of [
      ['2.1 with the names of OpenCLIP', 24, { openClip: true as const }],
      ['2.1 without the layer that is not used', 23, { openClip: true as const }],
      ['2.1 with the names of transformers', 23, {}],
      ['2.1 with the names of transformers and all layers', 24, {}],
    ] as const) {
      it(title, async () => {
        const tensors = formulaTensors({ ...sd2, text: { ...openClip, layers, ...names } })
        const model = await modelOf(tensors)
        assert.deepEqual([model.family, model.prediction], ['sd2', 'unknown'])
        assert.deepEqual([model.sizes.textEncoder.layers, model.sizes.textEncoder.heads], [23, 16])
        assert.deepEqual(model.sizes.unet.heads, [5, 10, 20, 20])
      })
    }

    it('2.x, with metadata that tell what it predicts', async () => {
      const tensors = formulaTensors({ ...sd2, text: { ...openClip, layers: 23 } })
      for (const [type, prediction, size] of [
        ['v', 'v_prediction', 768],
        ['epsilon', 'epsilon', 512],
      ] as const) {
        const model = await modelOf(tensors, { 'modelspec.prediction_type': type })
        assert.deepEqual([model.prediction, model.nativeSize], [prediction, size])
      }
      const model = await modelOf(tensors, { 'modelspec.resolution': '640x640' })
      assert.deepEqual([model.prediction, model.nativeSize], ['unknown', 640])
    })

    it('XL', async () => {
      const { family, prediction, sizes, nativeSize } = await modelOf(formulaTensors(sdxlConfig))
      assert.deepEqual([family, prediction, nativeSize], ['sdxl', 'epsilon', 1024])
      assert.deepEqual(sizes.unet.heads, [5, 10, 20])
      assert.deepEqual([sizes.textEncoder.heads, sizes.textEncoder2?.heads], [12, 20])
    })

    async function modelOf(tensors: TensorSpec[], metadata?: object) {
      const { model, problem } = await native.inspect(await fileOf(tensors, metadata), {}).done
      assert.ok(model, problem)
      return model
    }
  })
})
