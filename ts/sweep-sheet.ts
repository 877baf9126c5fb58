/** The sheet of a sweep: a picture of its pictures. */

import { calledFrom } from './errors.js'
import {
  type FileBytes,
  type PictureFormat,
  formatOf,
  formats,
  pathOf,
  writePicture,
} from './mix.js'
import { oneOf } from './options/validate.js'
import type { Picture } from './pixels.js'
import type { CheckedMixRequest } from './request/mix-options.js'
import { type Sharp, sharp } from './sharp.js'
import { type SweepAxis, layoutLabel, valueLabel } from './sweep/axes.js'
import { drawSheet, shrunk } from './sweep/draw-sheet.js'

/** The texts of a sheet. */
export interface Captions {
  title: string
  about: readonly string[]
  columns: readonly string[]
  rows: readonly string[]
}

/** Sides of a sheet, in pixels, in all formats that it is written in. */
const longestSide = 16_000

/** Said of a sheet where they are the same in all cells. */
const told = ['nu', 'kMin', 'kMax', 'sampler', 'steps', 'seed'] as const

/** @internal The texts of a sheet of those axes; `requests` of all cells. */
export function captionsOf(
  axes: readonly SweepAxis[],
  requests: readonly CheckedMixRequest[],
): Captions {
  const labels = axes.map(({ option, values }) => values.map((each) => valueLabel(option, each)))
  const [columns = [], down = [''], groups = ['']] = labels
  const rows = groups.flatMap((group) =>
    down.map((each) => [group, each].filter(Boolean).join('\n')),
  )
  const varied = new Set<string>(axes.map(({ option }) => option))
  const first = requests[0]!
  const subjects = [
    varied.has('content') || varied.has('contents') ? '' : contentLabel(first),
    varied.has('layout') || varied.has('layouts') ? '' : `in the layout of ${layoutsLabel(first)}`,
  ]
  const common = told
    .filter((name) => !varied.has(name) && requests.every((each) => each[name] === first[name]))
    .map((name) => valueLabel(name, first[name]))
  const byMagicMix = requests.find((each) => each.method === 'magicmix')
  if (varied.has('method') && byMagicMix) {
    const { kMin, kMax } = byMagicMix
    common.push(`magicmix with ${valueLabel('nu', byMagicMix.nu)}, kMin ${kMin}, kMax ${kMax}`)
  }
  return {
    title: subjects.filter(Boolean).join(' ') || 'Mixes',
    about: common.length > 0 ? [common.join(', ')] : [],
    ...{ columns, rows },
  }
}

function contentLabel({ content, contents }: CheckedMixRequest): string {
  return contents ? valueLabel('contents', contents) : (content ?? '')
}

function layoutsLabel({ layout, layouts }: CheckedMixRequest): string {
  return layouts ? valueLabel('layouts', layouts) : layoutLabel(layout)
}

/**
 * A sheet of the cells that a sweep had when it was asked for.
 *
 * @example
 * ```ts
 * const sweep = mixer.sweep({ ...request, vary: { nu: [0.3, 0.9], kMax: [0.5] } })
 * for await (const { at } of sweep) console.log(at)
 * await sweep.sheet().toFile('sheet.png') // nu across, kMax down, with their values
 * ```
 */
export class SweepSheet {
  /** @internal */
  static of(
    captions: Captions,
    cells: readonly (Picture | undefined)[],
    empty: { width: number; height: number },
  ): SweepSheet {
    return new SweepSheet(captions, cells, empty)
  }

  private constructor(
    private readonly captions: Captions,
    private readonly cells: readonly (Picture | undefined)[],
    private readonly empty: { width: number; height: number },
  ) {}

  /**
   * The sheet as a `sharp` instance. Cells have their own size, unless a side of the sheet would be longer than
   * 16000 pixels.
   *
   * @example
   * ```ts
   * const sheet = mixer.sweep({ ...request, vary: { nu: [0.3, 0.9] } }).sheet() // blank still
   * const drawn = await sheet.toSharp()
   * await drawn.resize({ width: 300 }).toFile('small.png')
   * ```
   */
  async toSharp(): Promise<Sharp> {
    const { data, width, height } = await this.draw()
    return sharp(data, { limitInputPixels: false, raw: { width, height, channels: 3 } })
  }

  /**
   * The sheet as the bytes of a file.
   *
   * @param format 'png' (the default), 'jpeg', 'webp', 'avif' or 'tiff'
   * @throws {@link MagicMixError} INVALID_ARGUMENT
   * @example
   * ```ts
   * const sheet = mixer.sweep({ ...request, vary: { nu: [0.3, 0.9] } }).sheet() // blank still
   * const answer = new Response(await sheet.toBuffer('webp'), { headers: { 'content-type': 'image/webp' } })
   * ```
   */
  async toBuffer(format: PictureFormat = 'png'): Promise<FileBytes> {
    return calledFrom(SweepSheet.prototype.toBuffer, () => this.bytes(format))
  }

  /**
   * Writes the sheet to a file, in the format that the extension names.
   *
   * @param file a path, or a `file:` URL
   * @throws {@link MagicMixError} INVALID_ARGUMENT, PICTURE_UNWRITABLE
   * @example
   * ```ts
   * const sweep = mixer.sweep({ ...request, vary: { steps: [10, 20] } })
   * for await (const { mix } of sweep) console.log(mix.timings.total)
   * await sweep.sheet().toFile('sheet.png')
   * ```
   */
  async toFile(file: string | URL): Promise<void> {
    return calledFrom(SweepSheet.prototype.toFile, async () => {
      file = pathOf(file)
      const bytes = await this.bytes(formatOf(file))
      await writePicture(file, bytes, 'sheet')
    })
  }

  private async bytes(format: PictureFormat): Promise<FileBytes> {
    const sheet = await this.toSharp()
    return sheet.toFormat(oneOf(format, formats, 'format')).toBuffer()
  }

  private async draw(): Promise<Picture> {
    const { title, about, columns, rows } = this.captions
    const there = this.cells.filter((cell) => cell !== undefined)
    const sizes = there.length > 0 ? there : [this.empty]
    const size = {
      width: Math.max(...sizes.map(({ width }) => width)),
      height: Math.max(...sizes.map(({ height }) => height)),
    }
    const sides = [columns.length * size.width, rows.length * size.height]
    const factor = Math.max(1, Math.ceil(Math.max(...sides) / longestSide))
    const pictures: (Picture | undefined)[] = []
    for (const cell of this.cells) pictures.push(cell && (await shrunk(cell, factor)))
    return drawSheet({
      ...{ title, about, columns, wrap: true },
      cell: {
        width: Math.ceil(size.width / factor),
        height: Math.ceil(size.height / factor),
      },
      rows: rows.map((label, row) => ({
        label,
        pictures: pictures.slice(row * columns.length, (row + 1) * columns.length),
      })),
    })
  }
}
