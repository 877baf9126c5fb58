/** The option `layout`: a picture in any form, or a prompt. */
import { types } from 'node:util'

import { namesFile } from '../options/option.js'
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

/** A layout that is itself generated, from a prompt. */
export interface LayoutPrompt {
  /** The subject of the layout; at most 75 tokens. */
  prompt: string
}

/** Raw pixels as JSON can hold them. */
export interface JsonPixels extends Omit<RawPixels, 'data'> {
  /** The bytes of {@link RawPixels.data} in base64. */
  data: string
}

export function isPrompt(layout: LayoutPicture | LayoutPrompt): layout is LayoutPrompt {
  return isRecord(layout) && 'prompt' in layout && !isDeferred(layout)
}

const hash = { type: 'string', pattern: '^[0-9a-f]{64}$' }
const base64 = { type: 'string', contentEncoding: 'base64', minLength: 1 }
const side = { type: 'integer', minimum: 1, maximum: 1 << 15 }

export const layout = {
  help: 'where shape, colour and pose come from: a picture (path, `file:` or `data:` URL, bytes, `Blob`, `Response`, stream, `sharp` instance, pixels), or `{ prompt }`',
  range: '',
  required: true as const,
  check: checkLayout,
  schema: {
    anyOf: [
      { type: 'string', minLength: 1, ...namesFile },
      closed({ prompt: { type: 'string' } }),
      closed({ path: { type: 'string', minLength: 1, ...namesFile } }, { sha256: hash }),
      closed({ bytes: base64 }, { sha256: hash }),
      closed({
        data: base64,
        width: side,
        height: side,
        channels: { type: 'integer', minimum: 1, maximum: 4 },
      }),
    ],
  },
}

function closed(required: object, optional: object = {}) {
  return {
    type: 'object',
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  }
}

function checkLayout(value: unknown): LayoutPicture | LayoutPrompt {
  if (typeof value === 'string' || isUrl(value)) return checkLocation(value)
  if (isSharp(value)) return value
  if (isBytes(value)) {
    if (value.byteLength === 0) throw invalid('layout', 'the bytes of a picture', value)
    return value
  }
  if (types.isPromise(value)) {
    throw invalid('layout', 'a picture, not the promise of one (an `await` is missing),', value)
  }
  if (isDeferred(value)) return value
  if (isRecord(value)) {
    if ('prompt' in value) {
      refuseUnknownKeys(value, ['prompt'], 'layout')
      return { prompt: text(value.prompt, 'layout.prompt') }
    }
    if ('data' in value) return checkPixels(value)
    if ('path' in value || 'bytes' in value) return checkEncoded(value)
    if ('sha256' in value || 'described' in value) {
      throw invalid(
        'layout',
        'the picture itself beside its description, as { path, sha256 } or { bytes, sha256 },',
        value,
      )
    }
  }
  throw invalid(
    'layout',
    'a picture (path, file: or data: URL, Buffer, Uint8Array, ArrayBuffer, Blob, File, Response, ' +
      "stream, sharp or { data, width, height, channels }) or { prompt: '...' }",
    value,
  )
}

/** A path, or a URL whose bytes are here. */
function checkLocation(value: string | URL): string | URL {
  const location = typeof value === 'string' ? nonEmptyText(value, 'layout') : value.href
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(location)?.[1]?.toLowerCase() ?? ''
  const isElsewhere = typeof value === 'string' ? /^(https?|ftp|blob)$/.test(scheme) : true
  if (isElsewhere && !['file', 'data'].includes(scheme)) {
    throw invalid(
      'layout',
      `a picture that is here (of ${scheme}: pass what \`await fetch(url)\` gives)`,
      location,
    )
  }
  return value
}

function checkPixels(value: UnknownRecord): RawPixels {
  refuseUnknownKeys(value, ['data', 'width', 'height', 'channels'], 'layout')
  const width = integerBetween(value.width, 1, 1 << 15, 'layout.width')
  const height = integerBetween(value.height, 1, 1 << 15, 'layout.height')
  const channels = integerBetween(value.channels, 1, 4, 'layout.channels') as 1 | 2 | 3 | 4
  const data = typeof value.data === 'string' ? decoded(value.data, 'layout.data') : value.data
  if (!(types.isUint8Array(data) || types.isUint8ClampedArray(data))) {
    throw invalid('layout.data', 'a Uint8Array', data)
  }
  if (data.length !== width * height * channels) {
    throw invalid(
      'layout.data',
      `width x height x channels = ${width * height * channels} bytes`,
      data,
    )
  }
  return { data, width, height, channels }
}

/** The forms in which JSON holds a picture's file. */
function checkEncoded(value: UnknownRecord): EncodedPicture {
  const kind = 'path' in value ? 'path' : 'bytes'
  refuseUnknownKeys(value, [kind, 'sha256'], 'layout')
  const { sha256 } = value
  if (sha256 !== undefined && !(typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256))) {
    throw invalid('layout.sha256', '64 hexadecimal digits', sha256)
  }
  const picture =
    kind === 'path'
      ? { path: nonEmptyText(value.path, 'layout.path') }
      : { bytes: text(value.bytes, 'layout.bytes') }
  if ('bytes' in picture) decoded(picture.bytes, 'layout.bytes')
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
