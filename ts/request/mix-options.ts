/** Requests to {@link MagicMix.mix}: the types, the table of options, and its checks. */
import { randomInt } from 'node:crypto'

import { UsageError } from '../errors.js'
import { type AttentionScale, attention } from '../input/attention.js'
import {
  type FilledPicture,
  type JsonPixels,
  type LayoutPrompt,
  type WeightedPicture,
  cellMap,
  isPrompt,
  layout,
  layouts,
} from '../input/layout.js'
import { type FilledLora, type Lora, loraList } from '../input/lora.js'
import { type Fit, type LayoutPicture, fits } from '../input/picture-forms.js'
import type { ProgressEvent, ProgressListener } from '../progress.js'
import { type SizeConditioning, conditioning } from './conditioning.js'
import { type WeightedContent, contents } from './contents.js'
import { type Method, method, settleMethod } from './method.js'
import { type NuSchedule, checkLength, mixedStates, nu } from './nu.js'
import {
  type Filled,
  type Given,
  type JsonSchema,
  type Option,
  callback,
  checkOptions,
  choice,
  filledText,
  flag,
  integer,
  number,
  object,
  schemaOf,
  signal,
  text,
} from '../options/option.js'
import { type UnknownRecord, integerBetween, invalid, numberBetween } from '../options/validate.js'

/**
 * Another prompt to interpolate the content with.
 *
 * @example
 * ```ts
 * // What the paper compares with: one of the two usually wins.
 * await mixer.mix({ ...request, interpolate: { prompt: 'a photo of a lemon', weight: 0.5 } })
 * ```
 */
export interface Interpolation {
  /** The other prompt; at most 75 tokens. */
  prompt: string
  /** 0..1: 0 is the content alone, 1 the other prompt alone. */
  weight: number
}

/**
 * How much of the UNet is used again from step to step.
 *
 * @example
 * ```ts
 * const cache = { every: 5, whileMixing: 2, blocks: 2 }
 * const { unetCalls } = await mixer.mix({ ...request, cache })
 * console.log(unetCalls.full, unetCalls.cached)
 * ```
 */
export interface UnetCache {
  /** Steps from one that computes the whole UNet to the next, 1..999; 1 is no cache. Default 3. */
  every?: number | undefined
  /**
   * The same for the steps between `kMax` and `kMin`, 1..999. Every one of these moves away from where the
   * network left it, so full calls do the most good here. Default as `every`.
   */
  whileMixing?: number | undefined
  /**
   * The outermost blocks of the UNet's way up that every step computes, 1 to all that there are (12 in
   * Stable Diffusion 1.x and 2.x, 9 in XL). More is dearer and nearer to the picture without a cache. Default 1.
   */
  blocks?: number | undefined
}

/**
 * Named sets of `cache` and `guidanceInterval`.
 *
 * @example
 * ```ts
 * import type { Fast } from 'magicmix'
 *
 * const sets: Fast[] = ['off', 'safe', 'max']
 * for (const fast of sets) {
 *   const { timings, request: used } = await mixer.mix({ ...request, fast, seed: 7 })
 *   console.log(fast, used.cache, `${timings.total.toFixed()} ms`)
 * }
 * ```
 */
export type Fast = (typeof fasts)[number]
const fasts = ['off', 'safe', 'max'] as const
/** What each of them stands for; README.md has their figures. */
const fastSets: Readonly<Record<Fast, { guidanceInterval: Interval; cache: Cache | null }>> = {
  off: { guidanceInterval: [0, 1], cache: null },
  safe: { guidanceInterval: [0, 1], cache: { every: 3, whileMixing: 2, blocks: 1 } },
  max: { guidanceInterval: [0, 1], cache: { every: 5, whileMixing: 3, blocks: 1 } },
}
const fastSetOf = (fast: unknown) => fastSets[fast as Fast]

/**
 * The ways from noise to picture.
 *
 * @example
 * ```ts
 * import type { SamplerName } from 'magicmix'
 *
 * const sampler: SamplerName = 'dpm++2m' // of second order: 20 steps do
 * await mixer.mix({ ...request, sampler, steps: 20, spacing: 'karras' })
 * ```
 */
export type SamplerName = (typeof samplers)[number]
const samplers = ['ddim', 'euler', 'euler_a', 'dpm++2m', 'lcm', 'tcd'] as const

/**
 * How the timesteps of a sampler are spread.
 *
 * @example
 * ```ts
 * import type { Spacing } from 'magicmix'
 *
 * const spacings: Spacing[] = ['leading', 'trailing', 'linspace']
 * const sweep = mixer.sweep({ ...request, steps: 20, seed: 7, vary: { spacing: spacings } })
 * for await (const { mix, at } of sweep) await mix.toFile(`${at.spacing}.png`)
 * ```
 */
export type Spacing = (typeof spacings)[number]
const spacings = ['leading', 'trailing', 'linspace', 'karras'] as const

/**
 * The networks that make a picture of a latent.
 *
 * @example
 * <!-- snippet: types, needs a download -->
 * ```ts
 * import { type Decoder, MagicMix } from 'magicmix'
 *
 * await using mixer = await MagicMix.load({ model: 'hf:sd1.5', tinyDecoder: 'hf:madebyollin/taesd' })
 * const decoder: Decoder = 'tiny'
 * const { timings } = await mixer.mix({ ...request, decoder })
 * console.log(`decoded in ${timings.decode.toFixed()} ms`)
 * ```
 */
export type Decoder = (typeof decoders)[number]
const decoders = ['full', 'tiny'] as const

/**
 * What prompts are written in.
 *
 * @example
 * ```ts
 * import type { PromptSyntax } from 'magicmix'
 *
 * const promptSyntax: PromptSyntax = 'a1111'
 * const content = 'a photo of a [lemon:tiger:0.4]' // the tiger from 0.4 of the steps on
 * await mixer.mix({ layout: 'heart.png', content, promptSyntax })
 * ```
 */
export type PromptSyntax = (typeof promptSyntaxes)[number]
const promptSyntaxes = ['plain', 'a1111'] as const

/** Samplers of models that were distilled to a few steps. */
const isFewStep = (sampler: unknown) => sampler === 'lcm' || sampler === 'tcd'
const mostFewSteps = 50
const defaultGamma = 0.3

/**
 * A request to {@link MagicMix.mix}. Two options have to be there: `layout` or `layouts`, and `content` or `contents`.
 *
 * @example
 * ```ts
 * import type { MixRequest } from 'magicmix'
 *
 * const request: MixRequest = {
 *   layout: 'heart.png', content: 'a photo of a tiger', seed: 7,
 *   kMin: 0.3, kMax: 0.7, nu: 0.9,
 *   attention: { tiger: 1.2 },
 *   signal: AbortSignal.timeout(60_000),
 * }
 * const mix = await mixer.mix(request)
 * ```
 */
export interface MixRequest {
  /**
   * Where shape, colour and pose come from: a picture (path, encoded bytes, a `sharp` instance or
   * raw pixels), or a prompt. JPEG, PNG, WebP, AVIF, TIFF, GIF and SVG are read: a JPEG of at most 268
   * megapixels, others of at most 134; raw pixels have at most 32768 per side. A
   * `sharp` instance is rendered as it stands, after its EXIF orientation has been applied. The
   * forms that JSON can hold are taken too: `{ path }`, `{ bytes }` in base64, each with the file's
   * `sha256` if it is to be verified.
   */
  layout?: LayoutPicture | LayoutPrompt | JsonPixels | undefined
  /**
   * Several pictures instead of `layout`, at most 8: their latents are averaged, for a blend of two pictures that a
   * content is then mixed into. The first says the size of the mix; the others are made to fit as `fit` says.
   * One picture is the same as `layout`. Default null.
   */
  layouts?: readonly (LayoutPicture | JsonPixels | WeightedPicture)[] | null | undefined
  /** The subject of the picture: a prompt of at most 75 tokens. */
  content?: string | undefined
  /**
   * Several contents instead of `content`, at most 8: what the UNet predicts for each is averaged with the
   * weights (Composable Diffusion, Liu et al. 2022), and guided as one. One is the same as `content`. A step of
   * the content costs (n + 1) / 2 of what it costs with one. `attention` stands in each of them, and `interpolate`
   * is for one content. Default null.
   */
  contents?: readonly WeightedContent[] | null | undefined
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
   * Weight of the content against the layout while mixing, 0..1: about 0.1 for similar concepts,
   * 0.9 for dissimilar ones. `{ from, to, curve }` changes from the first mixed state, the noisiest, to the last; a
   * list has a number for every mixed state, of which there are `floor(kMax * steps) - floor(kMin * steps) - 1`.
   * Default 0.9.
   */
  nu?: number | NuSchedule | readonly number[] | undefined
  /**
   * A grey picture of any size, in any form that `layout` takes, that scales `nu` in every cell (8 x 8 pixels) of the
   * mix: where it is white `nu` is as it is, where it is black only the layout counts between `kMax` and `kMin`, as
   * with `nu` 0. It is made to fit as `fit` says, with white beside it; colours count by their lightness, what is
   * transparent is black. Default null.
   */
  nuMap?: LayoutPicture | JsonPixels | null | undefined
  /**
   * The same for `kMax`: where mixing begins in every cell (Differential Diffusion, Levin and Fried 2023). Down to
   * there the cell is the layout's, whatever `kMin` says; where the map is black, to the end. A layout prompt's
   * run then goes on to the end, too. Default null.
   */
  kMaxMap?: LayoutPicture | JsonPixels | null | undefined
  /**
   * Cross-attention scales of phrases of the content prompt, -2..2: `{ 'coffee machine': 1.4 }`, or
   * a list with more detail. Where two phrases cover the same token, the later one wins. Of a prompt that
   * changes (`promptSyntax`) those texts are scaled that have the phrase. Default: none.
   */
  attention?: Readonly<Record<string, number>> | readonly AttentionScale[] | undefined
  /**
   * Interpolates the text states of `content` with those of another prompt: the simple way to mix
   * two meanings, which the paper compares with (Figure 2). One of the two usually wins. Default
   * null.
   */
  interpolate?: Interpolation | null | undefined
  /**
   * How layout and content are mixed: 'magicmix', or for comparison one of the ways to mix two prompts in one run
   * from noise, which take no picture as layout and none of `kMin`, `kMax`, `nu` and `interpolate`. 'interpolate':
   * text states between those of the two; 'switch': first the layout's prompt, then the content; 'alternate': in
   * turn; 'split': the way down of the UNet attends to the layout's prompt, the rest to the content; 'swap':
   * some columns of the text states. With numbers: `{ name: 'switch', at: 0.5 }`. Default 'magicmix'.
   */
  method?: Method | undefined
  /**
   * 'a1111': the prompts of layout and content and the negative one may change while the picture is made, as in
   * AUTOMATIC1111's web UI. `[from:to:when]`, `[to:when]` and `[from::when]` change at a fraction of the steps (with
   * a point) or at the number of a step, `[a|b]` in every step; they may be nested. A backslash before a character
   * takes its meaning away. Weights in brackets, AND, BREAK and `<lora:...>` are refused. Default 'plain': brackets
   * are text.
   */
  promptSyntax?: PromptSyntax | undefined
  /**
   * LoRAs for this mix, instead of those that the mixer was loaded with; `[]` is none. Changing them
   * takes some seconds before the first step. Default: those of the mixer.
   */
  loras?: readonly Lora[] | undefined
  /**
   * Of Stable Diffusion XL alone: the sizes that it is told beside the prompt. Default null: the size of the
   * mix, not cropped.
   */
  conditioning?: SizeConditioning | null | undefined
  /**
   * A prompt for things to keep out of the picture; at most 75 tokens. Where a model of Stable Diffusion XL
   * does not say otherwise, an empty one is not encoded but stands for zeros. Default ''.
   */
  negativePrompt?: string | undefined
  /**
   * Strength of classifier-free guidance, 0..100; 1 is none. Default 7.5, and 1.5 with the samplers
   * 'lcm' and 'tcd', whose models want little.
   */
  guidanceScale?: number | undefined
  /**
   * Where the prompts are guided: two fractions of T, 0 <= from <= to <= 1; 1 is pure noise. At other
   * noise levels the negative prompt is not asked, and a step costs half. Default [0, 1], or as
   * `fast` says.
   */
  guidanceInterval?: readonly [from: number, to: number] | undefined
  /**
   * Between refreshes a step computes the outer blocks of the UNet only, and uses the inner ones'
   * features again (DeepCache). Refreshed every so many steps, and wherever something changes: where
   * mixing begins and ends, where guidance does, and with the prompt or the scale of a phrase. Default
   * null (every step computes everything), or as `fast` says.
   */
  cache?: UnetCache | null | undefined
  /**
   * A named set of `cache` and `guidanceInterval`: 'safe' is hardly to be seen, 'max' is. What is given
   * beside it wins, and the filled-in request says what was used. Not for 'lcm' and 'tcd', whose few steps are
   * too far apart. Default 'off'.
   */
  fast?: Fast | undefined
  /**
   * The way from noise to picture: 'ddim', the paper's; 'euler' and 'euler_a' (with fresh noise in
   * every step); 'dpm++2m', of second order, for fewer steps; 'lcm' and 'tcd' for models or
   * LoRAs that were distilled to a few steps (LCM; TCD, Hyper-SD). Default 'ddim'.
   */
  sampler?: SamplerName | undefined
  /**
   * Steps of the sampler from pure noise, 1..999, of which `floor(kMax * steps)` run. With 'lcm' and
   * 'tcd' at most 50; up to 8, a `kMax` of 0.75 to 1 and a `kMin` of 0 leave states to mix. Default 50,
   * and 8 with these two.
   */
  steps?: number | undefined
  /**
   * How the sampler's timesteps are spread, as diffusers calls it; 'karras' is for 'dpm++2m' alone,
   * and 'lcm' and 'tcd' have timesteps of their own. Default: as the model's files say, else 'leading'.
   */
  spacing?: Spacing | undefined
  /** Of 'ddim': 0..1, up to as much fresh noise in each step as DDPM adds. Default 0. */
  eta?: number | undefined
  /** Of 'tcd': 0..1, how much fresh noise a step adds; 0 is none, 1 all of it. Default 0.3. */
  gamma?: number | undefined
  /**
   * Seed of the noise, an integer 0..2^53-1; the noise is the one of PyTorch on the CPU. Default: a
   * random one of 32 bits, reported in {@link Mix.seed}.
   */
  seed?: number | undefined
  /**
   * Width of the mix in pixels, a multiple of 8 in 8..4096. Default: for a picture, see
   * `height`; for a prompt, the model's native size (512 for Stable Diffusion 1.x; 512 or 768 for 2.x; 1024 for XL).
   */
  width?: number | undefined
  /**
   * Height of the mix in pixels, a multiple of 8 in 8..4096. If only one side is given, the other
   * follows from the picture's aspect ratio. If none is, both are the sides of a picture of that
   * aspect ratio with the area of the model's native size squared. Sides that follow are rounded to
   * multiples of an eighth of the native size (64 of 512) and stay within that and 4096; of Stable Diffusion XL
   * both are those of the sizes of its training whose aspect ratio is nearest (1216 x 832 for 3 to 2), and one side
   * that follows is rounded to a sixteenth of the native size. Default for a prompt: the native size.
   */
  height?: number | undefined
  /**
   * How a picture of another aspect ratio fits in: 'cover' cuts off the excess, 'contain' fills up
   * with `background`, 'fill' distorts. Default 'cover'.
   */
  fit?: Fit | undefined
  /**
   * Colour behind transparent pixels and beside a contained picture, as CSS writes it. Default
   * 'white'.
   */
  background?: string | undefined
  /** Cut prompts off after 75 tokens instead of refusing them. Default false. */
  truncate?: boolean | undefined
  /** Called while the mix is made; if it throws, the mix is cancelled and rejects with that. */
  onProgress?: ProgressListener<ProgressEvent> | undefined
  /**
   * What makes the picture of the mix: 'full', the autoencoder; 'tiny', the tiny decoder that the model
   * was loaded with (`tinyDecoder`), in a small part of the time and with less detail. Default 'full'.
   */
  decoder?: Decoder | undefined
  /**
   * Steps between previews, 0..999; 0 for none. A preview is a small RGB picture
   * `[height/8, width/8, 3]` in {@link ProgressEvent.preview}; with a tiny decoder it is a picture of the
   * size of the mix, and takes the time of it. Default 0.
   */
  previewEvery?: number | undefined
  /** The earlier name of `previewEvery`. @deprecated */
  preview?: number | undefined
  /** Keep the states of the sampler in {@link Mix.trace}. Default false. */
  trace?: boolean | undefined
  /**
   * Judge the mix in {@link Mix.score}: how much of its prompts, and of its layout, is in it. The picture stays the same
   * to the byte. Costs 4 calls of the UNet, for two or three prompts at once; and the run of a layout prompt is taken
   * to its end for it, which is `steps` calls. Default false.
   */
  score?: boolean | undefined
  /** Cancels, inside a step; the mix rejects with the signal's reason once it has unwound. */
  signal?: AbortSignal | undefined
}

const interpolation = object(
  {
    prompt: text({ help: 'the other prompt', required: true }),
    weight: number(0, 1, {
      help: '0 is the content alone, 1 the other prompt alone',
      required: true,
    }),
  },
  { help: 'another prompt' },
)

const cacheFields = {
  every: integer(1, 999, {
    help: 'steps from one that computes the whole UNet to the next',
    default: 3,
    cli: { flag: 'cache-every', value: 'N' },
  }),
  whileMixing: integer(1, 999, {
    help: 'the same while mixing, between kMax and kMin',
    default: ({ every }: UnknownRecord) => every as number,
    defaultText: 'as every',
    cli: { flag: 'cache-while-mixing', value: 'N' },
  }),
  blocks: integer(1, 999, {
    help: "outermost blocks of the UNet's way up that every step computes; SD 1.x and 2.x have 12, XL 9",
    default: 1,
    cli: { flag: 'cache-blocks', value: 'N' },
  }),
}
type Cache = Given<typeof cacheFields>
const cache = object(cacheFields, {
  help: 'between refreshes only the outer blocks of the UNet are computed; null is no cache',
})

/** The options of `mix`: one row each. */
export const mixOptions = {
  layout,
  layouts,
  content: text({
    help: 'the subject of the picture: a prompt of at most 75 tokens',
    instead: 'contents',
  }),
  contents,
  kMin: number(0, 1, {
    help: 'where mixing ends, as a fraction of the diffusion time T, at most `kMax`',
    default: ({ kMax }) => Math.min(0.3, kMax as number),
    defaultText: '0.3',
    crosses: true,
    cli: { flag: 'k-min', value: 'X' },
  }),
  kMax: number(0, 1, {
    help: 'where mixing begins, as a fraction of the diffusion time T',
    default: 0.6,
    crosses: true,
    cli: { flag: 'k-max', value: 'X' },
  }),
  nu,
  nuMap: cellMap({
    help: 'a grey picture that scales `nu` in place: white is all of it, black keeps the layout',
    flag: 'nu-map',
  }),
  kMaxMap: cellMap({
    help: 'a grey picture that scales `kMax` in place: from where on a cell may leave the layout',
    flag: 'k-max-map',
  }),
  attention,
  interpolate: {
    help: "text states between those of two prompts: the baseline of the paper's Figure 2",
    range: '`{ prompt, weight }`',
    default: null as Interpolation | null,
    defaultText: 'none',
    check: (value: unknown, name: string): Interpolation | null =>
      value === null ? null : interpolation.check(value, name),
    schema: { anyOf: [{ type: 'null' }, interpolation.schema] },
  },
  method,
  promptSyntax: choice(promptSyntaxes, {
    help: "a1111: `[from:to:when]` and `[a|b]` in prompts change them from step to step, as in AUTOMATIC1111's web UI",
    default: 'plain',
    cli: { flag: 'prompt-syntax', value: 'NAME' },
  }),
  conditioning,
  loras: loraList({ help: "LoRAs for this mix instead of the mixer's; `[]` is none" }),
  negativePrompt: text({
    help: 'a prompt for things to keep out of the picture',
    default: '',
    cli: { flag: 'negative', value: 'TEXT' },
  }),
  guidanceScale: number(0, 100, {
    help: 'strength of the prompts; 1 is no guidance',
    default: ({ sampler }) => (isFewStep(sampler) ? 1.5 : 7.5),
    defaultText: '7.5; of lcm and tcd 1.5',
    crosses: true,
    cli: { flag: 'guidance', value: 'X' },
  }),
  guidanceInterval: {
    help: 'noise levels, as fractions of T, at which the prompts are guided; other steps cost half',
    range: '`[from, to]`',
    default: ({ fast }: UnknownRecord) => fastSetOf(fast).guidanceInterval,
    defaultText: '`[0, 1]`',
    check: checkInterval,
    schema: {
      type: 'array',
      items: { type: 'number', minimum: 0, maximum: 1 },
      minItems: 2,
      maxItems: 2,
    },
    cli: {
      flag: 'guidance-interval',
      value: 'FROM,TO',
      multiple: true as const,
      parse: parseInterval,
      collect: (given: Interval[]) => given.at(-1),
    },
  },
  cache: {
    ...cache,
    default: ({ fast }: UnknownRecord) => fastSetOf(fast).cache,
    defaultText: 'none',
    check: (value: unknown, name: string): Cache | null =>
      value === null ? null : cache.check(value, name),
    schema: { anyOf: [{ type: 'null' }, cache.schema] },
  },
  fast: choice(fasts, {
    help: 'a set of cache and guidanceInterval, which win over it where they are given',
    default: 'off',
    cli: { flag: 'fast', value: 'SET' },
  }),
  sampler: choice(samplers, {
    help: 'the way from noise to picture',
    default: 'ddim',
    crosses: true,
    cli: { flag: 'sampler', value: 'NAME' },
  }),
  steps: integer(1, 999, {
    help: 'steps from pure noise, of which floor(kMax * steps) run',
    default: ({ sampler }) => (isFewStep(sampler) ? 8 : 50),
    defaultText: '50; of lcm and tcd 8',
    crosses: true,
    cli: { flag: 'steps', value: 'N' },
  }),
  eta: number(0, 1, {
    help: 'of ddim: 1 is as noisy as DDPM',
    default: 0,
    crosses: true,
    cli: { flag: 'eta', value: 'X' },
  }),
  spacing: choice(spacings, {
    help: "how the sampler's timesteps are spread; karras for dpm++2m alone",
    defaultText: "as the model's files say, else leading",
    cli: { flag: 'spacing', value: 'NAME' },
  }),
  gamma: number(0, 1, {
    help: 'of tcd: how much fresh noise a step adds',
    default: defaultGamma,
    crosses: true,
    cli: { flag: 'gamma', value: 'X' },
  }),
  seed: integer(0, Number.MAX_SAFE_INTEGER, {
    help: "seed of the noise, the same as PyTorch's on the CPU",
    default: () => randomInt(2 ** 32),
    defaultText: 'random',
    crosses: true,
    cli: { flag: 'seed', value: 'N' },
  }),
  width: side('width of the mix in pixels', 'width'),
  height: side('height of the mix in pixels', 'height'),
  fit: choice(fits, {
    help: 'how a picture of another aspect ratio fits in',
    default: 'cover',
    cli: { flag: 'fit', value: 'HOW' },
  }),
  background: filledText({
    help: 'colour behind transparent pixels and beside a contained picture, as CSS writes it',
    default: 'white',
    cli: { flag: 'background', value: 'COLOUR' },
  }),
  truncate: flag({
    help: 'cut prompts off after 75 tokens instead of refusing them',
    default: false,
    cli: { flag: 'truncate' },
  }),
  onProgress: callback<ProgressListener<ProgressEvent>>({
    help: 'called with `{ stage, step, steps, timestep, etaMs, preview? }`',
  }),
  decoder: choice(decoders, {
    help: "what makes the picture: the autoencoder, or the tiny decoder of load's `tinyDecoder`",
    default: 'full',
    crosses: true,
    cli: { flag: 'decoder', value: 'NAME' },
  }),
  previewEvery: integer(0, 999, {
    help: 'steps between previews of a pixel per latent cell, or by the tiny decoder; 0 for none',
    default: 0,
    crosses: true,
    formerly: 'preview',
  }),
  trace: flag({
    help: "keep the sampler's states in `mix.trace` and `mix.layoutTrace`",
    default: false,
    crosses: true,
  }),
  score: flag({
    help: 'judge in `mix.score` how much of prompts and layout is in the mix; 4 more calls of the UNet',
    default: false,
    crosses: true,
    cli: { flag: 'score' },
  }),
  signal: signal({ help: 'cancels, inside a step' }),
} satisfies Record<Exclude<keyof MixRequest, 'preview'>, Option>

type Interval = readonly [from: number, to: number]

function checkInterval(value: unknown, name: string): Interval {
  if (!Array.isArray(value) || value.length !== 2) throw invalid(name, '[from, to]', value)
  const from = numberBetween(value[0], 0, 1, `${name}[0]`)
  const to = numberBetween(value[1], 0, 1, `${name}[1]`)
  if (from > to) throw invalid(name, 'an interval that begins below its end', value)
  return [from, to]
}

/** `0.2,0.8` */
function parseInterval(text: string): Interval {
  const [from, to, ...more] = text.split(',').map(Number)
  if (from === undefined || to === undefined || more.length > 0) {
    throw new UsageError(`Expected FROM,TO for --guidance-interval but received '${text}'`)
  }
  return [from, to]
}

function side(help: string, name: string) {
  return {
    help: `${help}, a multiple of 8`,
    range: '8..4096',
    defaultText: 'as the picture is',
    check: (value: unknown): number => {
      if (!Number.isInteger(value) || integerBetween(value, 8, 4096, name) % 8 !== 0) {
        throw invalid(name, 'a multiple of 8 between 8 and 4096', value)
      }
      return value as number
    },
    crosses: true as const,
    schema: { type: 'integer', minimum: 8, maximum: 4096, multipleOf: 8 },
    cli: { flag: name, value: 'N' },
  }
}

/** A checked request; the sizes and LoRAs that the layout's picture and the mixer decide are still open. */
export type CheckedMixRequest = Filled<typeof mixOptions>

/**
 * A {@link MixRequest} with every default filled in. It can be passed to `mix` again.
 *
 * @example
 * ```ts
 * const { request: used } = await mixer.mix(request)
 * console.log(used.sampler, used.steps, used.guidanceScale) // ddim 50 7.5
 * const again = await mixer.mix({ ...used, nu: 0.5 }) // with the seed that was drawn
 * ```
 */
export type FilledMixRequest = {
  [K in keyof MixRequest as K extends 'onProgress' | 'signal' | 'preview' ? never : K]-?: K extends
    'width' | 'height'
    ? number
    : K extends 'loras'
      ? FilledLora[]
      : K extends keyof CheckedMixRequest
        ? CheckedMixRequest[K]
        : never
}

/** Checks `request`, whatever it is, and fills in the defaults. */
export function checkRequest(request: unknown): CheckedMixRequest {
  const checked = checkOptions(mixOptions, request, 'mix', '', 'the request')
  settleMethod(checked, request as UnknownRecord)
  const { kMin, kMax, steps } = checked
  if (kMin > kMax) throw invalid('kMin', `at most kMax (${kMax})`, kMin)
  if (Math.floor(kMax * steps + 1e-9) < 1) {
    throw invalid(
      'kMax',
      `at least 1/steps (${(1 / steps).toPrecision(3)} with ${steps} steps), so that a step is left,`,
      kMax,
    )
  }
  checkLength(checked.nu, mixedStates(checked))
  refuseOfOneContent(checked)
  refuseOptionsOfOthers(checked)
  return checked
}

/** What belongs to `content` is refused beside `contents`. */
function refuseOfOneContent({
  contents: several,
  attention: scales,
  interpolate,
}: CheckedMixRequest) {
  if (!several) return
  if (scales.length > 0) {
    throw invalid('attention', 'nothing beside contents, each of which may have its own', scales)
  }
  if (interpolate) {
    throw invalid('interpolate', 'null (it is for one content, and contents is given)', interpolate)
  }
}

/** Where the layout of a request comes from: a prompt, or pictures with their weights. */
export function layoutOf({
  layout: one,
  layouts: several,
}: Pick<CheckedMixRequest, 'layout' | 'layouts'>): LayoutPrompt | FilledPicture[] {
  if (several) return several
  return isPrompt(one) ? one : [{ picture: one!, weight: 1 }]
}

/** What of a model decides which requests it takes. */
interface MixingModel {
  readonly family: string
  readonly sizes: {
    readonly unet: { readonly channels: readonly number[]; readonly layersPerLevel: number }
  }
}

/** What depends on the model that is to mix. */
export function checkForModel(
  { cache, conditioning: sizes }: CheckedMixRequest,
  { family, sizes: { unet } }: MixingModel,
): void {
  if (sizes && family !== 'sdxl') {
    throw invalid('conditioning', 'null (only Stable Diffusion XL is told sizes)', sizes)
  }
  const { channels, layersPerLevel } = unet
  const blocks = channels.length * (layersPerLevel + 1)
  if (cache && cache.blocks > blocks) {
    throw invalid('cache.blocks', `at most ${blocks}, which this model's UNet has,`, cache.blocks)
  }
}

/** What one sampler has and another does not is refused, not passed over. */
function refuseOptionsOfOthers(request: CheckedMixRequest): void {
  const { sampler, steps, spacing, eta, gamma, fast } = request
  const because = (why: string) => `(the sampler is '${sampler}', ${why})`
  if (eta !== 0 && sampler !== 'ddim') {
    throw invalid('eta', `nothing ${because("and only 'ddim' has it")}`, eta)
  }
  if (gamma !== defaultGamma && sampler !== 'tcd') {
    throw invalid('gamma', `nothing ${because("and only 'tcd' has it")}`, gamma)
  }
  if (spacing !== undefined && isFewStep(sampler)) {
    throw invalid('spacing', `nothing ${because('which has timesteps of its own')}`, spacing)
  }
  if (spacing === 'karras' && sampler !== 'dpm++2m') {
    throw invalid('spacing', `another ${because("and only 'dpm++2m' has this one")}`, spacing)
  }
  if (fast !== 'off' && isFewStep(sampler)) {
    throw invalid('fast', `'off' ${because('whose few steps are too far apart')}`, fast)
  }
  if (isFewStep(sampler) && steps > mostFewSteps) {
    throw invalid('steps', `at most ${mostFewSteps} ${because('4 to 12 are usual')}`, steps)
  }
}

/**
 * JSON Schema (draft 2020-12) of a request in its JSON form, as {@link recipe} gives it: everything
 * but `onProgress` and `signal`. That `kMin` is at most `kMax`, that a step is left, and that an option
 * is one of the sampler's and of the method's, `mix` checks beyond it.
 *
 * @example
 * ```ts
 * import { Ajv2020 } from 'ajv/dist/2020.js'
 * import { requestSchema } from 'magicmix'
 *
 * const isRequest = new Ajv2020({ strict: false }).compile(requestSchema)
 * console.log(isRequest({ ...request, nu: 2 }), isRequest.errors) // false [ ... ]
 * ```
 */
export const requestSchema: JsonSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'MixRequest',
  ...schemaOf(mixOptions),
}
