/** Checks a recipe from outside, by the tables of options where there are any. */
import path from 'node:path'

import { isSafePath } from '../hub/references.js'
import { isPrompt } from '../input/layout.js'
import type { PictureSource } from '../input/picture.js'
import { loadOptions } from '../models/load-options.js'
import type { ModelFamily } from '../models/model-info.js'
import {
  type Filled,
  type Option,
  type OptionTable,
  checkOptions,
  filledText,
  integer,
  list,
} from '../options/option.js'
import { type UnknownRecord, invalid, oneOf, record } from '../options/validate.js'
import { checkRequest } from '../request/mix-options.js'
import type { Recipe } from '../request/recipe.js'
import type { PictureRecipe } from './picture-recipe.js'

/** Throws what says what is wrong. */
export function checkRecipe(value: unknown): PictureRecipe {
  const { request, layout, pictures = {}, model, made } = record(value, 'the recipe')
  const checkedLayout = layout === null ? null : checkKnown(pictureRows, layout, 'layout')
  const others = Object.entries(record(pictures, 'pictures')).map(([place, picture]) => {
    return [place, checkKnown(pictureRows, picture, `pictures.${place}`)] as const
  })
  const checkedPictures = Object.fromEntries(others)
  const all = { ...checkedPictures, ...(checkedLayout ? { layout: checkedLayout } : {}) }
  return {
    request: checkedRequest(record(request, 'request'), all),
    layout: checkedLayout,
    pictures: checkedPictures,
    model: checkKnown(modelRows, model, 'model'),
    made: checkKnown(madeRows, made, 'made'),
  }
}

/** Newer versions may know more; what is more is left out. */
function checkKnown<T extends OptionTable>(table: T, value: unknown, name: string): Filled<T> {
  const given = record(value, name)
  const known = Object.keys(table).filter((key) => Object.hasOwn(given, key))
  const values = Object.fromEntries(known.map((key) => [key, given[key]]))
  return checkOptions(table, values, name, `${name}.`)
}

// -------------------------------------------------------------------------------------------------
// The request. What is more in it is refused: without it the picture would be another.

function checkedRequest(
  request: UnknownRecord,
  sources: Readonly<Record<string, PictureSource>>,
): Recipe {
  const named = namedPictures(request, sources)
  const stand = mapPlaces(named, (picture) => ({ bytes: 'AA==', sha256: picture.sha256 }))
  const { onProgress, signal, ...values } = checkRequest({ ...request, ...stand })
  for (const { file } of values.loras ?? []) checkName(file, 'request.loras')
  for (const name of ['seed', 'width', 'height', 'loras'] as const) {
    if (request[name] === undefined) throw invalid(`request.${name}`, 'a value', undefined)
  }
  const filled = { ...values, ...mapPlaces(named, (picture) => picture) }
  const given = Object.entries(filled).filter(([, each]) => each !== undefined)
  return Object.fromEntries(given) as Recipe
}

/** A picture of a recipe. */
interface NamedPicture {
  path?: string
  sha256: string
}

/** The options of a request that hold pictures; a layout prompt is left as it is. */
interface NamedPictures {
  layout?: NamedPicture
  layouts?: { picture: NamedPicture; weight: unknown }[]
  nuMap?: NamedPicture
  kMaxMap?: NamedPicture
}

function namedPictures(
  { layout, layouts, nuMap, kMaxMap }: UnknownRecord,
  sources: Readonly<Record<string, PictureSource>>,
): NamedPictures {
  const named = (value: unknown, place: string) => checkNamed(value, place, sources[place]?.sha256)
  const isGiven = (value: unknown) => value !== undefined && value !== null
  const hasPicture = isGiven(layout) && !isPrompt(layout)
  return {
    ...(hasPicture ? { layout: named(layout, 'layout') } : {}),
    ...(Array.isArray(layouts)
      ? {
          layouts: layouts.map((each: unknown, i) => {
            const { picture, weight } = record(each, `request.layouts[${i}]`)
            return { picture: named(picture, `layouts[${i}]`), weight }
          }),
        }
      : {}),
    ...(isGiven(nuMap) ? { nuMap: named(nuMap, 'nuMap') } : {}),
    ...(isGiven(kMaxMap) ? { kMaxMap: named(kMaxMap, 'kMaxMap') } : {}),
  }
}

function checkNamed(value: unknown, place: string, sha256: string | undefined): NamedPicture {
  const given = record(value, `request.${place}`)
  if (sha256 === undefined || given.sha256 !== sha256) {
    const expected =
      sha256 === undefined ? 'one that the recipe tells of' : `that of it, ${sha256},`
    throw invalid(`request.${place}.sha256`, expected, given.sha256)
  }
  if (given.path === undefined) return { sha256 }
  return { path: checkName(given.path, `request.${place}.path`), sha256 }
}

/** The same options with something else in the place of each picture. */
function mapPlaces<T>(named: NamedPictures, change: (picture: NamedPicture) => T) {
  const changed: Record<string, unknown> = {}
  for (const [option, value] of Object.entries(named)) {
    changed[option] = Array.isArray(value)
      ? (value as Required<NamedPictures>['layouts']).map(({ picture, weight }) => {
          return { picture: change(picture), weight }
        })
      : change(value as NamedPicture)
  }
  return changed
}

// -------------------------------------------------------------------------------------------------
// What it was made with

/** The name of a file, without a folder: a recipe has no say in what is read. */
function checkName(value: unknown, name: string): string {
  const isName =
    typeof value === 'string' &&
    value.length <= 1000 &&
    (value.startsWith('hf:')
      ? isSafePath(value.slice('hf:'.length))
      : value === path.basename(value) && !/^\.{0,2}$|\0/.test(value))
  if (!isName) throw invalid(name, 'the name of a file without its folder, or hf:NAME', value)
  return value
}

function checkHash(value: unknown, name: string): string {
  if (typeof value !== 'string' || !/^([\da-f]{16})?$/.test(value)) {
    throw invalid(name, '16 hexadecimal digits', value)
  }
  return value
}

function checkSha256(value: unknown, name: string): string {
  if (typeof value !== 'string' || !/^[\da-f]{64}$/.test(value)) {
    throw invalid(name, '64 hexadecimal digits', value)
  }
  return value
}

function row<T>(help: string, check: (value: unknown, name: string) => T) {
  return { help, range: '', required: true as const, check }
}

function rows<T extends OptionTable>(help: string, table: T) {
  return row(help, (value, name) => checkKnown(table, value, name))
}

function orNull<T>(option: { help: string; check: (value: unknown, name: string) => T }) {
  return row(option.help, (value, name) => (value === null ? null : option.check(value, name)))
}

const shortText = (help: string) =>
  row(help, (value, name) => {
    if (typeof value !== 'string' || value.length > 1000) throw invalid(name, 'a short text', value)
    return value
  })

const file = {
  name: row('its name', checkName),
  hash: row('tells it apart', checkHash),
}
const files = <T extends OptionTable>(help: string, table: T) =>
  list(rows('a file', table), 'a list of files', { help, required: true })

const pictureRows = {
  of: row('what was hashed', (value, name) => oneOf(value, ['file', 'pixels'] as const, name)),
  sha256: row('its SHA-256', checkSha256),
  bytes: integer(0, Number.MAX_SAFE_INTEGER, { help: 'its size', required: true }),
  width: integer(1, 1 << 28, { help: 'in pixels', required: true }),
  height: integer(1, 1 << 28, { help: 'in pixels', required: true }),
} satisfies Record<keyof NonNullable<PictureRecipe['layout']>, Option>

const { precision, clipSkip, keepOnCpu, config } = loadOptions

const modelRows = {
  name: row('its name', checkName),
  family: row('its family', (value, name) => {
    return filledText({ help: '' }).check(value, name) as ModelFamily
  }),
  hashes: rows('of its weights', {
    textEncoder: row('of the text encoder', checkHash),
    unet: row('of the UNet', checkHash),
    vae: row('of the autoencoder', checkHash),
  }),
  vae: orNull(row('another autoencoder', checkName)),
  tinyDecoder: orNull(rows('a tiny decoder', file)),
  embeddings: files('its embeddings', { ...file, placeholder: shortText('what stands for it') }),
  loras: files('LoRAs of the request', file),
  options: rows('options of load', {
    ...{ precision, keepOnCpu, config },
    clipSkip: { ...clipSkip, required: true as const },
  }),
} satisfies Record<keyof PictureRecipe['model'], Option>

const madeRows = {
  version: shortText('of magicmix'),
  device: shortText('kind of the device'),
  kernels: shortText('that multiply weights'),
  precision: shortText('of the large weights'),
} satisfies Record<keyof PictureRecipe['made'], Option>
