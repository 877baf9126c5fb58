/**
 * Checkpoints without a download: Stable Diffusion 1.x, 2.x and XL networks whose weights are computed from the
 * tensors' names. It draws nothing recognisable, but runs through the same code as a trained one, and
 * its numbers are the same everywhere. `magicmix demo`, the tests and the benchmarks use it.
 */
import { formulaChunks } from './formula-weights.js'
import type { Dtype, StoredTensor, TensorSpec } from './safetensors-writer.js'

export { formulaChunks } from './formula-weights.js'
export {
  type Dtype,
  type StoredTensor,
  type TensorSpec,
  dtypeBytes,
  writeSafetensors,
} from './safetensors-writer.js'

interface TextConfig {
  vocabulary: number
  positions: number
  width: number
  layers: number
  mlpWidth: number
  /** The names of OpenCLIP, which Stable Diffusion 2.x has. */
  openClip?: true
}

/** The sizes that tell one network from another. */
export interface FormulaConfig {
  text: TextConfig
  /** Of Stable Diffusion XL, with the names of OpenCLIP. */
  text2?: TextConfig
  /** `channels` by level, from fine to coarse. */
  unet: {
    latentChannels: number
    channels: number[]
    layersPerLevel: number
    /** As 2.x and XL have them around transformers, instead of convolutions. */
    linearProjections?: true
    /**
     * Blocks of the transformers, by level, or by level and ResBlock; 1 on every level but the
     * coarsest by default.
     */
    depths?: (number | number[])[]
    /** The same on the way up, if it is otherwise there, each level in the order of the way up. */
    depthsUp?: number[][]
    /** Distilled models have one ResBlock in the middle, or nothing. */
    middle?: 'one' | 'none'
  }
  vae: { channels: number[]; layersPerLevel: number }
}

const clip = { vocabulary: 49408, positions: 77 }

/** About 14 million parameters: 4 UNet heads, 2 text encoder heads. */
export const tinyConfig: FormulaConfig = {
  text: { ...clip, width: 64, layers: 2, mlpWidth: 256 },
  unet: { latentChannels: 4, channels: [32, 64, 128, 128], layersPerLevel: 2 },
  vae: { channels: [32, 64, 64, 64], layersPerLevel: 2 },
}

/**
 * The same in the manner of Stable Diffusion 2.x: of the text encoder's layers all but the last are
 * used; UNet heads are 16 channels wide.
 */
export const tiny2Config: FormulaConfig = {
  text: { ...tinyConfig.text, layers: 3, openClip: true },
  unet: { ...tinyConfig.unet, linearProjections: true },
  vae: tinyConfig.vae,
}

/** The sizes of Stable Diffusion 1.5: about 1.07 billion parameters. */
export const sd15Config: FormulaConfig = {
  text: { ...clip, width: 768, layers: 12, mlpWidth: 3072 },
  unet: { latentChannels: 4, channels: [320, 640, 1280, 1280], layersPerLevel: 2 },
  vae: { channels: [128, 256, 512, 512], layersPerLevel: 2 },
}

/** About 16 million parameters in the manner of Stable Diffusion XL; heads are 16 channels wide. */
export const tinyXlConfig: FormulaConfig = {
  text: { ...clip, width: 64, layers: 3, mlpWidth: 256 },
  text2: { ...clip, width: 96, layers: 4, mlpWidth: 384 },
  unet: {
    latentChannels: 4,
    channels: [32, 64, 96],
    layersPerLevel: 2,
    linearProjections: true,
    depths: [0, 1, 2],
  },
  vae: tinyConfig.vae,
}

/** The same in the manner of SSD-1B: other depths in every place, one ResBlock in the middle. */
export const tinySsdConfig: FormulaConfig = {
  ...tinyXlConfig,
  unet: {
    ...tinyXlConfig.unet,
    depths: [0, [2, 2], [3, 3]],
    depthsUp: [
      [0, 0, 0],
      [2, 1, 1],
      [3, 3, 4],
    ],
    middle: 'one',
  },
}

/** The same in the manner of Segmind Vega: one ResBlock in the middle. */
export const tinyVegaConfig: FormulaConfig = {
  ...tinyXlConfig,
  unet: { ...tinyXlConfig.unet, middle: 'one' },
}

/** The same in the manner of KOALA-700M: one layer per level, no middle. */
export const tinyKoalaConfig: FormulaConfig = {
  ...tinyXlConfig,
  unet: { ...tinyXlConfig.unet, layersPerLevel: 1, middle: 'none' },
}

/** The sizes of Stable Diffusion XL: about 3.47 billion parameters. */
export const sdxlConfig: FormulaConfig = {
  text: { ...clip, width: 768, layers: 12, mlpWidth: 3072 },
  text2: { ...clip, width: 1280, layers: 32, mlpWidth: 5120 },
  unet: {
    latentChannels: 4,
    channels: [320, 640, 1280],
    layersPerLevel: 2,
    linearProjections: true,
    depths: [0, 2, 10],
  },
  vae: sd15Config.vae,
}

/** Every tensor of the network under its name in original Stable Diffusion files, sorted by name. */
export function formulaTensors(config: FormulaConfig): TensorSpec[] {
  const tensors = [...textEncoder(config), ...unet(config), ...autoencoder(config)]
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The tensors of a formula-weight checkpoint, ready for {@link writeSafetensors}. */
export function formulaCheckpoint(config: FormulaConfig, dtype: Dtype = 'F16'): StoredTensor[] {
  return formulaTensors(config).map((spec) => ({
    ...spec,
    dtype,
    chunks: () => formulaChunks(spec, dtype),
  }))
}

// -------------------------------------------------------------------------------------------------
// The architecture

function* linear(name: string, from: number, to: number): Generator<TensorSpec> {
  yield { name: `${name}.weight`, shape: [to, from] }
  yield { name: `${name}.bias`, shape: [to] }
}

function* conv(name: string, from: number, to: number, kernel: number): Generator<TensorSpec> {
  yield { name: `${name}.weight`, shape: [to, from, kernel, kernel] }
  yield { name: `${name}.bias`, shape: [to] }
}

function* norm(name: string, channels: number): Generator<TensorSpec> {
  yield { name: `${name}.weight`, shape: [channels] }
  yield { name: `${name}.bias`, shape: [channels] }
}

function* textEncoder({ text, text2 }: FormulaConfig): Generator<TensorSpec> {
  if (text2) {
    yield* clipEncoder(text, 'conditioner.embedders.0.transformer.text_model')
    yield* openClipEncoder(text2, 'conditioner.embedders.1.model')
  } else if (text.openClip) {
    yield* openClipEncoder(text, 'cond_stage_model.model')
  } else {
    yield* clipEncoder(text, 'cond_stage_model.transformer.text_model')
  }
}

function* openClipEncoder(text: TextConfig, root: string): Generator<TensorSpec> {
  const { width, mlpWidth } = text
  yield { name: `${root}.token_embedding.weight`, shape: [text.vocabulary, width] }
  yield { name: `${root}.positional_embedding`, shape: [text.positions, width] }
  for (let i = 0; i < text.layers; i++) {
    const block = `${root}.transformer.resblocks.${i}`
    yield* norm(`${block}.ln_1`, width)
    yield { name: `${block}.attn.in_proj_weight`, shape: [3 * width, width] }
    yield { name: `${block}.attn.in_proj_bias`, shape: [3 * width] }
    yield* linear(`${block}.attn.out_proj`, width, width)
    yield* norm(`${block}.ln_2`, width)
    yield* linear(`${block}.mlp.c_fc`, width, mlpWidth)
    yield* linear(`${block}.mlp.c_proj`, mlpWidth, width)
  }
  yield* norm(`${root}.ln_final`, width)
  yield { name: `${root}.text_projection`, shape: [width, width] }
}

function* clipEncoder(text: TextConfig, root: string): Generator<TensorSpec> {
  yield { name: `${root}.embeddings.token_embedding.weight`, shape: [text.vocabulary, text.width] }
  yield {
    name: `${root}.embeddings.position_embedding.weight`,
    shape: [text.positions, text.width],
  }
  for (let i = 0; i < text.layers; i++) {
    const layer = `${root}.encoder.layers.${i}`
    yield* norm(`${layer}.layer_norm1`, text.width)
    for (const projection of ['q_proj', 'k_proj', 'v_proj', 'out_proj']) {
      yield* linear(`${layer}.self_attn.${projection}`, text.width, text.width)
    }
    yield* norm(`${layer}.layer_norm2`, text.width)
    yield* linear(`${layer}.mlp.fc1`, text.width, text.mlpWidth)
    yield* linear(`${layer}.mlp.fc2`, text.mlpWidth, text.width)
  }
  yield* norm(`${root}.final_layer_norm`, text.width)
}

function* unet(config: FormulaConfig): Generator<TensorSpec> {
  const root = 'model.diffusion_model'
  const { latentChannels, channels, layersPerLevel } = config.unet
  const base = first(channels)
  const coarsest = channels.length - 1
  const timeWidth = 4 * base
  const depths = config.unet.depths ?? channels.map((_, level) => (level < coarsest ? 1 : 0))
  const depthOf = (all: (number | number[])[], level: number, layer: number) => {
    const depth = all[level] ?? 0
    return typeof depth === 'number' ? depth : (depth[layer] ?? 0)
  }
  const depthUp = (level: number, layer: number) =>
    depthOf(config.unet.depthsUp ?? depths, level, layer)

  yield* linear(`${root}.time_embed.0`, base, timeWidth)
  yield* linear(`${root}.time_embed.2`, timeWidth, timeWidth)
  if (config.text2) {
    yield* linear(`${root}.label_emb.0.0`, config.text2.width + 6 * 256, timeWidth)
    yield* linear(`${root}.label_emb.0.2`, timeWidth, timeWidth)
  }

  yield* conv(`${root}.input_blocks.0.0`, latentChannels, base, 3)
  const skips = [base]
  let width = base
  for (const [level, to] of channels.entries()) {
    for (let layer = 0; layer < layersPerLevel; layer++) {
      const block = `${root}.input_blocks.${skips.length}`
      yield* unetResBlock(`${block}.0`, width, to, timeWidth)
      yield* transformer(`${block}.1`, to, depthOf(depths, level, layer), config)
      width = to
      skips.push(width)
    }
    if (level < coarsest) {
      yield* conv(`${root}.input_blocks.${skips.length}.0.op`, width, width, 3)
      skips.push(width)
    }
  }

  const { middle } = config.unet
  if (middle !== 'none') yield* unetResBlock(`${root}.middle_block.0`, width, width, timeWidth)
  if (middle === undefined) {
    const depth = depthOf(depths, coarsest, layersPerLevel - 1) || 1
    yield* transformer(`${root}.middle_block.1`, width, depth, config)
    yield* unetResBlock(`${root}.middle_block.2`, width, width, timeWidth)
  }

  let index = 0
  for (const [level, to] of [...channels.entries()].reverse()) {
    for (let layer = 0; layer <= layersPerLevel; layer++) {
      const block = `${root}.output_blocks.${index++}`
      yield* unetResBlock(`${block}.0`, width + (skips.pop() ?? 0), to, timeWidth)
      yield* transformer(`${block}.1`, to, depthUp(level, layer), config)
      width = to
      if (level > 0 && layer === layersPerLevel) {
        yield* conv(`${block}.${depthUp(level, layer) > 0 ? 2 : 1}.conv`, width, width, 3)
      }
    }
  }

  yield* norm(`${root}.out.0`, width)
  yield* conv(`${root}.out.2`, width, latentChannels, 3)
}

function* unetResBlock(
  name: string,
  from: number,
  to: number,
  timeWidth: number,
): Generator<TensorSpec> {
  yield* norm(`${name}.in_layers.0`, from)
  yield* conv(`${name}.in_layers.2`, from, to, 3)
  yield* linear(`${name}.emb_layers.1`, timeWidth, to)
  yield* norm(`${name}.out_layers.0`, to)
  yield* conv(`${name}.out_layers.3`, to, to, 3)
  if (from !== to) yield* conv(`${name}.skip_connection`, from, to, 1)
}

function* transformer(
  name: string,
  width: number,
  depth: number,
  { text, text2, unet }: FormulaConfig,
): Generator<TensorSpec> {
  if (depth === 0) return
  const projection = (at: string) =>
    unet.linearProjections ? linear(at, width, width) : conv(at, width, width, 1)
  yield* norm(`${name}.norm`, width)
  yield* projection(`${name}.proj_in`)
  for (let i = 0; i < depth; i++) {
    const contextWidth = text.width + (text2?.width ?? 0)
    yield* transformerBlock(`${name}.transformer_blocks.${i}`, width, contextWidth)
  }
  yield* projection(`${name}.proj_out`)
}

function* transformerBlock(
  block: string,
  width: number,
  contextWidth: number,
): Generator<TensorSpec> {
  const attentions = [
    ['attn1', width],
    ['attn2', contextWidth],
  ] as const
  for (const [attention, keyWidth] of attentions) {
    yield { name: `${block}.${attention}.to_q.weight`, shape: [width, width] }
    yield { name: `${block}.${attention}.to_k.weight`, shape: [width, keyWidth] }
    yield { name: `${block}.${attention}.to_v.weight`, shape: [width, keyWidth] }
    yield* linear(`${block}.${attention}.to_out.0`, width, width)
  }
  yield* linear(`${block}.ff.net.0.proj`, width, 8 * width)
  yield* linear(`${block}.ff.net.2`, 4 * width, width)
  for (const layerNorm of ['norm1', 'norm2', 'norm3']) yield* norm(`${block}.${layerNorm}`, width)
}

function* autoencoder({ unet, vae }: FormulaConfig): Generator<TensorSpec> {
  const root = 'first_stage_model'
  const { channels, layersPerLevel } = vae
  const base = first(channels)
  const coarsest = channels.length - 1
  const latent = unet.latentChannels

  const encoder = `${root}.encoder`
  yield* conv(`${encoder}.conv_in`, 3, base, 3)
  let width = base
  for (const [level, to] of channels.entries()) {
    for (let layer = 0; layer < layersPerLevel; layer++) {
      yield* vaeResBlock(`${encoder}.down.${level}.block.${layer}`, width, to)
      width = to
    }
    if (level < coarsest) {
      yield* conv(`${encoder}.down.${level}.downsample.conv`, width, width, 3)
    }
  }
  yield* vaeMiddle(`${encoder}.mid`, width)
  yield* norm(`${encoder}.norm_out`, width)
  yield* conv(`${encoder}.conv_out`, width, 2 * latent, 3)
  yield* conv(`${root}.quant_conv`, 2 * latent, 2 * latent, 1)

  const decoder = `${root}.decoder`
  yield* conv(`${root}.post_quant_conv`, latent, latent, 1)
  yield* conv(`${decoder}.conv_in`, latent, width, 3)
  yield* vaeMiddle(`${decoder}.mid`, width)
  for (const [level, to] of [...channels.entries()].reverse()) {
    for (let layer = 0; layer <= layersPerLevel; layer++) {
      yield* vaeResBlock(`${decoder}.up.${level}.block.${layer}`, width, to)
      width = to
    }
    if (level > 0) yield* conv(`${decoder}.up.${level}.upsample.conv`, width, width, 3)
  }
  yield* norm(`${decoder}.norm_out`, width)
  yield* conv(`${decoder}.conv_out`, width, 3, 3)
}

function* vaeMiddle(name: string, width: number): Generator<TensorSpec> {
  yield* vaeResBlock(`${name}.block_1`, width, width)
  yield* norm(`${name}.attn_1.norm`, width)
  for (const projection of ['q', 'k', 'v', 'proj_out']) {
    yield* conv(`${name}.attn_1.${projection}`, width, width, 1)
  }
  yield* vaeResBlock(`${name}.block_2`, width, width)
}

function* vaeResBlock(name: string, from: number, to: number): Generator<TensorSpec> {
  yield* norm(`${name}.norm1`, from)
  yield* conv(`${name}.conv1`, from, to, 3)
  yield* norm(`${name}.norm2`, to)
  yield* conv(`${name}.conv2`, to, to, 3)
  if (from !== to) yield* conv(`${name}.nin_shortcut`, from, to, 1)
}

function first(channels: number[]): number {
  const [base] = channels
  if (base === undefined) throw new Error('a network needs at least one level')
  return base
}
