/** The prompts of a request as the tokens that the engine takes. */
import { type TokenScale, tokenScales } from '../input/attention.js'
import { isPrompt } from '../input/layout.js'
import { type ClipTokens, beginningOf, contextOf } from '../input/tokens.js'
import type { CheckedMixRequest } from './mix-options.js'

/** 77 ids a prompt. */
export interface Prompts {
  /** Null for a picture. */
  layout: Int32Array | null
  content: Int32Array
  negativePrompt: Int32Array
  interpolate: { tokens: Int32Array; weight: number } | null
  attention: TokenScale[]
}

/**
 * @param padding the id behind a prompt's end
 * @throws {@link MagicMixError} PROMPT_TOO_LONG, PHRASE_NOT_FOUND, PHRASE_TRUNCATED
 */
export function tokenizePrompts(
  request: CheckedMixRequest,
  tokens: ClipTokens,
  padding: number,
): Prompts {
  const { layout, content, interpolate, negativePrompt, attention, truncate } = request
  const tokensOf = (text: string, name: string) =>
    tokens.tokensOf(truncate ? beginningOf(text) : text, name)
  const context = (text: string, name: string) =>
    contextOf(tokensOf(text, name), truncate, name, padding)

  const contentTokens = tokensOf(content, 'the content prompt')
  return {
    layout: isPrompt(layout) ? context(layout.prompt, 'the layout prompt') : null,
    content: contextOf(contentTokens, truncate, 'the content prompt', padding),
    negativePrompt: context(negativePrompt, 'the negative prompt'),
    interpolate: interpolate && {
      tokens: context(interpolate.prompt, 'the prompt to interpolate with'),
      weight: interpolate.weight,
    },
    attention: tokenScales(attention, { text: content, tokens: contentTokens }, (phrase) =>
      tokensOf(phrase, 'a phrase of attention'),
    ),
  }
}
