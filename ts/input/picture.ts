/** Layout pictures: from whatever `sharp` reads to RGB pixels of the size of the mix. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'

import sharp, { type Sharp } from 'sharp'

import { MagicMixError } from '../errors.js'
import type { Picture } from '../pixels.js'
import { describe, invalid } from '../options/validate.js'
import {
  type EncodedPicture,
  type Fit,
  type LayoutPicture,
  isEncoded,
  isRaw,
  isSharp,
} from './picture-forms.js'

/** Pictures of more pixels are refused before they are decoded. */
const maxInputPixels = 100_000_000

/** How {@link readPicture} makes a picture fit. */
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
  return readable(picture, async () => {
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
  })
}

/** The size that {@link readPicture} would give, from the picture's header. */
export async function sizeOfMix(
  picture: LayoutPicture,
  { width, height, background, nativeSize }: PictureOptions,
): Promise<{ width: number; height: number }> {
  checkColour(background)
  return readable(picture, async () =>
    mixSize(await orientedSize(await open(picture)), nativeSize, width, height),
  )
}

async function readable<T>(picture: LayoutPicture, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    throw new MagicMixError(
      'PICTURE_UNREADABLE',
      `The layout picture (${nameOf(picture)}) cannot be read: ${reasonOf(error)}`,
      { picture: nameOf(picture) },
      { cause: error },
    )
  }
}

/** The size of the mix for a picture of `size`; the rule is stated at {@link MixRequest.height}. */
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

async function open(picture: LayoutPicture): Promise<Sharp> {
  const limits = { limitInputPixels: maxInputPixels, failOn: 'error' } as const
  if (isSharp(picture)) return openRendered(picture)
  if (isRaw(picture)) {
    const { data, width, height, channels } = picture
    return sharp(data, { ...limits, raw: { width, height, channels } })
  }
  if (isEncoded(picture)) return sharp(await bytesOf(picture), limits)
  return sharp(picture, limits)
}

async function bytesOf(picture: EncodedPicture): Promise<Buffer> {
  const bytes =
    'path' in picture ? await readFile(picture.path) : Buffer.from(picture.bytes, 'base64')
  if (picture.sha256 !== undefined) {
    const found = createHash('sha256').update(bytes).digest('hex')
    if (found !== picture.sha256) {
      throw new Error(`its SHA-256 is ${found}, not ${picture.sha256}: it is another picture`)
    }
  }
  return bytes
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

function nameOf(picture: LayoutPicture): string {
  if (typeof picture === 'string') return picture
  if (isEncoded(picture)) return 'path' in picture ? picture.path : 'bytes in base64'
  if (isSharp(picture)) return 'a sharp instance'
  return isRaw(picture) ? 'raw pixels' : describe(picture)
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
