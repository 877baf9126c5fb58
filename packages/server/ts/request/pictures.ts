/** Pictures that come in: their bytes, and whether they may be decoded at all. */
import { createHash } from 'node:crypto'

import sharp from 'sharp'

import type { Limits } from '../limits.js'
import { Problem, unprocessable } from '../problem.js'

/**
 * By their first bytes, as Latin-1. SVG is not among them: drawing one can take any time, and it is no picture of
 * pixels.
 */
const formats: readonly RegExp[] = [
  /^\xff\xd8\xff/, // JPEG
  /^\x89PNG\r\n/,
  /^RIFF....WEBP/s,
  /^GIF8/,
  /^(II\*\0|MM\0\*)/, // TIFF
  /^....ftyp(avi[fs]|mif1)/s, // AVIF
]

/**
 * `{ bytes, sha256? }` anywhere in a value as a `Buffer`, also in `{ picture, weight }`. The value has been checked against its schema, so it is
 * as deep as that at most.
 */
export function withBuffers(value: unknown, name: string): unknown {
  if (Array.isArray(value)) return value.map((each, i) => withBuffers(each, `${name}[${i}]`))
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  const { bytes, sha256, picture } = value as Partial<Record<string, unknown>>
  if (typeof bytes === 'string') return decoded(bytes, sha256, name)
  if (picture !== undefined) return { ...value, picture: withBuffers(picture, `${name}.picture`) }
  return value
}

function decoded(base64: string, sha256: unknown, name: string): Buffer {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) {
    throw unprocessable(`Expected bytes in base64 for ${name}.bytes`, { name: `${name}.bytes` })
  }
  const bytes = Buffer.from(base64, 'base64')
  if (sha256 !== undefined && createHash('sha256').update(bytes).digest('hex') !== sha256) {
    throw new Problem(422, 'PICTURE_UNREADABLE', `${name} is another picture than sha256 says`)
  }
  return bytes
}

/** All pictures in a value, as {@link withBuffers} gives it. */
export function picturesIn(value: unknown, name: string): NamedPicture[] {
  if (Buffer.isBuffer(value)) return [{ name, bytes: value }]
  if (Array.isArray(value)) return value.flatMap((each, i) => picturesIn(each, `${name}[${i}]`))
  const { data, width, height, picture } = Object(value) as Partial<Record<string, unknown>>
  if (picture !== undefined) return picturesIn(picture, `${name}.picture`)
  if (typeof data !== 'string' || typeof width !== 'number' || typeof height !== 'number') return []
  return [{ name, pixels: { width, height, bytes: data.length } }]
}

interface NamedPicture {
  name: string
  bytes?: Buffer
  pixels?: { width: number; height: number; bytes: number }
}

export const bytesOf = ({ bytes, pixels }: NamedPicture) => bytes?.length ?? pixels?.bytes ?? 0

/** Refuses what would take too much to decode, by header alone. */
export async function checkPicture(picture: NamedPicture, limits: Limits): Promise<void> {
  const { name, bytes, pixels } = picture
  const { width, height } = pixels ?? (await sizeOf(bytes ?? Buffer.alloc(0), name))
  const most = limits.picturePixels
  if (width * height <= most) return
  throw new Problem(
    422,
    'PICTURE_UNREADABLE',
    `${name} has ${width} x ${height} pixels, and at most ${most} are taken here; make it smaller first`,
    { picture: name },
  )
}

async function sizeOf(bytes: Buffer, name: string): Promise<{ width: number; height: number }> {
  const start = bytes.subarray(0, 32).toString('latin1')
  if (!formats.some((begins) => begins.test(start))) {
    const message = `${name} is none of JPEG, PNG, WebP, AVIF, TIFF and GIF`
    throw new Problem(422, 'PICTURE_UNREADABLE', message, { picture: name })
  }
  try {
    return await sharp(bytes, { limitInputPixels: false }).metadata()
  } catch {
    const message = `${name} is damaged, cut off or of an unusual kind`
    throw new Problem(422, 'PICTURE_UNREADABLE', message, { picture: name })
  }
}
