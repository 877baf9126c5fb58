/**
 * What a user can ask of {@link MagicMix.mix}: the types, the defaults, and the way from what came
 * in, which may be anything, to a request with every value checked and filled in.
 */
import { randomInt } from 'node:crypto'
import path from 'node:path'

import type { AttentionScale, FilledAttentionScale } from '../input/attention.js'
import { type FilledLora, type Lora, checkLoras } from '../input/lora.js'
import { type Fit, type LayoutPicture, type RawPixels, fits, isSharp } from '../input/picture.js'
import type { ProgressEvent } from '../progress.js'
import {
  type UnknownRecord,
  describe,
  flag,
  integerBetween,
  invalid,
  isRecord,
  nonEmptyText,
  numberBetween,
  oneOf,
  optionalFunction,
  optionalSignal,
  record,
  refuseUnknownKeys,
  text,
} from './validate.js'

/** A layout that is itself generated, from a prompt. */
export interface LayoutPrompt {
  /** What the layout shows. */
  prompt: string
}

/** Another prompt to interpolate the content with. */
export interface Interpolation {
  /** The other prompt. */
  prompt: string
  /** 0 is the content alone, 1 the other prompt alone. */
  weight: number
}

/** What {@link MagicMix.mix} makes a picture of. */
export interface MixRequest {
  /**
   * Where shape, colour and pose come from: a picture (path, encoded bytes, a `sharp` instance or
   * raw pixels), or a prompt. A `sharp` instance is rendered as it stands, after its EXIF
   * orientation has been applied.
   */
  layout: LayoutPicture | LayoutPrompt
  /** What the picture becomes: a prompt of at most 75 tokens. */
  content: string
  /**
   * Where mixing ends, as a fraction of the diffusion time T, 0 <= kMin <= kMax. From there down
   * to 0 only the content is at work. Smaller keeps more of the layout's details. Default 0.3, or
   * `kMax` if that is smaller.
   */
  kMin?: number | undefined
  /**
   * Where mixing begins, as a fraction of T, up to 1. Larger gives the content more freedom to
   * change the layout. At least one step must remain: `floor(kMax * steps) >= 1`. Default 0.6.
   */
  kMax?: number | undefined
  /**
   * Weight of the content against the layout while mixing, 0..1: about 0.1 for concepts that are
   * near, 0.9 for those that are far from each other. Default 0.9.
   */
  nu?: number | undefined
  /**
   * Cross-attention scales of phrases of the content prompt: `{ 'coffee machine': 1.4 }`, or a list
   * with more detail. Where two phrases cover the same token, the later one wins.
   */
  attention?: Readonly<Record<string, number>> | readonly AttentionScale[] | undefined
  /**
   * Interpolates what the text encoder makes of `content` with what it makes of another prompt: the
   * simple way to mix two meanings, which the paper compares with (Figure 2). One of the two
   * usually wins. Default null.
   */
  interpolate?: Interpolation | null | undefined
  /**
   * LoRAs for this mix, instead of those that the mixer was loaded with; `[]` is none. Changing them
   * takes some seconds before the first step. Default: those of the mixer.
   */
  loras?: readonly Lora[] | undefined
  /** What the picture should not show. Default ''. */
  negativePrompt?: string | undefined
  /** Strength of classifier-free guidance, 0..100; 1 is none. Default 7.5. */
  guidanceScale?: number | undefined
  /** Steps of the sampler from pure noise, 1..999, of which `floor(kMax * steps)` run. Default 50. */
  steps?: number | undefined
  /** 0 for DDIM, up to 1 for as much fresh noise in each step as DDPM adds. Default 0. */
  eta?: number | undefined
  /**
   * Seed of the noise, an integer >= 0; the noise is the one of PyTorch on the CPU. Default: a
   * random one of 32 bits, which {@link Mix.seed} tells.
   */
  seed?: number | undefined
  /**
   * Width of the mix in pixels, a multiple of 8 in 8..4096. Default: for a picture, see
   * `height`; for a prompt, the model's native size (512 for Stable Diffusion 1.x; 512 or 768 for 2.x).
   */
  width?: number | undefined
  /**
   * Height of the mix in pixels, a multiple of 8 in 8..4096. If only one side is given, the other
   * follows from the picture's aspect ratio. If none is, both are the sides of a picture of that
   * aspect ratio with the area of the model's native size squared. What follows is rounded to
   * multiples of an eighth of the native size (64 of 512) and stays within that and 4096. Default
   * for a prompt: the native size.
   */
  height?: number | undefined
  /**
   * How a picture of another aspect ratio fits in: 'cover' cuts off what is too much, 'contain'
   * fills up with `background`, 'fill' distorts. Default 'cover'.
   */
  fit?: Fit | undefined
  /**
   * Colour behind transparent pixels and beside a contained picture, as CSS writes it. Default
   * 'white'.
   */
  background?: string | undefined
  /** Cut prompts off after 75 tokens instead of refusing them. Default false. */
  truncate?: boolean | undefined
  /** Called while the mix is made; what it throws cancels the mix and becomes its rejection. */
  onProgress?: ((event: ProgressEvent) => void) | undefined
  /** Every how many steps an event brings a small preview; 0 for none. Default 0. */
  preview?: number | undefined
  /** Keep the states of the sampler in {@link Mix.trace}. Default false. */
  trace?: boolean | undefined
  /** Cancels, inside a step; the mix rejects with the signal's reason once all has unwound. */
  signal?: AbortSignal | undefined
}

/** A {@link MixRequest} with every default filled in. It can be passed to `mix` again. */
export interface FilledMixRequest {
  layout: LayoutPicture | LayoutPrompt
  content: string
  kMin: number
  kMax: number
  nu: number
  attention: FilledAttentionScale[]
  interpolate: Interpolation | null
  loras: FilledLora[]
  negativePrompt: string
  guidanceScale: number
  steps: number
  eta: number
  seed: number
  width: number
  height: number
  fit: Fit
  background: string
  truncate: boolean
  preview: number
  trace: boolean
}

/** A checked request; what the layout's picture and the mixer decide is still open. */
export type CheckedMixRequest = Omit<FilledMixRequest, 'width' | 'height' | 'loras'> &
  Pick<MixRequest, 'width' | 'height' | 'onProgress' | 'signal'> & {
    loras: FilledLora[] | undefined
  }

/** With 1000, the first step of DDIM would begin at timestep 1000, one after the last. */
const maxSteps = 999

const options: readonly (keyof MixRequest)[] = [
  'layout',
  'content',
  'kMin',
  'kMax',
  'nu',
  'attention',
  'interpolate',
  'loras',
  'negativePrompt',
  'guidanceScale',
  'steps',
  'eta',
  'seed',
  'width',
  'height',
  'fit',
  'background',
  'truncate',
  'onProgress',
  'preview',
  'trace',
  'signal',
]

/** Checks `request`, whatever it is, and fills in the defaults. */
export function checkRequest(request: unknown): CheckedMixRequest {
  const given = record(request, 'the request')
  refuseUnknownKeys(given, options, 'mix')

  const {
    nu = 0.9,
    attention = {},
    interpolate = null,
    negativePrompt = '',
    guidanceScale = 7.5,
    eta = 0,
    seed = randomInt(2 ** 32),
    fit = 'cover',
    background = 'white',
    truncate = false,
    preview = 0,
    trace = false,
  } = given
  const steps = integerBetween(given.steps === undefined ? 50 : given.steps, 1, maxSteps, 'steps')
  const [kMin, kMax] = checkWindow(given, steps)
  return {
    layout: checkLayout(given.layout),
    content: text(given.content, 'content'),
    kMin,
    kMax,
    nu: numberBetween(nu, 0, 1, 'nu'),
    attention: checkAttention(attention),
    interpolate: checkInterpolation(interpolate),
    loras: given.loras === undefined ? undefined : checkLoras(given.loras),
    negativePrompt: text(negativePrompt, 'negativePrompt'),
    guidanceScale: numberBetween(guidanceScale, 0, 100, 'guidanceScale'),
    steps,
    eta: numberBetween(eta, 0, 1, 'eta'),
    seed: integerBetween(seed, 0, Number.MAX_SAFE_INTEGER, 'seed'),
    width: checkSide(given.width, 'width'),
    height: checkSide(given.height, 'height'),
    fit: oneOf(fit, fits, 'fit'),
    background: nonEmptyText(background, 'background'),
    truncate: flag(truncate, 'truncate'),
    preview: integerBetween(preview, 0, maxSteps, 'preview'),
    trace: flag(trace, 'trace'),
    onProgress: optionalFunction(given.onProgress, 'onProgress'),
    signal: optionalSignal(given.signal, 'signal'),
  }
}

/** Checks `kMin` and `kMax`, and that a step is left for them. */
function checkWindow(given: UnknownRecord, steps: number): [number, number] {
  const { kMax: givenMax = 0.6 } = given
  const kMax = numberBetween(givenMax, 0, 1, 'kMax')
  const { kMin: givenMin = Math.min(0.3, kMax) } = given
  const kMin = numberBetween(givenMin, 0, 1, 'kMin')
  if (kMin > kMax) throw invalid('kMin', `at most kMax (${kMax})`, kMin)
  if (Math.floor(kMax * steps + 1e-9) < 1) {
    throw invalid(
      'kMax',
      `at least 1/steps (${(1 / steps).toPrecision(3)} with ${steps} steps), so that a step is left,`,
      kMax,
    )
  }
  return [kMin, kMax]
}

function checkInterpolation(value: unknown): Interpolation | null {
  if (value === null) return null
  const given = record(value, 'interpolate')
  refuseUnknownKeys(given, ['prompt', 'weight'], 'interpolate')
  return {
    prompt: text(given.prompt, 'interpolate.prompt'),
    weight: numberBetween(given.weight, 0, 1, 'interpolate.weight'),
  }
}

function checkSide(value: unknown, name: string): number | undefined {
  if (value === undefined) return undefined
  if (!Number.isInteger(value) || integerBetween(value, 8, 4096, name) % 8 !== 0) {
    throw invalid(name, 'a multiple of 8 between 8 and 4096', value)
  }
  return value as number
}

function checkLayout(value: unknown): LayoutPicture | LayoutPrompt {
  if (typeof value === 'string') return nonEmptyText(value, 'layout')
  if (isSharp(value)) return value
  if (value instanceof ArrayBuffer || value instanceof Uint8Array) {
    if (value.byteLength === 0) throw invalid('layout', 'the bytes of a picture', value)
    return value
  }
  if (isRecord(value)) {
    if ('prompt' in value) {
      refuseUnknownKeys(value, ['prompt'], 'layout')
      return { prompt: text(value.prompt, 'layout.prompt') }
    }
    if ('data' in value) return checkPixels(value)
  }
  throw invalid(
    'layout',
    "a picture (path, Buffer, Uint8Array, ArrayBuffer, sharp or { data, width, height, channels }) or { prompt: '...' }",
    value,
  )
}

function checkPixels(value: UnknownRecord): RawPixels {
  refuseUnknownKeys(value, ['data', 'width', 'height', 'channels'], 'layout')
  const width = integerBetween(value.width, 1, 1 << 15, 'layout.width')
  const height = integerBetween(value.height, 1, 1 << 15, 'layout.height')
  const channels = integerBetween(value.channels, 1, 4, 'layout.channels') as 1 | 2 | 3 | 4
  const { data } = value
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw invalid('layout.data', 'a Uint8Array', data)
  }
  if (data.length !== width * height * channels) {
    throw invalid(
      'layout.data',
      `width x height x channels = ${width * height * channels} bytes`,
      data,
    )
  }
  return { data, width, height, channels }
}

function checkAttention(value: unknown): FilledAttentionScale[] {
  if (Array.isArray(value)) return value.map((entry, i) => checkScale(entry, `attention[${i}]`))
  if (!isRecord(value)) throw invalid('attention', 'an object of scales by phrase or a list', value)
  return Object.entries(value).map(([phrase, scale]) => ({
    text: nonEmptyText(phrase.trim(), 'a phrase of attention'),
    scale: numberBetween(scale, -2, 2, `the attention scale of '${phrase}'`),
    from: 0,
    to: 1,
  }))
}

function checkScale(entry: unknown, name: string): FilledAttentionScale {
  const given = record(entry, name)
  refuseUnknownKeys(given, ['text', 'scale', 'occurrence', 'from', 'to'], name)
  const { from: givenFrom = 0, to: givenTo = 1 } = given
  const from = numberBetween(givenFrom, 0, 1, `${name}.from`)
  const to = numberBetween(givenTo, 0, 1, `${name}.to`)
  return {
    text: nonEmptyText(text(given.text, `${name}.text`).trim(), `${name}.text`),
    scale: numberBetween(given.scale, -2, 2, `${name}.scale`),
    ...(given.occurrence === undefined
      ? {}
      : { occurrence: integerBetween(given.occurrence, 1, 1000, `${name}.occurrence`) }),
    from: Math.min(from, to),
    to: Math.max(from, to),
  }
}

export function isPrompt(layout: LayoutPicture | LayoutPrompt): layout is LayoutPrompt {
  return isRecord(layout) && 'prompt' in layout
}

/**
 * A request as JSON can hold it: a picture becomes a description, and of paths only the files'
 * names are told, since a recipe travels with the picture.
 */
export function recipeOf(request: FilledMixRequest): Record<string, unknown> {
  const { layout, loras, ...rest } = request
  return {
    layout: isPrompt(layout) ? layout : { picture: describePicture(layout) },
    ...rest,
    loras: loras.map(({ file, strength }) => ({ file: path.basename(file), strength })),
  }
}

function describePicture(picture: LayoutPicture): string {
  if (typeof picture === 'string') return path.basename(picture)
  if (isSharp(picture)) return 'a sharp instance'
  if (ArrayBuffer.isView(picture) || picture instanceof ArrayBuffer) return describe(picture)
  return `${picture.width} x ${picture.height} pixels`
}
