/** Decoded pictures. */

/** RGB pixels. */
export interface Picture {
  /** In pixels. */
  width: number
  /** In pixels. */
  height: number
  /** RGB, row by row: `[height, width, 3]`. */
  data: Uint8Array
}
