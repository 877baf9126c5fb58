/** How much of its prompts and of its layout is in a mix, and choosing by it. */
import { type Option, number } from '../options/option.js'

/**
 * How much of its prompts, and of its layout, is in a mix, as the model itself sees it: see {@link MixRequest.score}. To
 * compare mixes of one layout and one content with; docs/studies/choosing.md says what the numbers are worth.
 *
 * @example
 * ```ts
 * const { score } = await mixer.mix({ ...request, score: true }) // null without it
 * if (score) console.log(`content ${score.content.toFixed(2)}, layout ${score.layout.toFixed(2)}`)
 * ```
 */
export interface MixScore {
  /**
   * How much of the content is in it, 0..1. The UNet predicts the noise of the noised mix under the content and under
   * the empty prompt: the content is in it if it predicts the better of the two where there is much noise, and if the
   * two agree where there is less.
   */
  content: number
  /** The same of a layout prompt; absent for a picture. */
  layoutPrompt?: number
  /**
   * How much of the layout's structure is left, 0..1: how far what stands out from the border is in the same place in the
   * latents of layout and mix. The layout of a layout prompt is the picture that this prompt makes by itself.
   */
  layout: number
  /** Calls of the UNet that it took, each for all these prompts at once; {@link Mix.unetCalls} is without them. */
  unetCalls: number
}

/** Calls of the UNet that a score takes. */
export const callsOfScore = 4

/**
 * Options of {@link Sweep.best}.
 *
 * @example
 * ```ts
 * const sweep = mixer.sweep({ ...request, score: true, vary: { nu: [0.3, 0.9] } })
 * for await (const { at, mix } of sweep) console.log(at.nu, mix.score)
 * const nearTheLayout = sweep.best({ balance: 0.2 })
 * const nearTheContent = sweep.best({ balance: 0.8 })
 * console.log(nearTheLayout?.at.nu, nearTheContent?.at.nu)
 * ```
 */
export interface BestOptions {
  /** 0..1: 0 looks at the layout alone, 1 at the content alone. Default 0.5. */
  balance?: number | undefined
}

/** The options of `best`: one row each. */
export const bestOptions = {
  balance: number(0, 1, {
    help: 'how the best is chosen by scores: 0 by the layout alone, 1 by the content alone',
    default: 0.5,
    cli: { flag: 'balance', value: 'X' },
  }),
} satisfies Record<keyof BestOptions, Option>

/**
 * The place in the list of the best of some mixes: with the largest weighted harmonic mean of layout and content. The
 * scores of a content have another scale for every model and prompt, so they count from the lowest of these mixes to the
 * highest; the layout's are shares as they are. The first of equals.
 */
export function indexOfBest(scores: readonly MixScore[], balance: number): number {
  const contents = scores.map(({ content }) => content)
  const lowest = Math.min(...contents)
  const range = Math.max(...contents) - lowest
  const worth = scores.map(({ content, layout }) =>
    harmonicMean(range > 0 ? (content - lowest) / range : 1, layout, balance),
  )
  return worth.indexOf(Math.max(...worth))
}

/** `weight` is that of `a`; what has no weight does not count, even if it is 0. */
function harmonicMean(a: number, b: number, weight: number): number {
  if (weight === 1) return a
  if (weight === 0) return b
  return 1 / (weight / a + (1 - weight) / b)
}
