/** Layout pictures: from whatever `sharp` reads to RGB pixels of the size of the mix. */
import sharp, { type Sharp } from 'sharp'

import { MagicMixError } from '../errors.js'
import { describe, invalid, isRecord } from '../request/validate.js'

/** RGB pixels. */
export interface Picture {
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** RGB, row by row: `[height, width, 3]`. */
  data: Uint8Array
}

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

/** A picture in any form: a path, the bytes of a file, a `sharp` instance, or pixels. */
export type LayoutPicture = string | Uint8Array | ArrayBuffer | Sharp | RawPixels

/** How a picture of another aspect ratio fits in. */
export type Fit = 'cover' | 'contain' | 'fill'
export const fits: readonly Fit[] = ['cover', 'contain', 'fill']

/** Pictures of more pixels are refused before they are decoded. */
const maxInputPixels = 100_000_000

/** What {@link readPicture} is asked for. */
export interface PictureOptions {
  width?: number | undefined
  height?: number | undefined
  fit: Fit
  background: string
  /** Side of the pictures that the model was trained on. */
  nativeSize: number
}

/**
 * Reads `picture`, turned as its EXIF orientation says, without alpha, in sRGB, and in the size of
 * the mix. A picture that has that size already comes through bit for bit.
 */
export async function readPicture(
  picture: LayoutPicture,
  { width, height, fit, background, nativeSize }: PictureOptions,
): Promise<Picture> {
  checkColour(background)
  try {
    const source = await open(picture)
    const size = mixSize(await orientedSize(source), nativeSize, width, height)
    const { data, info } = await source
      .autoOrient()
      .resize({ ...size, fit, background })
      .flatten({ background })
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== 3) throw new Error(`it decodes to ${info.channels} channels, not 3`)
    return { width: info.width, height: info.height, data }
  } catch (error) {
    throw new MagicMixError(
      'PICTURE_UNREADABLE',
      `The layout picture (${nameOf(picture)}) cannot be read: ${reasonOf(error)}`,
      { picture: nameOf(picture) },
      { cause: error },
    )
  }
}

/** The size of the mix for a picture of `size`; the rule is told at {@link MixRequest.height}. */
export function mixSize(
  size: { width: number; height: number },
  nativeSize: number,
  width?: number,
  height?: number,
): { width: number; height: number } {
  const aspect = size.width / size.height
  const wide = height === undefined ? nativeSize * Math.sqrt(aspect) : height * aspect
  const high = width === undefined ? nativeSize / Math.sqrt(aspect) : width / aspect
  const unit = 8 * Math.max(1, Math.round(nativeSize / 64)) // an eighth of the native side
  return { width: width ?? roundSide(wide, unit), height: height ?? roundSide(high, unit) }
}

/** By shape: the user's `sharp` may be another copy of the package than ours. */
export function isSharp(value: unknown): value is Sharp {
  return ['clone', 'autoOrient', 'toColourspace', 'toBuffer'].every(
    (method) => isObject(value) && typeof value[method] === 'function',
  )
}

async function open(picture: LayoutPicture): Promise<Sharp> {
  const limits = { limitInputPixels: maxInputPixels, failOn: 'error' } as const
  if (isSharp(picture)) return openRendered(picture)
  if (isRaw(picture)) {
    const { data, width, height, channels } = picture
    return sharp(data, { ...limits, raw: { width, height, channels } })
  }
  return sharp(picture, limits)
}

/** The user's own operations come first: they are rendered before ours are added. */
async function openRendered(picture: Sharp): Promise<Sharp> {
  const { data, info } = await picture
    .clone()
    .autoOrient()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  return sharp(data, { raw: { width, height, channels } })
}

async function orientedSize(source: Sharp): Promise<{ width: number; height: number }> {
  const { autoOrient } = await source.metadata()
  return autoOrient
}

function roundSide(pixels: number, unit: number): number {
  const most = 4096 - (4096 % unit)
  return Math.min(most, Math.max(unit, Math.round(pixels / unit) * unit))
}

function checkColour(background: string): void {
  try {
    sharp({ create: { width: 1, height: 1, channels: 3, background } })
  } catch {
    throw invalid('background', "a colour such as 'white' or '#ffcc00'", background)
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isRaw(picture: LayoutPicture): picture is RawPixels {
  return isRecord(picture) && 'data' in picture
}

function nameOf(picture: LayoutPicture): string {
  if (typeof picture === 'string') return picture
  if (isSharp(picture)) return 'a sharp instance'
  return isRaw(picture) ? 'raw pixels' : describe(picture)
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
