/** The option `contents`: several contents at once. */
import { type AttentionScale, type FilledAttentionScale, attention } from '../input/attention.js'
import { parseWeighted } from '../input/layout.js'
import { checkOptions, number, schemaOf, text } from '../options/option.js'
import { invalid } from '../options/validate.js'

/**
 * A content among several.
 *
 * @example
 * ```ts
 * await mixer.mix({
 *   layout: 'heart.png',
 *   contents: [
 *     { prompt: 'a photo of a tiger', weight: 1, attention: { tiger: 1.2 } },
 *     { prompt: 'a photo of a lemon', weight: 0.5 },
 *   ],
 * })
 * ```
 */
export interface WeightedContent {
  /** A prompt of at most 75 tokens. */
  prompt: string
  /**
   * Its share, -100..100, in proportion to those of the others; a negative one pushes away from the prompt. The sum
   * of all weights has to be above 0. Default 1.
   */
  weight?: number | undefined
  /** Cross-attention scales of phrases of this prompt, as in {@link MixRequest.attention}. Default: none. */
  attention?: Readonly<Record<string, number>> | readonly AttentionScale[] | undefined
}

/**
 * A {@link WeightedContent} with every default filled in.
 *
 * @example
 * ```ts
 * const contents = [{ prompt: 'a photo of a tiger' }, { prompt: 'a photo of a lemon', weight: 0.5 }]
 * const { request: used } = await mixer.mix({ layout: 'heart.png', contents })
 * console.log(used.contents?.[0]) // { prompt: 'a photo of a tiger', weight: 1, attention: [] }
 * ```
 */
export interface FilledContent {
  /** The prompt. */
  prompt: string
  /** In proportion to those of the others. */
  weight: number
  /** Scales of its phrases. */
  attention: FilledAttentionScale[]
}

const fields = {
  prompt: text({ help: 'the prompt', required: true }),
  weight: number(-100, 100, { help: 'its share', default: 1 }),
  attention,
}

const mostContents = 8

/** The option `contents` of `mix`. */
export const contents = {
  help: 'several contents instead of `content`, each with its weight; a step costs as many prompts more',
  range: '`{ prompt, weight, attention }`',
  default: null as FilledContent[] | null,
  defaultText: 'none',
  check: checkContents,
  schema: {
    anyOf: [
      { type: 'null' },
      { type: 'array', minItems: 1, maxItems: mostContents, items: schemaOf(fields) },
    ],
  },
  cli: {
    flag: 'also-content',
    value: 'PROMPT[=WEIGHT]',
    help: 'another content beside CONTENT, whose weight is 1',
    multiple: true as const,
    parse: parseWeighted('also-content', 'prompt'),
  },
}

function checkContents(value: unknown, name: string): FilledContent[] | null {
  if (value === null) return null
  if (!Array.isArray(value) || value.length < 1 || value.length > mostContents) {
    throw invalid(name, `a list of 1 to ${mostContents} contents`, value)
  }
  const checked = value.map((each: unknown, i) =>
    checkOptions(fields, each, `${name}[${i}]`, `${name}[${i}].`),
  )
  const sum = checked.reduce((all, { weight }) => all + weight, 0)
  if (!(sum > 0)) throw invalid(name, 'contents with weights whose sum is above 0', value)
  return checked
}

/** The contents of a request, one or several. */
export function contentsOf(request: {
  content: string | undefined
  contents: FilledContent[] | null
  attention: FilledAttentionScale[]
}): FilledContent[] {
  const { content, contents: several, attention: scales } = request
  return several ?? [{ prompt: content!, weight: 1, attention: scales }]
}
