/** Recipes for people. */
import { isPrompt } from '../input/layout.js'
import type { PictureSource } from '../input/picture.js'
import type { PictureRecipe } from '../recipe/picture-recipe.js'
import { mixOptions } from '../request/mix-options.js'
import { bytes } from './report.js'

/** Text from a file, which a terminal must not obey. */
export function shown(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}

export function describeRecipe(recipe: PictureRecipe): string {
  const { request, layout, pictures, model, made } = recipe
  const { layout: from, layouts, nuMap, kMaxMap, ...rest } = request
  const { content, contents, width, height, loras = [], ...options } = rest
  const rows: [name: string, value: string][] = [
    ...(contents ?? [{ prompt: content ?? '', weight: undefined }]).map(
      ({ prompt, weight }): [string, string] => [
        'content',
        `${prompt}${weight === undefined ? '' : `, weight ${weight}`}`,
      ],
    ),
    ...(isPrompt(from) ? [['layout', `the prompt '${from.prompt}'`] as const] : []),
    ...(layout ? [['layout', pictureText(from, layout)] as const] : []),
    ...(layouts ?? []).map(({ picture, weight }, i): [string, string] => [
      'layout',
      `${pictureText(picture, pictures[`layouts[${i}]`]!)}, weight ${weight}`,
    ]),
    ...(nuMap ? [['nuMap', pictureText(nuMap, pictures.nuMap!)] as const] : []),
    ...(kMaxMap ? [['kMaxMap', pictureText(kMaxMap, pictures.kMaxMap!)] as const] : []),
    ['size', `${width} x ${height}`],
    ...optionRows(options),
    ...loras.map(({ file, strength }, i): [string, string] => [
      'lora',
      `${file}, strength ${strength}, hash ${model.loras[i]?.hash ?? ''}`,
    ]),
    ['model', `${model.name} (${model.family})`],
    ['text encoder', `hash ${model.hashes.textEncoder}`],
    ['unet', `hash ${model.hashes.unet}`],
    ['vae', `hash ${model.hashes.vae}${model.vae === null ? '' : `, from ${model.vae}`}`],
    ...(model.tinyDecoder
      ? [['tiny decoder', `${model.tinyDecoder.name}, hash ${model.tinyDecoder.hash}`] as const]
      : []),
    ...model.embeddings.map(({ placeholder, name, hash }): [string, string] => [
      'embedding',
      `${placeholder} from ${name}, hash ${hash}`,
    ]),
    ...(model.options.clipSkip > 1 ? [['clip skip', String(model.options.clipSkip)] as const] : []),
    [
      'made by',
      `magicmix ${made.version}, on ${made.device} (${made.kernels}) in ${made.precision}`,
    ],
  ].map(([name = '', value = '']) => [name, value])
  const wide = Math.max(...rows.map(([name]) => name.length)) + 2
  return rows.map(([name, value]) => name.padEnd(wide) + shown(value)).join('\n')
}

function pictureText(named: unknown, source: PictureSource): string {
  const { path } = named as { path?: string }
  return (
    `${path ?? 'without a name'}, ${source.width} x ${source.height}, ${bytes(source.bytes)}` +
    `${source.of === 'pixels' ? ' of pixels' : ''}, SHA-256 ${source.sha256}`
  )
}

const always = ['kMin', 'kMax', 'nu', 'sampler', 'steps', 'guidanceScale', 'seed']

/** Those that everybody asks for, and what is not as it is by default. */
function optionRows(options: object): [string, string][] {
  const rows = Object.entries(mixOptions).flatMap(([name, option]): [string, string][] => {
    const value = (options as Record<string, unknown>)[name]
    if (value === undefined) return []
    const byDefault = 'default' in option ? (option.default as unknown) : undefined
    const isUsual =
      typeof byDefault === 'function' || JSON.stringify(value) === JSON.stringify(byDefault)
    if (isUsual && !always.includes(name) && !isOfASet(name, options)) return []
    return [[name, typeof value === 'string' ? value : JSON.stringify(value)]]
  })
  return rows
}

/** Their defaults depend on others. */
function isOfASet(name: string, options: object): boolean {
  const { guidanceInterval, cache } = options as { guidanceInterval?: number[]; cache?: unknown }
  if (name === 'guidanceInterval') return String(guidanceInterval) !== '0,1'
  return name === 'cache' && cache !== null
}
