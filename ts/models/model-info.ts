/** The description of a model. */
import type { Precision, Prediction } from './load-options.js'

/** The families of models that can be mixed with. */
export type ModelFamily = 'sd1' | 'sd2'

/** The formats of models that are read. */
export type ModelFormat = 'safetensors' | 'ckpt' | 'gguf' | 'diffusers'

/** A loaded model, as {@link MagicMix.model} describes it. */
export interface ModelInfo {
  /** The file or folder that was loaded. */
  readonly path: string
  /** Stable Diffusion 1.x or 2.x. */
  readonly family: ModelFamily
  /** Prediction type of the UNet; 'unknown' only in the output of `magicmix inspect`. */
  readonly prediction: Prediction | 'unknown'
  /** Detected from the content, not from the name. */
  readonly format: ModelFormat
  /** Id of the device in use. */
  readonly device: string
  /** Ids of the devices on which its parts lie. */
  readonly placement: {
    readonly textEncoder: string
    readonly unet: string
    readonly vae: string
  }
  /** Type of the large weights. */
  readonly precision: Exclude<Precision, 'auto'>
  /** CPU threads in use. */
  readonly threads: number
  /** Numbers of parameters. */
  readonly parameters: {
    readonly total: number
    readonly textEncoder: number
    readonly unet: number
    readonly vae: number
  }
  /** Side in pixels of the pictures that it was trained on, and of a mix by default. */
  readonly nativeSize: number
  /** Sizes of the networks; `channels` by level, from fine to coarse. */
  readonly sizes: {
    readonly textEncoder: {
      readonly width: number
      readonly layers: number
      readonly heads: number
      /** Number of token ids, those of `embeddings` included. */
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
    /** Bytes of the weights on the device. */
    readonly weights: number
  }
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
