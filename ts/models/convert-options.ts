/** Options of converting a model: the types and the table. */
import type { ConvertProgressEvent, ProgressListener } from '../progress.js'
import {
  type Crossing,
  type Option,
  callback,
  choice,
  filledText,
  flag,
  signal,
} from '../options/option.js'
import { type ModelConfig, config, vae } from './load-options.js'

/**
 * How weights are stored. Bits per weight: f32 32, f16 and bf16 16, q8_0 8.5, q6_k 6.6, q5_1 6,
 * q5_0 and q5_k 5.5, q4_1 5, q4_0 and q4_k 4.5, q3_k 3.4, q2_k 2.6.
 *
 * @example
 * ```ts
 * import { type StoredType, convert } from 'magicmix'
 *
 * const types: StoredType[] = ['q8_0', 'q4_0']
 * for (const type of types) {
 *   const { bytes } = await convert({ input: mixer.model.path, output: `${type}.gguf`, type })
 *   console.log(type, bytes)
 * }
 * ```
 */
export type StoredType = (typeof storedTypes)[number]
/** All types that {@link convert} writes. */
const storedTypes = [
  ...(['f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q5_k', 'q5_1', 'q5_0'] as const),
  ...(['q4_k', 'q4_1', 'q4_0', 'q3_k', 'q2_k'] as const),
]

/**
 * Options of {@link convert}.
 *
 * @example
 * ```ts
 * import { convert } from 'magicmix'
 *
 * await convert({
 *   input: mixer.model.path, // a file, a folder or 'hf:ORG/NAME'
 *   output: 'world-q8_0.gguf',
 *   type: 'q8_0',
 *   compatible: true, // for stable-diffusion.cpp
 *   overwrite: true,
 * })
 * ```
 */
export interface ConvertOptions {
  /** A checkpoint of any format that `MagicMix.load` takes. */
  input: string
  /** An autoencoder for an input without one, or in the place of its own, as for `load`. Default: none. */
  vae?: string | undefined
  /** Ends in '.gguf' or '.safetensors', which names the format; the latter holds no q types. */
  output: string
  /**
   * Type of the large weights. Norms and biases keep theirs; of the q types, embeddings, the
   * autoencoder, and where the UNet begins and ends stay at 16 bits. Default 'f16'.
   */
  type?: StoredType | undefined
  /**
   * Of the q types: leave convolutions at 16 bits. Quantised they are stored flat, which
   * stable-diffusion.cpp does not read; at 16 bits the file is larger, by 44% for q8_0 and 105% for
   * q4_k. Files of f32, f16 and bf16 are always of the common layout. Refused for .safetensors.
   * Default false.
   */
  compatible?: boolean | undefined
  /** Replace an output that exists. Default false. */
  overwrite?: boolean | undefined
  /** Sizes that the input does not declare; the output will. Default: none. */
  config?: ModelConfig | undefined
  /** Called as the input is downloaded and tensors are written; if it throws, nothing is written and it rejects with that. */
  onProgress?: ProgressListener<ConvertProgressEvent> | undefined
  /** Cancels; nothing is left behind, and it rejects with the signal's reason. */
  signal?: AbortSignal | undefined
}

/** The options of `convert`: one row each. */
export const convertOptions = {
  input: filledText({
    help: 'a checkpoint of any format that `load` takes',
    required: true,
    crosses: true,
  }),
  vae,
  output: filledText({
    help: "ends in '.gguf' or '.safetensors', which names the format",
    required: true,
    crosses: true,
  }),
  type: choice(storedTypes, {
    help: 'of the large weights',
    default: 'f16',
    crosses: true,
    cli: { flag: 'type', short: 't', value: 'TYPE' },
  }),
  compatible: flag({
    help: 'of the q types: leave convolutions at 16 bits, as stable-diffusion.cpp reads them',
    default: false,
    crosses: true,
    cli: { flag: 'compatible' },
  }),
  overwrite: flag({
    help: 'replace an output that exists',
    default: false,
    crosses: true,
    cli: { flag: 'overwrite' },
  }),
  config,
  onProgress: callback<ProgressListener<ConvertProgressEvent>>({
    help: 'called as the input is downloaded and tensors are written',
  }),
  signal: signal({ help: 'cancels; nothing is left behind' }),
} satisfies Record<keyof ConvertOptions, Option>

/** The part of {@link ConvertOptions} that crosses to the engine. */
export type NativeConvertOptions = Crossing<typeof convertOptions> & {
  /** As for loading. */
  originalConfig: string
}
