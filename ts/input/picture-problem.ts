/** Why a picture cannot be read: what its first bytes show it to be, and what would be right. */
import { messageOf } from '../errors.js'

/** How a format begins; text where it is text, whose white space and case do not count. */
interface Format {
  begins: RegExp
  name: string
  /** What is wrong with it, and what to do; nothing for the formats that are read. */
  advice?: string
}

const convert = 'which is not read; convert it to PNG or JPEG first'
const render = 'which is not read; render it to PNG or JPEG first'
const frame = 'which is not read; take a picture out of it first, as PNG or JPEG'
const answer = 'not a picture; it may be what a server answered in the place of one'
const raw = 'a raw photograph of a camera'

/* eslint-disable no-control-regex -- bytes */
/** Matched against bytes as Latin-1. The order counts. */
const formats: readonly Format[] = [
  { begins: /^\xff\xd8\xff/, name: 'a JPEG' },
  { begins: /^\x89PNG/, name: 'a PNG' },
  { begins: /^RIFF....WEBP/s, name: 'a WebP' },
  { begins: /^GIF8/, name: 'a GIF' },
  { begins: /^II\*\0....CR/s, name: raw, advice: convert },
  { begins: /^(II\*\0|MM\0\*|II\+\0|MM\0\+)/, name: 'a TIFF' },
  { begins: /^....ftypcrx /s, name: raw, advice: convert },
  { begins: /^(FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0)/, name: raw, advice: convert },
  { begins: /^....ftyp(.{4}){0,8}?avi[fs]/s, name: 'an AVIF' },
  {
    begins: /^....ftyp(.{4}){0,8}?(hei[cxms]|hev[cxms]|mif1|msf1)/s,
    name: 'a HEIC picture (HEIF)',
    advice: convert,
  },
  {
    begins: /^....ftyp/s,
    name: 'a video',
    advice: frame,
  },
  { begins: /^BM/, name: 'a BMP', advice: convert },
  { begins: /^(\xff\x0a|\0\0\0\x0cJXL )/, name: 'a JPEG XL', advice: convert },
  { begins: /^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/, name: 'a JPEG 2000', advice: convert },
  { begins: /^8BPS/, name: 'a Photoshop document', advice: convert },
  { begins: /^gimp xcf/, name: 'a GIMP document', advice: convert },
  { begins: /^\0\0[\x01\x02]\0[^\0]\0/, name: 'a Windows icon', advice: convert },
  { begins: /^v\/1\x01/, name: 'an OpenEXR', advice: convert },
  { begins: /^#\?(RADIANCE|RGBE)/, name: 'a Radiance HDR', advice: convert },
  { begins: /^P[1-7][\s#]/, name: 'a PNM', advice: convert },
  { begins: /^qoif/, name: 'a QOI', advice: convert },
  { begins: /^DDS /, name: 'a DDS texture', advice: convert },
  { begins: /^%!PS/, name: 'PostScript', advice: render },
  { begins: /^%PDF/, name: 'a PDF', advice: render },
  { begins: /^\x1a\x45\xdf\xa3/, name: 'a video', advice: frame },
  {
    begins: /^PK\x03\x04/,
    name: 'a ZIP archive',
    advice: 'which is not read; give a picture that is in it',
  },
  {
    begins: /^version https:\/\/git-lfs/,
    name: 'a pointer of Git LFS',
    advice: 'not the picture itself; `git lfs pull` brings it',
  },
  { begins: /^\s*(<!doctype html|<html|<head)/i, name: 'a web page (HTML)', advice: answer },
  { begins: /^\s*(<\?xml[^>]*>\s*|<!--.*?-->\s*|<!doctype svg.*?>\s*)*<svg/is, name: 'an SVG' },
  { begins: /^\s*[{[]\s*["{[\]}]/, name: 'text in JSON', advice: answer },
]

/** The first bytes that count, and a mark at their beginning that does not. */
function textOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024))
  return text.toString('latin1').replace(/^\xef\xbb\xbf/, '')
}

/** Whether a file begins like a picture of pixels that is read. */
export function beginsLikePicture(bytes: Uint8Array): boolean {
  const text = textOf(bytes)
  const format = formats.find(({ begins }) => begins.test(text))
  return format !== undefined && format.advice === undefined && format.name !== 'an SVG'
}

/** Whether a picture of any size is read with little memory: it is made smaller while it is decoded. */
export function shrinksOnLoad(bytes: Uint8Array): boolean {
  return textOf(bytes).startsWith('\xff\xd8\xff')
}

/**
 * What is wrong with a picture that cannot be decoded.
 *
 * @param bytes its file, where it came so far
 */
export function problemOf(error: unknown, bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return messageOf(error)
  if (bytes.length === 0) return 'it is empty'
  const reason = firstLine(messageOf(error))
  const text = textOf(bytes)
  const format = formats.find(({ begins }) => begins.test(text))
  if (format === undefined) {
    return `it is none of JPEG, PNG, WebP, AVIF, TIFF, GIF and SVG, which are read (${reason})`
  }
  const { name, advice } = format
  return advice === undefined
    ? `it is ${name}, but damaged, cut off or of an unusual kind (${reason})`
    : `it is ${name}, ${advice}`
}

/** libvips says the same again and again, and what it tried on the way. */
function firstLine(message: string): string {
  const lines = message
    .split('\n')
    .map((line) => line.replace(/^Input \w+ has corrupt header:\s*/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('source: '))
  return lines[0] ?? 'its header'
}

/** What a text is that was given for the path of a picture, and is none. */
export function problemOfPath(file: string, error: unknown): string {
  if (/^(iVBORw0KGgo|\/9j\/|R0lGOD|UklGR)/.test(file) && file.length > 100) {
    return "it is base64, not a path; pass { bytes: text }, or Buffer.from(text, 'base64')"
  }
  if (/^~[/\\]/.test(file)) {
    return `only a shell reads '~' as the home folder; give the whole path (${messageOf(error)})`
  }
  return messageOf(error)
}
