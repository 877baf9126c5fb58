/** The folder of a sweep: every cell as a file, and an index that says of which sweep they are. */
import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

import { MagicMixError } from './errors.js'
import { isPrompt } from './input/layout.js'
import type { FilledLora } from './input/lora.js'
import { Mix, type MixTimings, type UnetCalls } from './mix.js'
import type { ModelInfo } from './models/model-info.js'
import { isRecord } from './options/validate.js'
import type { PictureRecipe } from './recipe/picture-recipe.js'
import { readRecipe } from './recipe/read.js'
import type { FilledMixRequest } from './request/mix-options.js'
import type { MixScore } from './request/score.js'
import { sharp } from './sharp.js'
import type { RequestPictures } from './request/pictures.js'
import type { SweepCell } from './sweep.js'
import {
  type PlannedCell,
  type SweepAxis,
  type SweepOption,
  labelOf,
  valueLabel,
} from './sweep/axes.js'

/** What a folder has to be of. */
interface Owner {
  axes: readonly SweepAxis[]
  cells: readonly (PlannedCell & { pictures: number })[]
  pictures: readonly RequestPictures[]
  model: ModelInfo
  loras: readonly FilledLora[]
  /** Otherwise the seed is that of the folder. */
  seedGiven: boolean
}

/** The file sweep.json. */
interface Index {
  /** Of this form. */
  format: 1
  model: Record<string, unknown>
  /** What the cells have in common, for people and to say what differs. */
  request: Record<string, unknown>
  vary: Record<string, unknown>
  /** SHA-256 of what was read of layouts and maps. */
  layouts: string[]
  seed: number
  /** SHA-256 of the requests of all cells. */
  requests: string
  cells: IndexedCell[]
}

interface IndexedCell {
  index: number
  at: string
  file: string
  width: number
  height: number
  seed: number
  /** Of the pixels. */
  sha256: string
  timings: MixTimings
  unetCalls: UnetCalls
  /** Of a sweep with scores. */
  score?: MixScore
}

const indexName = 'sweep.json'

export class SweepFolder {
  private readonly written = new Set<number>()

  private constructor(
    private readonly folder: string,
    private readonly index: Index,
    private readonly digits: number,
  ) {}

  /**
   * Takes a folder that is new, empty or of the same sweep, and gives the cells that it holds. Files that are gone
   * or were changed are made again.
   *
   * @throws {@link MagicMixError} INVALID_ARGUMENT if the folder is of another sweep, FILE_UNWRITABLE
   */
  static async open(
    folder: string,
    owner: Owner,
  ): Promise<{ folder: SweepFolder; cells: SweepCell[]; seed: number }> {
    await writing(folder, () => mkdir(folder, { recursive: true }))
    const own = indexOf(owner)
    const found = await readIndex(folder)
    const digits = String(owner.cells.length - 1).length
    if (!found) {
      const opened = new SweepFolder(folder, own, digits)
      await opened.writeIndex()
      return { folder: opened, cells: [], seed: own.seed }
    }
    refuseOther(folder, found, own)
    const opened = new SweepFolder(folder, { ...own, seed: found.seed, cells: [] }, digits)
    const cells: SweepCell[] = []
    for (const entry of found.cells) {
      const planned = owner.cells[entry.index]
      const cell = planned && (await restored(folder, entry, planned, owner, found.seed))
      if (!cell || opened.written.has(entry.index)) continue
      opened.index.cells.push(entry)
      opened.written.add(entry.index)
      cells.push(cell)
    }
    return { folder: opened, cells, seed: found.seed }
  }

  /** The picture first: what the index names is there. */
  async write({ mix, at, index }: SweepCell): Promise<void> {
    if (this.written.has(index)) return
    const file = `cell-${String(index).padStart(this.digits, '0')}.png`
    await writing(this.folder, async () => {
      await replace(path.join(this.folder, file), await mix.withRecipe('png'))
    })
    const { width, height, seed, timings, unetCalls, score } = mix
    const sha256 = hash(mix.data)
    const made = { width, height, seed, sha256, timings, unetCalls, ...(score ? { score } : {}) }
    const cell = { index, at: labelOf(at), file, ...made }
    this.index.cells.push(cell)
    try {
      await this.writeIndex()
    } catch (error) {
      this.index.cells.pop()
      throw error
    }
    this.written.add(index)
  }

  private async writeIndex(): Promise<void> {
    const text = `${JSON.stringify(this.index, null, 1)}\n`
    await writing(this.folder, () => replace(path.join(this.folder, indexName), text))
  }
}

/**
 * Refuses a folder of another request, as far as that can be told before there is a model.
 *
 * @throws {@link MagicMixError} INVALID_ARGUMENT
 */
export async function checkFolder(folder: string, owner: Omit<Owner, 'pictures' | 'model'>) {
  const found = await readIndex(folder)
  if (found) refuse(folder, differencesOfRequests(found, requestOf(owner)))
}

function indexOf(owner: Owner): Index {
  const { cells, pictures, model } = owner
  const requests = cells.map((cell) => {
    const { layout } = cell.request
    return {
      layout: isPrompt(layout) ? layout : null,
      pictures: hashOf(pictures[cell.pictures]!),
      ...valuesOf(cell, owner),
    }
  })
  return {
    format: 1,
    model: modelOf(model),
    ...requestOf(owner),
    layouts: pictures.map(hashOf),
    seed: cells[0]!.request.seed,
    requests: hash(Buffer.from(JSON.stringify(requests))),
    cells: [],
  }
}

/** What a cell is made from beside its pictures and its layout's prompt. */
function valuesOf(
  { request }: PlannedCell,
  { loras, seedGiven }: Pick<Owner, 'loras' | 'seedGiven'>,
): Record<string, unknown> {
  const { layout, layouts, nuMap, kMaxMap, ...rest } = request
  const { onProgress, signal, previewEvery, trace, seed, ...values } = rest
  return { ...values, loras: request.loras ?? loras, ...(seedGiven ? { seed } : {}) }
}

function requestOf(owner: Omit<Owner, 'pictures' | 'model'>): Pick<Index, 'request' | 'vary'> {
  const { axes, cells } = owner
  const varied = new Set<string>(axes.map(({ option }) => option))
  const first = cells[0]!
  const { layout, layouts, nuMap, kMaxMap } = first.request
  const named = { layout, layouts, nuMap, kMaxMap }
  const common = {
    ...Object.fromEntries(
      Object.entries(named)
        .filter(([, value]) => value !== undefined && value !== null)
        .map(([name, value]) => [name, valueLabel(name as SweepOption, value)]),
    ),
    ...valuesOf(first, owner),
  }
  const vary = axes.map(({ option, values }) => [
    option,
    option in named ? values.map((value) => valueLabel(option, value)) : values,
  ])
  return plain({
    request: Object.fromEntries(Object.entries(common).filter(([name]) => !varied.has(name))),
    vary: Object.fromEntries(vary) as Record<string, unknown>,
  })
}

/** Enough to know another model by. */
function modelOf(model: ModelInfo): Record<string, unknown> {
  const { path: file, family, prediction, precision, parameters, embeddings } = model
  const placeholders = embeddings.map(({ placeholder }) => placeholder)
  const name = path.basename(file)
  return plain({ name, family, prediction, precision, parameters, embeddings: placeholders })
}

function hashOf({ layout, nuMap, kMaxMap, size }: RequestPictures): string {
  const names = (layout ?? []).map(({ pixels, weight }) => `${weight} ${hash(pixels)}`)
  if (!layout) names.push(`a prompt, ${size.width} x ${size.height}`)
  if (nuMap) names.push(`nuMap ${hash(nuMap)}`)
  if (kMaxMap) names.push(`kMaxMap ${hash(kMaxMap)}`)
  return names.join(', ')
}

function hash(bytes: Uint8Array | Float32Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** As JSON gives it back. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

async function readIndex(folder: string): Promise<Index | undefined> {
  const file = path.join(folder, indexName)
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw notOurs(folder, `its ${indexName} cannot be read: ${(error as Error).message}`)
  }
  try {
    const index = JSON.parse(text) as Index
    if (isIndex(index)) return index
  } catch {
    // told below
  }
  throw notOurs(folder, `its ${indexName} is not that of a sweep`)
}

function isIndex(index: unknown): index is Index {
  if (!isRecord(index) || index.format !== 1 || !Number.isSafeInteger(index.seed)) return false
  const { cells, request, vary, model, layouts } = index
  return (
    [request, vary, model].every(isRecord) &&
    Array.isArray(layouts) &&
    Array.isArray(cells) &&
    cells.every(
      (cell: unknown) =>
        isRecord(cell) &&
        Number.isSafeInteger(cell.index) &&
        typeof cell.file === 'string' &&
        path.basename(cell.file) === cell.file &&
        isRecord(cell.timings) &&
        Array.isArray(cell.timings.steps) &&
        isRecord(cell.unetCalls) &&
        isScore(cell.score),
    )
  )
}

function isScore(score: unknown): boolean {
  return (
    score === undefined ||
    (isRecord(score) &&
      [score.content, score.layout, score.unetCalls].every(Number.isFinite) &&
      (score.layoutPrompt === undefined || Number.isFinite(score.layoutPrompt)))
  )
}

/** What was made for another request is not mixed with this one's. */
function refuseOther(folder: string, found: Index, own: Index): void {
  const differing = [
    ...differencesOfRequests(found, own),
    ...differences("the model's ", found.model, own.model),
  ]
  if (differing.length === 0 && !same(found.layouts, own.layouts)) {
    differing.push('the picture of layout or of a map')
  }
  if (differing.length === 0 && found.requests !== own.requests) differing.push('the request')
  refuse(folder, differing)
}

function refuse(folder: string, differing: readonly string[]): void {
  if (differing.length === 0) return
  const verb = differing.length === 1 ? 'differs' : 'differ'
  throw notOurs(folder, `its ${indexName} is of another sweep: ${differing.join(', ')} ${verb}`)
}

type Described = Pick<Index, 'request' | 'vary'>

function differencesOfRequests(found: Described, own: Described): string[] {
  const varied = new Set([...Object.keys(found.vary), ...Object.keys(own.vary)])
  return [
    ...differences('vary.', found.vary, own.vary),
    ...differences('', found.request, own.request).filter((name) => !varied.has(name)),
  ]
}

function differences(
  prefix: string,
  a: Record<string, unknown>,
  b: Record<string, unknown>,
): string[] {
  const names = [...new Set([...Object.keys(b), ...Object.keys(a)])]
  return names.filter((name) => !same(a[name], b[name])).map((name) => prefix + name)
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function notOurs(folder: string, why: string): MagicMixError {
  const expected = 'a new folder, or that of this very sweep,'
  return new MagicMixError(
    'INVALID_ARGUMENT',
    `Expected ${expected} for cells but received ${folder}: ${why}`,
    { name: 'cells', expected, received: folder },
  )
}

/** The mix of a cell that is in the folder; nothing if its file is not as it was written. */
async function restored(
  folder: string,
  { file, width, height, seed, sha256, timings, unetCalls, score }: IndexedCell,
  { request, at, index, pictures: number }: Owner['cells'][number],
  { pictures, loras, seedGiven }: Owner,
  seedOfFolder: number,
): Promise<SweepCell | undefined> {
  let data: Buffer
  let recipe: PictureRecipe
  try {
    recipe = await readRecipe(path.join(folder, file))
    data = await sharp(await readFile(path.join(folder, file)), { limitInputPixels: false })
      .toColourspace('srgb')
      .raw()
      .toBuffer()
  } catch {
    return undefined
  }
  if (hash(data) !== sha256 || data.length !== 3 * width * height) return undefined
  if (seed !== (seedGiven ? request.seed : seedOfFolder)) return undefined
  const { onProgress, signal, ...values } = request
  const filled: FilledMixRequest = {
    ...{ ...values, seed, width, height },
    ...pictures[number]!.kept,
    loras: request.loras ?? [...loras],
  }
  const { load, queued, total, ...inner } = timings
  const states = { trace: [], layoutTrace: [] }
  const picture = { data, scores: score ?? null }
  const result = { width, height, pictures: [picture], ...states, unetCalls }
  const mix = Mix.of(
    filled,
    { ...result, timings: { ...inner, total } },
    picture,
    { load, queued, total },
    recipe,
  )
  return { mix, at, index }
}

/** A file is there as a whole or not at all. */
async function replace(file: string, content: string | Uint8Array): Promise<void> {
  const unfinished = `${file}.${randomUUID()}`
  try {
    await writeFile(unfinished, content)
    await rename(unfinished, file)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
}

async function writing<T>(folder: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (error) {
    if (error instanceof MagicMixError) throw error
    throw new MagicMixError(
      'FILE_UNWRITABLE',
      `The cells of the sweep cannot be written to ${folder}: ${(error as Error).message}`,
      { path: folder },
      { cause: error },
    )
  }
}
