/** What Stable Diffusion XL is told of the size of a picture beside the prompt. */
import { UsageError } from '../errors.js'
import { type Given, object } from '../options/option.js'
import { integerBetween, invalid, isRecord } from '../options/validate.js'

/**
 * A height and a width in pixels, 1..65536.
 *
 * @example
 * <!-- snippet: types, needs Stable Diffusion XL -->
 * ```ts
 * import type { ConditionedSize } from 'magicmix'
 *
 * const originalSize: ConditionedSize = [512, 768] // height, width: a picture that was enlarged
 * await mixer.mix({ ...request, conditioning: { originalSize } })
 * ```
 */
export type ConditionedSize = readonly [height: number, width: number]
/**
 * A corner in pixels, 0..65536 each.
 *
 * @example
 * <!-- snippet: types, needs Stable Diffusion XL -->
 * ```ts
 * import type { ConditionedCorner } from 'magicmix'
 *
 * const cropTopLeft: ConditionedCorner = [0, 256] // top, left: the subject is cut off on the left
 * await mixer.mix({ ...request, conditioning: { cropTopLeft } })
 * ```
 */
export type ConditionedCorner = readonly [top: number, left: number]

/** @inline */
interface NamedSize {
  /** In pixels, 1..65536. */
  readonly width: number
  /** In pixels, 1..65536. */
  readonly height: number
}
/** @inline */
interface NamedCorner {
  /** In pixels, 0..65536. */
  readonly top: number
  /** In pixels, 0..65536. */
  readonly left: number
}

/**
 * The sizes that Stable Diffusion XL was told of the pictures of its training (arXiv 2307.01952, section
 * 2.2), in the order that diffusers has them in.
 *
 * @example
 * <!-- snippet: types, needs Stable Diffusion XL -->
 * ```ts
 * await mixer.mix({
 *   ...request,
 *   conditioning: { originalSize: { width: 4096, height: 4096 }, cropTopLeft: [0, 0] },
 * })
 * ```
 */
export interface SizeConditioning {
  /**
   * The size of the picture before it was scaled: a small one asks for a blurred picture. `[height, width]`,
   * or `{ width, height }`. Default: the size of the mix.
   */
  originalSize?: ConditionedSize | NamedSize | undefined
  /**
   * From where it was cropped: another corner than the first asks for a subject that is cut off.
   * `[top, left]`, or `{ top, left }`. Default [0, 0].
   */
  cropTopLeft?: ConditionedCorner | NamedCorner | undefined
  /** The size that was left. `[height, width]`, or `{ width, height }`. Default: the size of the mix. */
  targetSize?: ConditionedSize | NamedSize | undefined
}

function pair(
  names: readonly [string, string],
  least: number,
  row: { help: string; flag: string },
) {
  const [first, second] = names
  const numbers = { type: 'integer', minimum: least, maximum: 65536 }
  return {
    help: row.help,
    range: `\`[${first}, ${second}]\``,
    check: (value: unknown, name: string): readonly [number, number] => {
      const [one, two] = pairOf(value, names, name)
      return [
        integerBetween(one, least, 65536, `${name} (${first})`),
        integerBetween(two, least, 65536, `${name} (${second})`),
      ]
    },
    schema: {
      anyOf: [
        { type: 'array', items: numbers, minItems: 2, maxItems: 2 },
        {
          type: 'object',
          properties: { [first]: numbers, [second]: numbers },
          required: names,
          additionalProperties: false,
        },
      ],
    },
    cli: {
      flag: row.flag,
      value: `${first},${second}`.toUpperCase(),
      parse: (text: string) => parsePair(text, row.flag, names),
    },
  }
}

function pairOf(value: unknown, names: readonly [string, string], name: string): unknown[] {
  const [first, second] = names
  if (Array.isArray(value) && value.length === 2) return value
  const known = isRecord(value) && Object.keys(value).every((key) => names.includes(key))
  if (known) return [value[first], value[second]]
  throw invalid(name, `[${first}, ${second}]`, value)
}

/** `768,512` */
function parsePair(
  text: string,
  flag: string,
  [first, second]: readonly [string, string],
): number[] {
  const numbers = text.split(',').map(Number)
  if (numbers.length === 2) return numbers
  throw new UsageError(`Expected ${first},${second} for --${flag} but received '${text}'`)
}

const sides = ['height', 'width'] as const

const fields = {
  originalSize: pair(sides, 1, {
    help: 'size of the picture before it was scaled; default: that of the mix',
    flag: 'original-size',
  }),
  cropTopLeft: pair(['top', 'left'], 0, {
    help: 'where it was cropped; default 0, 0',
    flag: 'crop-top-left',
  }),
  targetSize: pair(sides, 1, {
    help: 'the size that was left; default: that of the mix',
    flag: 'target-size',
  }),
}
const sizes = object(fields, { help: 'the sizes that Stable Diffusion XL is told' })

/** Checked {@link SizeConditioning}. */
export type CheckedConditioning = Given<typeof fields>

/** The option `conditioning` of `mix`. */
export const conditioning = {
  ...sizes,
  help: 'of Stable Diffusion XL: the sizes that it is told beside the prompt',
  default: null as CheckedConditioning | null,
  defaultText: 'the size of the mix, not cropped',
  check: (value: unknown, name: string): CheckedConditioning | null =>
    value === null ? null : sizes.check(value, name),
  schema: { anyOf: [{ type: 'null' }, sizes.schema] },
}

/** The six numbers, as the engine takes them. */
export interface NativeConditioning {
  originalHeight: number
  originalWidth: number
  cropTop: number
  cropLeft: number
  targetHeight: number
  targetWidth: number
}

/** Null is the engine's own default. */
export function nativeConditioning(
  given: CheckedConditioning | null,
  { width, height }: { width: number; height: number },
): NativeConditioning | null {
  if (!given) return null
  const {
    originalSize = [height, width],
    cropTopLeft = [0, 0],
    targetSize = [height, width],
  } = given
  return {
    originalHeight: originalSize[0],
    originalWidth: originalSize[1],
    cropTop: cropTopLeft[0],
    cropLeft: cropTopLeft[1],
    targetHeight: targetSize[0],
    targetWidth: targetSize[1],
  }
}
