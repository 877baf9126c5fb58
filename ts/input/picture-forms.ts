/** The forms in which a layout picture may come. Reading it is in picture.ts. */
import { types } from 'node:util'

import type { Sharp } from 'sharp'

import { isRecord } from '../options/validate.js'

/** Pixels that are already decoded. */
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

/** The file of a picture, as JSON can hold it. */
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

/** A `Blob`, `File`, `Response` or `Request`: whatever gives its bytes when asked. */
export interface BytesHolder {
  /** All of its bytes. */
  arrayBuffer(): Promise<ArrayBuffer>
}

/** A stream of bytes, of Node or of the web. It is read to its end, once. */
export type ByteStream = AsyncIterable<Uint8Array> | NodeJS.ReadableStream | ReadableStream

/** Forms that give the bytes of a file only once, or only after a while. */
export type DeferredPicture = BytesHolder | ByteStream

/**
 * A picture in any form: a path, a `file:` or `data:` URL, the bytes of a file, a `Blob`, `File` or
 * `Response`, a stream, a `sharp` instance, pixels, or as JSON.
 */
export type LayoutPicture = KeptPicture | URL | DeferredPicture

/** The forms that can be read again. */
export type KeptPicture = string | Uint8Array | ArrayBuffer | Sharp | RawPixels | EncodedPicture

/** How a picture of another aspect ratio fits in. */
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
