/**
 * Seeds for the fuzzer, made with the writers of the tests: `tsx test/fuzz/seeds.ts FOLDER` fills
 * FOLDER/FORMAT, and FOLDER/heads for the target of networks. They are small, because a fuzzer changes bytes at random: a few tensors, and a whole
 * model of absurdly narrow networks.
 */
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { diffusersName } from '../support/diffusers.js'
import { formulaTensors } from '../support/formula-model.js'
import type { FormulaConfig } from '../support/formula-model.js'
import { ggufBytes, ggufTypes, value } from '../support/gguf-writer.js'
import { hostileGguf } from '../support/hostile-gguf.js'
import { fixture } from '../support/package-root.js'
import { safetensorsBytes } from '../support/safetensors.js'
import {
  legacyFile,
  pickled,
  pickledTensor,
  pickledTensors,
  torchArchive,
  torchCheckpoint,
  zipBytes,
} from '../support/torch-writer.js'

const narrow: FormulaConfig = {
  text: { vocabulary: 4, positions: 2, width: 2, layers: 1, mlpWidth: 2 },
  unet: { latentChannels: 4, channels: [2, 2], layersPerLevel: 1 },
  vae: { channels: [2, 2], layersPerLevel: 1 },
}

const few = [
  { name: 'model.diffusion_model.input_blocks.0.0.weight', shape: [4, 4, 1, 1] },
  { name: 'model.diffusion_model.out.2.bias', shape: [4] },
  { name: 'first_stage_model.post_quant_conv.weight', shape: [4, 4] },
  { name: 'cond_stage_model.transformer.text_model.final_layer_norm.bias', shape: [3] },
]

type Seeds = Record<string, string | Uint8Array>

/** A file of these tensors, all zeros, of types that alternate. */
function safetensors(specs: { name: string; shape: number[] }[], metadata?: object): Buffer {
  const types = [
    ['F16', 2],
    ['F32', 4],
    ['BF16', 2],
    ['F64', 8],
  ] as const
  let at = 0
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {}
  for (const [i, { name, shape }] of specs.entries()) {
    const [dtype, bytes] = types[i % types.length]!
    const end = at + shape.reduce((product, side) => product * side, bytes)
    header[name] = { dtype, shape, data_offsets: [at, end] }
    at = end
  }
  return safetensorsBytes(header, Buffer.alloc(at))
}

const configuration = {
  unet: { attention_head_dim: 4, norm_num_groups: 2 },
  vae: { scaling_factor: 0.18215, latent_rgb: Array(3).fill([0.1, 0.2, 0.3, 0.4, 0]) },
  text_encoder: { num_attention_heads: 2, hidden_act: 'quick_gelu' },
  scheduler: { prediction_type: 'epsilon', beta_schedule: 'scaled_linear' },
}

function safetensorsSeeds(): Seeds {
  const model = formulaTensors(narrow)
  return {
    few: safetensors(few),
    metadata: safetensors(few, { 'magicmix.config': JSON.stringify(configuration) }),
    model: safetensors(model),
    scalar: safetensors([{ name: 'scalar', shape: [] }]),
    empty: safetensors([]),
    truncated: safetensors(few).subarray(0, -10),
    overlapping: safetensorsBytes(
      {
        a: { dtype: 'F16', shape: [4], data_offsets: [0, 8] },
        b: { dtype: 'F16', shape: [4], data_offsets: [4, 12] },
      },
      Buffer.alloc(12),
    ),
    huge: safetensorsBytes(
      { a: { dtype: 'F16', shape: [2 ** 32, 2 ** 31, 2], data_offsets: [0, 0] } },
      Buffer.alloc(2),
    ),
  }
}

function diffusersSeeds(): Seeds {
  const names = formulaTensors(narrow)
    .filter(({ name }) => name.startsWith('model.diffusion_model.'))
    .map(({ name }) => diffusersName(name))
  const folder = (changed: Record<string, unknown> = {}) => {
    const files = {
      index: { _class_name: 'StableDiffusionPipeline' },
      scheduler: configuration.scheduler,
      unet: { ...configuration.unet, block_out_channels: [2, 2], layers_per_block: 1 },
      weightMap: { weight_map: Object.fromEntries(names.map((name) => [name, 'a.safetensors'])) },
      shard: Object.fromEntries(
        names.map((name) => [name, { dtype: 'F16', shape: [0], data_offsets: [0, 0] }]),
      ),
      vae: configuration.vae,
      text: configuration.text_encoder,
      ...changed,
    }
    return Object.values(files)
      .map((file) => (file === undefined ? '' : JSON.stringify(file)))
      .join('\n%%\n')
  }
  const first = Object.fromEntries(names.slice(0, 3).map((name) => [name, 'a.safetensors']))
  return {
    model: folder(),
    three: folder({ weightMap: { weight_map: first } }),
    configsOnly: folder({ weightMap: undefined, shard: undefined }),
    outside: folder({ weightMap: { weight_map: { 'conv_in.weight': '../a.safetensors' } } }),
    lacking: folder({ shard: {} }),
    list: folder({ vae: [1, 2] }),
  }
}

function ggufSeeds(): Seeds {
  const tensors = (specs: { name: string; shape: number[] }[]) =>
    specs.map((spec) => {
      const data = Buffer.alloc(2 * spec.shape.reduce((product, side) => product * side, 1))
      return { ...spec, type: ggufTypes.F16, data }
    })
  const name = 'model.diffusion_model.out.2.weight'
  const blocks = { name, shape: [2, 64], type: ggufTypes.Q8_0, data: Buffer.alloc(4 * 34) }
  return {
    few: ggufBytes({ tensors: tensors(few) }),
    model: ggufBytes({ tensors: tensors(formulaTensors(narrow)) }),
    pairs: ggufBytes({
      version: 2,
      alignment: 64,
      pairs: [
        ['general.alignment', value.u32(64)],
        ['magicmix.config', value.text(JSON.stringify(configuration))],
        [`comfy.gguf.orig_shape.${name}`, value.i32s([2, 4, 4, 4])],
      ],
      tensors: [blocks],
    }),
    ...Object.fromEntries(Object.values(hostileGguf).map(([bytes], i) => [`hostile-${i}`, bytes])),
  }
}

/** Ours, and those of torch itself. */
function torchSeeds(): Seeds {
  const zeros = (specs: { name: string; shape: number[] }[]) =>
    specs.map((spec) => ({
      ...spec,
      dtype: 'F16' as const,
      chunks: () => [Buffer.alloc(2 * spec.shape.reduce((product, side) => product * side, 1))],
    }))
  const { global, call, list, text, tuple, number, dictionary, whole } = pickled
  const legacy = pickledTensors(zeros(few), true)
  const view = { storage: 'FloatStorage', key: '0', elements: 16, shape: [2, 3] }
  const one = (change: object) => whole(pickledTensor({ ...view, ...change }))
  const storages = { '0': Buffer.alloc(64) }
  const whole64 = zipBytes([
    { name: 'a/data.pkl', data: one({}), claimed: { offset: 0xffffffff, zip64: 0n } },
    { name: 'a/data/0', data: Buffer.alloc(64) },
  ])
  const fromTorch = readdirSync(fixture('torch')).filter((name) => /\.(pt|ckpt)$/.test(name))
  return {
    few: torchCheckpoint(zeros(few)),
    model: torchCheckpoint(zeros(formulaTensors(narrow))),
    truncated: torchCheckpoint(zeros(few)).subarray(0, -10),
    legacy: legacyFile(legacy.state, legacy.storages, 2),
    strided: torchArchive(one({ strides: [1, 4], offset: 2 }), storages),
    expanded: torchArchive(one({ strides: [0, 0] }), storages),
    beyond: torchArchive(one({ strides: [2 ** 40, 1] }), storages),
    zip64: whole64,
    deflated: zipBytes([{ name: 'a/data.pkl', data: one({}), method: 8 }]),
    system: torchArchive(whole(call(global('os', 'system'), text('true')))),
    globals: torchArchive(whole(dictionary([global('x', 'Y'), list(number(1), tuple(text('a')))]))),
    ...Object.fromEntries(fromTorch.map((name) => [name, readFileSync(fixture(`torch/${name}`))])),
  }
}

/**
 * Whole models that `formats/networks.cpp` changes: a line of configuration, then a line of a name and a
 * shape for each tensor.
 */
function heads(): Seeds {
  const config = {
    unet: { num_attention_heads: 1, norm_num_groups: 2, sample_size: 8 },
    text_encoder: { num_attention_heads: 1 },
    text_encoder_2: { num_attention_heads: 1 },
    vae: { norm_num_groups: 2 },
  }
  const text = { vocabulary: 49408, positions: 77, width: 2, layers: 1, mlpWidth: 4 }
  const openClip = { ...text, openClip: true, layers: 2, width: 64 } as const
  const unet = { latentChannels: 4, layersPerLevel: 1 }
  // What reads a model takes a time that grows with its tensors, so there are few: 300 and not 1100.
  const vae = { channels: [2, 2, 2, 4], layersPerLevel: 1 }
  const models: FormulaConfig[] = [
    { text, vae, unet: { ...unet, channels: [2], depths: [1] } },
    { text, vae, unet: { ...unet, channels: [2, 4], depths: [0, 1], middle: 'none' } },
    {
      ...{ text: openClip, vae },
      unet: { ...unet, channels: [2], depths: [0], linearProjections: true },
    },
    {
      ...{ text: { ...text, layers: 2 }, text2: openClip, vae },
      unet: { ...unet, channels: [2], depths: [1], linearProjections: true, middle: 'one' },
    },
  ]
  return Object.fromEntries(
    models.map((model, i) => {
      const lines = formulaTensors(model).map(({ name, shape }) => [name, ...shape].join(' '))
      return [String(i), [JSON.stringify(config), ...lines].join('\n')]
    }),
  )
}

/** Which head, changes of four bytes, a zero and a configuration: see `formats/networks.cpp`. */
function networksSeeds(): Seeds {
  const wholes = [0, 1, 2, 3].map((head) => [`head-${head}`, Uint8Array.of(head)] as const)
  const kinds = [1, 2, 3, 4, 5, 6, 7, 8].map(
    (what) => [`change-${what}`, Uint8Array.of(0, what, 40 * what, 0, 2 + what)] as const,
  )
  const text = JSON.stringify(configuration)
  return {
    ...Object.fromEntries([...wholes, ...kinds]),
    configuration: Buffer.concat([Uint8Array.of(0, 0), Buffer.from(text)]),
  }
}

/** A module of every method, for the shapes of `formats/lora.cpp`. */
function loraSeeds(): Seeds {
  const of = (module: string, parts: Record<string, number[]>, metadata?: object) =>
    safetensors(
      Object.entries(parts).map(([part, shape]) => ({ name: `${module}.${part}`, shape })),
      metadata,
    )
  const module = 'lora_unet_conv_in'
  const factors = { 'lora_down.weight': [2, 4], 'lora_up.weight': [4, 2] }
  const kernels = { hada_w1_a: [2, 4], hada_w1_b: [2, 4], hada_t1: [2, 2, 3, 3] }
  const more = { hada_w2_a: [2, 4], hada_w2_b: [2, 4], hada_t2: [2, 2, 3, 3] }
  const notes = {
    ...{ 'unet.r': 2, 'unet.lora_alpha': 3, 'unet.use_rslora': true, 'unet.bias': 'none' },
    ...{ 'unet.alpha_pattern': { '^conv_in$': 2 }, 'unet.rank_pattern': { 'x\\.y': 3 } },
  }
  const list = ['0', '1'].map((key) =>
    pickledTensor({ ...{ storage: 'FloatStorage', key, elements: 16, shape: [4, 4] } }),
  )
  return {
    lora: of(module, { ...factors, alpha: [] }),
    dora: of(module, { ...factors, dora_scale: [4, 1] }),
    mid: of(module, { ...factors, 'lora_mid.weight': [2, 2, 3, 3] }),
    loha: of(module, { ...kernels, ...more }),
    lokr: of(module, { lokr_w1: [2, 2], lokr_w2_a: [2, 1], lokr_w2_b: [1, 18], alpha: [1] }),
    whole: of(module, { diff: [4, 4], diff_b: [4] }),
    peft: of(
      'base_model.model.conv_in',
      { 'lora_A.x.weight': [2, 4], 'lora_B.x.weight': [4, 2] },
      { lora_adapter_metadata: JSON.stringify(notes) },
    ),
    bundle: of('bundle_emb', { 'name.clip_l': [1, 4], 'name.string_to_param.*': [4] }),
    list: torchArchive(pickled.whole(pickled.list(...list)), {
      ...{ '0': Buffer.alloc(64), '1': Buffer.alloc(64) },
    }),
  }
}

const folders: Record<string, () => Seeds> = {
  heads,
  gguf: ggufSeeds,
  safetensors: safetensorsSeeds,
  torch: torchSeeds,
  diffusers: diffusersSeeds,
  networks: networksSeeds,
  lora: loraSeeds,
}

const root = process.argv[2]
if (root === undefined) throw new Error('usage: tsx test/fuzz/seeds.ts FOLDER')
for (const [name, seeds] of Object.entries(folders)) {
  const folder = path.join(root, name)
  mkdirSync(folder, { recursive: true })
  for (const [file, seed] of Object.entries(seeds())) writeFileSync(path.join(folder, file), seed)
}
