/** Writes tiny formula-weight models of Stable Diffusion XL as folders in the manner of diffusers. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'

import { diffusersName, openClipNames, writeJson, writeWeights } from './diffusers.js'
import { dtypeBytes, formulaChunks, formulaTensors, tinyXlConfig } from './formula-model.js'
import type { Dtype, FormulaConfig, StoredTensor, TensorSpec } from './formula-model.js'

export interface XlFolderOptions {
  /** Default {@link tinyXlConfig}. */
  config?: FormulaConfig
  dtype?: Dtype
  /** Keys of the text encoders without `text_model.`, as transformers since 5.6 has them. */
  bareTextNames?: boolean
  /** In the names of the files of weights: '.fp16'. */
  variant?: string
  /** Shards of at most this many bytes, with an index. */
  shardBytes?: number
  /** Keys of unet/config.json in the place of those of the tiny XL. */
  unet?: object
  scheduler?: object
  modelIndex?: object
}

const second = 'conditioner.embedders.1.model.'

export async function writeXlFolder(root: string, options: XlFolderOptions = {}): Promise<void> {
  const { shardBytes, variant, config = tinyXlConfig } = options
  await mkdir(root, { recursive: true })
  await writeJson(path.join(root, 'model_index.json'), { ...modelIndex, ...options.modelIndex })
  await mkdir(path.join(root, 'scheduler'))
  await writeJson(path.join(root, 'scheduler', 'scheduler_config.json'), {
    ...scheduler,
    ...options.scheduler,
  })
  const parts = xlParts(options)
  for (const [folder, tensors] of Object.entries(parts)) {
    await mkdir(path.join(root, folder))
    const file = folder.startsWith('text') ? 'model' : 'diffusion_pytorch_model'
    await writeWeights(path.join(root, folder, file), tensors, shardBytes, variant)
  }
  const configs = { unet: { ...unetConfig(config), ...options.unet }, vae: vaeConfig, ...texts }
  for (const [folder, each] of Object.entries(configs)) {
    await writeJson(path.join(root, folder, 'config.json'), each)
  }
  for (const [folder, padding] of [
    ['tokenizer', '<|endoftext|>'],
    ['tokenizer_2', '!'],
  ] as const) {
    await mkdir(path.join(root, folder))
    await writeJson(path.join(root, folder, 'tokenizer_config.json'), { pad_token: padding })
  }
}

type PartName = 'unet' | 'vae' | 'text_encoder' | 'text_encoder_2'

/** The tensors of the four networks under diffusers' names. */
export function xlParts(options: XlFolderOptions = {}): Record<PartName, StoredTensor[]> {
  const { config = tinyXlConfig, dtype = 'F16', bareTextNames = false } = options
  const all = formulaTensors(config)
  const of = (prefix: string) => all.filter(({ name }) => name.startsWith(prefix))
  const { layersPerLevel } = config.unet
  const stored = (spec: TensorSpec, name: string): StoredTensor => ({
    name,
    shape: spec.name.includes('.attn_1.') ? spec.shape.slice(0, 2) : spec.shape,
    dtype,
    chunks: () => formulaChunks(spec, dtype),
  })
  const renamed = (prefix: string) =>
    of(prefix).map((spec) => stored(spec, diffusersName(spec.name, { layersPerLevel })))
  const first = 'conditioner.embedders.0.transformer.'
  const withPrefix = ({ name, ...rest }: StoredTensor) => ({
    name: bareTextNames ? name.replace(/^text_model\./, '') : name,
    ...rest,
  })
  return {
    unet: renamed('model.diffusion_model.'),
    vae: renamed('first_stage_model.'),
    text_encoder: of(first)
      .map((spec) => stored(spec, spec.name.slice(first.length)))
      .map(withPrefix),
    text_encoder_2: of(second)
      .flatMap((spec) => ofSecond(spec, dtype))
      .map(withPrefix),
  }
}

/** OpenCLIP's under transformers' names: queries, keys and values apart, the projection turned. */
function ofSecond(spec: TensorSpec, dtype: Dtype): StoredTensor[] {
  const bytes = () => Buffer.concat([...formulaChunks(spec, dtype)])
  const chunks = () => formulaChunks(spec, dtype)
  const name = spec.name.slice(second.length)
  if (name === 'text_projection') {
    const turned = () => [transposed(bytes(), spec.shape, dtypeBytes[dtype])]
    const shape = [...spec.shape].reverse()
    return [{ name: 'text_projection.weight', shape, dtype, chunks: turned }]
  }
  const kind = /bias$/.test(name) ? 'bias' : 'weight'
  const [, layer, part = ''] = /^transformer\.resblocks\.(\d+)\.(.+)$/.exec(name) ?? []
  if (layer === undefined) {
    const outer = openClipNames[name.replace(/\.(weight|bias)$/, '')] ?? name
    return [{ ...spec, name: `text_model.${outer}.${kind}`, dtype, chunks }]
  }
  const root = `text_model.encoder.layers.${layer}`
  const inner = openClipNames[part.replace(/[._](weight|bias)$/, '')]
  if (inner) return [{ ...spec, name: `${root}.${inner}.${kind}`, dtype, chunks }]
  const [rows = 0, ...columns] = spec.shape
  return ['q', 'k', 'v'].map((projection, i) => ({
    name: `${root}.self_attn.${projection}_proj.${kind}`,
    shape: [rows / 3, ...columns],
    dtype,
    chunks: () => {
      const all = bytes()
      return [all.subarray((i * all.length) / 3, ((i + 1) * all.length) / 3)]
    },
  }))
}

/** The bytes of a matrix with rows and columns exchanged. */
export function transposed(bytes: Buffer, shape: readonly number[], size: number): Buffer {
  const [rows = 0, columns = 0] = shape
  const turned = Buffer.alloc(bytes.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * columns + column) * size
      bytes.copy(turned, (column * rows + row) * size, from, from + size)
    }
  }
  return turned
}

// -------------------------------------------------------------------------------------------------
// The configurations, of the keys that tell one model from another

const modelIndex = {
  _class_name: 'StableDiffusionXLPipeline',
  force_zeros_for_empty_prompt: true,
  scheduler: ['diffusers', 'EulerDiscreteScheduler'],
  text_encoder: ['transformers', 'CLIPTextModel'],
  text_encoder_2: ['transformers', 'CLIPTextModelWithProjection'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  tokenizer_2: ['transformers', 'CLIPTokenizer'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae: ['diffusers', 'AutoencoderKL'],
}

const scheduler = {
  _class_name: 'EulerDiscreteScheduler',
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  clip_sample: false,
  interpolation_type: 'linear',
  num_train_timesteps: 1000,
  prediction_type: 'epsilon',
  sample_max_value: 1,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
  timestep_spacing: 'leading',
  trained_betas: null,
  use_karras_sigmas: false,
}

function unetConfig({ unet, text2 }: FormulaConfig): object {
  return {
    _class_name: 'UNet2DConditionModel',
    act_fn: 'silu',
    addition_embed_type: 'text_time',
    addition_embed_type_num_heads: 64,
    addition_time_embed_dim: 256,
    attention_head_dim: [2, 4, 6],
    block_out_channels: unet.channels,
    cross_attention_dim: 160,
    down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
    in_channels: 4,
    layers_per_block: unet.layersPerLevel,
    mid_block_type: 'UNetMidBlock2DCrossAttn',
    norm_num_groups: 32,
    projection_class_embeddings_input_dim: (text2?.width ?? 0) + 6 * 256,
    sample_size: 128,
    transformer_layers_per_block: [1, 1, 2],
    up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
    use_linear_projection: true,
  }
}

const vaeConfig = {
  _class_name: 'AutoencoderKL',
  block_out_channels: tinyXlConfig.vae.channels,
  force_upcast: true,
  in_channels: 3,
  latent_channels: 4,
  layers_per_block: 2,
  norm_num_groups: 32,
  out_channels: 3,
  sample_size: 1024,
  scaling_factor: 0.13025,
}

const text = {
  architectures: ['CLIPTextModel'],
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
  max_position_embeddings: 77,
  model_type: 'clip_text_model',
  num_attention_heads: 4,
  num_hidden_layers: 3,
}

const texts = {
  text_encoder: text,
  text_encoder_2: {
    ...text,
    architectures: ['CLIPTextModelWithProjection'],
    hidden_act: 'gelu',
    num_attention_heads: 6,
    num_hidden_layers: 4,
    projection_dim: 96,
  },
}
