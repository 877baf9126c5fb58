/** The option `nu`: a number, a schedule over the mixed states, or a number for each of them. */
import { UsageError } from '../errors.js'
import { choice, checkOptions, number, schemaOf } from '../options/option.js'
import { invalid, isRecord, numberBetween } from '../options/validate.js'

/**
 * A `nu` that changes from the first mixed state, the noisiest, to the last.
 *
 * @example
 * ```ts
 * // The layout first, then more and more of the content.
 * await mixer.mix({ ...request, nu: { from: 0.2, to: 0.9, curve: 'cosine' } })
 * ```
 */
export interface NuSchedule {
  /** That of the first mixed state, 0..1. */
  from: number
  /** That of the last, 0..1. */
  to: number
  /** How it goes from one to the other: evenly, or slowly at both ends. Default 'linear'. */
  curve?: NuCurve | undefined
}

/**
 * The ways from one `nu` to another.
 *
 * @example
 * ```ts
 * import type { NuCurve } from 'magicmix'
 *
 * const curves: NuCurve[] = ['linear', 'cosine']
 * for (const curve of curves) await mixer.mix({ ...request, seed: 7, nu: { from: 0.2, to: 0.9, curve } })
 * ```
 */
export type NuCurve = (typeof curves)[number]
const curves = ['linear', 'cosine'] as const

const scheduleOptions = {
  from: number(0, 1, { help: 'that of the first mixed state', required: true }),
  to: number(0, 1, { help: 'that of the last', required: true }),
  curve: choice(curves, { help: 'how it goes from one to the other', default: 'linear' }),
}

/**
 * A checked `nu`.
 *
 * @example
 * ```ts
 * const { request: used } = await mixer.mix({ ...request, nu: { from: 0.2, to: 0.9 } })
 * console.log(used.nu) // { from: 0.2, to: 0.9, curve: 'linear' }
 * ```
 */
export type FilledNu =
  | number
  | {
      /** Of the first mixed state, 0..1. */
      from: number
      /** Of the last, 0..1. */
      to: number
      /** How it goes from one to the other. */
      curve: NuCurve
    }
  | number[]

const mostStates = 999

/** The option `nu` of `mix`. */
export const nu = {
  help: 'weight of the content while mixing: about 0.1 for similar concepts, 0.9 for dissimilar ones; also one that changes',
  range: 'a number 0..1, `{ from, to, curve }`, or a list',
  default: 0.9 as FilledNu,
  check: checkNu,
  schema: {
    ...schemaOf(scheduleOptions),
    type: ['number', 'object', 'array'],
    minimum: 0,
    maximum: 1,
    items: { type: 'number', minimum: 0, maximum: 1 },
    minItems: 1,
    maxItems: mostStates,
  },
  cli: {
    flag: 'nu',
    value: 'X',
    help: 'weight of the content while mixing, 0..1; X..Y or X..Y:cosine changes from the first mixed state to the last, X,Y,Z has one for each',
    parse: parseNu,
  },
}

function checkNu(value: unknown, name: string): FilledNu {
  if (Array.isArray(value)) {
    if (value.length < 1 || value.length > mostStates) {
      throw invalid(name, `a list of 1 to ${mostStates} numbers`, value)
    }
    return value.map((each: unknown, i) => numberBetween(each, 0, 1, `${name}[${i}]`))
  }
  if (isRecord(value)) return checkOptions(scheduleOptions, value, name, `${name}.`)
  return numberBetween(value, 0, 1, name)
}

/** `0.9`, `0.2..0.9`, `0.2..0.9:cosine` or `0.2,0.5,0.9` */
function parseNu(text: string): FilledNu | NuSchedule {
  const numberOf = (part: string): number => {
    const value = part.trim() === '' ? NaN : Number(part)
    if (!Number.isNaN(value)) return value
    throw new UsageError(`Expected X, X..Y, X..Y:CURVE or X,Y,... for --nu but received '${text}'`)
  }
  const [ends = '', curve] = text.split(':', 2)
  const [from = '', to] = ends.split('..', 2)
  if (to !== undefined) {
    const schedule = { from: numberOf(from), to: numberOf(to) }
    return curve === undefined ? schedule : { ...schedule, curve: curve as NuCurve }
  }
  const numbers = text.split(',').map(numberOf)
  return numbers.length === 1 ? numbers[0]! : numbers
}

/** How many states are mixed: those after `kMax` and before `kMin`. The last state never is. */
export function mixedStates({ kMin, kMax, steps }: Record<'kMin' | 'kMax' | 'steps', number>) {
  const indexAt = (k: number) => steps - Math.floor(k * steps + 1e-9)
  return Math.max(0, indexAt(kMin) - 1 - indexAt(kMax))
}

/** Throws unless a list has a number for every mixed state. */
export function checkLength(value: FilledNu, states: number): void {
  if (Array.isArray(value) && value.length !== states) {
    throw invalid(
      'nu',
      `as many numbers as states are mixed with these kMin, kMax and steps (${states})`,
      value,
    )
  }
}

/** That of every mixed state. */
export function nuOfStates(value: FilledNu, states: number): Float64Array {
  if (Array.isArray(value)) return Float64Array.from(value)
  if (typeof value === 'number') return new Float64Array(states).fill(value)
  const { from, to, curve } = value
  return Float64Array.from({ length: states }, (_, i) => {
    const time = states > 1 ? i / (states - 1) : 0
    const share = curve === 'cosine' ? (1 - Math.cos(Math.PI * time)) / 2 : time
    return from + (to - from) * share
  })
}
