/** Contact sheets: pictures in rows and columns, with labels, as one picture. */
import path from 'node:path'

import { nativeRoot } from '../package-files.js'
import { sharp } from '../sharp.js'
import type { Picture } from '../pixels.js'

export interface Sheet {
  title: string
  /** Explanations, one line each. */
  about: readonly string[]
  columns: readonly string[]
  rows: readonly { label: string; pictures: readonly Picture[] }[]
}

const margin = 12
const gap = 4
const lineHeight = 20
const labelWidth = 110

/** Draws `sheet` on white. All pictures have the size of the first. */
export async function drawSheet(sheet: Sheet): Promise<Picture> {
  const letters = await Letters.load()
  const first = sheet.rows[0]?.pictures[0]
  if (!first) throw new Error('a sheet needs a picture')
  const columns = Math.max(...sheet.rows.map(({ pictures }) => pictures.length))
  const top = margin + lineHeight * (sheet.about.length + 2) + gap
  const left = margin + labelWidth
  const textWidth = Math.max(...[sheet.title, ...sheet.about].map((line) => letters.width(line)))
  const right = left + columns * (first.width + gap) - gap
  const canvas = blank(
    Math.max(right, margin + textWidth) + margin,
    top + sheet.rows.length * (first.height + gap) - gap + margin,
  )

  letters.write(canvas, sheet.title, margin, margin, [0, 0, 0])
  sheet.about.forEach((line, i) => {
    letters.write(canvas, line, margin, margin + (i + 1) * lineHeight, [100, 100, 100])
  })
  sheet.columns.forEach((label, i) => {
    letters.write(canvas, label, left + i * (first.width + gap), top - lineHeight - gap, [0, 0, 0])
  })
  sheet.rows.forEach(({ label, pictures }, row) => {
    const y = top + row * (first.height + gap)
    label.split('\n').forEach((line, i) => {
      letters.write(canvas, line, margin, y + i * lineHeight, [0, 0, 0])
    })
    pictures.forEach((picture, i) => copy(canvas, picture, left + i * (first.width + gap), y))
  })
  return canvas
}

type Colour = readonly [number, number, number]

/** The letters of `models/glyphs.png`: sharp's own text needs fonts that may not be installed. */
class Letters {
  private static readonly cell = 16
  private static readonly firstCode = 33

  private constructor(
    private readonly strip: { data: Buffer; width: number; height: number },
    private readonly advances: readonly number[],
  ) {}

  static async load(): Promise<Letters> {
    const file = path.join(nativeRoot, 'models', 'glyphs.png')
    const { data, info } = await sharp(file)
      .toColourspace('b-w')
      .raw()
      .toBuffer({ resolveWithObject: true })
    const { width, height } = info
    const inked = (x: number) =>
      Array.from({ length: height }, (_, y) => data[y * width + x]!).some((level) => level < 200)
    const advances = Array.from({ length: width / this.cell }, (_, glyph) => {
      let last = this.cell - 1
      while (last > 0 && !inked(glyph * this.cell + last)) last--
      return last + 1
    })
    return new Letters({ data, width, height }, advances)
  }

  width(text: string): number {
    return Array.from(text, (_, i) => this.advance(text.charCodeAt(i))).reduce((a, b) => a + b, 0)
  }

  /** Characters that the strip does not have leave a space. */
  write(canvas: Picture, text: string, x: number, y: number, colour: Colour): void {
    const { data, width, height } = this.strip
    let at = x
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      const glyph = code - Letters.firstCode
      if (glyph in this.advances) {
        for (let gy = 0; gy < height; gy++) {
          for (let gx = 0; gx < Letters.cell; gx++) {
            const ink = 1 - data[gy * width + glyph * Letters.cell + gx]! / 255
            if (ink > 0) tint(canvas, at + gx, y + gy, ink, colour)
          }
        }
      }
      at += this.advance(code)
    }
  }

  private advance(code: number): number {
    return this.advances[code - Letters.firstCode] ?? 5
  }
}

function blank(width: number, height: number): Picture {
  return { width, height, data: new Uint8Array(3 * width * height).fill(255) }
}

function copy(canvas: Picture, { width, height, data }: Picture, left: number, top: number): void {
  for (let y = 0; y < height; y++) {
    const row = data.subarray(3 * y * width, 3 * (y + 1) * width)
    canvas.data.set(row, 3 * ((top + y) * canvas.width + left))
  }
}

function tint(canvas: Picture, x: number, y: number, ink: number, colour: Colour): void {
  if (x >= canvas.width || y >= canvas.height) return
  const at = 3 * (y * canvas.width + x)
  colour.forEach((level, c) => {
    canvas.data[at + c] = Math.round(canvas.data[at + c]! * (1 - ink) + level * ink)
  })
}
