/**
 * Puts a recipe into the file of a picture: as JSON into XMP, which all formats have, and in PNG into a text
 * of its own as well; and its `parameters` where readers of these look, in PNG a text, else EXIF's UserComment.
 */
import { crc32 } from 'node:zlib'

import { MagicMixError } from '../errors.js'
import type { Sharp } from '../sharp.js'
import { parametersOf } from './parameters.js'
import type { PictureRecipe } from './picture-recipe.js'
import { keyword, namespace } from './carried.js'

/** libvips leaves out, and says nothing of it, what is longer in a JPEG. */
const mostInJpeg = 60_000
/** EXIF holds 64 KiB, in UTF-16. */
const mostParameters = 16_000

/** Formats that carry one. */
export type WrittenFormat = 'png' | 'jpeg' | 'webp' | 'avif' | 'tiff'
export const writtenFormats: readonly WrittenFormat[] = ['png', 'jpeg', 'webp', 'avif', 'tiff']

/** The bytes of `picture` in a format, with its recipe. */
export async function withRecipe(
  picture: Sharp,
  format: WrittenFormat,
  recipe: PictureRecipe,
): Promise<ReturnType<typeof Buffer.alloc>> {
  const json = asciiJson(recipe)
  const xmp = xmpOf(json)
  if (format === 'jpeg' && xmp.length > mostInJpeg) {
    throw new MagicMixError(
      'PICTURE_UNWRITABLE',
      `The recipe has ${xmp.length} bytes, of which a JPEG holds ${mostInJpeg}; write another format`,
      {},
    )
  }
  const parameters = parametersOf(recipe).slice(0, mostParameters)
  const carrying = picture.withXmp(xmp)
  if (format === 'png') {
    const texts = [internationalText(keyword, json), textChunk('parameters', parameters)]
    return insertChunks(await carrying.png().toBuffer(), texts)
  }
  const placeholder = placeholderFor(parameters)
  const comment = { IFD2: { UserComment: placeholder } } // of the IFD that EXIF calls its own
  const bytes = await carrying.withExif(comment).toFormat(format).toBuffer()
  replaceComment(bytes, placeholder, parameters)
  return bytes
}

/** Programs on the way take text for Latin-1, or for UTF-8, as they like. */
function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function xmpOf(json: string): string {
  const text = json.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">' +
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">' +
    `<rdf:Description rdf:about="" xmlns:${keyword}="${namespace}">` +
    `<${keyword}:recipe>${text}</${keyword}:recipe></rdf:Description></rdf:RDF></x:xmpmeta>`
  )
}

// -------------------------------------------------------------------------------------------------
// PNG. sharp writes no texts.

const signatureAndHeader = 8 + 25

function insertChunks(png: Buffer, chunks: readonly Buffer[]) {
  const [head, rest] = [png.subarray(0, signatureAndHeader), png.subarray(signatureAndHeader)]
  return Buffer.concat([head, ...chunks, rest])
}

function textChunk(name: string, text: string): Buffer {
  // eslint-disable-next-line no-control-regex
  const isLatin1 = /^[\x00-\xff]*$/.test(text)
  if (!isLatin1) return internationalText(name, text)
  return chunk('tEXt', Buffer.from(`${name}\0${text}`, 'latin1'))
}

/** Not compressed, of no language. */
function internationalText(name: string, text: string): Buffer {
  return chunk('iTXt', Buffer.from(`${name}\0\0\0\0\0${text}`))
}

function chunk(type: string, data: Buffer): Buffer {
  const typeAndData = Buffer.concat([Buffer.from(type), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(data.length)
  const check = Buffer.alloc(4)
  check.writeUInt32BE(crc32(typeAndData))
  return Buffer.concat([length, typeAndData, check])
}

// -------------------------------------------------------------------------------------------------
// EXIF. sharp writes a UserComment in ASCII only, and other letters as question marks: it is given one that
// takes the place of the same in UTF-16.

const ascii = 'ASCII\0\0\0'

function placeholderFor(text: string): string {
  const mark = 'magicmix UserComment '
  return mark.repeat(Math.ceil((2 * text.length) / mark.length)).slice(0, 2 * text.length)
}

function replaceComment(bytes: Buffer, placeholder: string, text: string): void {
  const at = bytes.indexOf(ascii + placeholder, 0, 'latin1')
  if (at < 0) return // a format without EXIF
  bytes.write('UNICODE\0', at, 'latin1')
  Buffer.from(text, 'utf16le')
    .swap16()
    .copy(bytes, at + ascii.length)
}
