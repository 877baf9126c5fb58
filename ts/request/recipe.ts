/** A request as JSON: to be kept, sent, and given to `mix` again. */
import path from 'node:path'

import { callSite } from '../errors.js'
import { type FilledPicture, type JsonPixels, type LayoutPrompt } from '../input/layout.js'
import {
  type EncodedPicture,
  type LayoutPicture,
  bufferOf,
  isBytes,
  isDeferred,
  isEncoded,
  isRaw,
  isSharp,
  isUrl,
} from '../input/picture-forms.js'
import type { PictureSource } from '../input/picture.js'
import { type FilledMixRequest, type MixRequest, checkRequest } from './mix-options.js'
import { mapPictures } from './pictures.js'
import { invalid } from '../options/validate.js'

/**
 * A picture that JSON can hold: a path, `{ path }` or `{ bytes }`, or pixels with their data in base64.
 *
 * @example
 * ```ts
 * import type { JsonPicture } from 'magicmix'
 *
 * const pictures: JsonPicture[] = ['heart.png', { path: 'star.png' }]
 * const sent = JSON.stringify({ layouts: pictures, content: 'a photo of a tiger' })
 * await mixer.mix(JSON.parse(sent))
 * ```
 */
export type JsonPicture = string | EncodedPicture | JsonPixels

/**
 * A {@link MixRequest} that JSON can hold, with every default filled in that is known by then.
 *
 * @example
 * ```ts
 * import { readFile, writeFile } from 'node:fs/promises'
 * import { type Recipe, recipe } from 'magicmix'
 *
 * await writeFile('request.json', JSON.stringify(recipe(request)))
 * const kept = JSON.parse(await readFile('request.json', 'utf8')) as Recipe
 * const mix = await mixer.mix(kept) // with kept.seed, every time the same picture
 * ```
 */
export type Recipe = Omit<
  MixRequest,
  'layout' | 'layouts' | 'nuMap' | 'kMaxMap' | 'onProgress' | 'signal' | 'preview'
> & {
  /** A picture, or `{ prompt }`. */
  layout?: JsonPicture | LayoutPrompt | undefined
  /** Pictures in its place. */
  layouts?:
    | (Omit<FilledPicture, 'picture'> & {
        /** One of them. */
        picture: JsonPicture
      })[]
    | null
  /** A map. */
  nuMap?: JsonPicture | null
  /** A map. */
  kMaxMap?: JsonPicture | null
  /** The random one, if none was given. */
  seed: number
}

/**
 * A request in its JSON form: `mix` takes it and makes the same picture. A path stays a path; the
 * bytes of a file and raw pixels are written in base64. `onProgress` and `signal` are left out.
 *
 * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION: what `mix` says of the request; and
 * for a `sharp` instance, whose bytes only its `toBuffer()` gives
 * @example
 * ```ts
 * import { recipe } from 'magicmix'
 *
 * const text = JSON.stringify(recipe({ layout: 'corgi.jpg', content: 'a photo of a tiger' }))
 * const mix = await mixer.mix(JSON.parse(text))
 * ```
 */
export function recipe(request: MixRequest | FilledMixRequest): Recipe {
  const site = callSite(recipe)
  try {
    const { onProgress, signal, ...rest } = checkRequest(request)
    const values = Object.entries({ ...rest, ...mapPictures(rest, pictureAsJson) })
    return Object.fromEntries(values.filter(([, value]) => value !== undefined)) as Recipe
  } catch (error) {
    throw site.errorFor(error)
  }
}

function pictureAsJson(picture: LayoutPicture, place: string): JsonPicture {
  if (isSharp(picture) || isDeferred(picture)) {
    throw invalid(
      place,
      'a picture that JSON can hold (a path or bytes; of a sharp its `toBuffer()`)',
      picture,
    )
  }
  if (isUrl(picture)) return picture.href
  if (isBytes(picture)) return { bytes: base64(picture) }
  if (isRaw(picture)) return { ...picture, data: base64(picture.data) }
  return picture
}

function base64(bytes: Uint8Array | Uint8ClampedArray | ArrayBuffer): string {
  return bufferOf(bytes).toString('base64')
}

/**
 * A request in the form that a file carries. It travels with the picture, so files are named
 * without their folders, and pictures only by their hash: to `mix` it again, put the layout beside it.
 */
export function embeddedRecipe(
  request: FilledMixRequest,
  sources: Readonly<Record<string, PictureSource>>,
): Record<string, unknown> {
  const { loras, ...rest } = request
  return {
    ...rest,
    ...mapPictures(request, (picture, place) => ({
      ...nameOfPicture(picture),
      sha256: sources[place]?.sha256,
    })),
    loras: loras.map(({ file, strength }) => ({ file: withoutFolder(file), strength })),
  }
}

/** The name of a file, or of a folder, which may be given as '.'; on the hub it is the same everywhere. */
export function withoutFolder(file: string): string {
  return file.startsWith('hf:') ? file : path.basename(path.resolve(file))
}

function nameOfPicture(picture: LayoutPicture): { path?: string } {
  if (typeof picture === 'string') return { path: path.basename(picture) }
  return isEncoded(picture) && 'path' in picture ? { path: path.basename(picture.path) } : {}
}
