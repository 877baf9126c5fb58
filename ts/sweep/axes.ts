/** What a sweep varies: the option `vary`, and the cells that follow from it. */
import path from 'node:path'

import { MagicMixError } from '../errors.js'
import { isUrl } from '../input/picture-forms.js'
import {
  type JsonSchema,
  type Option,
  type OptionTable,
  integer,
  isMissing,
  namesFile,
  schemaOf,
  takesNumbers,
} from '../options/option.js'
import {
  type UnknownRecord,
  integerBetween,
  invalid,
  isRecord,
  record,
  refuseUnknownKeys,
} from '../options/validate.js'
import type { ProgressListener, SweepProgressEvent } from '../progress.js'
import type { WeightedContent } from '../request/contents.js'
import {
  type CheckedMixRequest,
  type MixRequest,
  checkRequest,
  mixOptions,
} from '../request/mix-options.js'
import { methodLabel } from '../request/method.js'
import { coarseToFine } from './order.js'

/**
 * The options of a mix that a sweep can vary: all that make a difference to the picture.
 *
 * @example
 * ```ts
 * import type { SweepOption } from 'magicmix'
 *
 * const chosen: SweepOption = 'guidanceScale' // what a user picked, say
 * const sweep = mixer.sweep({ ...request, vary: { [chosen]: [3, 7.5] } })
 * console.log(sweep.axes) // [ { option: 'guidanceScale', values: [ 3, 7.5 ] } ]
 * ```
 */
export type SweepOption = Exclude<
  keyof MixRequest,
  'onProgress' | 'signal' | 'preview' | 'previewEvery' | 'trace' | 'score'
>

/**
 * Evenly spaced numbers, both ends included: by `step`, or so many by `count`.
 *
 * @example
 * ```ts
 * const { axes } = mixer.sweep({
 *   ...request,
 *   vary: { nu: { from: 0.2, to: 0.8, step: 0.2 }, steps: { from: 20, to: 50, count: 3 } },
 * })
 * console.log(axes.map(({ values }) => values)) // [ [ 0.2, 0.4, 0.6, 0.8 ], [ 20, 35, 50 ] ]
 * ```
 */
export interface SweepRange {
  /** The first. */
  from: number
  /** The last, if a step leads there. */
  to: number
  /** From one to the next, above 0, whichever way the range goes. */
  step?: number | undefined
  /** How many, 2 or more; instead of `step`. */
  count?: number | undefined
}

/**
 * One to three options of a mix with their values, which have to differ; of numbers also a range.
 *
 * @example
 * ```ts
 * import type { Vary } from 'magicmix'
 *
 * const vary: Vary = { content: ['a photo of a tiger', 'a photo of a lemon'], nu: { from: 0.3, to: 0.9, count: 3 } }
 * const { cells } = mixer.sweep({ layout: 'heart.png', vary }).plan // 6
 * ```
 */
export type Vary = {
  readonly [K in SweepOption]?:
    | readonly Exclude<MixRequest[K], undefined>[]
    | (Extract<MixRequest[K], number> extends never ? never : SweepRange)
    | undefined
}

/**
 * The values of the varied options in one cell, as they were given.
 *
 * @example
 * ```ts
 * import type { SweepPoint } from 'magicmix'
 *
 * const nameOf = ({ nu }: SweepPoint) => `nu-${String(nu)}.png`
 * const sweep = mixer.sweep({ ...request, vary: { nu: [0.3, 0.9] } })
 * for await (const { mix, at } of sweep) await mix.toFile(nameOf(at))
 * ```
 */
export type SweepPoint = { [K in SweepOption]?: Exclude<MixRequest[K], undefined> }

/**
 * A request to {@link MagicMix.sweep}: that of a mix, and what to vary. What `vary` names wins over the option
 * beside it, so that the request of a mix can be taken as it is.
 *
 * @example
 * ```ts
 * const sweep = mixer.sweep({
 *   layout: 'heart.png', content: 'a photo of a tiger', seed: 7,
 *   vary: { nu: [0.3, 0.9] },
 *   cells: 'cells', // a folder: run again, it goes on from there
 *   signal: AbortSignal.timeout(600_000),
 * })
 * for await (const { at } of sweep) console.log(at)
 * ```
 */
export interface SweepRequest extends Omit<MixRequest, 'layout' | 'content' | 'onProgress'> {
  /** As in {@link MixRequest}; may be varied instead. */
  layout?: MixRequest['layout'] | undefined
  /** As in {@link MixRequest}; may be varied instead. */
  content?: string | undefined
  /**
   * One to three options and their values: `{ nu: [0.3, 0.6, 0.9], kMax: { from: 0.5, to: 0.8, step: 0.1 } }`. The
   * first goes across the sheet, the second down, the third down in groups. At most 1024 cells.
   */
  vary: Vary
  /**
   * A folder that every cell is written to as it comes, as PNG, beside a `sweep.json`. The same sweep with the same
   * folder goes on where it was broken off. Default: none.
   */
  cells?: string | undefined
  /**
   * Cells that differ in their seed alone are computed together, up to so many, 1..16; for that `seed` has to be
   * varied. On a GPU small pictures then take less time, on a CPU there is little to gain; each takes working memory
   * of its own. On a GPU their pictures may differ by rounding from those of single mixes. `timings` are those of the
   * whole batch. With `previewEvery`, `preview` and `trace` it has to be 1. Default 1.
   */
  batch?: number | undefined
  /** Called while the sweep is made; if it throws, the sweep rejects with that. */
  onProgress?: ProgressListener<SweepProgressEvent> | undefined
}

/**
 * An option that is varied, and its values.
 *
 * @example
 * ```ts
 * const { axes } = mixer.sweep({ ...request, vary: { nu: { from: 0.3, to: 0.9, count: 3 }, seed: [1, 2] } })
 * for (const { option, values } of axes) console.log(option, values) // nu [ 0.3, 0.6, 0.9 ], seed [ 1, 2 ]
 * ```
 */
export interface SweepAxis {
  /** Its name. */
  readonly option: SweepOption
  /** As they were given, those of a range one by one. */
  readonly values: readonly unknown[]
}

/** A cell before it is mixed. */
export interface PlannedCell {
  /** From left to right, then down. */
  index: number
  at: SweepPoint
  request: CheckedMixRequest
}

export interface CheckedSweep {
  axes: SweepAxis[]
  /** In the order of their indices. */
  cells: PlannedCell[]
  /** Their indices, in the order in which they are made. */
  order: number[]
  folder: string | undefined
  /** Cells that differ in their seed alone and are computed together. */
  batch: number
  /** Without a seed the sweep has drawn one for all cells. */
  seedGiven: boolean
  onProgress: ProgressListener<SweepProgressEvent> | undefined
  signal: AbortSignal | undefined
}

const mostCells = 1024
const anyNumber = { type: 'number' }
const rangeSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...{ from: anyNumber, to: anyNumber },
    step: { type: 'number', exclusiveMinimum: 0 },
    count: { type: 'integer', minimum: 2, maximum: mostCells },
  },
  required: ['from', 'to'],
  oneOf: [{ required: ['step'] }, { required: ['count'] }],
  additionalProperties: false,
}
const notVaried = ['onProgress', 'signal', 'previewEvery', 'trace', 'score']
const variable = Object.keys(mixOptions).filter((name) => !notVaried.includes(name))

/** The options of `sweep` beside those of `mix`. */
export const sweepOptions = {
  vary: {
    help: 'one to three options of a mix and their values: a list, or of numbers `{ from, to, step }` or `{ from, to, count }`',
    range: '`{ option: values }`',
    required: true,
    check: checkVary,
    schema: varySchema(),
    cli: {
      flag: 'vary',
      value: 'NAME=VALUES',
      help: 'an option and its values: nu=0.3,0.6,0.9, k-max=0.5:0.8:0.1, "content=a cat|a dog"',
      multiple: true as const,
    },
  },
  cells: {
    help: 'a folder to write every cell to; a sweep that was broken off goes on from it',
    range: '',
    defaultText: 'none',
    check: (value: unknown, name: string): string => {
      if (typeof value !== 'string' || value === '') throw invalid(name, 'a folder', value)
      return value
    },
    schema: { type: 'string', minLength: 1, ...namesFile },
    cli: { flag: 'cells', value: 'FOLDER' },
  },
  batch: integer(1, 16, {
    help: 'cells that are computed together, if they differ in their seed alone: for small pictures on a GPU',
    default: 1,
    cli: { flag: 'batch', value: 'N' },
  }),
} satisfies Record<string, Option>

/** Of every option a list of its values, of numbers also a range. */
function varySchema(): JsonSchema {
  const table: OptionTable = mixOptions
  const values = variable.map((name) => {
    const option = table[name]!
    const list = { type: 'array', items: option.schema ?? {}, minItems: 1, maxItems: mostCells }
    return [name, takesNumbers(option) ? { anyOf: [list, rangeSchema] } : list]
  })
  return {
    type: 'object',
    properties: Object.fromEntries(values) as JsonSchema,
    minProperties: 1,
    maxProperties: 3,
    additionalProperties: false,
  }
}

// What has to be there may be varied instead.
const { allOf: _ofSingleMixes, ...sweepProperties } = schemaOf({ ...mixOptions, ...sweepOptions })

/**
 * JSON Schema (draft 2020-12) of a request to {@link MagicMix.sweep} in its JSON form: everything but `onProgress`
 * and `signal`. `content` and `layout` may be varied instead of given.
 *
 * @example
 * ```ts
 * import { Ajv2020 } from 'ajv/dist/2020.js'
 * import { sweepSchema } from 'magicmix'
 *
 * const isSweep = new Ajv2020({ strict: false }).compile(sweepSchema)
 * console.log(isSweep({ ...request, vary: { nu: [0.3, 0.9] } })) // true
 * ```
 */
export const sweepSchema: JsonSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'SweepRequest',
  ...sweepProperties,
  required: ['vary'],
}

/**
 * Checks `request`, whatever it is, and every cell that follows from it.
 *
 * @param requestOf the request of a cell, from what all have in common
 * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION
 */
export function checkSweep(
  request: unknown,
  requestOf = (common: UnknownRecord, at: SweepPoint): UnknownRecord => ({ ...common, ...at }),
): CheckedSweep {
  const given = record(request, 'the request')
  refuseUnknownKeys(
    given,
    ['vary', 'cells', 'batch', ...Object.keys(mixOptions), 'preview'],
    'sweep',
  )
  const { vary, cells: folder, batch: size, onProgress, ...base } = given
  const axes = checkVary(vary, 'vary')
  const varied = axes.map(({ option }) => option)
  const listener = mixOptions.onProgress.check(onProgress, 'onProgress') as unknown
  const seedGiven = base.seed !== undefined || varied.includes('seed')
  const common = { ...base, seed: base.seed ?? mixOptions.seed.default() }
  const lengths = axes.map(({ values }) => values.length)
  checkAlone(base, varied)

  const cells = pointsOf(axes).map((at, index) => ({
    ...{ index, at },
    request: inCell(at, () => checkRequest(requestOf(common, at))),
  }))
  const first = cells[0]!.request
  const checkedFolder = folder === undefined ? undefined : sweepOptions.cells.check(folder, 'cells')
  if (checkedFolder !== undefined && first.trace) {
    throw invalid('trace', 'false (a folder of cells does not hold states)', true)
  }
  const batch = checkBatch(size, varied, first)
  return {
    ...{ axes, cells, seedGiven, folder: checkedFolder, batch },
    order: coarseToFine(lengths, varied.indexOf('loras')),
    onProgress: listener as CheckedSweep['onProgress'],
    signal: first.signal,
  }
}

/** Refused where it could do nothing, and where states or previews are told of one mix. */
function checkBatch(
  given: unknown,
  varied: readonly SweepOption[],
  { trace, previewEvery }: CheckedMixRequest,
): number {
  const { check, default: one } = sweepOptions.batch
  const size = given === undefined ? one : check(given, 'batch')
  if (size === one) return size
  if (!varied.includes('seed')) throw invalid('batch', '1, as no seeds are varied,', size)
  if (trace) throw invalid('batch', '1 with trace', size)
  if (previewEvery > 0) throw invalid('batch', '1 with previews', size)
  return size
}

/** What is wrong whatever the cell is. */
function checkAlone(base: UnknownRecord, varied: readonly SweepOption[]): void {
  for (const [name, option] of Object.entries(mixOptions as Record<string, Option>)) {
    if (varied.includes(name as SweepOption)) continue
    const { [name]: value } = base
    const isVaried = varied.includes(option.instead as SweepOption)
    if (value !== undefined || (!isVaried && isMissing(name, mixOptions, base))) {
      option.check(value, name)
    }
  }
}

function checkVary(value: unknown, name: string): SweepAxis[] {
  const given = Object.entries(record(value, name)).filter(([, values]) => values !== undefined)
  refuseUnknownKeys(Object.fromEntries(given), variable, name)
  if (given.length < 1 || given.length > 3) {
    throw invalid(name, 'one, two or three options with their values', value)
  }
  const axes = given.map(([option, values]) => ({
    option: option as SweepOption,
    values: checkValues(mixOptions[option as SweepOption], values, `${name}.${option}`),
  }))
  const cells = axes.reduce((product, { values }) => product * values.length, 1)
  if (cells > mostCells) {
    throw new MagicMixError(
      'INVALID_ARGUMENT',
      `Expected at most ${mostCells} cells for ${name} but ` +
        `${axes.map(({ values }) => values.length).join(' x ')} values make ${cells}`,
      { name, expected: `at most ${mostCells} cells`, received: cells },
    )
  }
  return axes
}

function checkValues(option: Option, given: unknown, name: string): unknown[] {
  const isNumber = takesNumbers(option)
  const range = isNumber && isRecord(given) ? numbersOf(given, name) : given
  if (!Array.isArray(range) || range.length === 0) {
    const expected = isNumber
      ? 'a list of values, { from, to, step } or { from, to, count }'
      : 'a list of values'
    throw invalid(name, expected, given)
  }
  const values = [...(range as unknown[])]
  const seen = new Map<unknown, number>()
  values.forEach((value, i) => {
    const checked = option.check(value, `${name}[${i}]`)
    // A text that stands for an object, as that of a method does, is the same as the object.
    const isSpoken = typeof value === 'string' || isPlain(value)
    const key = typeof checked === 'object' && isSpoken ? JSON.stringify(checked) : checked
    const before = seen.get(key)
    if (before !== undefined) {
      throw invalid(`${name}[${i}]`, `another value than ${name}[${before}] has`, value)
    }
    seen.set(key, i)
  })
  return values
}

/** What JSON tells apart. */
function isPlain(value: unknown): boolean {
  return (
    Array.isArray(value) || (isRecord(value) && Object.getPrototypeOf(value) === Object.prototype)
  )
}

function numbersOf(range: UnknownRecord, name: string): number[] {
  refuseUnknownKeys(range, ['from', 'to', 'step', 'count'], name)
  const finite = (value: unknown, key: string): number => {
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw invalid(`${name}.${key}`, 'a number', value)
    }
    return value
  }
  const from = finite(range.from, 'from')
  const to = finite(range.to, 'to')
  if ((range.step === undefined) === (range.count === undefined)) {
    throw invalid(name, 'either a step or a count beside from and to', range)
  }
  if (range.count !== undefined) {
    const count = integerBetween(range.count, 2, mostCells, `${name}.count`)
    return spread(from, count, (to - from) / (count - 1))
  }
  const step = finite(range.step, 'step')
  if (!(step > 0)) throw invalid(`${name}.step`, 'a number above 0', step)
  const count = Math.floor(Math.abs(to - from) / step + 1e-9) + 1
  if (count > mostCells) {
    throw invalid(`${name}.step`, `a step that makes at most ${mostCells} values`, step)
  }
  return spread(from, count, Math.sign(to - from) * step)
}

/** 0.1 + 2 * 0.1 is 0.30000000000000004 in binary, and means 0.3. */
function spread(from: number, count: number, step: number): number[] {
  return Array.from({ length: count }, (_, i) => Number((from + i * step).toPrecision(12)))
}

/** The first axis goes round fastest. */
function pointsOf(axes: readonly SweepAxis[]): SweepPoint[] {
  let points: Record<string, unknown>[] = [{}]
  for (const { option, values } of axes) {
    points = values.flatMap((value) => points.map((point) => ({ ...point, [option]: value })))
  }
  return points
}

/** Says of an error in which cell it is. */
export function inCell<T>(at: SweepPoint, check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof MagicMixError)) throw error
    const { code, message, details } = error
    throw new MagicMixError(code, `${message} (in the cell ${labelOf(at)})`, {
      ...details,
      cell: labelOf(at),
    })
  }
}

/** `nu 0.3, kMax 0.5` */
export function labelOf(at: SweepPoint): string {
  return Object.entries(at)
    .map(([option, value]) => valueLabel(option as SweepOption, value))
    .join(', ')
}

/** A value as a sheet shows it: of texts and pictures without the option's name. */
export function valueLabel(option: SweepOption, value: unknown): string {
  if (option === 'content') return String(value)
  if (option === 'layout') return layoutLabel(value)
  if (option === 'nuMap' || option === 'kMaxMap') {
    return `${option} ${value === null ? 'none' : layoutLabel(value)}`
  }
  if (option === 'layouts' && Array.isArray(value)) {
    return value.map(weightedLabel).join(' and ')
  }
  if (option === 'contents' && Array.isArray(value)) {
    return (value as WeightedContent[]).map(plainLabel).join(' and ')
  }
  if (option === 'method') return methodLabel(value)
  return `${option} ${plainLabel(value)}`
}

/** A layout as a sheet names it. */
export function layoutLabel(layout: unknown): string {
  if (typeof layout === 'string')
    return /^data:/i.test(layout) ? 'a picture' : path.basename(layout)
  if (isUrl(layout)) return layoutLabel(layout.protocol === 'file:' ? layout.pathname : layout.href)
  if (!isRecord(layout)) return 'a picture'
  const { prompt, path: file } = layout
  if (typeof prompt === 'string') return prompt
  return typeof file === 'string' ? path.basename(file) : 'a picture'
}

function weightedLabel(value: unknown): string {
  if (!isRecord(value) || !('picture' in value)) return layoutLabel(value)
  return `${layoutLabel(value.picture)}${shown(value.weight)}`
}

function plainLabel(value: unknown): string {
  if (value === null) return 'none'
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(plainLabel).join(', ')
  if (isRecord(value)) {
    const { file, strength, prompt, weight, text, scale, from, to, curve } = value
    if (typeof file === 'string') return `${path.basename(file)}${shown(strength)}`
    if (typeof prompt === 'string') return `${prompt}${shown(weight)}`
    if (typeof text === 'string') return `${text}${shown(scale)}`
    if (typeof from === 'number' && typeof to === 'number') {
      return `${from} to ${to}${curve === 'cosine' ? ' (cosine)' : ''}`
    }
    return Object.entries(value)
      .map(([name, each]) => `${name} ${plainLabel(each)}`)
      .join(', ')
  }
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function shown(value: unknown): string {
  return value === undefined ? '' : ` ${plainLabel(value)}`
}
