/** How layout and content are mixed: MagicMix, and what is done elsewhere with two prompts. */
import { UsageError } from '../errors.js'
import { type LayoutPrompt, isPrompt } from '../input/layout.js'
import type { LayoutPicture } from '../input/picture-forms.js'
import {
  type JsonSchema,
  type Option,
  type OptionTable,
  checkOptions,
  integer,
  number,
  schemaOf,
} from '../options/option.js'
import { type UnknownRecord, invalid, isRecord, oneOf } from '../options/validate.js'
import type { FilledNu } from './nu.js'

/**
 * The names of {@link Method}s.
 *
 * @example
 * ```ts
 * import type { MethodName } from 'magicmix'
 *
 * const method: MethodName[] = ['magicmix', 'interpolate', 'swap']
 * const layout = { prompt: 'a photo of a heart' }
 * const { plan } = mixer.sweep({ layout, content: 'a photo of a tiger', vary: { method } })
 * console.log(`${plan.cells} mixes, ${plan.unetCalls} calls of the UNet`)
 * ```
 */
export type MethodName = (typeof methodNames)[number]
export const methodNames = [
  'magicmix',
  'interpolate',
  'switch',
  'alternate',
  'split',
  'swap',
] as const

/**
 * How layout and content are mixed: by name, or with its numbers. All but 'magicmix' mix two prompts, that of the
 * layout and the content, in one run from noise.
 *
 * @example
 * ```ts
 * import type { Method } from 'magicmix'
 *
 * const method: Method = { name: 'switch', at: 0.4 } // first the heart, from 0.4 T down the tiger
 * const layout = { prompt: 'a photo of a heart' }
 * await mixer.mix({ layout, content: 'a photo of a tiger', method })
 * ```
 */
export type Method =
  | MethodName
  | {
      /** MagicMix; or the UNet's way down attends to the layout's prompt, and the rest of it to the content. */
      name: 'magicmix' | 'split'
    }
  | {
      /** Text states between those of the two prompts. */
      name: 'interpolate'
      /** 0..1: 0 is the layout's prompt alone, 1 the content alone. Default 0.5. */
      weight?: number | undefined
    }
  | {
      /** First the layout's prompt, then the content. */
      name: 'switch'
      /** Where the content takes over, as a fraction of T like `kMax`, 0..1. Default 0.5. */
      at?: number | undefined
    }
  | {
      /** The layout's prompt in every n-th step from the first on, the content in the others. */
      name: 'alternate'
      /** n, 2..999. Default 2. */
      every?: number | undefined
    }
  | {
      /** Text states of the layout's prompt with some columns of the content's. */
      name: 'swap'
      /** The share of columns that are the content's, 0..1. Default 0.5. */
      columns?: number | undefined
      /** Another number is another choice of columns, 0..2^53-1. Default 0. */
      draw?: number | undefined
    }

/**
 * A {@link Method} with its numbers filled in.
 *
 * @example
 * ```ts
 * const layout = { prompt: 'a photo of a heart' }
 * const mix = await mixer.mix({ layout, content: 'a photo of a tiger', method: 'switch' })
 * console.log(mix.request.method) // { name: 'switch', at: 0.5 }
 * ```
 */
export type FilledMethod =
  | 'magicmix'
  | 'split'
  | {
      /** Text states between those of the two prompts. */
      name: 'interpolate'
      /** 0..1: 0 is the layout's prompt alone, 1 the content alone. */
      weight: number
    }
  | {
      /** First the layout's prompt, then the content. */
      name: 'switch'
      /** Where the content takes over, as a fraction of T, 0..1. */
      at: number
    }
  | {
      /** The layout's prompt in every n-th step, the content in the others. */
      name: 'alternate'
      /** n, 2..999. */
      every: number
    }
  | {
      /** Text states of the layout's prompt with some columns of the content's. */
      name: 'swap'
      /** The share of columns that are the content's, 0..1. */
      columns: number
      /** Which columns, 0..2^53-1. */
      draw: number
    }

const half = { default: 0.5 } as const
/** The numbers of every method; those of the command line in this order. */
const numbersOf: Readonly<Record<MethodName, OptionTable>> = {
  magicmix: {},
  interpolate: { weight: number(0, 1, { help: "the content's weight", ...half }) },
  switch: { at: number(0, 1, { help: 'where the content takes over', ...half }) },
  alternate: { every: integer(2, 999, { help: "steps from one of the layout's on", default: 2 }) },
  split: {},
  swap: {
    columns: number(0, 1, { help: "share of the content's columns", ...half }),
    draw: integer(0, Number.MAX_SAFE_INTEGER, { help: 'seed of their choice', default: 0 }),
  },
}

/** Options that mean nothing to other methods, and what stands for them in their requests: nothing is mixed into states. */
const ofMagicMix = { kMin: 1, kMax: 1, nu: 1, nuMap: null, kMaxMap: null } as const

/** The option `method` of `mix`. */
export const method = {
  help: 'MagicMix, or another way to mix the layout\'s prompt and the content: `{ name: "switch", at: 0.5 }`, `{ name: "alternate", every: 2 }`, `{ name: "interpolate", weight: 0.5 }`, `{ name: "swap", columns: 0.5, draw: 0 }`',
  range: methodNames.map((name) => `'${name}'`).join(' '),
  default: 'magicmix' as FilledMethod,
  check: checkMethod,
  schema: {
    anyOf: [{ enum: methodNames }, ...methodNames.map(methodSchema)],
  },
  cli: {
    flag: 'method',
    value: 'NAME[:X]',
    help: `how the two are mixed: ${methodNames.join(', ')}; with a number as in switch:0.5`,
    parse: parseMethod,
  },
} satisfies Option

function methodSchema(name: MethodName): JsonSchema {
  const { properties, ...schema } = schemaOf(numbersOf[name])
  return {
    ...schema,
    properties: { name: { const: name }, ...(properties as object) },
    required: ['name'],
  }
}

function checkMethod(value: unknown, option: string): FilledMethod {
  if (!isRecord(value)) return filled(oneOf(value as MethodName, methodNames, option), {}, option)
  const { name, ...numbers } = value
  return filled(oneOf(name as MethodName, methodNames, `${option}.name`), numbers, option)
}

function filled(name: MethodName, numbers: UnknownRecord, option: string): FilledMethod {
  const checked = checkOptions(numbersOf[name], numbers, `the method '${name}'`, `${option}.`)
  return (Object.keys(checked).length === 0 ? name : { name, ...checked }) as FilledMethod
}

/** `switch:0.4`, `swap:0.5:7` */
export function parseMethod(text: string): Method {
  const [name = '', ...numbers] = text.split(':')
  if (numbers.length === 0) return name as MethodName
  const keys = (methodNames as readonly string[]).includes(name)
    ? Object.keys(numbersOf[name as MethodName])
    : numbers.map(() => 'number')
  const values = numbers.map((each) => (each.trim() === '' ? NaN : Number(each)))
  if (values.length > keys.length || values.some(Number.isNaN)) {
    throw new UsageError(`Expected NAME or NAME:NUMBER for a method but received '${text}'`)
  }
  return { name, ...Object.fromEntries(values.map((each, i) => [keys[i], each])) } as Method
}

export function nameOf(of: Method): MethodName {
  return typeof of === 'string' ? of : of.name
}

/** As a sheet names it: 'switch at 0.5'. */
export function methodLabel(of: unknown): string {
  const checked = checkMethod(of, 'method')
  if (typeof checked === 'string') return checked
  const { name, ...numbers } = checked
  const shown = Object.entries(numbers).filter(([key, value]) => key !== 'draw' || value !== 0)
  return [name, ...shown.map(([key, value]) => `${key} ${value}`)].join(' ')
}

/** A request of which these options are looked at. */
interface Mixed {
  method: FilledMethod
  layout: LayoutPicture | LayoutPrompt | undefined
  contents: unknown
  interpolate: unknown
  kMin: number
  kMax: number
  nu: FilledNu
  nuMap: unknown
  kMaxMap: unknown
}

/**
 * What MagicMix alone has is refused with another method, not passed over, and where it is not given filled in with
 * what stands for it.
 */
export function settleMethod(request: Mixed, given: UnknownRecord): void {
  const name = nameOf(request.method)
  if (name === 'magicmix') return
  const because = (why: string) => `(the method is '${name}', ${why})`
  if (!isPrompt(request.layout)) {
    throw invalid(
      'layout',
      `a prompt, as { prompt: '...' } ${because("which mixes two prompts; of pictures 'magicmix' is the method")}`,
      request.layout,
    )
  }
  if (request.interpolate !== null) {
    const why = "which mixes layout and content already; 'interpolate' is a method, too"
    throw invalid('interpolate', `nothing ${because(why)}`, request.interpolate)
  }
  if (request.contents !== null) {
    throw invalid('contents', `null ${because('which mixes two prompts')}`, request.contents)
  }
  for (const [option, stand] of Object.entries(ofMagicMix)) {
    const { [option]: value = stand } = given
    if (value !== stand) {
      throw invalid(option, `nothing ${because("and only 'magicmix' has it")}`, value)
    }
  }
  Object.assign(request, ofMagicMix)
}

/** A request for MagicMix without what other methods refuse. */
export function withoutMagicMix(request: UnknownRecord): UnknownRecord {
  const without = { ...request }
  for (const option of [...Object.keys(ofMagicMix), 'interpolate']) {
    Reflect.deleteProperty(without, option)
  }
  return without
}

/** A method as the engine takes it. */
export interface NativeMethod {
  method: MethodName
  /** of the content */
  methodShare: number
  methodEvery: number
  methodDraw: number
}

export function nativeMethod(of: FilledMethod): NativeMethod {
  const numbers = { methodShare: 0.5, methodEvery: 2, methodDraw: 0 }
  if (typeof of === 'string') return { method: of, ...numbers }
  switch (of.name) {
    case 'interpolate':
      return { ...numbers, method: of.name, methodShare: of.weight }
    case 'switch':
      return { ...numbers, method: of.name, methodShare: of.at }
    case 'alternate':
      return { ...numbers, method: of.name, methodEvery: of.every }
    case 'swap':
      return { ...numbers, method: of.name, methodShare: of.columns, methodDraw: of.draw }
  }
}
