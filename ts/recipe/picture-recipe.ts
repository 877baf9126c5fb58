/** The recipe of a picture: how it was made, in a form that travels with it. */
import type { FilledLora } from '../input/lora.js'
import type { PictureSource } from '../input/picture.js'
import {
  type ModelConfig,
  type ModelPart,
  type NativeLoadOptions,
  type Precision,
  usualClipSkip,
} from '../models/load-options.js'
import type { ModelFamily, ModelInfo } from '../models/model-info.js'
import { packageVersion } from '../package-files.js'
import type { FilledMixRequest } from '../request/mix-options.js'
import { type Recipe, embeddedRecipe, withoutFolder } from '../request/recipe.js'
import { fileHash } from './file-hash.js'

/**
 * How a picture was made: {@link readRecipe} finds it in a file, {@link Mix.recipe} is that of a mix. Files are
 * named without their folders.
 *
 * @example
 * ```ts
 * import { readRecipe } from 'magicmix'
 *
 * const mix = await mixer.mix(request)
 * await mix.toFile('mix.png')
 * const { request: used, layout, model, made } = await readRecipe('mix.png')
 * console.log(used.content, layout?.sha256, model.name, made.version)
 * ```
 */
export interface PictureRecipe {
  /**
   * The request with every default filled in: `mix` takes it. Its layout is `{ prompt }` or `{ path, sha256 }`; of one that
   * had no name it is `{ sha256 }` alone, which `mix` refuses until the picture itself is put in its place.
   */
  request: Recipe
  /** The layout's picture; null for a layout prompt, and for several pictures. */
  layout: PictureSource | null
  /** The other pictures by their places in the request: 'layouts[0]', 'nuMap', 'kMaxMap'. */
  pictures: Record<string, PictureSource>
  /** The model, and what was added to it. */
  model: RecipeModel
  /** What it was made by. */
  made: RecipeMade
}

/**
 * The model of a recipe.
 *
 * @example
 * ```ts
 * const { model } = (await mixer.mix(request)).recipe
 * const isSame = model.hashes.unet === mixer.model.hashes.unet // whatever its file is called
 * console.log(model.name, model.options.precision, isSame) // world-128 auto true
 * ```
 */
export interface RecipeModel {
  /** Name of the file or folder, or 'hf:' and the name on the hub. */
  name: string
  /** Its family. */
  family: ModelFamily
  /** As in {@link ModelInfo.hashes}. */
  hashes: ModelInfo['hashes']
  /** Name of the autoencoder that stood in the place of its own, or null. */
  vae: string | null
  /** The tiny decoder beside it, or null. */
  tinyDecoder: RecipeFile | null
  /** Its embeddings. */
  embeddings: (RecipeFile & {
    /** What stands for it in prompts. */
    placeholder: string
  })[]
  /** The LoRAs of the request. */
  loras: RecipeFile[]
  /** Options of `load` that pictures depend on. */
  options: {
    /** As it was asked for; `made.precision` is what it came to. */
    precision: Precision
    /** See {@link LoadOptions.clipSkip}. */
    clipSkip: number
    /** See {@link LoadOptions.keepOnCpu}. */
    keepOnCpu: ModelPart[]
    /** See {@link LoadOptions.config}. */
    config: ModelConfig
  }
}

/**
 * A file beside the model.
 *
 * @example
 * ```ts
 * const { loras, tinyDecoder } = (await mixer.mix(request)).recipe.model
 * for (const { name, hash } of loras) console.log(`${name} ${hash}`)
 * console.log(tinyDecoder?.name ?? 'no tiny decoder')
 * ```
 */
export interface RecipeFile {
  /** Its name, or 'hf:' and the name on the hub. */
  name: string
  /** Tells its contents apart: 16 hexadecimal digits, or '' if it could not be read. */
  hash: string
}

/**
 * What a picture was made by: with the same of it, the same request gives the same bytes.
 *
 * @example
 * ```ts
 * const { made } = (await mixer.mix(request)).recipe
 * console.log(`magicmix ${made.version} on ${made.device}, ${made.kernels} in ${made.precision}`)
 * ```
 */
export interface RecipeMade {
  /** Version of magicmix. */
  version: string
  /** 'cpu', 'cuda', 'metal' or 'vulkan'. */
  device: string
  /** See {@link ModelInfo.kernels}. */
  kernels: string
  /** Type of the large weights. */
  precision: string
}

/** What a mixer knows of all its recipes. */
export type Origin = Pick<PictureRecipe, 'model' | 'made'>

/** The options of load that were asked for, and the same with the paths of their files. */
export async function originOf(
  info: ModelInfo,
  asked: NativeLoadOptions,
  found: NativeLoadOptions,
): Promise<Origin> {
  const { precision, clipSkip, keepOnCpu, config } = asked
  const embeddings = Object.keys(asked.embeddings).map(async (placeholder) => ({
    placeholder,
    name: withoutFolder(asked.embeddings[placeholder]!),
    hash: await fileHash(found.embeddings[placeholder]!),
  }))
  return {
    model: {
      name: withoutFolder(asked.model),
      family: info.family,
      hashes: info.hashes,
      vae: asked.vae === undefined ? null : withoutFolder(asked.vae),
      tinyDecoder:
        asked.tinyDecoder === undefined
          ? null
          : { name: withoutFolder(asked.tinyDecoder), hash: info.tinyDecoder?.hash ?? '' },
      embeddings: await Promise.all(embeddings),
      loras: [],
      options: { precision, clipSkip: clipSkip || usualClipSkip(info.family), keepOnCpu, config },
    },
    made: {
      version: packageVersion(),
      device: info.device.replace(/:.*/, ''),
      kernels: info.kernels,
      precision: info.precision,
    },
  }
}

/** Of the LoRAs of a request; `found` has the paths of their files. */
export async function lorasOf(
  asked: readonly FilledLora[],
  found: readonly FilledLora[],
): Promise<RecipeFile[]> {
  const hashes = await Promise.all(found.map(({ file }) => fileHash(file)))
  return asked.map(({ file }, i) => ({ name: withoutFolder(file), hash: hashes[i]! }))
}

/** The recipe of a mix. */
export function pictureRecipe(
  request: FilledMixRequest,
  sources: Readonly<Record<string, PictureSource>>,
  { model, made }: Origin,
): PictureRecipe {
  const { layout = null, ...pictures } = sources
  const embedded = embeddedRecipe(request, sources)
  // As JSON has it: without what is undefined, and nothing in common with what mixes share.
  return JSON.parse(
    JSON.stringify({ request: embedded, layout, pictures, model, made }),
  ) as PictureRecipe
}
