/** The bytes of pictures that come as URLs, blobs, responses and streams. */
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { Readable, addAbortSignal } from 'node:stream'
import { fileURLToPath } from 'node:url'

import {
  type DeferredPicture,
  type KeptPicture,
  type LayoutPicture,
  bufferOf,
  isBytes,
  isBytesHolder,
  isDeferred,
  isUrl,
} from './picture-forms.js'

/** A stream of more bytes is no picture. */
const maxBytes = 512 * 2 ** 20

/** A form of the same picture that can be read more than once. */
export async function keep(picture: LayoutPicture, signal?: AbortSignal): Promise<KeptPicture> {
  if (isUrl(picture)) return ofUrl(picture.href)
  if (typeof picture === 'string') return /^(file|data):/i.test(picture) ? ofUrl(picture) : picture
  if (isDeferred(picture)) return ofDeferred(picture, signal)
  return picture
}

function ofUrl(href: string): KeptPicture {
  if (/^file:/i.test(href)) return fileURLToPath(href)
  const [, kind = '', data] = /^data:([^,]*),(.*)$/is.exec(href) ?? []
  if (data === undefined) throw new Error('a data: URL has a comma before its data')
  return /;base64$/i.test(kind)
    ? Buffer.from(decodeURIComponent(data), 'base64')
    : Buffer.from(unescapeBytes(data))
}

/** `%ff` is a byte, which need not be UTF-8; other characters are. */
function unescapeBytes(text: string): Uint8Array {
  const utf8 = Buffer.from(text).toString('latin1')
  const bytes = utf8.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(parseInt(digits, 16)),
  )
  return Buffer.from(bytes, 'latin1')
}

async function ofDeferred(picture: DeferredPicture, signal?: AbortSignal): Promise<Buffer> {
  if (isBytesHolder(picture)) {
    const { ok, status } = picture as Partial<Response>
    if (ok === false) throw new Error(`the server answered with status ${status}`)
    const { body } = picture as Partial<Response>
    // Of a response the stream can be ended, its `arrayBuffer` cannot.
    return body ? collect(body, signal) : Buffer.from(await picture.arrayBuffer())
  }
  return collect(picture, signal)
}

async function collect(
  stream: Exclude<DeferredPicture, { arrayBuffer(): unknown }>,
  signal?: AbortSignal,
): Promise<Buffer> {
  const source = 'getReader' in stream ? Readable.fromWeb(stream as never) : stream
  if (signal && 'destroy' in source) addAbortSignal(signal, source)
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of source as AsyncIterable<unknown>) {
    if (!isBytes(part)) throw new Error(`the stream gave a ${typeof part} instead of bytes`)
    size += part.byteLength
    if (size > maxBytes) throw new Error(`the stream has more than ${maxBytes / 2 ** 20} MiB`)
    parts.push(bufferOf(part))
  }
  return Buffer.concat(parts)
}

/**
 * The bytes of a regular file. Opening a pipe that nobody writes to would hold one of the process's
 * few threads for files for ever.
 */
export async function fileBytes(path: string, signal?: AbortSignal): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    if (!(await file.stat()).isFile()) {
      throw new Error('it is no regular file; pass the bytes, or a stream of them')
    }
    return await file.readFile(signal ? { signal } : {})
  } finally {
    await file.close()
  }
}
