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
  /** A picture that is not there yet leaves its place blank. */
  rows: readonly { label: string; pictures: readonly (Picture | undefined)[] }[]
  /** The size of a picture's place. Default: that of the first picture. */
  cell?: { width: number; height: number }
  /** Labels are broken into lines where they are wider than their place. */
  wrap?: boolean
}

const margin = 12
const gap = 4
const lineHeight = 20
const labelWidth = 110
/** Of wrapped labels of rows. */
const widestLabel = 200
const mostLines = 4

/** Draws `sheet` on white. */
export async function drawSheet(sheet: Sheet): Promise<Picture> {
  const letters = await Letters.load()
  const cell = sheet.cell ?? sheet.rows[0]?.pictures[0]
  if (!cell) throw new Error('a sheet needs a picture')
  const linesOf = (label: string, width: number) =>
    label.split('\n').flatMap((line) => (sheet.wrap ? letters.wrapped(line, width) : [line]))
  const columnLines = sheet.columns.map((label) => linesOf(label, cell.width).slice(0, mostLines))
  const rowLines = sheet.rows.map(({ label }) => linesOf(label, widestLabel))
  const widest = Math.max(0, ...rowLines.flat().map((line) => letters.width(line)))
  const labels = sheet.wrap ? widest && widest + 2 * gap : labelWidth

  const columns = Math.max(...sheet.rows.map(({ pictures }) => pictures.length))
  const headings = Math.max(1, ...columnLines.map((lines) => lines.length))
  const top = margin + lineHeight * (sheet.about.length + 1 + headings) + gap
  const left = margin + labels
  const textWidth = Math.max(...[sheet.title, ...sheet.about].map((line) => letters.width(line)))
  const right = left + columns * (cell.width + gap) - gap
  const rowHeight = sheet.wrap
    ? Math.max(cell.height, ...rowLines.map((lines) => lines.length * lineHeight))
    : cell.height
  const canvas = blank(
    Math.max(right, margin + textWidth) + margin,
    top + sheet.rows.length * (rowHeight + gap) - gap + margin,
  )

  letters.write(canvas, sheet.title, margin, margin, black)
  sheet.about.forEach((line, i) => {
    letters.write(canvas, line, margin, margin + (i + 1) * lineHeight, grey)
  })
  columnLines.forEach((lines, column) => {
    const y = top - lines.length * lineHeight - gap
    lines.forEach((line, i) => {
      letters.write(canvas, line, left + column * (cell.width + gap), y + i * lineHeight, black)
    })
  })
  sheet.rows.forEach(({ pictures }, row) => {
    const y = top + row * (rowHeight + gap)
    rowLines[row]!.forEach((line, i) => {
      letters.write(canvas, line, margin, y + i * lineHeight, black)
    })
    pictures.forEach((picture, i) => {
      const x = left + i * (cell.width + gap)
      if (picture) copy(canvas, picture, x, y)
      else fill(canvas, x, y, cell.width, cell.height, 238)
    })
  })
  return canvas
}

/** A picture of a part of its sides. */
export async function shrunk(picture: Picture, factor: number): Promise<Picture> {
  if (factor === 1) return picture
  const { data, info } = await sharp(picture.data, {
    limitInputPixels: false,
    raw: { width: picture.width, height: picture.height, channels: 3 },
  })
    .resize(Math.ceil(picture.width / factor), Math.ceil(picture.height / factor), { fit: 'fill' })
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data }
}

type Colour = readonly [number, number, number]
const black: Colour = [0, 0, 0]
const grey: Colour = [100, 100, 100]

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

  /** The words of a line in lines of at most that width; of longer words the end is cut off. */
  wrapped(text: string, width: number): string[] {
    const lines: string[] = []
    for (const word of text.split(' ').map((each) => this.cut(each, width))) {
      const longer = lines.length > 0 ? `${lines.at(-1)} ${word}` : word
      if (lines.length > 0 && this.width(longer) <= width) lines[lines.length - 1] = longer
      else lines.push(word)
    }
    return lines
  }

  private cut(word: string, width: number): string {
    if (this.width(word) <= width) return word
    let length = word.length
    while (length > 1 && this.width(`${word.slice(0, length)}..`) > width) length--
    return `${word.slice(0, length)}..`
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

function fill(
  canvas: Picture,
  left: number,
  top: number,
  width: number,
  height: number,
  level: number,
): void {
  for (let y = top; y < top + height; y++) {
    canvas.data.fill(level, 3 * (y * canvas.width + left), 3 * (y * canvas.width + left + width))
  }
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
