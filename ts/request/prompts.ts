/** The prompts of a request as the tokens that the engine takes. */
import { tokenScales } from '../input/attention.js'
import { isPrompt } from '../input/layout.js'
import { type ClipTokens, beginningOf, contextOf } from '../input/tokens.js'
import type { NativeMixRequest } from '../native/contract.js'
import { contentsOf } from './contents.js'
import type { CheckedMixRequest } from './mix-options.js'

/** 77 ids a prompt. */
export interface Prompts extends Pick<
  NativeMixRequest,
  'contents' | 'negativePrompt' | 'interpolate'
> {
  /** Null for pictures. */
  layout: Int32Array | null
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
  const { layout, interpolate, negativePrompt, truncate } = request
  const tokensOf = (text: string, name: string) =>
    tokens.tokensOf(truncate ? beginningOf(text) : text, name)
  const context = (text: string, name: string) =>
    contextOf(tokensOf(text, name), truncate, name, padding)

  return {
    layout: isPrompt(layout) ? context(layout.prompt, 'the layout prompt') : null,
    contents: contentsOf(request).map(({ prompt, weight, attention }) => {
      const found = tokensOf(prompt, 'the content prompt')
      return {
        tokens: contextOf(found, truncate, 'the content prompt', padding),
        attention: tokenScales(attention, { text: prompt, tokens: found }, (phrase) =>
          tokensOf(phrase, 'a phrase of attention'),
        ),
        weight,
      }
    }),
    negativePrompt: context(negativePrompt, 'the negative prompt'),
    interpolate: interpolate && {
      tokens: context(interpolate.prompt, 'the prompt to interpolate with'),
      weight: interpolate.weight,
    },
  }
}
