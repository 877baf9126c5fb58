/**
 * From scales of phrases to scales of tokens (paper, section 3.3.2): a phrase is tokenised by
 * itself and found as a run of token ids in the content prompt.
 */
import { MagicMixError } from '../errors.js'
import type { NativeTokenScale } from '../native/contract.js'
import { type Token, maxTokens } from './tokens.js'

/** How strongly the picture attends to a phrase of the content prompt. */
export interface AttentionScale {
  /** The phrase, as it stands in the content prompt; upper and lower case are the same. */
  text: string
  /**
   * What the cross-attention of each of the phrase's tokens is multiplied by, in [-2, 2]: above 1
   * strengthens the phrase, below 1 weakens it, negative values remove the concept.
   */
  scale: number
  /** Which occurrence is meant, from 1. Default: all of them. */
  occurrence?: number | undefined
  /** One end of the time in which the scale acts, a fraction of T like `kMin`. Default 0. */
  from?: number | undefined
  /** The other end; 1 is pure noise, 0 the finished picture. Default 1. */
  to?: number | undefined
}

/** An {@link AttentionScale} with its window filled in, `from` <= `to`. */
export interface FilledAttentionScale extends AttentionScale {
  from: number
  to: number
}

/**
 * The scale of every token that a phrase covers, in the order of the entries: where two cover the
 * same token at the same time, the engine lets the later one win.
 *
 * @param content the content prompt and its tokens, uncut
 * @param tokensOf gives the tokens of a phrase
 */
export function tokenScales(
  scales: readonly FilledAttentionScale[],
  content: { text: string; tokens: readonly Token[] },
  tokensOf: (phrase: string) => readonly Token[],
): NativeTokenScale[] {
  return scales.flatMap(({ text, scale, occurrence, from, to }) => {
    const phrase = tokensOf(text)
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
  })
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
