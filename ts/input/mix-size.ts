/** The size of a mix, from that of its layout picture. The rule is stated at {@link MixRequest.height}. */

interface Size {
  readonly width: number
  readonly height: number
}

/** What of a model decides the size of its mixes. */
export interface NativeSize {
  /** Side of the pictures that the model was trained on. */
  readonly nativeSize: number
  /** As {@link ModelInfo.family} has it. */
  readonly family: string
}

/**
 * Portrait sizes that Stable Diffusion XL was trained on, beside 1024 x 1024 (arXiv 2307.01952, appendix I); the
 * landscapes are the same, turned.
 */
// prettier-ignore
const portraits = [
  [512, 2048], [512, 1984], [512, 1920], [512, 1856], [576, 1792], [576, 1728], [576, 1664],
  [640, 1600], [640, 1536], [704, 1472], [704, 1408], [704, 1344], [768, 1344], [768, 1280],
  [832, 1216], [832, 1152], [896, 1152], [896, 1088], [960, 1088], [960, 1024],
] as const

const buckets: readonly Size[] = [
  { width: 1024, height: 1024 },
  ...portraits.flatMap(([short, long]) => [
    { width: short, height: long },
    { width: long, height: short },
  ]),
]

export function mixSize(
  picture: Size,
  { nativeSize, family }: NativeSize,
  width?: number,
  height?: number,
): { width: number; height: number } {
  const aspect = picture.width / picture.height
  if (family === 'sdxl' && width === undefined && height === undefined) {
    return nearestBucket(aspect, nativeSize)
  }
  const wide = height === undefined ? nativeSize * Math.sqrt(aspect) : height * aspect
  const high = width === undefined ? nativeSize / Math.sqrt(aspect) : width / aspect
  const unit = 8 * Math.max(1, Math.round(nativeSize / (family === 'sdxl' ? 128 : 64)))
  return { width: width ?? roundSide(wide, unit), height: height ?? roundSide(high, unit) }
}

/** The size of training whose aspect ratio is nearest; in proportion for models of another native size. */
function nearestBucket(aspect: number, nativeSize: number): { width: number; height: number } {
  const distance = ({ width, height }: Size) => Math.abs(Math.log(width / height / aspect))
  const nearest = buckets.reduce((best, each) => (distance(each) < distance(best) ? each : best))
  const side = (length: number) => roundSide((length * nativeSize) / 1024, 8)
  return { width: side(nearest.width), height: side(nearest.height) }
}

function roundSide(pixels: number, unit: number): number {
  const most = 4096 - (4096 % unit)
  return Math.min(most, Math.max(unit, Math.round(pixels / unit) * unit))
}
