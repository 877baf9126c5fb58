/** Pictures: from whatever `sharp` reads to RGB pixels of the size of the mix, or to a map of its cells. */
import { type NativeSize, mixSize } from './mix-size.js'
import { createHash, webcrypto } from 'node:crypto'
import { types } from 'node:util'

import { MagicMixError } from '../errors.js'
import type { Picture } from '../pixels.js'
import { type Sharp, sharp } from '../sharp.js'
import { describe, invalid } from '../options/validate.js'
import { fileBytes, keep } from './picture-bytes.js'
import { problemOf, problemOfPath, shrinksOnLoad } from './picture-problem.js'
import {
  type EncodedPicture,
  type Fit,
  type KeptPicture,
  type LayoutPicture,
  bufferOf,
  isBytes,
  isBytesHolder,
  isDeferred,
  isEncoded,
  isRaw,
  isSharp,
  isUrl,
} from './picture-forms.js'

/**
 * Pictures of more pixels are refused before they are decoded: their memory grows with them, but for
 * JPEGs, which are made smaller as they are decoded.
 */
const maxPixels = 2 ** 27
const maxJpegPixels = 2 ** 28

/** How {@link readPicture} makes a picture fit. */
export interface PictureOptions {
  /** The model that will mix. */
  model: NativeSize
  width?: number | undefined
  height?: number | undefined
  fit: Fit
  background: string
  /** Ends the reading of streams. */
  signal?: AbortSignal | undefined
}

/** A picture that was read. */
export interface ReadPicture<T> {
  picture: T
  /** What it was read from, in a form that can be read again. */
  kept: KeptPicture
  source: PictureSource
}

/**
 * What tells the picture of a request from another.
 *
 * @example
 * ```ts
 * const { recipe } = await mixer.mix(request)
 * const { sha256, width, height } = recipe.layout! // null for a layout prompt
 * console.log(`mixed into a picture of ${width} x ${height}, ${sha256}`)
 * ```
 */
export interface PictureSource {
  /** What was hashed: the file, or the pixels of a picture that came as such. */
  of: 'file' | 'pixels'
  /** SHA-256 of it, 64 hexadecimal digits. */
  sha256: string
  /** Its size. */
  bytes: number
  /** In pixels, turned as EXIF says, before it was made to fit. */
  width: number
  /** In pixels. */
  height: number
}

/**
 * Reads `picture`, turned as its EXIF orientation says, without alpha, in sRGB, and in the size of
 * the mix. A picture that has that size already comes through bit for bit.
 *
 * @param place the option, for messages
 */
export async function readPicture(
  picture: LayoutPicture,
  { width, height, fit, background, model, signal }: PictureOptions,
  place = 'layout',
): Promise<ReadPicture<Picture>> {
  return read(picture, place, background, signal, async (source, oriented) => {
    const size = mixSize(oriented, model, width, height)
    const { data, info } = await (
      await inColour(source)
    )
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

/**
 * Reads a map: its lightness in every cell of 8 x 8 pixels of a mix of that size, from 0 (black, transparent) to 1
 * (white, and what is beside it where it is contained), row by row.
 */
export async function readMap(
  picture: LayoutPicture,
  mix: { width: number; height: number; fit: Fit; signal?: AbortSignal | undefined },
  place: string,
): Promise<ReadPicture<Float32Array>> {
  const { width, height, fit } = mix
  return read(picture, place, 'white', mix.signal, async (source) => {
    // By nearest pixels, so that a cell has nothing of the cells beside it.
    const { data, info } = await source
      .autoOrient()
      .flatten({ background: 'black' })
      .resize({ width, height, fit, background: 'white', kernel: 'nearest' })
      .toColourspace('b-w')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return meanOfCells(data, info)
  })
}

function meanOfCells(
  grey: Uint8Array,
  { width, height, channels }: { width: number; height: number; channels: number },
): Float32Array {
  const cellsAcross = width / 8
  const sums = new Uint32Array(cellsAcross * (height / 8))
  for (let y = 0; y < height; y++) {
    const row = Math.floor(y / 8) * cellsAcross
    for (let x = 0; x < width; x++) {
      sums[row + Math.floor(x / 8)]! += grey[(y * width + x) * channels]!
    }
  }
  return Float32Array.from(sums, (sum) => sum / (64 * 255))
}

async function read<T>(
  picture: LayoutPicture,
  place: string,
  background: string,
  signal: AbortSignal | undefined,
  render: (source: Sharp, oriented: { width: number; height: number }) => Promise<T>,
): Promise<ReadPicture<T>> {
  // Begun first, so that a stream ends with the signal from here on.
  const keeping = keep(picture, signal)
  keeping.catch(() => {}) // awaited below
  await checkColour(background)
  return readable(picture, place, async (seen) => {
    const kept = await keeping
    const source = await open(kept, seen, signal)
    const hashing = sha256Of((seen.bytes ?? seen.pixels)!)
    hashing.catch(() => {}) // awaited below
    const oriented = await orientedSize(source)
    const of = seen.bytes ? 'file' : 'pixels'
    return {
      picture: await render(source, oriented),
      kept,
      source: { of, ...(await hashing), ...oriented },
    }
  })
}

/** The size that {@link readPicture} would give, from the picture's header. */
export async function sizeOfMix(
  picture: LayoutPicture,
  { width, height, background, model }: PictureOptions,
  place = 'layout',
): Promise<{ width: number; height: number }> {
  await checkColour(background)
  return mixSize(await sizeOfPicture(picture, place), model, width, height)
}

/** Throws what {@link readPicture} throws if there is no picture. */
export async function checkPicture(
  picture: LayoutPicture,
  background: string,
  place = 'layout',
): Promise<void> {
  await checkColour(background)
  await sizeOfPicture(picture, place)
}

/** In pixels, turned as EXIF says, from the header. */
export async function sizeOfPicture(
  picture: LayoutPicture,
  place: string,
): Promise<{ width: number; height: number }> {
  if (isDeferred(picture)) {
    throw invalid(place, 'a picture that can be read again (its bytes)', picture)
  }
  return readable(picture, place, async (seen) =>
    orientedSize(await open(await keep(picture), seen)),
  )
}

/** The file of a picture, or the pixels of one that has none, once it is here. */
interface Seen {
  bytes?: Uint8Array
  pixels?: Uint8Array
}

/** Not on the main thread: a file may have hundreds of megabytes. */
async function sha256Of(bytes: Uint8Array): Promise<{ sha256: string; bytes: number }> {
  // Memory that others may write to is not taken there.
  const own = types.isSharedArrayBuffer(bytes.buffer) ? Uint8Array.from(bytes) : bytes
  const hash = await webcrypto.subtle.digest('SHA-256', own)
  return { sha256: Buffer.from(hash).toString('hex'), bytes: bytes.length }
}

async function readable<T>(
  picture: LayoutPicture,
  place: string,
  reading: (seen: Seen) => Promise<T>,
): Promise<T> {
  const seen: Seen = {}
  try {
    return await reading(seen)
  } catch (error) {
    if (error instanceof MagicMixError) throw error
    const problem =
      typeof picture === 'string' && !seen.bytes
        ? problemOfPath(picture, error)
        : problemOf(error, error instanceof OwnProblem ? undefined : seen.bytes)
    throw new MagicMixError(
      'PICTURE_UNREADABLE',
      `The ${place === 'layout' ? 'layout picture' : `picture of ${place}`} (${nameOf(picture)}) cannot be read: ${problem}`,
      { picture: nameOf(picture) },
      { cause: error },
    )
  }
}

/** An error that says everything already. */
class OwnProblem extends Error {}

async function open(picture: KeptPicture, seen: Seen, signal?: AbortSignal): Promise<Sharp> {
  if (isSharp(picture)) return openRendered(picture, seen)
  if (isRaw(picture)) {
    const { width, height, channels } = picture
    const data = (seen.pixels = bufferOf(picture.data))
    return sharp(data, { limitInputPixels: false, raw: { width, height, channels } })
  }
  const bytes = isEncoded(picture)
    ? await bytesOf(picture, signal)
    : isBytes(picture)
      ? bufferOf(picture)
      : await fileBytes(picture, signal)
  seen.bytes = bytes
  const source = sharp(bytes, { limitInputPixels: false, failOn: 'error' })
  const { width, height } = await source.metadata()
  const most = shrinksOnLoad(bytes) ? maxJpegPixels : maxPixels
  if (width * height > most) {
    throw new OwnProblem(
      `it has ${width} x ${height} pixels, and at most ${Math.floor(most / 1e6)} million are read; ` +
        'make it smaller first',
    )
  }
  return source
}

async function bytesOf(picture: EncodedPicture, signal?: AbortSignal): Promise<Buffer> {
  const bytes =
    'path' in picture ? await fileBytes(picture.path, signal) : Buffer.from(picture.bytes, 'base64')
  if (picture.sha256 !== undefined) {
    const found = createHash('sha256').update(bytes).digest('hex')
    if (found !== picture.sha256) {
      throw new Error(`its SHA-256 is ${found}, not ${picture.sha256}: it is another picture`)
    }
  }
  return bytes
}

/** The user's own operations come first: they are rendered before ours are added. */
async function openRendered(picture: Sharp, seen: Seen): Promise<Sharp> {
  const { data, info } = await oriented(picture.clone())
    .toColourspace('srgb')
    .raw({ depth: 'uchar' }) // a depth of the user's own would stay
    .toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  seen.pixels = data
  return sharp(data, { limitInputPixels: false, raw: { width, height, channels } })
}

/** Before sharp 0.34 that was `rotate` without an angle. */
function oriented(picture: Sharp): Sharp {
  const { autoOrient } = picture as Partial<Sharp>
  return autoOrient ? autoOrient.call(picture) : picture.rotate()
}

async function orientedSize(source: Sharp): Promise<{ width: number; height: number }> {
  const { autoOrient } = await source.metadata()
  return autoOrient
}

/** A colour beside or behind a grey picture would be made grey with it. */
async function inColour(source: Sharp): Promise<Sharp> {
  const { space } = await source.metadata()
  return space === 'b-w' || space === 'grey16' ? source.pipelineColourspace('srgb') : source
}

async function checkColour(background: string): Promise<void> {
  let alpha: number | undefined
  try {
    const create = { width: 1, height: 1, channels: 4, background }
    alpha = (
      await sharp({ create } as never)
        .raw()
        .toBuffer()
    )[3]
  } catch (error) {
    if (error instanceof MagicMixError) throw error
    throw invalid('background', "a colour such as 'white' or '#ffcc00'", background)
  }
  if (alpha !== 255) throw invalid('background', 'an opaque colour', background)
}

/** A picture in a message. */
export function nameOf(picture: LayoutPicture): string {
  if (isUrl(picture)) return nameOf(picture.href)
  if (typeof picture === 'string') {
    if (/^data:/i.test(picture)) return `a data: URL of ${picture.length} characters`
    return picture.length > 300
      ? `${picture.slice(0, 60)}... of ${picture.length} characters`
      : picture
  }
  if (isDeferred(picture)) return isBytesHolder(picture) ? 'a blob or response' : 'a stream'
  if (isEncoded(picture)) return 'path' in picture ? picture.path : 'bytes in base64'
  if (isSharp(picture)) return 'a sharp instance'
  return isRaw(picture) ? 'raw pixels' : describe(picture)
}
