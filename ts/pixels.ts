/** Decoded pictures. */

/**
 * RGB pixels.
 *
 * @example
 * ```ts
 * import type { Picture } from 'magicmix'
 * import sharp from 'sharp'
 *
 * const save = async ({ preview, step }: { preview?: Picture; step: number }) => {
 *   if (!preview) return
 *   const { data, width, height } = preview
 *   await sharp(data, { raw: { width, height, channels: 3 } }).toFile(`preview-${step}.png`)
 * }
 * await mixer.mix({ ...request, previewEvery: 10, onProgress: save })
 * ```
 */
export interface Picture {
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** RGB, row by row: `[height, width, 3]`. */
  data: Uint8Array
}
