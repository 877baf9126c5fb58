/**
 * Attention scales of phrases (paper, section 3.3.2): the option, and the way from phrases to
 * tokens. A phrase is tokenised by itself and found as a run of token ids in the content prompt.
 */
import { MagicMixError, UsageError } from '../errors.js'
import { type Option, checkOptions, integer, number, schemaOf, text } from '../options/option.js'
import { invalid, isRecord, nonEmptyText, numberBetween } from '../options/validate.js'
import { type Token, maxTokens } from './tokens.js'

/**
 * How strongly the picture attends to a phrase of the content prompt.
 *
 * @example
 * ```ts
 * await mixer.mix({
 *   layout: 'heart.png',
 *   content: 'a photo of a tiger on a pink background',
 *   attention: [
 *     { text: 'tiger', scale: 1.4 },
 *     { text: 'pink background', scale: 0.5, from: 0.3, to: 1 }, // not in the last steps
 *   ],
 * })
 * ```
 */
export interface AttentionScale {
  /** The phrase, as it stands in the content prompt; upper and lower case are the same. */
  text: string
  /**
   * The factor for the cross-attention of each of the phrase's tokens, -2..2: above 1 strengthens
   * the phrase, below 1 weakens it, negative values remove the concept.
   */
  scale: number
  /** The number of the occurrence, 1..1000. Default: all of them. */
  occurrence?: number | undefined
  /** One end of the time in which the scale acts, a fraction of T like `kMin`, 0..1. Default 0. */
  from?: number | undefined
  /** The other end, 0..1; 1 is pure noise, 0 the finished picture. Default 1. */
  to?: number | undefined
}

/**
 * An {@link AttentionScale} with its window filled in.
 *
 * @example
 * ```ts
 * const { request: used } = await mixer.mix({ ...request, attention: { tiger: 1.4 } })
 * console.log(used.attention) // [ { text: 'tiger', scale: 1.4, from: 0, to: 1 } ]
 * ```
 */
export interface FilledAttentionScale extends AttentionScale {
  /** The clean end of the window, a fraction of T, at most `to`. */
  from: number
  /** The noisy end of the window. */
  to: number
}

/** The scale of one token of the content prompt. */
export interface TokenScale {
  /** Of a content prompt that changes: the number of the text that the token is in. Default 0. */
  text?: number
  /** Column of the attention map: 0 is BOS. */
  position: number
  scale: number
  /** The window in which it acts, fractions of T, `from` <= `to`. */
  from: number
  to: number
}

const minScale = -2
const maxScale = 2

const scaleOptions = {
  text: text({ help: 'the phrase', required: true }),
  scale: number(minScale, maxScale, { help: 'the factor of its attention', required: true }),
  occurrence: integer(1, 1000, { help: 'the number of the occurrence, from 1' }),
  from: number(0, 1, { help: 'one end of the time in which it acts', default: 0 }),
  to: number(0, 1, { help: 'the other end', default: 1 }),
} satisfies Record<keyof AttentionScale, Option>

/** The option `attention`: scales by phrase, or a list. */
export const attention = {
  help: 'cross-attention scales of phrases of the content prompt',
  range: `${minScale}..${maxScale}`,
  default: [] as FilledAttentionScale[],
  defaultText: 'none',
  check: checkAttention,
  schema: {
    anyOf: [
      {
        type: 'object',
        propertyNames: { pattern: '\\S' },
        additionalProperties: { type: 'number', minimum: minScale, maximum: maxScale },
      },
      { type: 'array', items: entrySchema() },
    ],
  },
  cli: {
    flag: 'attention',
    value: 'PHRASE=X',
    help: 'scale of a phrase of CONTENT',
    multiple: true as const,
    parse: parseScale,
  },
}

function checkAttention(value: unknown, name: string): FilledAttentionScale[] {
  if (Array.isArray(value)) return value.map((entry, i) => checkScale(entry, `${name}[${i}]`))
  if (!isRecord(value)) throw invalid(name, 'an object of scales by phrase or a list', value)
  return Object.entries(value).map(([phrase, scale]) => ({
    text: nonEmptyText(phrase.trim(), 'a phrase of attention'),
    scale: numberBetween(scale, minScale, maxScale, `the attention scale of '${phrase}'`),
    from: 0,
    to: 1,
  }))
}

function checkScale(entry: unknown, name: string): FilledAttentionScale {
  const { text, scale, occurrence, from, to } = checkOptions(scaleOptions, entry, name, `${name}.`)
  return {
    text: nonEmptyText(text.trim(), `${name}.text`),
    scale,
    ...(occurrence === undefined ? {} : { occurrence }),
    from: Math.min(from, to),
    to: Math.max(from, to),
  }
}

function entrySchema() {
  const schema = schemaOf(scaleOptions)
  const properties = schema.properties as Record<string, object>
  return { ...schema, properties: { ...properties, text: { ...properties.text, pattern: '\\S' } } }
}

/** `coffee machine=1.4` */
function parseScale(text: string): AttentionScale {
  const [, phrase, scale] = /^(.+)=\s*([^=\s]+)\s*$/.exec(text) ?? []
  if (phrase === undefined || Number.isNaN(Number(scale))) {
    throw new UsageError(`Expected PHRASE=NUMBER for --attention but received '${text}'`)
  }
  return { text: phrase, scale: Number(scale) }
}

/**
 * The scale of every token that a phrase covers, in the order of the entries: where two cover the
 * same token at the same time, the engine lets the later one win.
 *
 * @param contents the texts of the content prompt and their tokens, uncut; a phrase has to be in one of them
 * @param tokensOf gives the tokens of a phrase
 */
export function tokenScales(
  scales: readonly FilledAttentionScale[],
  contents: readonly Content[],
  tokensOf: (phrase: string) => readonly Token[],
): TokenScale[] {
  return scales.flatMap((scale) => {
    const phrase = tokensOf(scale.text)
    const problems: MagicMixError[] = []
    const found = contents.flatMap((content, text) => {
      try {
        return scalesIn(content, scale, phrase).map((each) =>
          text === 0 ? each : { text, ...each },
        )
      } catch (error) {
        if (!(error instanceof MagicMixError)) throw error
        problems.push(error)
        return []
      }
    })
    if (problems.length === contents.length) throw problems[0]!
    return found
  })
}

interface Content {
  text: string
  tokens: readonly Token[]
}

function scalesIn(
  content: Content,
  { text, scale, occurrence, from, to }: FilledAttentionScale,
  phrase: readonly Token[],
): Omit<TokenScale, 'text'>[] {
  const starts = occurrences(phrase, content.tokens)
  if (starts.length === 0) throw notInPrompt(text, content.text)
  if (occurrence !== undefined && occurrence > starts.length) {
    throw new MagicMixError(
      'PHRASE_NOT_FOUND',
      `Occurrence ${occurrence} of '${text}' was asked for, but the content prompt has only ` +
        `${starts.length}`,
      { phrase: text, occurrence, occurrences: starts.length },
    )
  }
  const wanted = occurrence === undefined ? starts : starts.slice(occurrence - 1, occurrence)
  const seen = wanted.filter((start) => start + phrase.length <= maxTokens)
  if (seen.length === 0) {
    throw new MagicMixError(
      'PHRASE_TRUNCATED',
      `'${text}' is in the part of the content prompt that was cut off after ${maxTokens} ` +
        'tokens: move it to the front, or shorten the prompt',
      { phrase: text, maxTokens },
    )
  }
  return seen.flatMap((start) =>
    phrase.map((_, i) => ({ position: 1 + start + i, scale, from, to })),
  )
}

/** Where `phrase` begins in `content`, counted from 0, without overlaps. */
function occurrences(phrase: readonly Token[], content: readonly Token[]): number[] {
  const starts: number[] = []
  for (let start = 0; phrase.length > 0 && start + phrase.length <= content.length;) {
    const matches = phrase.every((token, i) => token.id === content[start + i]?.id)
    if (matches) starts.push(start)
    start += matches ? phrase.length : 1
  }
  return starts
}

function notInPrompt(phrase: string, prompt: string): MagicMixError {
  const words = [...new Set(prompt.match(/[\p{L}\p{M}\p{N}]+/gu))]
  return new MagicMixError(
    'PHRASE_NOT_FOUND',
    `'${phrase}' is not in the content prompt, ` +
      (words.length > 0 ? `whose words are: ${words.join(', ')}` : 'which has no words'),
    { phrase, words },
  )
}
