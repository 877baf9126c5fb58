/** The forms in which a layout picture may come. Reading it is in picture.ts. */
import { types } from 'node:util'

import type { Sharp } from 'sharp'

import { isRecord } from '../options/validate.js'

/**
 * Pixels that are already decoded.
 *
 * @example
 * ```ts
 * import sharp from 'sharp'
 *
 * const { data, info } = await sharp('corgi.jpg').raw().toBuffer({ resolveWithObject: true })
 * const { width, height, channels } = info
 * await mixer.mix({ layout: { data, width, height, channels }, content: 'a photo of a tiger' })
 * ```
 */
export interface RawPixels {
  /** Row by row, `[height, width, channels]`. */
  data: Uint8Array | Uint8ClampedArray
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. */
  channels: 1 | 2 | 3 | 4
}

/**
 * The file of a picture, as JSON can hold it.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 *
 * const bytes = (await readFile('corgi.jpg')).toString('base64')
 * const text = JSON.stringify({ layout: { bytes }, content: 'a photo of a tiger' }) // to be sent
 * await mixer.mix(JSON.parse(text))
 * ```
 */
export type EncodedPicture = (
  | {
      /** Where it is. */
      path: string
    }
  | {
      /** Its bytes in base64. */
      bytes: string
    }
) & {
  /** Its SHA-256, 64 hexadecimal digits; verified when it is read. Default: not verified. */
  sha256?: string | undefined
}

/**
 * A `Blob`, `File`, `Response` or `Request`: whatever gives its bytes when asked.
 *
 * @example
 * <!-- snippet: types, needs an address -->
 * ```ts
 * const layout = await fetch('https://example.org/corgi.jpg')
 * await mixer.mix({ layout, content: 'a photo of a tiger' })
 * ```
 */
export interface BytesHolder {
  /** All of its bytes. */
  arrayBuffer(): Promise<ArrayBuffer>
}

/**
 * A stream of bytes, of Node or of the web. It is read to its end, once.
 *
 * @example
 * ```ts
 * import { createReadStream } from 'node:fs'
 *
 * const layout = createReadStream('corgi.jpg') // in a server the request itself
 * await mixer.mix({ layout, content: 'a photo of a tiger' })
 * ```
 */
export type ByteStream = AsyncIterable<Uint8Array> | NodeJS.ReadableStream | ReadableStream

/**
 * Forms that give the bytes of a file only once, or only after a while.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 * import type { DeferredPicture } from 'magicmix'
 *
 * const upload: DeferredPicture = new Blob([await readFile('corgi.jpg')])
 * await mixer.mix({ layout: upload, content: 'a photo of a tiger' })
 * ```
 */
export type DeferredPicture = BytesHolder | ByteStream

/**
 * A picture in any form: a path, a `file:` or `data:` URL, the bytes of a file, a `Blob`, `File` or
 * `Response`, a stream, a `sharp` instance, pixels, or as JSON.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 * import type { LayoutPicture } from 'magicmix'
 * import sharp from 'sharp'
 *
 * const layouts: LayoutPicture[] = [
 *   'corgi.jpg', await readFile('corgi.jpg'),
 *   sharp('corgi.jpg').flop(), { path: 'corgi.jpg' },
 * ]
 * for (const layout of layouts) await mixer.check({ layout, content: 'a photo of a tiger' })
 * ```
 */
export type LayoutPicture = KeptPicture | URL | DeferredPicture

/**
 * The forms that can be read again.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 * import type { KeptPicture } from 'magicmix'
 *
 * const layout: KeptPicture = await readFile('corgi.jpg') // a stream would do for the first mix alone
 * for (const seed of [1, 2]) await mixer.mix({ layout, content: 'a photo of a tiger', seed })
 * ```
 */
export type KeptPicture = string | Uint8Array | ArrayBuffer | Sharp | RawPixels | EncodedPicture

/**
 * How a picture of another aspect ratio fits in.
 *
 * @example
 * ```ts
 * import type { Fit } from 'magicmix'
 *
 * const fits: Fit[] = ['cover', 'contain', 'fill']
 * for (const fit of fits) {
 *   const mix = await mixer.mix({ ...request, width: 128, height: 64, fit, background: '#ffcc00' })
 *   await mix.toFile(`${fit}.png`)
 * }
 * ```
 */
export type Fit = 'cover' | 'contain' | 'fill'
export const fits: readonly Fit[] = ['cover', 'contain', 'fill']

/** By shape: the user's `sharp` may be another copy of the package than ours, and an older one. */
export function isSharp(value: unknown): value is Sharp {
  return hasMethods(value, 'clone', 'metadata', 'toColourspace', 'toBuffer')
}

export function isBytes(value: unknown): value is Uint8Array | ArrayBuffer {
  return types.isUint8Array(value) || types.isArrayBuffer(value)
}

/** The same bytes, not copied, as a value of this realm. */
export function bufferOf(bytes: Uint8Array | Uint8ClampedArray | ArrayBuffer): Buffer {
  return ArrayBuffer.isView(bytes)
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : Buffer.from(bytes)
}

/** By shape: it may be of another realm. */
export function isUrl(value: unknown): value is URL {
  return isRecord(value) && typeof value.href === 'string' && typeof value.protocol === 'string'
}

export function isBytesHolder(value: unknown): value is BytesHolder {
  return hasMethods(value, 'arrayBuffer')
}

function isStream(value: unknown): value is ByteStream {
  return (
    hasMethods(value, 'getReader') ||
    (isObject(value) && typeof value[Symbol.asyncIterator] === 'function')
  )
}

export function isDeferred(picture: unknown): picture is DeferredPicture {
  return !isSharp(picture) && (isBytesHolder(picture) || isStream(picture))
}

export function isRaw(picture: LayoutPicture): picture is RawPixels {
  return isRecord(picture) && 'data' in picture && 'channels' in picture
}

export function isEncoded(picture: LayoutPicture): picture is EncodedPicture {
  return isRecord(picture) && !isDeferred(picture) && ('path' in picture || 'bytes' in picture)
}

function hasMethods(value: unknown, ...names: string[]): boolean {
  return names.every((name) => isObject(value) && typeof value[name] === 'function')
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null
}
