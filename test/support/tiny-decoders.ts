/** Tiny decoders (TAESD) with formula weights, in the forms that people have them in. */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'

import { type Dtype, formulaChunks, writeSafetensors } from './formula-model.js'
import type { StoredTensor } from './formula-model.js'
import { fixture } from './package-root.js'
import { readSafetensors, tensorValues } from './safetensors.js'
import { torchCheckpoint } from './torch-writer.js'

export interface TinyDecoder {
  /** Of every level. */
  width: number
  /** Blocks, from coarse to fine. */
  blocks: number[]
  scaling: number
  latentChannels?: number
}

/** As test/reference/tiny_decoder.py has them. */
export const tinyDecoders = {
  small: { width: 12, blocks: [3, 2, 2, 1], scaling: 1 },
  scaled: { width: 8, blocks: [1, 2, 1, 2], scaling: 0.5 },
  taesd: { width: 64, blocks: [3, 3, 3, 1], scaling: 1 },
} satisfies Record<string, TinyDecoder>
export type TinyName = keyof typeof tinyDecoders

/** What diffusers makes of one latent. */
export function tinyReference(name: TinyName): {
  latent: Float32Array
  latentWidth: number
  latentHeight: number
  picture: ArrayLike<number>
} {
  const file = readSafetensors(fixture('tiny_decoder.safetensors'))
  const [, , latentHeight = 0, latentWidth = 0] = file.header[`${name}.latent`]!.shape
  return {
    latent: tensorValues(file, `${name}.latent`) as Float32Array,
    ...{ latentWidth, latentHeight },
    picture: tensorValues(file, `${name}.picture`),
  }
}

/** The tensors under diffusers' names, which the formula takes. */
export function tinyTensors(tiny: TinyDecoder, dtype: Dtype = 'F16'): StoredTensor[] {
  const { width, blocks, latentChannels = 4 } = tiny
  const shapes: [name: string, shape: number[]][] = []
  const conv = (layer: string, from: number, to: number, bias = true) => {
    shapes.push([`${layer}.weight`, [to, from, 3, 3]])
    if (bias) shapes.push([`${layer}.bias`, [to]])
  }
  const layer = (index: number) => `decoder.layers.${index}`
  conv(layer(0), latentChannels, width)
  let index = 2 // behind a ReLU
  blocks.forEach((count, level) => {
    const last = level === blocks.length - 1
    for (let i = 0; i < count; i++, index++) {
      for (const each of [0, 2, 4]) conv(`${layer(index)}.conv.${each}`, width, width)
    }
    if (!last) index++ // enlarging
    conv(layer(index), width, last ? 3 : width, last)
    index++
  })
  return shapes.map(([name, shape]) => ({
    ...{ name, shape, dtype },
    chunks: () => formulaChunks({ name, shape }, dtype),
  }))
}

/** The names of the original, which counts the clamp of latents as a layer. */
export function originalNames(tensors: readonly StoredTensor[]): StoredTensor[] {
  return tensors.map((tensor) => ({
    ...tensor,
    name: tensor.name.replace(/^decoder\.layers\.(\d+)/, (_, n: string) => String(Number(n) + 1)),
  }))
}

function tinyConfig(tiny: TinyDecoder): Record<string, unknown> {
  return {
    _class_name: 'AutoencoderTiny',
    _diffusers_version: '0.20.0.dev0',
    act_fn: 'relu',
    decoder_block_out_channels: tiny.blocks.map(() => tiny.width),
    encoder_block_out_channels: [64, 64, 64, 64],
    force_upcast: false,
    in_channels: 3,
    latent_channels: tiny.latentChannels ?? 4,
    latent_magnitude: 3,
    latent_shift: 0.5,
    num_decoder_blocks: tiny.blocks,
    num_encoder_blocks: [1, 3, 3, 3],
    out_channels: 3,
    scaling_factor: tiny.scaling,
    upsampling_scaling_factor: 2,
  }
}

/** A folder as diffusers writes it, with something of the encoder, which is not used. */
export async function writeTinyFolder(
  folder: string,
  tiny: TinyDecoder,
  change: Record<string, unknown> = {},
  tensors = tinyTensors(tiny),
): Promise<string> {
  await mkdir(folder, { recursive: true })
  const config = { ...tinyConfig(tiny), ...change }
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(config))
  const [first] = tensors
  const encoder = { ...first!, name: 'encoder.layers.0.weight' }
  await writeSafetensors(path.join(folder, 'diffusion_pytorch_model.safetensors'), [
    encoder,
    ...tensors,
  ])
  return folder
}

/** `taesd_decoder.safetensors` or `.pth`, by the name's end. */
export async function writeTinyFile(
  file: string,
  tiny: TinyDecoder,
  tensors = originalNames(tinyTensors(tiny)),
): Promise<string> {
  if (file.endsWith('.pth')) await writeFile(file, torchCheckpoint(tensors))
  else await writeSafetensors(file, tensors)
  return file
}
