/** The forms in which a layout picture may come. Reading it is in picture.ts. */
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

/** A picture in any form: a path, the bytes of a file, a `sharp` instance, pixels, or as JSON. */
export type LayoutPicture = string | Uint8Array | ArrayBuffer | Sharp | RawPixels | EncodedPicture

/** How a picture of another aspect ratio fits in. */
export type Fit = 'cover' | 'contain' | 'fill'
export const fits: readonly Fit[] = ['cover', 'contain', 'fill']

/** By shape: the user's `sharp` may be another copy of the package than ours. */
export function isSharp(value: unknown): value is Sharp {
  return ['clone', 'autoOrient', 'toColourspace', 'toBuffer'].every(
    (method) => isObject(value) && typeof value[method] === 'function',
  )
}

export function isRaw(picture: LayoutPicture): picture is RawPixels {
  return isRecord(picture) && 'data' in picture
}

export function isEncoded(picture: LayoutPicture): picture is EncodedPicture {
  return isRecord(picture) && ('path' in picture || 'bytes' in picture)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
