/** Writes the tiny formula-weight models as folders in the manner of diffusers. */
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'

import {
  dtypeBytes,
  formulaChunks,
  formulaTensors,
  tiny2Config,
  tinyConfig,
  writeSafetensors,
} from './formula-model.js'
import type { Dtype, StoredTensor, TensorSpec } from './formula-model.js'

export interface DiffusersOptions {
  dtype?: Dtype
  /** Names of the VAE's attention as repositories from before 2023 have them. */
  oldAttentionNames?: boolean
  /** Keys of the text encoder without `text_model.`, as transformers 5 can save them. */
  bareTextNames?: boolean
  /** Shards of at most this many bytes, with an index. */
  shardBytes?: number
  /** The tiny model of Stable Diffusion 2.x, which predicts velocity. */
  sd2?: boolean
  /** Of the UNet. Default 2. */
  layersPerLevel?: number
}

interface Part {
  folder: 'unet' | 'vae' | 'text_encoder'
  file: 'diffusion_pytorch_model' | 'model'
  tensors: StoredTensor[]
}

export async function writeDiffusersFolder(
  root: string,
  options: DiffusersOptions = {},
): Promise<void> {
  await mkdir(root, { recursive: true })
  await writeJson(path.join(root, 'model_index.json'), modelIndex)
  await mkdir(path.join(root, 'scheduler'))
  const config = options.sd2 ? sd2Configs : configs
  await writeJson(path.join(root, 'scheduler', 'scheduler_config.json'), config.scheduler)
  for (const part of diffusersParts(options)) {
    const folder = path.join(root, part.folder)
    await mkdir(folder)
    await writeJson(path.join(folder, 'config.json'), config[part.folder])
    await writeWeights(path.join(folder, part.file), part.tensors, options.shardBytes)
  }
}

/** The tensors of the three networks under diffusers' names. */
export function diffusersParts(options: DiffusersOptions = {}): Part[] {
  const config = options.sd2 ? tiny2Config : tinyConfig
  const stored = formulaTensors(config).flatMap((spec) =>
    spec.name.startsWith(openClip) ? storeOpenClip(spec, options) : store(spec, options),
  )
  const of = (prefix: string) => stored.filter(({ original }) => original.startsWith(prefix))
  return [
    { folder: 'unet', file: 'diffusion_pytorch_model', tensors: of('model.diffusion_model.') },
    { folder: 'vae', file: 'diffusion_pytorch_model', tensors: of('first_stage_model.') },
    { folder: 'text_encoder', file: 'model', tensors: of('cond_stage_model.') },
  ]
}

type Stored = StoredTensor & { original: string }

const openClip = 'cond_stage_model.model.'

/** A tensor of OpenCLIP under transformers' names: queries, keys and values apart, no last layer. */
function storeOpenClip(spec: TensorSpec, { dtype = 'F16' }: DiffusersOptions): Stored[] {
  const original = spec.name
  const entry = (name: string) => ({
    ...{ original, name: `text_model.${name}`, shape: spec.shape, dtype },
    chunks: () => formulaChunks(spec, dtype),
  })
  const name = original.slice(openClip.length)
  const [, layer, part = ''] = /^transformer\.resblocks\.(\d+)\.(.+)$/.exec(name) ?? []
  if (layer === undefined) {
    const outer = openClipNames[name.replace(/\.(weight|bias)$/, '')]
    return outer ? [entry(`${outer}.${name.endsWith('bias') ? 'bias' : 'weight'}`)] : []
  }
  if (Number(layer) === tiny2Config.text.layers - 1) return []
  const kind = part.endsWith('bias') ? 'bias' : 'weight'
  const inner = openClipNames[part.replace(/[._](weight|bias)$/, '')]
  const root = `encoder.layers.${layer}`
  if (inner) return [entry(`${root}.${inner}.${kind}`)]

  const [rows = 0, ...columns] = spec.shape
  return ['q', 'k', 'v'].map((projection, i) => ({
    ...entry(`${root}.self_attn.${projection}_proj.${kind}`),
    shape: [rows / 3, ...columns],
    chunks: () => {
      const all = Buffer.concat([...formulaChunks(spec, dtype)])
      return [all.subarray((i * all.length) / 3, ((i + 1) * all.length) / 3)]
    },
  }))
}

export const openClipNames: Record<string, string> = {
  token_embedding: 'embeddings.token_embedding',
  positional_embedding: 'embeddings.position_embedding',
  ln_final: 'final_layer_norm',
  ln_1: 'layer_norm1',
  ln_2: 'layer_norm2',
  'attn.out_proj': 'self_attn.out_proj',
  'mlp.c_fc': 'mlp.fc1',
  'mlp.c_proj': 'mlp.fc2',
}

function store(spec: TensorSpec, options: DiffusersOptions): Stored {
  const dtype = options.dtype ?? 'F16'
  return {
    original: spec.name,
    name: diffusersName(spec.name, options),
    // the VAE's attention is of 1x1 convolutions there, of matrices here
    shape: spec.name.includes('.attn_1.') ? spec.shape.slice(0, 2) : spec.shape,
    dtype,
    chunks: () => formulaChunks(spec, dtype),
  }
}

export async function writeWeights(
  stem: string,
  tensors: StoredTensor[],
  shardBytes = Infinity,
  variant = '',
): Promise<void> {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))
  const shards = split(sorted, shardBytes)
  if (shards.length === 1) return writeSafetensors(`${stem}${variant}.safetensors`, sorted)

  const weightMap: Record<string, string> = {}
  for (const [i, shard] of shards.entries()) {
    const number = `-${fiveDigits(i + 1)}-of-${fiveDigits(shards.length)}`
    const file = `${stem}${variant}${number}.safetensors`
    await writeSafetensors(file, shard)
    for (const { name } of shard) weightMap[name] = path.basename(file)
  }
  const total = sorted.reduce((sum, tensor) => sum + byteLength(tensor), 0)
  await writeJson(`${stem}.safetensors.index${variant}.json`, {
    metadata: { total_size: total },
    weight_map: weightMap,
  })
}

function split(tensors: StoredTensor[], shardBytes: number): StoredTensor[][] {
  const shards: StoredTensor[][] = []
  let room = 0
  for (const tensor of tensors) {
    const bytes = byteLength(tensor)
    if (shards.length === 0 || bytes > room) {
      shards.push([])
      room = shardBytes
    }
    shards.at(-1)?.push(tensor)
    room -= bytes
  }
  return shards
}

function byteLength({ shape, dtype }: StoredTensor): number {
  return shape.reduce((product, side) => product * side, dtypeBytes[dtype])
}

function fiveDigits(value: number): string {
  return String(value).padStart(5, '0')
}

export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(file, JSON.stringify(value, null, 2))
}

// -------------------------------------------------------------------------------------------------
// Names

/** Name in diffusers' files of a tensor with the name that original Stable Diffusion files use. */
export function diffusersName(original: string, options: DiffusersOptions = {}): string {
  if (original.startsWith('cond_stage_model.transformer.')) {
    const name = original.slice('cond_stage_model.transformer.'.length)
    return options.bareTextNames ? name.slice('text_model.'.length) : name
  }
  if (original.startsWith('first_stage_model.')) {
    const name = original.slice('first_stage_model.'.length)
    return vaeName(name, options.oldAttentionNames ?? false)
  }
  const { layersPerLevel = 2 } = options
  return unetName(original.slice('model.diffusion_model.'.length), layersPerLevel + 1)
}

/** Each level has a block less and a resampler on the way down, `perLevel` blocks on the way up. */
function unetName(original: string, perLevel: number): string {
  const [part = '', ...rest] = original.replace('label_emb.0', 'label_emb').split('.')
  if (part === 'time_embed' || part === 'label_emb') {
    const embedding = part === 'time_embed' ? 'time_embedding' : 'add_embedding'
    return [embedding, rest[0] === '0' ? 'linear_1' : 'linear_2', ...rest.slice(1)].join('.')
  }
  if (part === 'out') {
    return [rest[0] === '0' ? 'conv_norm_out' : 'conv_out', ...rest.slice(1)].join('.')
  }
  if (part === 'middle_block') {
    const [layer, ...inner] = rest
    if (layer === '1') return ['mid_block.attentions.0', ...inner].join('.')
    return ['mid_block.resnets', layer === '0' ? '0' : '1', resNetPart(inner)].join('.')
  }

  const [block = '', layer = '', ...inner] = rest
  if (part === 'input_blocks' && block === '0') return ['conv_in', ...inner].join('.')
  const down = part === 'input_blocks'
  const position = Number(block) - (down ? 1 : 0)
  const level = `${down ? 'down' : 'up'}_blocks.${Math.floor(position / perLevel)}`
  const index = position % perLevel
  if (inner[0] === 'op') return [level, 'downsamplers.0.conv', ...inner.slice(1)].join('.')
  if (inner[0] === 'conv') return [level, 'upsamplers.0.conv', ...inner.slice(1)].join('.')
  if (layer === '1') return [level, 'attentions', index, ...inner].join('.')
  return [level, 'resnets', index, resNetPart(inner)].join('.')
}

function resNetPart(original: string[]): string {
  const names: Record<string, string> = {
    'in_layers.0': 'norm1',
    'in_layers.2': 'conv1',
    'emb_layers.1': 'time_emb_proj',
    'out_layers.0': 'norm2',
    'out_layers.3': 'conv2',
  }
  const [name = '', ...rest] = original
  if (name === 'skip_connection') return ['conv_shortcut', ...rest].join('.')
  return [names[`${name}.${rest[0]}`], ...rest.slice(1)].join('.')
}

const vaeAttention: Record<string, [string, string]> = {
  norm: ['group_norm', 'group_norm'],
  q: ['to_q', 'query'],
  k: ['to_k', 'key'],
  v: ['to_v', 'value'],
  proj_out: ['to_out.0', 'proj_attn'],
}

function vaeName(original: string, old: boolean): string {
  return original
    .replace(/\.mid\.block_(\d)/, (_, n: string) => `.mid_block.resnets.${Number(n) - 1}`)
    .replace(/\.mid\.attn_1\.(\w+)/, (_, name: string) => {
      return `.mid_block.attentions.0.${vaeAttention[name]?.[old ? 1 : 0]}`
    })
    .replace(/\.down\.(\d)\.block\.(\d)/, '.down_blocks.$1.resnets.$2')
    .replace(/\.down\.(\d)\.downsample\.conv/, '.down_blocks.$1.downsamplers.0.conv')
    .replace(/\.up\.(\d)\.block\.(\d)/, (_, level: string, n: string) => {
      return `.up_blocks.${3 - Number(level)}.resnets.${n}`
    })
    .replace(/\.up\.(\d)\.upsample\.conv/, (_, level: string) => {
      return `.up_blocks.${3 - Number(level)}.upsamplers.0.conv`
    })
    .replace('.nin_shortcut', '.conv_shortcut')
    .replace('.norm_out', '.conv_norm_out')
}

// -------------------------------------------------------------------------------------------------
// The configs, of the keys that tell one model from another

const modelIndex = {
  _class_name: 'StableDiffusionPipeline',
  scheduler: ['diffusers', 'DDIMScheduler'],
  text_encoder: ['transformers', 'CLIPTextModel'],
  tokenizer: ['transformers', 'CLIPTokenizer'],
  unet: ['diffusers', 'UNet2DConditionModel'],
  vae: ['diffusers', 'AutoencoderKL'],
}

const schedulerConfig = {
  _class_name: 'DDIMScheduler',
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  prediction_type: 'epsilon',
  timestep_spacing: 'leading',
  steps_offset: 1,
  set_alpha_to_one: false,
  clip_sample: false,
}

const configs = {
  scheduler: schedulerConfig,
  unet: {
    _class_name: 'UNet2DConditionModel',
    in_channels: 4,
    out_channels: 4,
    layers_per_block: 2,
    block_out_channels: tinyConfig.unet.channels,
    down_block_types: [
      'CrossAttnDownBlock2D',
      'CrossAttnDownBlock2D',
      'CrossAttnDownBlock2D',
      'DownBlock2D',
    ],
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
    cross_attention_dim: tinyConfig.text.width,
    // in SD 1.x this is the number of heads
    attention_head_dim: 4,
    norm_num_groups: 32,
    norm_eps: 1e-5,
    act_fn: 'silu',
    flip_sin_to_cos: true,
    freq_shift: 0,
    downsample_padding: 1,
  },
  vae: {
    _class_name: 'AutoencoderKL',
    in_channels: 3,
    out_channels: 3,
    latent_channels: 4,
    layers_per_block: 2,
    block_out_channels: tinyConfig.vae.channels,
    norm_num_groups: 32,
    act_fn: 'silu',
    scaling_factor: 0.18215,
  },
  text_encoder: {
    architectures: ['CLIPTextModel'],
    model_type: 'clip_text_model',
    vocab_size: tinyConfig.text.vocabulary,
    max_position_embeddings: tinyConfig.text.positions,
    hidden_size: tinyConfig.text.width,
    intermediate_size: tinyConfig.text.mlpWidth,
    num_hidden_layers: tinyConfig.text.layers,
    num_attention_heads: 2,
    hidden_act: 'quick_gelu',
    layer_norm_eps: 1e-5,
  },
}

const sd2Configs = {
  scheduler: { ...configs.scheduler, prediction_type: 'v_prediction' },
  unet: {
    ...configs.unet,
    ...{ attention_head_dim: [2, 4, 8, 8], use_linear_projection: true, upcast_attention: true },
    sample_size: 96,
  },
  vae: configs.vae,
  text_encoder: { ...configs.text_encoder, num_hidden_layers: 2, hidden_act: 'gelu' },
}
