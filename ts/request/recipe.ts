/** A request as JSON: to be kept, sent, and given to `mix` again. */
import { createHash } from 'node:crypto'
import path from 'node:path'

import { callSite } from '../errors.js'
import { type JsonPixels, type LayoutPrompt, isPrompt } from '../input/layout.js'
import {
  type EncodedPicture,
  type LayoutPicture,
  bufferOf,
  isBytes,
  isDeferred,
  isRaw,
  isSharp,
  isUrl,
} from '../input/picture-forms.js'
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
 * The description of a request that a file carries. It travels with the picture, so files are named
 * without their folders, and bytes only by their hash: to `mix` it again, put the layout beside it.
 */
export function embeddedRecipe(request: FilledMixRequest): Record<string, unknown> {
  const { layout, loras, ...rest } = request
  return {
    layout: isPrompt(layout) ? layout : describedPicture(layout),
    ...rest,
    loras: loras.map(({ file, strength }) => ({ file: withoutFolder(file), strength })),
  }
}

/** The name of a file on the hub is the same everywhere. */
function withoutFolder(file: string): string {
  return file.startsWith('hf:') ? file : path.basename(file)
}

function describedPicture(picture: LayoutPicture): object {
  if (typeof picture === 'string') return { path: path.basename(picture) }
  if (isSharp(picture)) return { described: 'a sharp instance' }
  if (isBytes(picture)) return { sha256: sha256(bufferOf(picture)) }
  // A mix keeps what it read of these.
  if (isUrl(picture)) return { described: picture.protocol }
  if (isDeferred(picture)) return { described: 'a stream' }
  if (isRaw(picture)) {
    const { data, width, height, channels } = picture
    return { sha256: sha256(bufferOf(data)), width, height, channels }
  }
  if ('path' in picture) return { ...picture, path: path.basename(picture.path) }
  return { sha256: picture.sha256 ?? sha256(Buffer.from(picture.bytes, 'base64')) }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
