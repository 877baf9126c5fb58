/** The description of a model. */
import type { Precision, Prediction } from './load-options.js'

/**
 * The families of models that can be mixed with.
 *
 * @example
 * ```ts
 * import type { ModelFamily } from 'magicmix'
 *
 * const sides: Record<ModelFamily, number> = { sd1: 512, sd2: 768, sdxl: 1024 } // the usual ones
 * const { family, nativeSize } = mixer.model
 * console.log(family, nativeSize === sides[family]) // sd1 false: the model in the package makes 128 x 128
 * ```
 */
export type ModelFamily = 'sd1' | 'sd2' | 'sdxl'

/**
 * The formats of models that are read.
 *
 * @example
 * ```ts
 * const { format, path } = mixer.model
 * if (format === 'ckpt') console.log(`${path} is a pickle; convert makes a safetensors file of it`)
 * ```
 */
export type ModelFormat = 'safetensors' | 'ckpt' | 'gguf' | 'diffusers'

/**
 * A loaded model, as {@link MagicMix.model} describes it.
 *
 * @example
 * ```ts
 * const { family, device, precision, parameters, nativeSize, memory } = mixer.model
 * console.log(`${family} on ${device} in ${precision}, ${(parameters.total / 1e6).toFixed()} million`)
 * console.log(`mixes of ${nativeSize} x ${nativeSize}, ${memory.weights} bytes of weights`)
 * ```
 */
export interface ModelInfo {
  /** The file or folder that was loaded. */
  readonly path: string
  /** Stable Diffusion 1.x, 2.x or XL. */
  readonly family: ModelFamily
  /** Prediction type of the UNet; 'unknown' only in the output of `magicmix inspect`. */
  readonly prediction: Prediction | 'unknown'
  /** Detected from the content, not from the name. */
  readonly format: ModelFormat
  /** Id of the device in use. */
  readonly device: string
  /** Ids of the devices on which its parts lie. */
  readonly placement: PerPart<string>
  /** Type of the large weights. */
  readonly precision: Exclude<Precision, 'auto'>
  /**
   * The kernels that multiply them on the CPU ('amx', 'avx512bf16', 'avx512', 'avx2', 'neon', 'portable'),
   * or 'ggml' for its own operations, as on a GPU.
   */
  readonly kernels: string
  /**
   * Tell weights apart, 16 hexadecimal digits each: of names, types, shapes and samples of the values. The
   * same weights have the same whatever the file's name, folder or format.
   */
  readonly hashes: PerPart<string>
  /** CPU threads in use. */
  readonly threads: number
  /** Numbers of parameters. */
  readonly parameters: PerPart<number> & {
    /** Of all parts together. */
    readonly total: number
  }
  /** Side in pixels of the pictures that it was trained on, and of a mix by default. */
  readonly nativeSize: number
  /** Sizes of the networks. */
  readonly sizes: {
    /** Of the text encoder; of Stable Diffusion XL the first. */
    readonly textEncoder: TextEncoderSizes
    /** Of the second one of Stable Diffusion XL, whose states stand beside the first's; else null. */
    readonly textEncoder2: TextEncoderSizes | null
    /** Of the UNet. */
    readonly unet: {
      /** By level, from fine to coarse. */
      readonly channels: readonly number[]
      /** Attention heads, by level. */
      readonly heads: readonly number[]
      /** ResBlocks per level on the way down. */
      readonly layersPerLevel: number
      /** Width of the text states that it takes. */
      readonly contextWidth: number
      /** Groups of its group norms. */
      readonly normGroups: number
    }
    /** Of the autoencoder. */
    readonly vae: {
      /** By level, from fine to coarse. */
      readonly channels: readonly number[]
      /** Groups of its group norms. */
      readonly normGroups: number
      /** Factor of the latent after encoding. */
      readonly scalingFactor: number
    }
  }
  /** The tiny decoder that `tinyDecoder` named, or null. */
  readonly tinyDecoder: {
    /** The file or folder that it came from. */
    readonly path: string
    /** Of its weights, like {@link ModelInfo.hashes}. */
    readonly hash: string
    /** Number of parameters, which `parameters` does not count. */
    readonly parameters: number
    /** By level, from fine to coarse. */
    readonly channels: readonly number[]
  } | null
  /** The `embeddings` that were loaded, and the tokens that the model's own tokenizer has learnt. */
  readonly embeddings: readonly Placeholder[]
  /** Memory, in bytes. */
  readonly memory: {
    /** Of all weights on their devices. */
    readonly weights: number
    /** Of these, those of the text encoders, which `releaseTextEncoders` has there only while prompts are encoded. */
    readonly textEncoders: number
  }
}

/**
 * Sizes of a text encoder.
 *
 * @example
 * ```ts
 * const { textEncoder, textEncoder2 } = mixer.model.sizes
 * console.log(textEncoder.width, textEncoder.layers, textEncoder2?.width) // 64 2 undefined
 * ```
 */
export interface TextEncoderSizes {
  /** Width of its states. */
  readonly width: number
  /** Transformer layers that its states have passed. */
  readonly layers: number
  /** Attention heads. */
  readonly heads: number
  /** Number of token ids, those of `embeddings` included. */
  readonly vocabulary: number
  /** The id behind the end of a prompt. */
  readonly padding: number
}

/**
 * A text that stands for learnt tokens in prompts.
 *
 * @example
 * <!-- snippet: types, needs an embedding -->
 * ```ts
 * import { MagicMix } from 'magicmix'
 *
 * await using mixer = await MagicMix.load({ embeddings: { '<cat-toy>': 'learned_embeds.safetensors' } })
 * for (const { placeholder, tokens } of mixer.model.embeddings) console.log(placeholder, tokens)
 * await mixer.mix({ layout: 'heart.png', content: 'a photo of a <cat-toy>' })
 * ```
 */
export interface Placeholder {
  /** The text. */
  readonly placeholder: string
  /** Tokens that it takes in a prompt. */
  readonly tokens: number
  /** Their ids. */
  readonly ids: readonly number[]
  /** Is it found in upper and lower case alike? */
  readonly anyCase: boolean
  /** If it begins or ends as a word does: is it not found inside of a longer word? */
  readonly wholeWord: boolean
}

/** @inline */
interface PerPart<T> {
  /** Of the text encoder. */
  readonly textEncoder: T
  /** Of the UNet. */
  readonly unet: T
  /** Of the autoencoder. */
  readonly vae: T
}

/** The description that the engine gives, made unchangeable: a mixer shares it. */
export function frozen(info: ModelInfo): ModelInfo {
  return freeze(info)
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) {
    if (typeof part === 'object' && part !== null) freeze(part as object)
  }
  return Object.freeze(value)
}
