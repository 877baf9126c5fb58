/** The pictures of a request: where they stand in it, and what is read from them. */
import { isPrompt } from '../input/layout.js'
import type { NativeSize } from '../input/mix-size.js'
import {
  type PictureSource,
  type ReadPicture,
  checkPicture,
  readMap,
  readPicture,
  sizeOfMix,
  sizeOfPicture,
} from '../input/picture.js'
import type { LayoutPicture } from '../input/picture-forms.js'
import type { Picture } from '../pixels.js'
import { type CheckedMixRequest, type FilledMixRequest, layoutOf } from './mix-options.js'

/** The options that hold pictures. */
type PictureOptions = Pick<FilledMixRequest, 'layout' | 'layouts' | 'nuMap' | 'kMaxMap'>

/** What was read for a request. */
export interface RequestPictures {
  /** Of the mix, in pixels. */
  size: { width: number; height: number }
  /** RGB pixels of that size; null for a layout prompt. */
  layout: { pixels: Uint8Array; weight: number }[] | null
  /** A number for every cell. */
  nuMap: Float32Array | null
  kMaxMap: Float32Array | null
  /** The pictures in forms that can be read again. */
  kept: PictureOptions
  /** What is known of them, by their places in the request. */
  sources: Readonly<Record<string, PictureSource>>
}

/** Every picture of a request with its place there: 'layout', 'layouts[0]', 'nuMap'. */
export function picturesOf(request: PictureOptions): { place: string; picture: LayoutPicture }[] {
  const found: { place: string; picture: LayoutPicture }[] = []
  mapPictures(request, (picture, place) => {
    found.push({ place, picture })
    return picture
  })
  return found
}

/** The same options with something else in the place of each picture. */
export function mapPictures<T>(
  { layout, layouts, nuMap, kMaxMap }: PictureOptions,
  change: (picture: LayoutPicture, place: string) => T,
) {
  return {
    layout: layout === undefined || isPrompt(layout) ? layout : change(layout, 'layout'),
    layouts:
      layouts &&
      layouts.map(({ picture, weight }, i) => ({
        picture: change(picture, `layouts[${i}]`),
        weight,
      })),
    nuMap: nuMap && change(nuMap, 'nuMap'),
    kMaxMap: kMaxMap && change(kMaxMap, 'kMaxMap'),
  }
}

/** Reads them all. The first picture of the layout says the size. */
export async function readPictures(
  request: CheckedMixRequest,
  model: NativeSize,
  signal: AbortSignal,
): Promise<RequestPictures> {
  const { width = model.nativeSize, height = model.nativeSize } = request
  const layout = layoutOf(request)
  let size = { width, height }
  const read = new Map<string, ReadPicture<unknown>>()
  const pixels: RequestPictures['layout'] = isPrompt(layout) ? null : []
  if (!isPrompt(layout)) {
    let options: Omit<Parameters<typeof readPicture>[1], 'model'> = request
    for (const [i, { picture, weight }] of layout.entries()) {
      const place = request.layouts ? `layouts[${i}]` : 'layout'
      const each: ReadPicture<Picture> = await readPicture(
        picture,
        { ...options, model, signal },
        place,
      )
      read.set(place, each)
      const { data, ...sides } = each.picture
      size = sides
      options = { ...request, ...size }
      pixels!.push({ pixels: data, weight })
    }
  }
  const map = async (place: 'nuMap' | 'kMaxMap'): Promise<Float32Array | null> => {
    const { [place]: picture, fit } = request
    if (!picture) return null
    const each = await readMap(picture, { ...size, fit, signal }, place)
    read.set(place, each)
    return each.picture
  }
  return {
    size,
    layout: pixels,
    nuMap: await map('nuMap'),
    kMaxMap: await map('kMaxMap'),
    kept: mapPictures(request, (_, place) => read.get(place)!.kept),
    sources: Object.fromEntries([...read].map(([place, { source }]) => [place, source])),
  }
}

/** The size of the mix from the headers of the pictures, which are all looked at. */
export async function sizeFromHeaders(
  request: CheckedMixRequest,
  model: NativeSize,
): Promise<{ width: number; height: number }> {
  const { width = model.nativeSize, height = model.nativeSize } = request
  let size: { width: number; height: number } | undefined
  for (const { place, picture } of picturesOf(request)) {
    if (size === undefined && place.startsWith('layout')) {
      size = await sizeOfMix(picture, { ...request, model }, place)
    } else {
      await sizeOfPicture(picture, place)
    }
  }
  return size ?? { width, height }
}

/** Throws what reading them would, as far as their headers tell. */
export async function checkPictures(request: CheckedMixRequest): Promise<void> {
  for (const { place, picture } of picturesOf(request)) {
    await checkPicture(picture, request.background, place)
  }
}
