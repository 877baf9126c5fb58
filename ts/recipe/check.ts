/** Checks a recipe from outside, by the tables of options where there are any. */
import path from 'node:path'

import { isSafePath } from '../hub/references.js'
import { type LayoutPrompt } from '../input/layout.js'
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
  const { request, layout, model, made } = record(value, 'the recipe')
  const checkedLayout = layout === null ? null : checkKnown(layoutRows, layout, 'layout')
  return {
    request: checkedRequest(record(request, 'request'), checkedLayout?.sha256),
    layout: checkedLayout,
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

function checkedRequest(request: UnknownRecord, sha256: string | undefined): Recipe {
  const { layout, ...rest } = request
  const checkedLayout = checkLayout(record(layout, 'request.layout'), sha256)
  const stand = 'prompt' in checkedLayout ? checkedLayout : { prompt: '' }
  const { onProgress, signal, layout: _, ...values } = checkRequest({ ...rest, layout: stand })
  for (const { file } of values.loras ?? []) checkName(file, 'request.loras')
  for (const name of ['seed', 'width', 'height', 'loras'] as const) {
    if (rest[name] === undefined) throw invalid(`request.${name}`, 'a value', undefined)
  }
  const given = Object.entries(values).filter(([, each]) => each !== undefined)
  return { layout: checkedLayout, ...Object.fromEntries(given) } as Recipe
}

function checkLayout(
  layout: UnknownRecord,
  sha256: string | undefined,
): LayoutPrompt | { path?: string; sha256: string } {
  if (sha256 === undefined) {
    const { prompt } = layout
    if (typeof prompt !== 'string') throw invalid('request.layout.prompt', 'a string', prompt)
    return { prompt }
  }
  if (layout.sha256 !== sha256) {
    throw invalid('request.layout.sha256', `that of the layout, ${sha256},`, layout.sha256)
  }
  if (layout.path === undefined) return { sha256 }
  return { path: checkName(layout.path, 'request.layout.path'), sha256 }
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

const layoutRows = {
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
