import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { runInNewContext } from 'node:vm'

import sharp from 'sharp'

import type { LayoutPicture } from 'magicmix'

import { mixSize } from '../dist/input/mix-size.js'
import { readPicture } from '../dist/input/picture.js'
import { packageRoot } from './support/package-root.js'
import { runNode } from './support/programs.js'
import { checkRequest } from '../dist/request/mix-options.js'

const asked = {
  fit: 'cover',
  background: 'white',
  model: { nativeSize: 512, family: 'sd1' },
} as const
const red = [255, 0, 0]
const blue = [0, 0, 255]
const white = [255, 255, 255]

function usedUp(): Response {
  const response = new Response('text')
  void response.text()
  return response
}

/** Left half red, right half blue. */
function halves(width: number, height: number): Buffer {
  const data = Buffer.alloc(width * height * 3)
  for (let i = 0; i < width * height; i++) data.set(i % width < width / 2 ? red : blue, 3 * i)
  return data
}

function encoded(width: number, height: number): sharp.Sharp {
  return sharp(halves(width, height), { raw: { width, height, channels: 3 } })
}

async function pixelsOf(picture: LayoutPicture, options = {}) {
  const read = await readPicture(picture, { ...asked, ...options })
  const { width, height, data } = read.picture
  return {
    width,
    height,
    data,
    at: (x: number, y: number) => [...data.subarray(3 * (y * width + x), 3 * (y * width + x) + 3)],
  }
}

describe('pictures', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'magicmix-pictures-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('reads every form of a picture, bit for bit if the size is right', async () => {
    const data = Buffer.from(Array.from({ length: 64 * 72 * 3 }, (_, i) => (i * 7919) % 256))
    const pixels = { data, width: 72, height: 64, channels: 3 } as const
    const picture = sharp(data, { raw: { width: 72, height: 64, channels: 3 } })
    const png = await picture.clone().png().toBuffer()
    const file = path.join(folder, 'picture.png')
    await writeFile(file, png)
    const bytes = new Uint8Array(png)

    const dataUrl = `data:image/png;base64,${png.toString('base64')}`
    const escaped = `data:image/png,${[...png].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')}`
    const chunks = [png.subarray(0, 10), png.subarray(10)]
    const forms = [
      ...[file, pathToFileURL(file), String(pathToFileURL(file))],
      ...[dataUrl, new URL(dataUrl), escaped],
      ...[png, bytes, bytes.buffer, picture, pixels, { path: file }],
      ...[new Blob(chunks), new File(chunks, 'a.png'), new Response(png)],
      ...[createReadStream(file), Readable.from(chunks), new Blob(chunks).stream()],
      runInNewContext('Uint8Array.from(bytes)', { bytes }) as Uint8Array,
      runInNewContext('Uint8Array.from(bytes).buffer', { bytes }) as ArrayBuffer,
    ]
    for (const layout of forms) {
      const read = await pixelsOf(layout, { width: 72, height: 64 })
      assert.deepEqual([read.width, read.height], [72, 64])
      assert.ok(data.equals(read.data))
    }
  })

  it('keeps what can be read only once, for the request of the mix', async () => {
    const png = await encoded(64, 64).png().toBuffer()
    for (const layout of [new Response(png), Readable.from([png]), new Blob([png])]) {
      const { kept } = await readPicture(layout, asked)
      assert.deepEqual(Buffer.from(kept as Uint8Array), png)
    }
  })

  const deferred: Record<string, [layout: LayoutPicture, message: RegExp]> = {
    'a response that is no success': [new Response('no', { status: 404 }), /status 404/],
    'a stream that breaks': [
      Readable.from(
        (function* () {
          yield Buffer.from('half')
          throw new Error('connection reset')
        })(),
      ),
      /connection reset/,
    ],
    'a stream of objects': [Readable.from([{ no: 'bytes' }]), /a object instead of bytes/],
    'a response that was read before': [usedUp(), /locked|already|unusable/i],
    'bytes that are no picture': [new Blob(['text']), /unsupported image format/],
  }
  for (const [what, [layout, message]] of Object.entries(deferred)) {
    it(`refuses ${what}`, async () => {
      await assert.rejects(readPicture(layout, asked), { code: 'PICTURE_UNREADABLE', message })
    })
  }

  const elsewhere: Record<string, [layout: unknown, message: RegExp]> = {
    'a URL of the web': [
      'https://example.org/a.png',
      /https: pass what `await fetch\(url\)` gives/,
    ],
    'a URL object of the web': [new URL('http://example.org/a.png'), /http: pass what/],
    'a promise': [Promise.resolve(Buffer.alloc(3)), /`await` is missing/],
    'a number': [3, /Blob, File, Response, stream/],
  }
  for (const [what, [layout, message]] of Object.entries(elsewhere)) {
    it(`refuses ${what} by name`, () => {
      const refused = { code: 'INVALID_ARGUMENT', message }
      assert.throws(() => checkRequest({ layout, content: 'a' }), refused)
    })
  }

  it('makes 8 bits of every depth that a sharp instance was set to', async () => {
    const expected = await pixelsOf(encoded(64, 64))
    for (const depth of ['uchar', 'ushort', 'float', 'double'] as const) {
      const read = await pixelsOf(encoded(64, 64).raw({ depth }))
      assert.deepEqual(read.data, expected.data, depth)
    }
  })

  it('leaves a sharp instance usable', async () => {
    const picture = encoded(64, 64)
    await pixelsOf(picture)
    assert.equal((await picture.png().toBuffer({ resolveWithObject: true })).info.width, 64)
  })

  it('renders the operations of a sharp instance first', async () => {
    const read = await pixelsOf(
      encoded(64, 64).extract({ left: 0, top: 0, width: 32, height: 64 }),
      {
        width: 64,
        height: 64,
      },
    )
    assert.deepEqual(read.at(63, 10), red)
  })

  it('honours the EXIF orientation', async () => {
    // 6: the camera was turned, so what is left in the file is the top of the picture.
    const turned = await encoded(64, 32).withMetadata({ orientation: 6 }).png().toBuffer()
    for (const layout of [turned, sharp(turned)]) {
      const read = await pixelsOf(layout, { width: 32, height: 64 })
      assert.deepEqual([read.at(16, 0), read.at(16, 63)], [red, blue])
    }
    assert.deepEqual(mixSize({ width: 32, height: 64 }, asked.model), { width: 384, height: 704 })
    const free = await pixelsOf(turned)
    assert.deepEqual([free.width, free.height], [384, 704])
  })

  it('puts a background behind transparent pixels', async () => {
    const data = Buffer.from(Array.from({ length: 64 }, () => [255, 0, 0, 0]).flat())
    const pixels = { data, width: 8, height: 8, channels: 4 } as const
    const size = { width: 8, height: 8 }
    assert.deepEqual((await pixelsOf(pixels, size)).at(3, 3), white)
    assert.deepEqual((await pixelsOf(pixels, { ...size, background: 'blue' })).at(3, 3), blue)
    const png = await sharp(data, { raw: pixels }).png().toBuffer()
    for (const layout of [png, sharp(png)]) {
      assert.deepEqual((await pixelsOf(layout, size)).at(3, 3), white)
    }
  })

  it('makes colour of grey, with and without alpha, and of 16 bits', async () => {
    const size = { width: 8, height: 8 }
    const grey = { data: Buffer.alloc(64, 90), width: 8, height: 8, channels: 1 } as const
    assert.deepEqual((await pixelsOf(grey, size)).at(1, 1), [90, 90, 90])
    const greyAlpha = { ...grey, data: Buffer.alloc(128, 255), channels: 2 } as const
    assert.deepEqual((await pixelsOf(greyAlpha, size)).at(1, 1), white)
    const deep = await sharp({ create: { ...size, channels: 3, background: '#336699' } })
      .toColourspace('rgb16')
      .png()
      .toBuffer()
    assert.equal((await sharp(deep).metadata()).depth, 'ushort')
    for (const layout of [deep, sharp(deep)]) {
      assert.deepEqual((await pixelsOf(layout, size)).at(1, 1), [0x33, 0x66, 0x99])
    }
  })

  it('leaves a coloured background its colour beside and behind a grey picture', async () => {
    const grey = encoded(64, 64).toColourspace('b-w')
    const forms = {
      grey: await grey.png().toBuffer(),
      'grey with alpha': await grey.clone().ensureAlpha(0.5).png().toBuffer(),
      '16 bits': await grey.clone().toColourspace('grey16').png().toBuffer(),
    }
    for (const [form, layout] of Object.entries(forms)) {
      const options = { width: 128, height: 64, fit: 'contain', background: '#ff0000' }
      const read = await pixelsOf(layout, options)
      assert.deepEqual(read.at(2, 2), red, form)
      const [r, g, b] = read.at(64, 32) as [number, number, number]
      if (form === 'grey with alpha') assert.ok(r > g && g === b)
      else assert.ok(r === g && g === b, form)
    }
  })

  it('refuses a background that is not opaque', async () => {
    const layout = await encoded(64, 64).png().toBuffer()
    for (const background of ['transparent', '#ff000080', 'rgba(0, 0, 0, 0.5)']) {
      const refused = { code: 'INVALID_ARGUMENT', message: /an opaque colour for background/ }
      await assert.rejects(pixelsOf(layout, { background }), refused)
    }
  })

  it('fits in as asked', async () => {
    const wide = await encoded(128, 64).png().toBuffer()
    const size = { width: 64, height: 64 }
    const cover = await pixelsOf(wide, { ...size, fit: 'cover' })
    assert.deepEqual([cover.at(0, 0), cover.at(63, 0)], [red, blue])
    const contain = await pixelsOf(wide, { ...size, fit: 'contain' })
    assert.deepEqual([contain.at(32, 0), contain.at(5, 32)], [white, red])
    const fill = await pixelsOf(wide, { ...size, fit: 'fill' })
    assert.deepEqual([fill.at(5, 0), fill.at(60, 63)], [red, blue])
  })

  it('chooses a size that Stable Diffusion XL was trained on', () => {
    const xl = { nativeSize: 1024, family: 'sdxl' } as const
    const size = (width: number, height: number, ...sides: (number | undefined)[]) =>
      Object.values(mixSize({ width, height }, xl, ...sides))
    assert.deepEqual(size(100, 100), [1024, 1024])
    assert.deepEqual(size(3000, 2000), [1216, 832])
    assert.deepEqual(size(2000, 3000), [832, 1216])
    assert.deepEqual(size(4000, 3000), [1152, 896])
    assert.deepEqual(size(1920, 1080), [1344, 768])
    assert.deepEqual(size(100, 1), [2048, 512])
    assert.deepEqual(size(3000, 2000, 768), [768, 512])
    assert.deepEqual(size(3000, 2000, 640, 640), [640, 640])
    // Turbo's
    assert.deepEqual(
      Object.values(mixSize({ width: 3, height: 2 }, { ...xl, nativeSize: 512 })),
      [608, 416],
    )
  })

  it('chooses a size near 512 x 512 that keeps the aspect ratio', () => {
    const size = (width: number, height: number, ...sides: (number | undefined)[]) =>
      Object.values(mixSize({ width, height }, asked.model, ...sides))
    assert.deepEqual(size(100, 100), [512, 512])
    assert.deepEqual(size(4000, 3000), [576, 448])
    assert.deepEqual(size(1080, 1920), [384, 704])
    assert.deepEqual(size(10000, 1), [4096, 64])
    assert.deepEqual(size(200, 100, 256), [256, 128])
    assert.deepEqual(size(200, 100, undefined, 256), [512, 256])
    assert.deepEqual(size(200, 100, 40, 48), [40, 48])
  })

  const unreadable: [what: string, layout: () => LayoutPicture, message: RegExp][] = [
    ['a missing file', () => path.join(folder, 'none.png'), /none\.png.*no such file/],
    ['text', () => Buffer.from('no picture'), /a Buffer of 10 bytes.*unsupported image format/],
    ['nothing', () => 'data:,', /it is empty/],
    ['a data: URL without data', () => 'data:image/png;base64', /a comma before its data/],
    [
      'base64',
      () => 'iVBORw0KGgo'.repeat(1000),
      /^.{0,250}base64, not a path; pass \{ bytes: text/,
    ],
    ['the home folder', () => '~/a.png', /only a shell reads '~'/],
    ['a folder', () => folder, /cannot be read/],
  ]
  for (const [what, layout, message] of unreadable) {
    it(`names ${what} that cannot be read`, async () => {
      await assert.rejects(readPicture(layout(), asked), { code: 'PICTURE_UNREADABLE', message })
    })
  }

  const box = (brand: string) => `\0\0\0\x18ftyp${brand}\0\0\0\0mif1${brand}`
  const formats: [name: string, begin: string, advice: RegExp][] = [
    ['a HEIC picture (HEIF)', box('heic'), /convert it to PNG or JPEG first/],
    ['a raw photograph of a camera', box('crx '), /convert it to PNG/],
    ['a video', box('isom').replace('mif1', 'mp41'), /take a picture out of it/],
    ['a BMP', 'BM', /convert it to PNG/],
    ['a JPEG XL', '\xff\x0a', /convert it to PNG/],
    ['a JPEG XL', '\0\0\0\x0cJXL \r\n\x87\n', /convert it to PNG/],
    ['a JPEG 2000', '\0\0\0\x0cjP  \r\n\x87\n', /convert it to PNG/],
    ['a Photoshop document', '8BPS\0\x01', /convert it to PNG/],
    ['a Windows icon', '\0\0\x01\0\x01\0', /convert it to PNG/],
    ['a PDF', '%PDF-1.7\n', /render it to PNG or JPEG first/],
    ['a web page (HTML)', '\n<!DOCTYPE html><html><svg></svg></html>', /a server answered/],
    ['a web page (HTML)', '<html lang="en">', /a server answered/],
    ['text in JSON', '{"error":"Not found"}', /a server answered/],
    ['a pointer of Git LFS', 'version https://git-lfs.github.com/spec/v1\noid', /`git lfs pull`/],
    ['a ZIP archive', 'PK\x03\x04', /a picture that is in it/],
    ['a PNG', '\x89PNG\r\n\x1a\n', /damaged, cut off/],
    ['an SVG', '<?xml version="1.0"?>\n<!-- a --><svg width="8" height="8"', /damaged, cut off/],
  ]
  for (const [name, begin, advice] of formats) {
    it(`names what cannot be read, and what would be right: ${name}`, async () => {
      const bytes = Buffer.from(begin + '\0'.repeat(/^\W?[<{v]/.test(begin) ? 0 : 100), 'latin1')
      const file = path.join(folder, 'layout')
      await writeFile(file, bytes)
      const dataUrl = `data:image/png;base64,${bytes.toString('base64')}`
      for (const layout of [bytes, file, pathToFileURL(file), dataUrl, new Blob([bytes])]) {
        await assert.rejects(readPicture(layout, asked), (error: Error & { code?: string }) => {
          assert.equal(error.code, 'PICTURE_UNREADABLE')
          assert.ok(error.message.includes(`it is ${name}, `), error.message)
          assert.match(error.message, advice)
          assert.ok(!error.message.includes('\n'))
          return true
        })
      }
    })
  }

  it('reads AVIF, GIF, TIFF, WebP and SVG', async () => {
    for (const format of ['avif', 'gif', 'tiff', 'webp'] as const) {
      const read = await pixelsOf(await encoded(64, 64).toFormat(format).toBuffer())
      const [r, g, b] = read.at(10, 10) as [number, number, number]
      assert.ok(r > 240 && g < 15 && b < 15, format)
    }
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><title>\u00e9</title>
      <rect width="8" height="8" fill="red"/></svg>`
    for (const layout of [Buffer.from(svg), `data:image/svg+xml;utf8,${svg}`]) {
      assert.deepEqual((await pixelsOf(layout)).at(5, 5), red)
    }
  })

  it('reads a photo of 108 megapixels without ever holding them', async function () {
    if (process.platform !== 'linux') return this.skip()
    const file = path.join(folder, 'photo.jpg')
    const [width, height] = [12_000, 9_000]
    await sharp({ create: { width, height, channels: 3, background: '#336699' } })
      .withMetadata({ orientation: 6 })
      .jpeg()
      .toFile(file)
    const program = `
      const { readPicture } = require(${JSON.stringify(path.join(packageRoot, 'dist/input/picture.js'))})
      readPicture(${JSON.stringify(file)}, ${JSON.stringify(asked)}).then(({ picture }) => {
        const { width, height, data } = picture
        // Not resourceUsage: its maximum is at least what the parent process had.
        const [, peak] = /VmHWM:\\s+(\\d+)/.exec(require('fs').readFileSync('/proc/self/status', 'utf8'))
        console.log(JSON.stringify({ width, height, first: [...data.subarray(0, 3)], peak: +peak }))
      })`
    const { stdout, stderr } = await runNode(['-e', program], folder)
    assert.equal(stderr, '')
    const { peak, first, ...size } = JSON.parse(stdout) as { peak: number; first: number[] }
    assert.deepEqual(size, { width: 448, height: 576 })
    for (const [i, value] of [0x33, 0x66, 0x99].entries()) {
      assert.ok(Math.abs(first[i]! - value) <= 2, String(first))
    }
    assert.ok(peak * 1024 < 3 * width * height, `${peak} KiB`)
  })

  it('refuses a picture that was cut off', async () => {
    const noise = Buffer.from(Array.from({ length: 128 * 128 * 3 }, (_, i) => (i * 7919) % 251))
    const raw = { width: 128, height: 128, channels: 3 } as const
    for (const format of ['png', 'jpeg'] as const) {
      const whole = await sharp(noise, { raw }).toFormat(format).toBuffer()
      await assert.rejects(readPicture(whole.subarray(0, whole.length / 2), asked), {
        code: 'PICTURE_UNREADABLE',
      })
    }
  })

  it('refuses a picture of too many pixels before it decodes them', async () => {
    const huge = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="20000" height="20000"></svg>',
    )
    await assert.rejects(readPicture(huge, asked), {
      code: 'PICTURE_UNREADABLE',
      message: /it has 20000 x 20000 pixels, and at most 134 million are read/,
    })
  })

  it('refuses a background that is no colour', async () => {
    const pixels = { data: halves(8, 8), width: 8, height: 8, channels: 3 } as const
    await assert.rejects(readPicture(pixels, { ...asked, background: 'blurple' }), {
      code: 'INVALID_ARGUMENT',
      message: /background but received 'blurple'/,
    })
  })
})
