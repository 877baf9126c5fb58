/** A request as JSON: to be kept, sent, and given to `mix` again. */
import path from 'node:path'

import { callSite } from '../errors.js'
import { type JsonPixels, type LayoutPrompt, isPrompt } from '../input/layout.js'
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
import { invalid } from '../options/validate.js'

/** A {@link MixRequest} that JSON can hold, with every default filled in that is known by then. */
export type Recipe = Omit<MixRequest, 'layout' | 'onProgress' | 'signal' | 'preview'> & {
  /** A path, `{ prompt }`, `{ path }` or `{ bytes }`, or pixels with their data in base64. */
  layout: string | LayoutPrompt | EncodedPicture | JsonPixels
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
 * const text = JSON.stringify(recipe({ layout: 'corgi.jpg', content: 'a photo of a tiger' }))
 * const mix = await mixer.mix(JSON.parse(text))
 * ```
 */
export function recipe(request: MixRequest | FilledMixRequest): Recipe {
  const site = callSite(recipe)
  try {
    const { onProgress, signal, layout, ...rest } = checkRequest(request)
    const values = Object.entries(rest).filter(([, value]) => value !== undefined)
    return { layout: layoutAsJson(layout), ...Object.fromEntries(values) } as Recipe
  } catch (error) {
    throw site.errorFor(error)
  }
}

function layoutAsJson(layout: LayoutPicture | LayoutPrompt): Recipe['layout'] {
  if (isSharp(layout) || isDeferred(layout)) {
    throw invalid(
      'layout',
      'a picture that JSON can hold (a path or bytes; of a sharp its `toBuffer()`)',
      layout,
    )
  }
  if (isUrl(layout)) return layout.href
  if (isBytes(layout)) return { bytes: base64(layout) }
  if (typeof layout === 'string' || isPrompt(layout)) return layout
  if (isRaw(layout)) return { ...layout, data: base64(layout.data) }
  return layout
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
  source: PictureSource | null,
): Record<string, unknown> {
  const { layout, loras, ...rest } = request
  return {
    layout: isPrompt(layout) ? layout : { ...nameOfPicture(layout), sha256: source?.sha256 },
    ...rest,
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
