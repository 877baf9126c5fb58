/** Options of loading a model: the types, the table of options, and its checks. */

import { embeddings } from '../input/embeddings.js'
import { type Lora, loraList } from '../input/lora.js'
import { modelInTheBox } from '../package-files.js'
import type { ModelFamily } from './model-info.js'
import type { LoadProgressEvent, ProgressListener } from '../progress.js'
import {
  type Crossing,
  type Filled,
  type Option,
  callback,
  checkOptions,
  choice,
  crossing,
  filledText,
  flag,
  integer,
  list,
  number,
  object,
  signal,
} from '../options/option.js'
import { integerBetween } from '../options/validate.js'

/**
 * Sizes that a single file does not declare; each value wins over the model's own config.json.
 *
 * @example
 * <!-- snippet: types, needs a model -->
 * ```ts
 * import { MagicMix, type ModelConfig } from 'magicmix'
 *
 * const config: ModelConfig = { unet: { heads: 4, prediction: 'v_prediction' }, vae: { normGroups: 8 } }
 * await using mixer = await MagicMix.load({ model: 'small.safetensors', config })
 * ```
 */
export interface ModelConfig {
  /** The denoiser. */
  unet?: UnetConfig | undefined
  /** The text encoder; of Stable Diffusion XL the first. */
  textEncoder?: TextEncoderConfig | undefined
  /** The second text encoder of Stable Diffusion XL. */
  textEncoder2?: TextEncoderConfig | undefined
  /** The autoencoder. */
  vae?: VaeConfig | undefined
}

/**
 * Of {@link ModelConfig}.
 *
 * @example
 * <!-- snippet: types, needs a model -->
 * ```ts
 * import { MagicMix } from 'magicmix'
 *
 * const unet = { heads: 4, normGroups: 8 } // a small model of one's own
 * await using mixer = await MagicMix.load({ model: 'small.safetensors', config: { unet } })
 * ```
 */
export interface UnetConfig {
  /** Attention heads, on every level, 1..1024. Default 8 where the sizes are those of SD 1.x. */
  heads?: number | undefined
  /**
   * Channels per attention head, on every level, 1..1024, instead of `heads`. Default 64 where the
   * sizes are those of SD 2.x or XL.
   */
  headWidth?: number | undefined
  /**
   * Its prediction type: the noise, or the velocity between noise and picture. Default: what
   * the files declare; else detected at load for SD 1.x and 2.x, and 'epsilon' for XL.
   */
  prediction?: Prediction | undefined
  /** Groups of its group norms, 1..1024. Default 32. */
  normGroups?: number | undefined
}

/**
 * Of {@link ModelConfig}.
 *
 * @example
 * <!-- snippet: types, needs a model -->
 * ```ts
 * import { MagicMix } from 'magicmix'
 *
 * const config = { textEncoder: { heads: 4 } } // a small model of one's own
 * await using mixer = await MagicMix.load({ model: 'small.safetensors', config })
 * ```
 */
export interface TextEncoderConfig {
  /**
   * Attention heads, 1..1024. Default 12 and 16 where the sizes are those of SD 1.x and 2.x, 12 and 20 of XL;
   * of the second text encoder else as many as have the width of the first's.
   */
  heads?: number | undefined
}

/**
 * Of {@link ModelConfig}.
 *
 * @example
 * <!-- snippet: types, needs a model -->
 * ```ts
 * import { MagicMix } from 'magicmix'
 *
 * const config = { vae: { normGroups: 8, scalingFactor: 0.13 } }
 * await using mixer = await MagicMix.load({ model: 'small.safetensors', vae: 'vae.safetensors', config })
 * ```
 */
export interface VaeConfig {
  /** Groups of its group norms, 1..1024. Default 32. */
  normGroups?: number | undefined
  /** Factor of the latent after encoding, 1e-6..1e6. Default 0.18215, of XL 0.13025. */
  scalingFactor?: number | undefined
}

/**
 * The prediction type of a UNet.
 *
 * @example
 * <!-- snippet: types, needs a model -->
 * ```ts
 * import { MagicMix, type Prediction } from 'magicmix'
 *
 * const prediction: Prediction = 'v_prediction' // of XL it is not detected
 * await using mixer = await MagicMix.load({ model: 'xl-v.safetensors', config: { unet: { prediction } } })
 * ```
 */
export type Prediction = (typeof predictions)[number]
const predictions = ['epsilon', 'v_prediction'] as const

/**
 * The parts that {@link LoadOptions.keepOnCpu} can name.
 *
 * @example
 * <!-- snippet: types, needs a GPU -->
 * ```ts
 * import { MagicMix, type ModelPart } from 'magicmix'
 *
 * const keepOnCpu: ModelPart[] = ['textEncoder', 'vae'] // leaves the GPU's memory to the UNet
 * await using mixer = await MagicMix.load({ model: 'hf:sd1.5', device: 'gpu', keepOnCpu })
 * ```
 */
export type ModelPart = (typeof modelParts)[number]
const modelParts = ['textEncoder', 'vae'] as const

/**
 * In which type the large weights are kept.
 *
 * @example
 * ```ts
 * import { MagicMix, type Precision } from 'magicmix'
 *
 * const precisions: Precision[] = ['f32', 'f16', 'q8_0']
 * for (const precision of precisions) {
 *   await using mixer = await MagicMix.load({ precision })
 *   console.log(precision, mixer.model.memory.weights)
 * }
 * ```
 */
export type Precision = (typeof precisions)[number]
const precisions = ['auto', 'f32', 'f16', 'bf16', 'q8_0'] as const

/**
 * Options of {@link MagicMix.load}.
 *
 * @example
 * ```ts
 * import { MagicMix } from 'magicmix'
 *
 * await using mixer = await MagicMix.load({
 *   // model: 'hf:sd1.5', 'sd-v1-4.safetensors', ... Default: the model in the package
 *   device: 'auto', precision: 'auto', threads: 2,
 *   maxQueue: 20, timeLimit: 120_000, // for a server
 *   onProgress: ({ stage, step, steps }) => console.log(`${stage} ${step} of ${steps}`),
 * })
 * ```
 */
export interface LoadOptions {
  /**
   * A Stable Diffusion 1.x, 2.x or XL checkpoint: a .safetensors, .ckpt or .gguf file, or a folder as
   * diffusers writes it. Or 'hf:' and what {@link pull} takes, such as 'hf:sd1.5': it is downloaded
   * unless it is in the cache. Default:
   * the small model in the package, which knows some twenty things (see
   * `models/README.md`) and makes pictures of 128 x 128.
   */
  model?: string | undefined
  /**
   * An autoencoder (VAE) for a checkpoint that has none, or in the place of its own: a file of any
   * format that is read, alone or in a whole checkpoint, or a folder as diffusers writes it; or 'hf:'
   * and what {@link pull} takes, such as 'hf:stabilityai/sd-vae-ft-mse'. Default: the model's own.
   */
  vae?: string | undefined
  /**
   * A tiny decoder (TAESD) beside the autoencoder, for previews that are real pictures and for mixes that
   * ask for it (`decoder: 'tiny'`): the folder of an AutoencoderTiny as diffusers writes it, or a file
   * such as `taesd_decoder.safetensors`; or 'hf:' and what {@link pull} takes, such as
   * 'hf:madebyollin/taesd', of XL 'hf:madebyollin/taesdxl'. It has to be one for the latents of the model: those
   * of SD 1.x and XL have the same shape, and the wrong one is refused only where its name says so. Default: none.
   */
  tinyDecoder?: string | undefined
  /**
   * From which layer of the text encoder its states are taken, 1..64: 1 is the last, 2 the one before
   * it, as many models made from SD 1.x expect. The final norm follows either, but not in XL. Of SD 2.x the
   * last layer that is used counts, the last but one of the original. Default 1, of XL 2 in both encoders.
   */
  clipSkip?: number | undefined
  /**
   * Files of textual inversion by the placeholder that stands for each in prompts:
   * `{ '<cat-toy>': 'learned_embeds.safetensors' }`, or 'hf:' and what {@link pull} takes:
   * `{ '<cat-toy>': 'hf:sd-concepts-library/cat-toy' }`. Files of diffusers and of the AUTOMATIC1111 web
   * UI are read, and LoRAs that bring embeddings along under that name. A placeholder has no white
   * space and is found in prompts as it is written here, upper
   * and lower case included, but not inside of a longer word. It takes as many of the 75 tokens as the
   * file has vectors. Default: none.
   */
  embeddings?: Readonly<Record<string, string>> | undefined
  /** Sizes that the files do not declare. Default: none. */
  config?: ModelConfig | undefined
  /**
   * Where the model runs. 'auto' is the best that works: CUDA, Metal, Vulkan (discrete before
   * integrated GPUs), the CPU. 'gpu' is the same without the CPU; 'cuda', 'metal', 'vulkan' the best
   * of that kind; 'cpu'; or the id of one of `devices()`. Default 'auto'.
   */
  device?: string | undefined
  /**
   * Parts of the model that stay on the CPU although the rest is on a GPU, to save its memory: the
   * text encoder costs little time there, the VAE (and with it the tiny decoder) more. Default: none.
   */
  keepOnCpu?: readonly ModelPart[] | undefined
  /**
   * Have the text encoders in memory only while prompts are encoded: they are read from the model's files when a prompt
   * comes that is not among those of `cacheBytes`, and their memory is given back before the mix takes its own. Of
   * Stable Diffusion XL that is a quarter of the weights, 0.8 GiB of 3.6 in q8_0. Pictures are the same. A mix with a
   * new prompt takes longer by the reading, and the files have to stay as they are. Default false.
   */
  releaseTextEncoders?: boolean | undefined
  /**
   * The type in which weights are kept. 'f32' is exact; 'f16' takes half the memory; 'bf16' does too
   * and is twice as fast on CPUs that multiply it (AVX-512-BF16), with an error of about 1%; 'q8_0'
   * takes a quarter, for the CPU only; where 'auto' would be 'bf16', the autoencoder is in that type then, which
   * halves the memory that it computes in. Default 'auto': 'bf16' on such a CPU, else 'f16', and what
   * the file has quantised stays so.
   */
  precision?: Precision | undefined
  /**
   * CPU threads, 1..1024, at most one per available core: affinity and the CPU quota of a container
   * count. Default: the environment variable MAGICMIX_THREADS, else one per available core. Mixers
   * that use several take turns on the cores, step by step.
   */
  threads?: number | undefined
  /**
   * LoRAs for every mix that names none of its own. They are merged into the weights: a step takes
   * no longer with them. The names of embeddings that their files bring along stand for these in
   * prompts, unless `embeddings` has another of that name. Default: none.
   */
  loras?: readonly Lora[] | undefined
  /**
   * Memory for prompts and layouts that were encoded, in bytes, 0..2^40: a mix with the same prompts
   * or the same picture in the same size does not encode them again. Half of it is for keys and values, of which a prompt of
   * Stable Diffusion 1 has 8 MiB and one of XL 50; what text encoders say takes 0.2 and 0.6, and with `releaseTextEncoders` all is for
   * that and for layouts. 0 keeps nothing. Default 128 MiB.
   */
  cacheBytes?: number | undefined
  /**
   * Work in a process of its own, behind the same API. If that process crashes, with the driver of a
   * GPU or for want of memory, its mixes reject with DEVICE_FAILED, and the next mix starts another
   * one. Costs a copy of every picture. Default false.
   */
  isolate?: boolean | undefined
  /**
   * Mixes that may wait behind the one that runs, 1..100000; one more is refused with QUEUE_FULL.
   * Default: no limit.
   */
  maxQueue?: number | undefined
  /**
   * Milliseconds that a mix may take from its call to its picture, waiting and reading its layout
   * included, 1..2^31-1; it rejects with TIMED_OUT then. Default: no limit.
   */
  timeLimit?: number | undefined
  /** Called while files are downloaded and weights are read; if it throws, loading is cancelled and rejects with that. */
  onProgress?: ProgressListener<LoadProgressEvent> | undefined
  /** Cancels loading; it rejects with the signal's reason once all has unwound. */
  signal?: AbortSignal | undefined
}

const count = (flag: string | undefined, help: string) =>
  integer(1, 1024, { help, ...(flag ? { cli: { flag, value: 'N' } } : {}) })

/** The option `config`, of every call that reads a model. */
export const config = object(
  {
    unet: object(
      {
        heads: count('unet-heads', 'attention heads of a small UNet'),
        headWidth: count('unet-head-width', 'or channels per attention head'),
        prediction: choice(predictions, {
          help: 'prediction type of the UNet',
          cli: { flag: 'prediction', value: 'TYPE' },
        }),
        normGroups: count('unet-norm-groups', "groups of the UNet's norms"),
      } satisfies Record<keyof NonNullable<ModelConfig['unet']>, Option>,
      { help: 'the UNet' },
    ),
    textEncoder: object(
      {
        heads: count('text-heads', 'attention heads of a small text encoder'),
      } satisfies Record<keyof NonNullable<ModelConfig['textEncoder']>, Option>,
      { help: 'the text encoder' },
    ),
    textEncoder2: object(
      {
        heads: count('text-heads-2', 'attention heads of a small second text encoder (SDXL)'),
      } satisfies Record<keyof NonNullable<ModelConfig['textEncoder2']>, Option>,
      { help: 'the second text encoder of Stable Diffusion XL' },
    ),
    vae: object(
      {
        normGroups: count('vae-norm-groups', "groups of the autoencoder's norms"),
        scalingFactor: number(1e-6, 1e6, {
          help: 'factor of the latent after encoding',
          cli: { flag: 'vae-scaling-factor', value: 'X' },
        }),
      } satisfies Record<keyof NonNullable<ModelConfig['vae']>, Option>,
      { help: 'the autoencoder' },
    ),
  } satisfies Record<keyof ModelConfig, Option>,
  { help: 'sizes that the files do not declare', default: {}, defaultText: 'none', crosses: true },
)

/** The option `vae`, of every call that reads a model. */
export const vae = filledText({
  help: 'an autoencoder for a model without one, or in the place of its own',
  defaultText: "the model's own",
  crosses: true,
  cli: { flag: 'vae', value: 'PATH' },
})

/** The option `tinyDecoder`, of every call that reads a model to look at it. */
const tinyDecoder = filledText({
  help: "a tiny decoder (TAESD): real pictures as previews, and mixes with `decoder: 'tiny'`",
  defaultText: 'none',
  crosses: true,
  cli: { flag: 'tiny-decoder', value: 'PATH', help: 'a tiny decoder (TAESD), for --decoder tiny' },
})

/** To the engine 0 is one per available core. */
function threadsOfEnvironment(): number {
  const text = process.env.MAGICMIX_THREADS
  return text ? integerBetween(Number(text), 1, 1024, 'MAGICMIX_THREADS') : 0
}

/** The options of `load`: one row each. */
export const loadOptions = {
  model: filledText({
    help: 'a file, a diffusers folder or hf:NAME',
    default: modelInTheBox,
    defaultText: 'the one in the package',
    crosses: true,
    cli: { flag: 'model', short: 'm', value: 'PATH' },
  }),
  vae,
  tinyDecoder,
  clipSkip: integer(1, 64, {
    help: "the text encoder's last layer, counted from the end: many SD 1.x models expect 2",
    defaultText: '1; of SDXL 2',
    cli: { flag: 'clip-skip', value: 'N' },
  }),
  embeddings,
  config,
  device: filledText({
    help: "where it runs: 'auto', 'gpu', 'cuda', 'metal', 'vulkan', 'cpu', or an id that `devices` lists",
    default: 'auto',
    crosses: true,
    cli: { flag: 'device', value: 'ID' },
  }),
  keepOnCpu: list(
    choice(modelParts, { help: 'a part of the model' }),
    `a list of ${modelParts.join(', ')}`,
    {
      help: 'parts of the model that stay on the CPU beside a GPU',
      default: [],
      defaultText: 'none',
      crosses: true,
    },
  ),
  releaseTextEncoders: flag({
    help: 'text encoders take memory only while prompts are encoded, and are read again for new ones',
    default: false,
    crosses: true,
    cli: { flag: 'release-text-encoders' },
  }),
  precision: choice(precisions, {
    help: 'type of the large weights',
    default: 'auto',
    crosses: true,
    cli: { flag: 'precision', value: 'TYPE' },
  }),
  threads: integer(1, 1024, {
    help: 'CPU threads, at most one per available core',
    default: threadsOfEnvironment,
    defaultText: 'MAGICMIX_THREADS, or one per available core',
    crosses: true,
    cli: { flag: 'threads', value: 'N' },
  }),
  loras: {
    ...loraList({
      help: 'LoRAs for every mix that names none of its own',
      default: [],
    }),
    defaultText: 'none',
    crosses: true as const,
  },
  cacheBytes: integer(0, 2 ** 40, {
    help: 'memory for encoded prompts and layouts that the next mix may want again',
    default: 128 * 2 ** 20,
    crosses: true,
    cli: { flag: 'cache-bytes', value: 'N' },
  }),
  isolate: flag({
    help: 'work in a process of its own: one that crashes rejects its mixes, and the next starts another',
    default: false,
  }),
  maxQueue: integer(1, 100_000, {
    help: 'mixes that may wait behind the one that runs',
    defaultText: 'no limit',
  }),
  timeLimit: integer(1, 2 ** 31 - 1, {
    help: 'milliseconds that a mix may take, waiting and reading its layout included',
    defaultText: 'no limit',
  }),
  onProgress: callback<ProgressListener<LoadProgressEvent>>({
    help: 'called while files are downloaded and weights are read',
  }),
  signal: signal({ help: 'cancels loading' }),
} satisfies Record<keyof LoadOptions, Option>

/** The part of {@link LoadOptions} that crosses to the engine. */
export type NativeLoadOptions = Crossing<typeof loadOptions> & {
  /** 0: as the family has it. */
  clipSkip: number
  /** The best instruction set that is allowed, or 'off'; empty: no limit. */
  kernels: string
  /** JSON text of the .yaml beside the model; empty if there is none. */
  originalConfig: string
}

/** Checked {@link LoadOptions}. */
export interface CheckedLoadOptions extends Pick<
  Filled<typeof loadOptions>,
  'isolate' | 'maxQueue' | 'timeLimit' | 'onProgress' | 'signal'
> {
  native: NativeLoadOptions
}

/** Checks `options`, whatever it is, and fills in the defaults. */
export function checkLoadOptions(options: unknown = {}): CheckedLoadOptions {
  const checked = checkOptions(loadOptions, options, 'load', '', 'the options of load')
  const { isolate, maxQueue, timeLimit, onProgress, signal } = checked
  // Read here: a thread of the engine must not look at an environment that this one may change.
  const native = {
    ...crossing(loadOptions, checked),
    clipSkip: checked.clipSkip ?? 0,
    kernels: process.env.MAGICMIX_KERNELS ?? '',
    originalConfig: '', // until the model's place is known
  }
  return { native, isolate, maxQueue, timeLimit, onProgress, signal }
}

/** What `clipSkip` is by default. */
export function usualClipSkip(family: ModelFamily): number {
  return family === 'sdxl' ? 2 : 1
}

/** Checks a {@link ModelConfig}. */
export function checkConfig(value: unknown): ModelConfig {
  return config.check(value, 'config')
}
