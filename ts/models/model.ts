/** What a user says about the model to load, and what is known of it then. */
import path from 'node:path'

import { checkEmbeddings } from '../input/embeddings.js'
import { type Lora, checkLoras } from '../input/lora.js'
import type { NativeLoadOptions } from '../native/contract.js'
import { nativeRoot } from '../package-files.js'
import type { LoadProgressEvent } from '../progress.js'
import {
  type UnknownRecord,
  integerBetween,
  invalid,
  nonEmptyText,
  numberBetween,
  oneOf,
  optionalFunction,
  optionalSignal,
  record,
  refuseUnknownKeys,
} from '../request/validate.js'

/** The folder of the model in the package. */
export const modelInTheBox = path.join(nativeRoot, 'models', 'world-128')

/** What a single file cannot tell; each value wins over the model's own config.json. */
export interface ModelConfig {
  unet?: {
    /** Attention heads of the UNet, on every level. Default 8 where the sizes are those of SD 1.x. */
    heads?: number | undefined
    /**
     * Channels of an attention head, on every level, instead of `heads`. Default 64 where the sizes
     * are those of SD 2.x.
     */
    headWidth?: number | undefined
    /**
     * What the UNet predicts: the noise, or the velocity between noise and picture. Default: what
     * the files say; else 'epsilon' for SD 1.x, and for SD 2.x what it is found to do when loaded.
     */
    prediction?: Prediction | undefined
    /** Groups of its group norms. Default 32. */
    normGroups?: number | undefined
  }
  textEncoder?: {
    /** Attention heads. Default 12 and 16 where the sizes are those of SD 1.x and 2.x. */
    heads?: number | undefined
  }
  vae?: {
    /** Groups of its group norms. Default 32. */
    normGroups?: number | undefined
    /** What the latent is multiplied by after encoding. Default 0.18215. */
    scalingFactor?: number | undefined
  }
}

/** What a UNet predicts. */
export type Prediction = 'epsilon' | 'v_prediction'
const predictions: readonly Prediction[] = ['epsilon', 'v_prediction']

/** What {@link LoadOptions.keepOnCpu} can name. */
export type ModelPart = 'textEncoder' | 'vae'
const modelParts: readonly ModelPart[] = ['textEncoder', 'vae']

/** In which type the large weights are kept. */
export type Precision = 'auto' | 'f32' | 'f16' | 'bf16' | 'q8_0'
const precisions: readonly Precision[] = ['auto', 'f32', 'f16', 'bf16', 'q8_0']

/** What {@link MagicMix.load} takes. */
export interface LoadOptions {
  /**
   * A Stable Diffusion 1.x or 2.x checkpoint: a .safetensors, .ckpt or .gguf file, or a folder as
   * diffusers writes it. Or 'hf:' and what {@link pull} takes, such as 'hf:sd1.5': it is downloaded
   * unless it is in the cache.
   * Default: the small model in the package, which knows some twenty things (see
   * `models/README.md`) and makes pictures of 128 x 128.
   */
  model?: string | undefined
  /**
   * Files of textual inversion by the placeholder that stands for each in prompts:
   * `{ '<cat-toy>': 'learned_embeds.safetensors' }`. Files of diffusers and of the AUTOMATIC1111 web
   * UI are read. A placeholder has no white space and is found in prompts as it is written here, upper
   * and lower case included, but not inside of a longer word. It takes as many of the 75 tokens as the
   * file has vectors. Default: none.
   */
  embeddings?: Readonly<Record<string, string>> | undefined
  /** What the file cannot tell. */
  config?: ModelConfig | undefined
  /**
   * Where the model runs. 'auto' is the best that works: CUDA, Metal, Vulkan (discrete before
   * integrated GPUs), the CPU. 'gpu' is the same without the CPU; 'cuda', 'metal', 'vulkan' the best
   * of that kind; 'cpu'; or the id of one of `devices()`. Default 'auto'.
   */
  device?: string | undefined
  /**
   * Parts of the model that stay on the CPU although the rest is on a GPU, to save its memory: the
   * text encoder costs little time there, the VAE more. Default: none.
   */
  keepOnCpu?: readonly ModelPart[] | undefined
  /**
   * The type in which weights are kept. 'f32' is exact; 'f16' takes half the memory; 'bf16' does too
   * and is twice as fast on CPUs that multiply it (AVX-512-BF16), with an error of about 1%; 'q8_0'
   * takes a quarter, for the CPU only. Default 'auto': 'bf16' on such a CPU, else 'f16', and what
   * the file has quantised stays so.
   */
  precision?: Precision | undefined
  /**
   * CPU threads, 1..1024; more than there are cores are not used. Default: one a core. Mixers that
   * use several take turns on the cores, step by step.
   */
  threads?: number | undefined
  /**
   * LoRAs for every mix that names none of its own. They are merged into the weights: a step takes
   * no longer with them. Default: none.
   */
  loras?: readonly Lora[] | undefined
  /** Called while the model is downloaded and its weights are read; what it throws cancels and becomes the rejection. */
  onProgress?: ((event: LoadProgressEvent) => void) | undefined
  /** Cancels loading; it rejects with the signal's reason once all has unwound. */
  signal?: AbortSignal | undefined
}

/** A loaded model, as {@link MagicMix.model} describes it. */
export interface ModelInfo {
  readonly path: string
  /** 'sd1' or 'sd2'. */
  readonly family: string
  /** What the UNet predicts; 'unknown' only in what `magicmix inspect` tells. */
  readonly prediction: Prediction | 'unknown'
  /** 'safetensors', 'ckpt', 'gguf' or 'diffusers'. */
  readonly format: string
  /** Id of the device in use. */
  readonly device: string
  /** Ids of the devices on which its parts lie. */
  readonly placement: {
    readonly textEncoder: string
    readonly unet: string
    readonly vae: string
  }
  /** Type of the large weights. */
  readonly precision: string
  /** CPU threads that are used. */
  readonly threads: number
  /** Numbers of parameters. */
  readonly parameters: {
    readonly total: number
    readonly textEncoder: number
    readonly unet: number
    readonly vae: number
  }
  /** Side in pixels of the pictures that it was trained on, and that a mix has by default. */
  readonly nativeSize: number
  /** Sizes of the networks; `channels` by level, from fine to coarse. */
  readonly sizes: {
    readonly textEncoder: {
      readonly width: number
      readonly layers: number
      readonly heads: number
      /** How many tokens it knows, those of `embeddings` included. */
      readonly vocabulary: number
      /** The id behind the end of a prompt. */
      readonly padding: number
    }
    readonly unet: {
      readonly channels: readonly number[]
      /** By level, too. */
      readonly heads: readonly number[]
      readonly layersPerLevel: number
      readonly contextWidth: number
      readonly normGroups: number
    }
    readonly vae: {
      readonly channels: readonly number[]
      readonly normGroups: number
      readonly scalingFactor: number
    }
  }
  /** The `embeddings` that were loaded, and how many tokens each takes in a prompt. */
  readonly embeddings: readonly {
    readonly placeholder: string
    readonly tokens: number
  }[]
  /** In bytes. */
  readonly memory: {
    /** What the weights take on the device. */
    readonly weights: number
  }
}

/** Checked {@link LoadOptions}. */
export interface CheckedLoadOptions extends Pick<LoadOptions, 'onProgress' | 'signal'> {
  native: NativeLoadOptions
}

/** Checks `options`, whatever it is, and fills in the defaults. */
export function checkLoadOptions(options: unknown): CheckedLoadOptions {
  const given = record(options === undefined ? {} : options, 'the options of load')
  refuseUnknownKeys(
    given,
    [
      'model',
      'embeddings',
      'config',
      'device',
      'keepOnCpu',
      'precision',
      'threads',
      'loras',
      'onProgress',
      'signal',
    ],
    'load',
  )
  const { model = modelInTheBox, device = 'auto', precision = 'auto', config = {}, threads } = given
  const onCpu = checkParts(given.keepOnCpu ?? [])
  return {
    native: {
      model: nonEmptyText(model, 'model'),
      embeddings: checkEmbeddings(given.embeddings),
      device: nonEmptyText(device, 'device'),
      keepOnCpu: onCpu,
      precision: oneOf(precision, precisions, 'precision'),
      threads: threads === undefined ? 0 : integerBetween(threads, 1, 1024, 'threads'),
      config: checkConfig(config),
      loras: checkLoras(given.loras ?? []),
    },
    onProgress: optionalFunction(given.onProgress, 'onProgress'),
    signal: optionalSignal(given.signal, 'signal'),
  }
}

function checkParts(value: unknown): ModelPart[] {
  if (!Array.isArray(value)) throw invalid('keepOnCpu', `a list of ${modelParts.join(', ')}`, value)
  return value.map((part: unknown, i) => oneOf(part, modelParts, `keepOnCpu[${i}]`))
}

/** Checks a {@link ModelConfig}. */
export function checkConfig(value: unknown): ModelConfig {
  const config = record(value, 'config')
  refuseUnknownKeys(config, ['unet', 'textEncoder', 'vae'], 'config')
  const unet = part(config, 'unet', ['heads', 'headWidth', 'prediction', 'normGroups'])
  const textEncoder = part(config, 'textEncoder', ['heads'])
  const vae = part(config, 'vae', ['normGroups', 'scalingFactor'])

  const count = (given: UnknownRecord, key: string, owner: string) =>
    integerBetween(given[key], 1, 1024, `config.${owner}.${key}`)
  return defined({
    unet: defined({
      heads: optional(unet.heads, () => count(unet, 'heads', 'unet')),
      headWidth: optional(unet.headWidth, () => count(unet, 'headWidth', 'unet')),
      prediction: optional(unet.prediction, () =>
        oneOf(unet.prediction, predictions, 'config.unet.prediction'),
      ),
      normGroups: optional(unet.normGroups, () => count(unet, 'normGroups', 'unet')),
    }),
    textEncoder: defined({
      heads: optional(textEncoder.heads, () => count(textEncoder, 'heads', 'textEncoder')),
    }),
    vae: defined({
      normGroups: optional(vae.normGroups, () => count(vae, 'normGroups', 'vae')),
      scalingFactor: optional(vae.scalingFactor, () =>
        numberBetween(vae.scalingFactor, 1e-6, 1e6, 'config.vae.scalingFactor'),
      ),
    }),
  })
}

function optional<T>(value: unknown, check: () => T): T | undefined {
  return value === undefined ? undefined : check()
}
function defined<T extends object>(values: T): T {
  const isDefined = (value: unknown) =>
    value !== undefined &&
    Object.keys(Object(value) as object).length + Number(typeof value !== 'object') > 0
  return Object.fromEntries(Object.entries(values).filter(([, value]) => isDefined(value))) as T
}

function part(config: UnknownRecord, name: string, keys: readonly string[]): UnknownRecord {
  const { [name]: given = {} } = config
  const checked = record(given, `config.${name}`)
  refuseUnknownKeys(checked, keys, `config.${name}`)
  return checked
}

export function modelInfo(info: ModelInfo): ModelInfo {
  return freeze(info)
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) freeze(part as object)
  }
  return Object.freeze(value)
}
