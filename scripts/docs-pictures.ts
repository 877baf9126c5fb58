/**
 * Makes the pictures of the documentation, with the model in the package:
 *
 *     npm run docs:pictures                 # all of them, in some minutes
 *     npm run docs:pictures -- nu kmax      # these
 *
 * A sheet carries the recipe of its last mix, which `readRecipe` and `magicmix replay` read as that of any mix: a
 * recipe is of one mix, and no other form of it is read. What the sheet is made of stands beside it in the same XMP, as
 * the property `sheet` of a namespace of the documentation's own: its texts, and the request behind every cell.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { MagicMix, type Mix, type Picture, convert } from 'magicmix'
import sharp from 'sharp'

import { nativeRoot } from '../dist/package-files.js'
import { drawSheet } from '../dist/sweep/draw-sheet.js'
import { type Cell, type Loading, type Sheet, sheets } from './docs-sheets.js'

const folder = path.join(__dirname, '..', 'docs', 'pictures')
const side = 128

async function main(): Promise<void> {
  const names = process.argv.slice(2)
  for (const name of names) if (!(name in sheets)) throw new Error(`there is no picture ${name}`)
  const studio = new Studio(await mkdtemp(path.join(tmpdir(), 'magicmix-pictures-')))
  try {
    for (const [name, sheet] of Object.entries(sheets)) {
      if (names.length > 0 && !names.includes(name)) continue
      const file = path.join(folder, `${name}.webp`)
      await studio.make(sheet, file)
      console.log(`${file} ${Math.round((await stat(file)).size / 1000)} kB`)
    }
  } finally {
    await studio.close()
  }
}

/** Mixers by their options, and the mixes that they made. */
class Studio {
  private readonly mixers = new Map<string, Promise<MagicMix>>()
  private last: Mix | undefined

  constructor(private readonly folder: string) {}

  async make(sheet: Sheet, file: string): Promise<void> {
    const rows = []
    this.last = undefined
    for (const { label, cells } of sheet.rows) {
      const pictures: Picture[] = []
      for (const cell of cells) pictures.push(await this.pictureOf(cell, pictures))
      rows.push({ label, pictures })
    }
    const { title, about, columns } = sheet
    const cell = { width: side, height: side }
    const { data, width, height } = await drawSheet({
      title,
      about,
      columns,
      rows,
      cell,
      wrap: true,
    })
    await sharp(data, { raw: { width, height, channels: 3 } })
      .withXmp(await this.xmpOf(sheet))
      .webp({ quality: rows.length < 6 ? 84 : 72, effort: 6 })
      .toFile(file)
  }

  async close(): Promise<void> {
    for (const mixer of this.mixers.values()) await (await mixer).dispose()
    await rm(this.folder, { recursive: true })
  }

  private async pictureOf(cell: Cell, before: readonly Picture[]): Promise<Picture> {
    if ('file' in cell) return pixelsOf(sharp(cell.file))
    if ('difference' in cell) {
      const [one, other] = cell.difference.map((index) => before[index]!)
      const data = one!.data.map((value, i) =>
        Math.min(255, 10 * Math.abs(value - other!.data[i]!)),
      )
      return { width: side, height: side, data }
    }
    const mixer = await this.mixerOf(cell.load ?? {})
    if ('mix' in cell) return (this.last = await mixer.mix(cell.mix))
    let shown: Picture | undefined
    await mixer.mix({
      ...cell.previewOf,
      previewEvery: 1,
      onProgress: ({ stage, step, preview }) => {
        if (stage === 'content' && step <= cell.step && preview) shown = preview
      },
    })
    const { data, width, height } = shown!
    const raw = { width, height, channels: 3 } as const
    return pixelsOf(sharp(data, { raw }).resize(side, side, { kernel: 'nearest' }))
  }

  private mixerOf(loading: Loading): Promise<MagicMix> {
    const key = JSON.stringify(loading)
    const mixer = this.mixers.get(key) ?? this.load(loading)
    this.mixers.set(key, mixer)
    return mixer
  }

  private async load({ kernels, convertedTo, ...options }: Loading): Promise<MagicMix> {
    let model: string | undefined
    if (convertedTo) {
      model = path.join(this.folder, `${convertedTo}.gguf`)
      const input = path.join(nativeRoot, 'models', 'world-128')
      await convert({ input, output: model, type: convertedTo })
    }
    const { MAGICMIX_KERNELS: usual = '' } = process.env
    if (kernels) process.env.MAGICMIX_KERNELS = kernels
    try {
      return await MagicMix.load({ device: 'cpu', threads: 1, model, ...options })
    } finally {
      process.env.MAGICMIX_KERNELS = usual
    }
  }

  /** Of the last mix, with what is on the sheet beside its recipe. */
  private async xmpOf(sheet: Sheet): Promise<string> {
    if (!this.last) throw new Error('a sheet needs a mix')
    const carrying = await this.last.toBuffer({ format: 'webp', recipe: true })
    const { xmp } = await sharp(carrying).metadata()
    const cells = sheet.rows.map(({ label, cells }) => ({ label, cells: cells.map(described) }))
    const text = JSON.stringify({ ...sheet, rows: cells })
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
    return xmp!
      .toString()
      .replace(
        '</rdf:Description>',
        () => `<docs:sheet xmlns:docs="urn:magicmix:docs:">${text}</docs:sheet></rdf:Description>`,
      )
  }
}

async function pixelsOf(picture: sharp.Sharp): Promise<Picture> {
  const { data, info } = await picture
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data }
}

/** A cell as JSON, without the folders of this machine; bytes in base64. */
function described(cell: Cell): unknown {
  const withoutFolders = (_: string, part: unknown) => {
    if (part instanceof Uint8Array) return Buffer.from(part).toString('base64')
    return typeof part === 'string' && path.isAbsolute(part) ? path.basename(part) : part
  }
  return JSON.parse(JSON.stringify(cell, withoutFolders))
}

void main()
