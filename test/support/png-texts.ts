/** Pictures whose texts say anything. */
import { crc32, deflateSync } from 'node:zlib'

import sharp from 'sharp'

/** A PNG of some pixels with these chunks behind its header. */
export async function pngWith(...chunks: Buffer[]): Promise<Buffer> {
  const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: 'teal' } })
    .png()
    .toBuffer()
  return Buffer.concat([png.subarray(0, 33), ...chunks, png.subarray(33)])
}

export function chunk(type: string, data: Buffer): Buffer {
  const whole = Buffer.alloc(data.length + 12)
  whole.writeUInt32BE(data.length, 0)
  whole.write(type, 4, 'latin1')
  data.copy(whole, 8)
  whole.writeUInt32BE(crc32(whole.subarray(4, -4)), data.length + 8)
  return whole
}

export function internationalText(keyword: string, text: string | Buffer, compressed = false) {
  const bytes = compressed ? deflateSync(text) : Buffer.from(text)
  const flags = Buffer.from([0, compressed ? 1 : 0, 0, 0, 0])
  return chunk('iTXt', Buffer.concat([Buffer.from(keyword), flags, bytes]))
}

/** A PNG with that as its recipe. */
export const carrying = (recipe: unknown) =>
  pngWith(
    internationalText('magicmix', typeof recipe === 'string' ? recipe : JSON.stringify(recipe)),
  )
