/** One mix by every method: a sweep whose only axis is the method. */
import { type Method, methodNames, nameOf, withoutMagicMix } from '../request/method.js'
import { invalid, record, refuseUnknownKeys } from '../options/validate.js'
import { type LayoutPrompt } from '../input/layout.js'
import { mixOptions } from '../request/mix-options.js'
import type { Option } from '../options/option.js'
import { type CheckedSweep, type SweepRequest, checkSweep } from './axes.js'

/**
 * A request to {@link MagicMix.compare}: that of a mix whose layout is a prompt. `kMin`, `kMax`, `nu` and
 * `interpolate` are for 'magicmix' alone.
 *
 * @example
 * ```ts
 * const comparison = mixer.compare({
 *   layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger',
 *   seed: 7, steps: 20, nu: 0.9, // nu is for 'magicmix' alone
 * })
 * for await (const { mix, at } of comparison) console.log(at.method, mix.timings.total)
 * ```
 */
export interface CompareRequest extends Omit<
  SweepRequest,
  'vary' | 'batch' | 'method' | 'layout' | 'layouts' | 'content' | 'contents'
> {
  /** The prompt that the content is mixed with: no other method than 'magicmix' takes a picture. */
  layout: LayoutPrompt
  /** As in {@link MixRequest}. */
  content: string
}

/**
 * Options of {@link MagicMix.compare}.
 *
 * @example
 * ```ts
 * const request = { layout: { prompt: 'a photo of a heart' }, content: 'a photo of a tiger', steps: 20 }
 * const methods = ['magicmix', { name: 'switch', at: 0.4 }, { name: 'switch', at: 0.6 }] as const
 * const comparison = mixer.compare(request, { methods })
 * for await (const { at } of comparison) console.log(at.method)
 * await comparison.sheet().toFile('compare.png')
 * ```
 */
export interface CompareOptions {
  /** The methods, in the order of the sheet. Default: all, with their default numbers. */
  methods?: readonly Method[] | undefined
}

/** The options of `compare` beside those of `mix`. */
export const compareOptions = {
  methods: {
    help: 'the methods, in the order of the sheet',
    range: '',
    defaultText: 'all',
    check: (value: unknown, name: string): readonly Method[] => {
      if (!Array.isArray(value) || value.length === 0)
        throw invalid(name, 'a list of methods', value)
      return value as readonly Method[] // each is checked as a value of the axis
    },
    cli: {
      flag: 'methods',
      value: 'NAME[:X],...',
      help: 'the methods, such as magicmix,switch:0.4,alternate:3',
    },
  },
} satisfies Record<string, Option>

/**
 * Checks a comparison, whatever it is, and every mix that follows from it.
 *
 * @throws {@link MagicMixError} INVALID_ARGUMENT, UNKNOWN_OPTION
 */
export function checkComparison(request: unknown, options: unknown): CheckedSweep {
  const given = record(request, 'the request')
  const known = Object.keys(mixOptions).filter((name) => name !== 'method')
  refuseUnknownKeys(given, [...known, 'cells', 'preview'], 'compare')
  const { methods: chosen, ...others } = record(options, 'the options')
  refuseUnknownKeys(others, ['methods'], 'compare')
  const methods =
    chosen === undefined ? methodNames : compareOptions.methods.check(chosen, 'methods')
  // What is for MagicMix alone is refused where it is not among them.
  const hasMagicMix = methods.some((each) => nameOfAny(each) === 'magicmix')
  return checkSweep({ ...given, vary: { method: methods } }, (common, at) => {
    const own = hasMagicMix && nameOf(at.method!) !== 'magicmix' ? withoutMagicMix(common) : common
    return { ...own, ...at }
  })
}

/** Of what is not checked yet. */
function nameOfAny(method: unknown): unknown {
  return typeof method === 'object' && method !== null
    ? (method as { name?: unknown }).name
    : method
}
