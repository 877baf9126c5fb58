/** The work of the autoencoder of Stable Diffusion, counted from its shapes. */

const channels = [128, 256, 512, 512] // from fine to coarse

/** Floating point operations of encoding and of decoding a picture of so many pixels, in units of 1e9. */
export function autoencoderGflop(pixels: number): { encode: number; decode: number } {
  const last = channels.length - 1
  const at = (level: number) => pixels / 4 ** level
  const conv = (level: number, from: number, to: number, size = 3) =>
    2 * at(level) * from * to * size * size
  const block = (level: number, from: number, to: number) =>
    conv(level, from, to) + conv(level, to, to) + (from === to ? 0 : conv(level, from, to, 1))
  const coarse = channels[last] ?? 0
  const middle =
    2 * block(last, coarse, coarse) + 4 * conv(last, coarse, coarse, 1) + 4 * at(last) ** 2 * coarse

  let encode = conv(0, 3, channels[0] ?? 0) + middle + conv(last, coarse, 8) + conv(last, 8, 8, 1)
  let decode = conv(last, 4, 4, 1) + conv(last, 4, coarse) + middle + conv(0, channels[0] ?? 0, 3)
  channels.forEach((to, level) => {
    encode += block(level, channels[level - 1] ?? to, to) + block(level, to, to)
    if (level < last) encode += conv(level + 1, to, to)
    decode += block(level, channels[level + 1] ?? to, to) + 2 * block(level, to, to)
    if (level > 0) decode += conv(level - 1, to, to)
  })
  return { encode: encode / 1e9, decode: decode / 1e9 }
}
