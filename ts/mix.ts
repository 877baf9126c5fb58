/** The result of a mix. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { MagicMixError, calledFrom } from './errors.js'
import type { NativeMixResult, NativeState } from './native/contract.js'
import { isUrl } from './input/picture-forms.js'
import { type Sharp, sharp } from './sharp.js'
import { type Option, checkOptions, choice, flag } from './options/option.js'
import { type WrittenFormat, withRecipe } from './recipe/carry.js'
import type { PictureRecipe } from './recipe/picture-recipe.js'
import type { FilledMixRequest } from './request/mix-options.js'
import type { MixScore } from './request/score.js'
import { invalid, nonEmptyText, oneOf } from './options/validate.js'

/**
 * Formats that a mix can be written in.
 *
 * @example
 * ```ts
 * import type { PictureFormat } from 'magicmix'
 *
 * const mix = await mixer.mix(request)
 * const accepted = 'image/webp,image/png'
 * const format: PictureFormat = accepted.includes('image/webp') ? 'webp' : 'png'
 * const answer = new Response(await mix.toBuffer(format))
 * ```
 */
export type PictureFormat = WrittenFormat

const formatsByExtension: Readonly<Record<string, PictureFormat>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
  '.avif': 'avif',
  '.tif': 'tiff',
  '.tiff': 'tiff',
}
export const formats = [...new Set(Object.values(formatsByExtension))]

/**
 * Options of {@link Mix.toBuffer}.
 *
 * @example
 * ```ts
 * import { readRecipe } from 'magicmix'
 *
 * const mix = await mixer.mix(request)
 * const bytes = await mix.toBuffer({ format: 'webp', recipe: true })
 * console.log((await readRecipe(bytes)).request.content) // a photo of a tiger
 * ```
 */
export interface BufferOptions {
  /** Default 'png'. */
  format?: PictureFormat | undefined
  /** Put the recipe into it, as {@link Mix.toFile} does. Default false. */
  recipe?: boolean | undefined
}

/** The options of `toBuffer`: one row each. Also for the documents. @public */
export const bufferOptions = {
  format: choice(formats, { help: 'the format of the bytes', default: 'png' }),
  recipe: flag({ help: 'put the recipe into it, as in every file', default: false }),
} satisfies Record<keyof BufferOptions, Option>

/**
 * A `Buffer`; with types of Node that say what lies behind it, one that `new Response` and `new Blob`
 * take: never shared memory.
 *
 * @example
 * ```ts
 * import type { FileBytes } from 'magicmix'
 *
 * const mix = await mixer.mix(request)
 * const bytes: FileBytes = await mix.toBuffer('webp')
 * const answer = new Response(bytes, { headers: { 'content-type': 'image/webp' } })
 * ```
 */
export type FileBytes = ReturnType<typeof Buffer.alloc>
/**
 * The same for a `Uint8Array`.
 *
 * @example
 * ```ts
 * import type { Bytes } from 'magicmix'
 *
 * const { data, width } = await mixer.mix(request)
 * const pixelAt = (x: number, y: number): Bytes => data.subarray(3 * (y * width + x)).slice(0, 3)
 * console.log(pixelAt(64, 64)) // red, green, blue
 * ```
 */
export type Bytes = ReturnType<typeof Uint8Array.of>

/**
 * Where the time went, in milliseconds.
 *
 * @example
 * ```ts
 * const { timings } = await mixer.mix(request)
 * const { queued, encode, step, steps, decode, total } = timings
 * console.log(`${total.toFixed()} ms: ${steps.length} steps of ${step.toFixed()} ms`)
 * console.log(`queued ${queued.toFixed()}, encode ${encode.toFixed()}, decode ${decode.toFixed()}`)
 * ```
 */
export interface MixTimings {
  /** Loading the model, once, before this mix and any other of the same mixer. */
  load: number
  /** Waiting for other mixes, once the layout was read. */
  queued: number
  /** Prompts and picture into the model's own terms. */
  encode: number
  /** Mean of `steps`. */
  step: number
  /** Every step of the sampler, those of a layout prompt first. */
  steps: number[]
  /** Judging it; 0 unless `score` asks for it. */
  score: number
  /** From the last latent to pixels. */
  decode: number
  /** From the call of `mix` to the result, waiting in the queue and reading the picture included. */
  total: number
}

/**
 * How often the UNet was called; one call is one of {@link MixTimings.steps}.
 *
 * @example
 * ```ts
 * const { unetCalls } = await mixer.mix({ ...request, fast: 'safe' })
 * console.log(unetCalls) // { full: 13, cached: 17, unguided: 0 }
 * ```
 */
export interface UnetCalls {
  /** Calls that computed the whole of it. */
  full: number
  /** Calls that computed its outer blocks; see {@link MixRequest.cache}. */
  cached: number
  /** Calls of both kinds that did without the negative prompt, and cost half. */
  unguided: number
}

/**
 * The latent at one index of the sampler.
 *
 * @example
 * ```ts
 * const { trace } = await mixer.mix({ ...request, trace: true })
 * for (const { index, timestep, latent, shape } of trace) {
 *   const mean = latent.reduce((sum, value) => sum + value, 0) / latent.length
 *   console.log(index, timestep, shape, mean.toFixed(3)) // 20 581 [ 1, 4, 16, 16 ] ...
 * }
 * ```
 */
export interface MixState {
  /** 0 is pure noise, `request.steps` the clean latent. */
  index: number
  /** The training timestep of that index; 0 for the clean latent. */
  timestep: number
  /** The values, in the order of `shape`. */
  latent: Float32Array
  /** `[1, 4, height / 8, width / 8]`. */
  shape: [number, number, number, number]
}

/**
 * A mixed picture, and how it came about.
 *
 * @example
 * ```ts
 * const mix = await mixer.mix({ layout: 'heart.png', content: 'a photo of a tiger' })
 * console.log(mix.width, mix.height, mix.seed, mix.timings.total)
 * await mix.toFile('mix.png')
 * const again = await mixer.mix({ ...mix.request, nu: 0.5 }) // the same noise
 * ```
 */
export class Mix {
  /** In pixels. */
  readonly width: number
  /** In pixels. */
  readonly height: number
  /** RGB, row by row: `[height, width, 3]`. */
  readonly data: Bytes
  /** The seed of the noise: with the same request it gives the same picture again. */
  readonly seed: number
  /** How it was made, as files carry it and `readRecipe` reads it. */
  readonly recipe: PictureRecipe
  /** The request with every default filled in. */
  readonly request: FilledMixRequest
  /** Where the time went. */
  readonly timings: MixTimings
  /** What the UNet was called for. */
  readonly unetCalls: UnetCalls
  /** With `score: true` how much of its prompts, and of its layout, is in it; else null. */
  readonly score: MixScore | null
  /**
   * With `trace: true` the states at every index from where mixing begins to the clean latent;
   * else empty.
   */
  readonly trace: MixState[]
  /**
   * With `trace: true` and a layout prompt the states of the layout's own run, from pure noise to
   * where mixing ends, or with `score: true` to its clean latent; else empty.
   */
  readonly layoutTrace: MixState[]

  /** @internal */
  static of(
    request: FilledMixRequest,
    result: NativeMixResult,
    picture: NativeMixResult['pictures'][number],
    times: OuterTimings,
    recipe: PictureRecipe,
  ): Mix {
    return new Mix(request, result, picture, times, recipe)
  }

  private constructor(
    request: FilledMixRequest,
    result: NativeMixResult,
    picture: NativeMixResult['pictures'][number],
    times: OuterTimings,
    recipe: PictureRecipe,
  ) {
    this.recipe = recipe
    this.width = result.width
    this.height = result.height
    // A view of this realm: in a test runner's context the addon's arrays are of another.
    const { buffer, byteOffset, byteLength } = picture.data
    this.data = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength)
    this.seed = request.seed
    this.request = request
    const { encode, steps, score, decode } = result.timings
    const step = steps.reduce((sum, time) => sum + time, 0) / Math.max(1, steps.length)
    this.timings = { ...times, encode, step, steps, score, decode }
    this.unetCalls = result.unetCalls
    this.score = picture.scores
    const shape: MixState['shape'] = [1, 4, result.height / 8, result.width / 8]
    const withShape = (state: NativeState): MixState => ({ ...state, shape: [...shape] })
    this.trace = result.trace.map(withShape)
    this.layoutTrace = result.layoutTrace.map(withShape)
  }

  /**
   * The picture as a `sharp` instance, ready for more operations.
   *
   * @example
   * ```ts
   * const mix = await mixer.mix(request)
   * await mix.toSharp().resize(512).jpeg({ quality: 90 }).toFile('large.jpg') // carries no recipe
   * ```
   */
  toSharp(): Sharp {
    return sharp(this.data, { raw: { width: this.width, height: this.height, channels: 3 } })
  }

  /**
   * The picture as the bytes of a file, in `sharp`'s default quality; for other settings see {@link toSharp}.
   *
   * @param format 'png' (the default), 'jpeg', 'webp', 'avif' or 'tiff', or it is in the options
   * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION; PICTURE_UNWRITABLE for a recipe that a JPEG
   * does not hold
   * @example
   * ```ts
   * const mix = await mixer.mix(request)
   * await mix.toBuffer('webp')
   * await mix.toBuffer({ format: 'webp', recipe: true })
   * ```
   */
  async toBuffer(format: PictureFormat | BufferOptions = 'png'): Promise<FileBytes> {
    return calledFrom(Mix.prototype.toBuffer, () => {
      if (typeof format === 'string') format = { format: oneOf(format, formats, 'format') }
      const options = checkOptions(bufferOptions, format, 'toBuffer', '', 'the options of toBuffer')
      if (options.recipe) return this.withRecipe(options.format)
      return this.toSharp().toFormat(options.format).toBuffer()
    })
  }

  /**
   * Writes the picture to a file, in the format that the extension names: .png, .jpg, .jpeg,
   * .webp, .avif, .tif or .tiff. The {@link recipe} goes along, so that `readRecipe` finds it and the
   * mix can be made again; {@link toBuffer} embeds none unless it is asked to.
   *
   * @param file a path, or a `file:` URL
   * @throws {@link MagicMixError} INVALID_ARGUMENT, PICTURE_UNWRITABLE
   * @example
   * ```ts
   * const mix = await mixer.mix(request)
   * await mix.toFile('mix.png')
   * await mix.toFile(new URL('mix.webp', `file://${process.cwd()}/`))
   * ```
   */
  async toFile(file: string | URL): Promise<void> {
    return calledFrom(Mix.prototype.toFile, async () => {
      file = pathOf(file)
      const bytes = await this.withRecipe(formatOf(file))
      await writePicture(file, bytes, 'mix')
    })
  }

  /** @internal The bytes that {@link toFile} writes. */
  withRecipe(format: PictureFormat): Promise<FileBytes> {
    return withRecipe(this.toSharp(), format, this.recipe)
  }

  /**
   * Everything but the pixels and states, for `JSON.stringify`.
   *
   * @example
   * ```ts
   * const mix = await mixer.mix(request)
   * console.log(JSON.stringify(mix)) // {"width":128,"height":128,"seed":...,"request":{...},...}
   * ```
   */
  toJSON(): Record<string, unknown> {
    return {
      width: this.width,
      height: this.height,
      seed: this.seed,
      request: this.recipe.request,
      timings: this.timings,
      unetCalls: this.unetCalls,
      ...(this.score ? { score: this.score } : {}),
    }
  }
}

/** The path of what may be a `file:` URL. */
export function pathOf(file: string | URL): string {
  const href = isUrl(file) ? file.href : file
  if (typeof href !== 'string' || !/^(file|data|https?):/i.test(href)) return href
  try {
    return fileURLToPath(href)
  } catch {
    throw invalid('file', 'a path, or a file: URL,', href)
  }
}

/** Writes an encoded picture; `what` says in an error what it is. */
export async function writePicture(file: string, bytes: Uint8Array, what: string): Promise<void> {
  try {
    await writeFile(file, bytes)
  } catch (error) {
    throw new MagicMixError(
      'PICTURE_UNWRITABLE',
      `The ${what} cannot be written to ${file}: ${(error as Error).message}`,
      { file },
      { cause: error },
    )
  }
}

/** The format that a file's extension names. */
export function formatOf(file: unknown): PictureFormat {
  const format = formatsByExtension[path.extname(nonEmptyText(file, 'file')).toLowerCase()]
  if (!format) {
    throw invalid('file', `a name ending in ${Object.keys(formatsByExtension).join(', ')}`, file)
  }
  return format
}

/** Measured outside of the engine. */
type OuterTimings = Pick<MixTimings, 'load' | 'queued' | 'total'>
