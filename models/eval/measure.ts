/** Measures what the model in the box does, through the public API. */
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'

import { MagicMix, type Mix, type MixRequest, type Picture } from 'magicmix'
import sharp from 'sharp'

import { Classifier, type Concept, overlap, silhouette } from './metrics.js'

/** Layouts and contents, fixed before any picture of the model had been looked at. */
export const pairs: readonly (readonly [Concept, Concept])[] = [
  ['heart', 'tiger'],
  ['star', 'watermelon'],
  ['mug', 'ladybird'],
  ['moon', 'cheese'],
  ['fish', 'brick wall'],
  ['house', 'zebra'],
  ['leaf', 'cookie'],
  ['cactus', 'donut'],
]
export const seeds = [0, 1, 2] as const

/**
 * How the pairs are mixed. Fewer steps than the default, to be done in minutes; later and longer
 * mixing (0.6 and 0.3 by default), because this model is quick to leave a layout.
 */
export const mixing = { steps: 25, kMax: 0.5, kMin: 0.1 } as const

export const photoOf = (concept: Concept) =>
  concept === 'cheese' ? 'a photo of cheese' : `a photo of a ${concept}`

export const layoutOf = (concept: Concept) =>
  readFile(path.join(__dirname, '..', 'layouts', `${concept}.png`))

/** A picture from a prompt alone: nothing is mixed where kMin is kMax. */
export const fromPrompt = (concept: Concept, seed: number): MixRequest => ({
  layout: { prompt: photoOf(concept) },
  content: photoOf(concept),
  kMin: 1,
  kMax: 1,
  steps: mixing.steps,
  seed,
})

/** How a set of mixes turned out, each number a mean. */
export interface Outcome {
  /** Overlap of the silhouettes of mix and layout. */
  overlap: number
  /** How likely the judge finds the content. */
  score: number
  /** How often the content is what the judge names. */
  named: number
}

/** The model in the box on all cores, and the judge. */
export class Workshop {
  readonly judge = Classifier.load()
  private constructor(private readonly mixers: readonly MagicMix[]) {}

  static async open(): Promise<Workshop> {
    const count = Math.min(4, availableParallelism())
    const load = () => MagicMix.load({ threads: 1 })
    return new Workshop(await Promise.all(Array.from({ length: count }, load)))
  }

  async close(): Promise<void> {
    await Promise.all(this.mixers.map((mixer) => mixer.dispose()))
  }

  /** All mixes, in the order of the requests; whichever mixer is free takes the next. */
  async mixAll(requests: readonly MixRequest[]): Promise<Mix[]> {
    const mixes: Mix[] = []
    const waiting = requests.entries()
    const work = async (mixer: MagicMix) => {
      for (const [i, request] of waiting) mixes[i] = await mixer.mix(request)
    }
    await Promise.all(this.mixers.map(work))
    return mixes
  }

  /** Mixes every pair with every seed. */
  async mixPairs(
    change: (layout: Concept, content: Concept) => Partial<MixRequest>,
    among: readonly (readonly [Concept, Concept])[] = pairs,
  ): Promise<Outcome> {
    const tasks = among.flatMap(([layout, content]) =>
      seeds.map((seed) => ({ layout, content, seed })),
    )
    const layouts = new Map(
      await Promise.all(among.map(async ([layout]) => [layout, await layoutOf(layout)] as const)),
    )
    const requests = tasks.map(({ layout, content, seed }) => ({
      layout: layouts.get(layout)!,
      content: photoOf(content),
      ...mixing,
      seed,
      ...change(layout, content),
    }))
    const mixes = await this.mixAll(requests)
    const silhouettes = new Map(
      await Promise.all(
        [...layouts].map(async ([name, file]) => [name, silhouette(await decoded(file))] as const),
      ),
    )
    return {
      overlap: mean(
        tasks.map(({ layout }, i) => overlap(silhouettes.get(layout)!, silhouette(mixes[i]!))),
      ),
      score: mean(tasks.map(({ content }, i) => this.judge.score(mixes[i]!, content))),
      named: mean(tasks.map(({ content }, i) => Number(this.judge.name(mixes[i]!) === content))),
    }
  }
}

/** The pixels of a layout. */
export async function decoded(file: Buffer): Promise<Picture> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data }
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Spearman's rank correlation; equal values share their rank. */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number {
  const [p, q] = [ranks(a), ranks(b)]
  const [mp, mq] = [mean(p), mean(q)]
  const sum = (f: (i: number) => number) => p.reduce((total, _, i) => total + f(i), 0)
  const together = sum((i) => (p[i]! - mp) * (q[i]! - mq))
  return together / Math.sqrt(sum((i) => (p[i]! - mp) ** 2) * sum((i) => (q[i]! - mq) ** 2))
}

function ranks(values: readonly number[]): number[] {
  return values.map((value) => {
    const below = values.filter((other) => other < value).length
    const same = values.filter((other) => other === value).length
    return below + (same - 1) / 2
  })
}
