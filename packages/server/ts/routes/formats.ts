/** The format that a client wants a picture in. */
import { serverProblem } from '../problem.js'

export const pictureTypes = {
  'image/png': 'png',
  'image/webp': 'webp',
  'image/jpeg': 'jpeg',
} as const
export type PictureType = keyof typeof pictureTypes

const types = Object.keys(pictureTypes) as PictureType[]

/**
 * The one of the highest quality in `accept`, PNG where it does not matter.
 *
 * @throws Problem 406
 */
export function typeFor(accept: string | undefined): PictureType {
  if (accept === undefined || accept.trim() === '') return 'image/png'
  const ranges = accept.slice(0, 1000).split(',').map(rangeOf)
  const rated = types
    .map((type) => ({ type, quality: qualityOf(type, ranges) }))
    .filter(({ quality }) => quality > 0)
    .sort((a, b) => b.quality - a.quality)
  if (rated[0]) return rated[0].type
  throw serverProblem('NOT_ACCEPTABLE', `Pictures are there as ${types.join(', ')}`)
}

interface Range {
  type: string
  quality: number
}

function rangeOf(text: string): Range {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
  const q = parameters.find((each) => each.startsWith('q='))
  const quality = q === undefined ? 1 : Number(q.slice(2))
  return { type, quality: Number.isFinite(quality) ? quality : 0 }
}

/** What names the type itself counts before `image/*`, and that before anything. */
function qualityOf(type: string, ranges: readonly Range[]): number {
  for (const wanted of [type, 'image/*', '*/*']) {
    const range = ranges.find((each) => each.type === wanted)
    if (range) return range.quality
  }
  return 0
}
