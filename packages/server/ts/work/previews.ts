/** Previews as events carry them. */
import type { ProgressEvent } from 'magicmix'
import sharp from 'sharp'

/** One pixel per latent cell is best kept as it is; a picture of the size of the mix would be large so. */
const largestPng = 256 * 256

/** The data of a `preview`. */
export async function previewOf({ preview, step, steps }: ProgressEvent) {
  if (!preview) throw new Error('an event without a preview')
  const { data, width, height } = preview
  const picture = sharp(data, { raw: { width, height, channels: 3 } })
  const isSmall = width * height <= largestPng
  const bytes = await (isSmall ? picture.png() : picture.jpeg({ quality: 80 })).toBuffer()
  const mediaType = isSmall ? 'image/png' : 'image/jpeg'
  return { step, steps, width, height, mediaType, base64: bytes.toString('base64') }
}

/** Things that are told in their order, however long each takes to be made. */
export class InOrder {
  private last: Promise<void> = Promise.resolve()

  then(tell: () => void | Promise<void>): void {
    this.last = this.last.then(tell)
    this.last.catch(() => {}) // `done` tells
  }

  done(): Promise<void> {
    return this.last
  }
}
