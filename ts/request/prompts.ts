/** The prompts of a request as the tokens that the engine takes. */
import { MagicMixError } from '../errors.js'
import { type TokenScale, tokenScales } from '../input/attention.js'
import { isPrompt } from '../input/layout.js'
import { type EditedPrompt, editedPrompt } from '../input/prompt-editing.js'
import { type ClipTokens, beginningOf, contextLength, contextOf } from '../input/tokens.js'
import { contentsOf } from './contents.js'
import type { CheckedMixRequest } from './mix-options.js'

/** A prompt that changes: its texts, 77 ids each, and which of them every step has. */
export interface PromptEdit {
  texts: Int32Array
  ofStep: Int32Array
}

/** 77 ids a prompt; of one that changes, of its first text. */
export interface Prompts {
  /** Null for pictures. */
  layout: Int32Array | null
  contents: {
    tokens: Int32Array
    edit: PromptEdit | null
    attention: TokenScale[]
    weight: number
  }[]
  negativePrompt: Int32Array
  /** Null where the prompt does not change. */
  layoutEdit: PromptEdit | null
  negativeEdit: PromptEdit | null
  interpolate: { tokens: Int32Array; weight: number } | null
}

/**
 * @param padding the id behind a prompt's end
 * @throws {@link MagicMixError} PROMPT_TOO_LONG, PROMPT_SYNTAX, PHRASE_NOT_FOUND, PHRASE_TRUNCATED
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
  const textsOf = (prompt: string, name: string): EditedPrompt =>
    request.promptSyntax === 'a1111'
      ? editedPrompt(prompt, request.steps, name)
      : { texts: [prompt], ofStep: [] }
  const edited = (prompt: string, name: string) => {
    const { texts, ofStep } = textsOf(prompt, name)
    const contexts = texts.map((text) => context(text, name))
    return { texts, first: contexts[0]!, edit: editOf(contexts, ofStep) }
  }
  const unchanging = (prompt: string, name: string) => {
    const { first, edit } = edited(prompt, name)
    if (!edit) return first
    throw new MagicMixError('PROMPT_SYNTAX', `${name} cannot change from step to step`, {
      name,
      position: 0,
    })
  }

  const layouts = isPrompt(layout) ? edited(layout.prompt, 'the layout prompt') : null
  const negatives = edited(negativePrompt, 'the negative prompt')
  return {
    layout: layouts && layouts.first,
    layoutEdit: layouts && layouts.edit,
    contents: contentsOf(request).map(({ prompt, weight, attention }) => {
      const { texts, first, edit } = edited(prompt, 'the content prompt')
      const scales = tokenScales(
        attention,
        texts.map((text) => ({ text, tokens: tokensOf(text, 'the content prompt') })),
        (phrase) => tokensOf(phrase, 'a phrase of attention'),
      )
      return { tokens: first, edit, attention: scales, weight }
    }),
    negativePrompt: negatives.first,
    negativeEdit: negatives.edit,
    interpolate: interpolate && {
      tokens: unchanging(interpolate.prompt, 'the prompt to interpolate with'),
      weight: interpolate.weight,
    },
  }
}

function editOf(contexts: readonly Int32Array[], ofStep: readonly number[]): PromptEdit | null {
  if (contexts.length === 1) return null
  const texts = new Int32Array(contexts.length * contextLength)
  contexts.forEach((ids, i) => texts.set(ids, i * contextLength))
  return { texts, ofStep: Int32Array.from(ofStep) }
}
