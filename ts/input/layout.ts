/** Options whose values are pictures in any form: `layout`, which may be a prompt, `layouts`, and maps. */
import { types } from 'node:util'

import { UsageError } from '../errors.js'
import { namesFile, number } from '../options/option.js'
import { type UnknownRecord, integerBetween, invalid, isRecord } from '../options/validate.js'
import { nonEmptyText, refuseUnknownKeys, text } from '../options/validate.js'
import {
  type EncodedPicture,
  type LayoutPicture,
  type RawPixels,
  isBytes,
  isDeferred,
  isSharp,
  isUrl,
} from './picture-forms.js'

/**
 * A layout that is itself generated, from a prompt.
 *
 * @example
 * ```ts
 * await mixer.mix({ layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger' })
 * ```
 */
export interface LayoutPrompt {
  /** The subject of the layout; at most 75 tokens. */
  prompt: string
}

/**
 * Raw pixels as JSON can hold them.
 *
 * @example
 * ```ts
 * const grey = Buffer.alloc(64 * 64 * 3, 128)
 * const layout = { data: grey.toString('base64'), width: 64, height: 64, channels: 3 } as const
 * await mixer.mix({ layout, content: 'a photo of a tiger' })
 * ```
 */
export interface JsonPixels extends Omit<RawPixels, 'data'> {
  /** The bytes of {@link RawPixels.data} in base64. */
  data: string
}

/**
 * A picture among several.
 *
 * @example
 * ```ts
 * await mixer.mix({
 *   layouts: [{ picture: 'heart.png', weight: 2 }, 'star.png'], // two thirds, one third
 *   content: 'a photo of a tiger',
 * })
 * ```
 */
export interface WeightedPicture {
  /** In any form that `layout` takes. */
  picture: LayoutPicture | JsonPixels
  /** Its share, in proportion to those of the others: 0..100. Default 1. */
  weight?: number | undefined
}

/**
 * A {@link WeightedPicture} with its weight.
 *
 * @example
 * ```ts
 * const layouts = ['heart.png', { picture: 'star.png', weight: 0.5 }]
 * const { request: used } = await mixer.mix({ layouts, content: 'a photo of a tiger' })
 * console.log(used.layouts?.map(({ weight }) => weight)) // [ 1, 0.5 ]
 * ```
 */
export interface FilledPicture {
  /** In any form. */
  picture: LayoutPicture
  /** In proportion to those of the others. */
  weight: number
}

export function isPrompt(layout: unknown): layout is LayoutPrompt {
  return isRecord(layout) && 'prompt' in layout && !isDeferred(layout)
}

const hash = { type: 'string', pattern: '^[0-9a-f]{64}$' }
const base64 = { type: 'string', contentEncoding: 'base64', minLength: 1 }
const side = { type: 'integer', minimum: 1, maximum: 1 << 15 }

const pictureSchemas = [
  { type: 'string', minLength: 1, ...namesFile },
  closed({ path: { type: 'string', minLength: 1, ...namesFile } }, { sha256: hash }),
  closed({ bytes: base64 }, { sha256: hash }),
  closed({
    data: base64,
    width: side,
    height: side,
    channels: { type: 'integer', minimum: 1, maximum: 4 },
  }),
]

export const layout = {
  help: 'where shape, colour and pose come from: a picture (path, `file:` or `data:` URL, bytes, `Blob`, `Response`, stream, `sharp` instance, pixels), or `{ prompt }`',
  range: '',
  instead: 'layouts',
  check: checkLayout,
  schema: { anyOf: [...pictureSchemas, closed({ prompt: { type: 'string' } })] },
}

const mostPictures = 8
const pictureWeight = number(0, 100, { help: 'its share', default: 1 })

export const layouts = {
  help: 'several pictures instead of `layout`: a weighted mean of their latents; the first says the size',
  range: 'pictures, or `{ picture, weight }`',
  default: null as FilledPicture[] | null,
  defaultText: 'none',
  check: checkLayouts,
  schema: {
    anyOf: [
      { type: 'null' },
      {
        type: 'array',
        minItems: 1,
        maxItems: mostPictures,
        items: {
          anyOf: [
            ...pictureSchemas,
            closed({ picture: { anyOf: pictureSchemas } }, { weight: pictureWeight.schema }),
          ],
        },
      },
    ],
  },
  cli: {
    flag: 'also-layout',
    value: 'FILE[=WEIGHT]',
    help: 'another picture to average the layout with',
    multiple: true as const,
    parse: parseWeighted('also-layout', 'picture'),
  },
}

/** An option whose value is a grey picture with a number for every cell of the latent. */
export function cellMap(row: { help: string; flag: string }) {
  return {
    help: row.help,
    range: 'a picture',
    default: null as LayoutPicture | null,
    defaultText: 'none',
    check: (value: unknown, name: string): LayoutPicture | null =>
      value === null ? null : checkPictureForm(value, name),
    schema: { anyOf: [{ type: 'null' }, ...pictureSchemas] },
    cli: { flag: row.flag, value: 'FILE' },
  }
}

/** `corgi.jpg` or `corgi.jpg=0.5` */
export function parseWeighted(flag: string, what: string) {
  return (text: string): Record<string, unknown> => {
    const [, name = '', weight] = /^(.*?)(?:=([^=]*))?$/s.exec(text) ?? []
    const number = weight === undefined || weight.trim() === '' ? NaN : Number(weight)
    if (weight !== undefined && Number.isNaN(number)) return { [what]: text }
    if (name === '') throw new UsageError(`Expected a value for --${flag} but received '${text}'`)
    return weight === undefined ? { [what]: name } : { [what]: name, weight: number }
  }
}

function closed(required: object, optional: object = {}) {
  return {
    type: 'object',
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  }
}

function checkLayout(value: unknown, name: string): LayoutPicture | LayoutPrompt {
  if (isPrompt(value)) {
    refuseUnknownKeys(value as unknown as UnknownRecord, ['prompt'], name)
    return { prompt: text(value.prompt, `${name}.prompt`) }
  }
  return checkPictureForm(value, name, " or { prompt: '...' }")
}

function checkLayouts(value: unknown, name: string): FilledPicture[] | null {
  if (value === null) return null
  const isList = Array.isArray(value) && value.length >= 1 && value.length <= mostPictures
  if (!isList) throw invalid(name, `a list of 1 to ${mostPictures} pictures`, value)
  const pictures = value.map((each: unknown, i) => checkWeighted(each, `${name}[${i}]`))
  if (pictures.every(({ weight }) => weight === 0)) {
    throw invalid(name, 'pictures of which one has a weight above 0', value)
  }
  return pictures
}

function checkWeighted(value: unknown, name: string): FilledPicture {
  if (isPrompt(value)) {
    throw invalid(name, 'a picture (of prompts there can be one, as layout)', value)
  }
  if (!isRecord(value) || !('picture' in value)) {
    return { picture: checkPictureForm(value, name), weight: 1 }
  }
  refuseUnknownKeys(value, ['picture', 'weight'], name)
  const { picture, weight = 1 } = value
  return {
    picture: checkPictureForm(picture, `${name}.picture`),
    weight: pictureWeight.check(weight, `${name}.weight`),
  }
}

/** @param orElse what would be right beside a picture, in a message */
function checkPictureForm(value: unknown, name: string, orElse = ''): LayoutPicture {
  if (typeof value === 'string' || isUrl(value)) return checkLocation(value, name)
  if (isSharp(value)) return value
  if (isBytes(value)) {
    if (value.byteLength === 0) throw invalid(name, 'the bytes of a picture', value)
    return value
  }
  if (types.isPromise(value)) {
    throw invalid(name, 'a picture, not the promise of one (an `await` is missing),', value)
  }
  if (isDeferred(value)) return value
  if (isRecord(value)) {
    if ('data' in value) return checkPixels(value, name)
    if ('path' in value || 'bytes' in value) return checkEncoded(value, name)
    if ('sha256' in value || 'described' in value) {
      throw invalid(
        name,
        'the picture itself beside its description, as { path, sha256 } or { bytes, sha256 },',
        value,
      )
    }
  }
  throw invalid(
    name,
    'a picture (path, file: or data: URL, Buffer, Uint8Array, ArrayBuffer, Blob, File, Response, ' +
      `stream, sharp or { data, width, height, channels })${orElse}`,
    value,
  )
}

/** A path, or a URL whose bytes are here. */
function checkLocation(value: string | URL, name: string): string | URL {
  const location = typeof value === 'string' ? nonEmptyText(value, name) : value.href
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(location)?.[1]?.toLowerCase() ?? ''
  const isElsewhere = typeof value === 'string' ? /^(https?|ftp|blob)$/.test(scheme) : true
  if (isElsewhere && !['file', 'data'].includes(scheme)) {
    throw invalid(
      name,
      `a picture that is here (of ${scheme}: pass what \`await fetch(url)\` gives)`,
      location,
    )
  }
  return value
}

function checkPixels(value: UnknownRecord, name: string): RawPixels {
  refuseUnknownKeys(value, ['data', 'width', 'height', 'channels'], name)
  const width = integerBetween(value.width, 1, 1 << 15, `${name}.width`)
  const height = integerBetween(value.height, 1, 1 << 15, `${name}.height`)
  const channels = integerBetween(value.channels, 1, 4, `${name}.channels`) as 1 | 2 | 3 | 4
  const data = typeof value.data === 'string' ? decoded(value.data, `${name}.data`) : value.data
  if (!(types.isUint8Array(data) || types.isUint8ClampedArray(data))) {
    throw invalid(`${name}.data`, 'a Uint8Array', data)
  }
  if (data.length !== width * height * channels) {
    throw invalid(
      `${name}.data`,
      `width x height x channels = ${width * height * channels} bytes`,
      data,
    )
  }
  return { data, width, height, channels }
}

/** The forms in which JSON holds a picture's file. */
function checkEncoded(value: UnknownRecord, name: string): EncodedPicture {
  const kind = 'path' in value ? 'path' : 'bytes'
  refuseUnknownKeys(value, [kind, 'sha256'], name)
  const { sha256 } = value
  if (sha256 !== undefined && !(typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256))) {
    throw invalid(`${name}.sha256`, '64 hexadecimal digits', sha256)
  }
  const picture =
    kind === 'path'
      ? { path: nonEmptyText(value.path, `${name}.path`) }
      : { bytes: text(value.bytes, `${name}.bytes`) }
  if ('bytes' in picture) decoded(picture.bytes, `${name}.bytes`)
  return sha256 === undefined ? picture : { ...picture, sha256 }
}

/** Buffer.from would skip characters that are not base64. */
function decoded(base64Text: string, name: string): Buffer {
  const bytes = Buffer.from(base64Text, 'base64')
  const canonical = (text: string) => text.replace(/=+$/, '')
  if (bytes.length === 0 || canonical(bytes.toString('base64')) !== canonical(base64Text)) {
    throw invalid(name, 'bytes in base64', base64Text)
  }
  return bytes
}
