/**
 * The effects of the paper, shown by the model in the box through the public API. Means over eight
 * pairs of layout and content and three seeds; all figures are printed.
 */
import assert from 'node:assert/strict'

import { type Concept, concepts, overlap, silhouette } from '../models/eval/metrics.js'
import {
  type Outcome,
  Workshop,
  decoded,
  fromPrompt,
  layoutOf,
  mean,
  mixing,
  pairs,
  photoOf,
  rankCorrelation,
  seeds,
} from '../models/eval/measure.js'

const things = concepts.filter((concept): concept is Concept => concept !== 'plain')

describe('the model in the box', () => {
  let workshop: Workshop
  before(async () => {
    workshop = await Workshop.open()
  })
  after(() => workshop.close())

  it('has a judge that knows the layouts', async () => {
    const named = await Promise.all(
      pairs.map(async ([layout]) => workshop.judge.name(await decoded(await layoutOf(layout)))),
    )
    const right = pairs.filter(([layout], i) => named[i] === layout).length
    print('layouts named', right)
    assert.ok(right >= pairs.length - 1, `it sees ${named.join(', ')}`)
  })

  it('paints what a prompt asks for', async () => {
    const tasks = things.flatMap((concept) => [0, 1, 2, 3, 4, 5].map((seed) => ({ concept, seed })))
    const mixes = await workshop.mixAll(tasks.map(({ concept, seed }) => fromPrompt(concept, seed)))
    const right = (concept: Concept) =>
      mean(
        tasks.flatMap((task, i) =>
          task.concept === concept ? [Number(workshop.judge.name(mixes[i]!) === concept)] : [],
        ),
      )
    const named = things.map((concept) => ({ concept, share: right(concept) }))
    print('named', mean(named.map(({ share }) => share)))
    for (const { concept, share } of named) if (share < 1) print(`  ${concept}`, share)
    assert.ok(mean(named.map(({ share }) => share)) >= 0.95)
    for (const { concept, share } of named) assert.ok(share >= 0.8, `${concept}: ${share}`)
  })

  it('keeps the layout and takes on the content, as nu says', async () => {
    const nus = [0.1, 0.3, 0.5, 0.7, 0.9]
    const outcomes = await sweep('nu', nus, (nu) => workshop.mixPairs(() => ({ nu })))
    assert.ok(outcomes[2]!.overlap >= 0.8)
    assert.ok(rankCorrelation(nus, outcomes.map(overlapOf)) <= -0.8)
    assert.ok(
      rankCorrelation(
        nus,
        outcomes.map(({ named }) => named),
      ) >= 0.8,
    )
    assert.ok(outcomes[4]!.named >= 0.7)
    assert.ok(outcomes[4]!.overlap >= 0.65)
  })

  it('keeps less of the layout the sooner mixing begins', async () => {
    const bounds = [0.3, 0.4, 0.5, 0.6, 0.7]
    const outcomes = await sweep('kMax', bounds, (kMax) => workshop.mixPairs(() => ({ kMax })))
    assert.ok(rankCorrelation(bounds, outcomes.map(overlapOf)) <= -0.8)
  })

  it('shows more of the content with a larger attention scale', async () => {
    const scales = [0, 0.5, 1, 1.5, 2]
    const outcomes = await sweep('scale', scales, (scale) =>
      workshop.mixPairs((_, content) => ({ attention: { [content]: scale } })),
    )
    assert.ok(
      rankCorrelation(
        scales,
        outcomes.map(({ score }) => score),
      ) >= 0.8,
    )
  })

  for (const scale of [-1, -2]) {
    it(`paints nothing of a word with the scale ${scale}`, async () => {
      const requests = things.map((concept, i) => ({
        ...fromPrompt(concept, i % 3),
        attention: { [concept]: scale },
        // The layout's phase has no scales: begin with noise, all of the way is content.
        layout: { prompt: '' },
      }))
      const mixes = await workshop.mixAll(requests)
      const scores = things.map((concept, i) => workshop.judge.score(mixes[i]!, concept))
      print('score', mean(scores))
      assert.ok(mean(scores) < 0.1)
    })
  }

  it('transfers a style: the shape stays, the matter changes', async () => {
    const shapes = ['heart', 'fish', 'leaf'] as const
    const matters = ['brick wall', 'watermelon', 'zebra', 'cookie', 'strawberry'] as const
    const among = shapes.flatMap((shape) => matters.map((matter) => [shape, matter] as const))
    const long = { kMin: 0.2, kMax: 0.6, nu: 0.5 }
    const [styled] = await sweep('nu', [long.nu], () => workshop.mixPairs(() => long, among))
    assert.ok(styled!.overlap >= 0.8)
    assert.ok(styled!.named >= 0.6)
  })

  it('mixes breeds: with the lowest nu the content shows, and the shape stays', async () => {
    const breeds = [
      ['tiger', 'zebra'],
      ['panda', 'tiger'],
      ['tiger', 'panda'],
    ] as const
    const low = { kMin: 0.3, kMax: 0.6, nu: 0.1 } // the paper's for concepts that are near
    const [bred] = await sweep('nu', [low.nu], () => workshop.mixPairs(() => low, breeds))
    assert.ok(bred!.overlap >= 0.85)
    assert.ok(bred!.named >= 0.3)
  })

  it('removes what the layout shows', async () => {
    const own = pairs.map(([layout]) => [layout, layout] as const)
    const scaled = (scale: number) =>
      workshop.mixPairs((_, content) => ({ attention: { [content]: scale } }), own)
    const [plain, removed] = await sweep('scale', [1, -2], scaled)
    assert.ok(removed!.score <= plain!.score / 2)
    assert.ok(removed!.overlap >= 0.6)
  })

  it('holds both meanings more often than interpolated prompts do', async () => {
    const tasks = pairs.flatMap(([layout, content]) =>
      seeds.map((seed) => ({ layout, content, seed })),
    )
    const alone = await workshop.mixAll(tasks.map(({ layout, seed }) => fromPrompt(layout, seed)))
    const interpolated = await workshop.mixAll(
      tasks.map(({ layout, content, seed }) => ({
        ...fromPrompt(layout, seed),
        interpolate: { prompt: photoOf(content), weight: 0.5 },
      })),
    )
    const mixed = await workshop.mixAll(
      tasks.map(({ layout, content, seed }) => ({
        layout: { prompt: photoOf(layout) },
        content: photoOf(content),
        ...mixing,
        seed,
      })),
    )
    // One meaning dominates if the other's part is missing: the layout's silhouette (of the picture
    // that its prompt alone gives with the same seed) or the content, by its name.
    const dominated = (mixes: typeof mixed) =>
      mean(
        tasks.map(({ content }, i) => {
          const hasLayout = overlap(silhouette(alone[i]!), silhouette(mixes[i]!)) >= 0.65
          const hasContent = workshop.judge.name(mixes[i]!) === content
          return Number(!(hasLayout && hasContent))
        }),
      )
    const [byInterpolation, byMixing] = [dominated(interpolated), dominated(mixed)]
    print('dominated by one, interpolated', byInterpolation)
    print('dominated by one, mixed', byMixing)
    assert.ok(byMixing < byInterpolation)
  })
})

const overlapOf = ({ overlap }: Outcome) => overlap

async function sweep(
  name: string,
  values: readonly number[],
  outcomeOf: (value: number) => Promise<Outcome>,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const value of values) {
    const outcome = await outcomeOf(value)
    outcomes.push(outcome)
    const { overlap, score, named } = outcome
    const figures = { overlap, score, named }
    const texts = Object.entries(figures).map(([key, figure]) => `${key} ${figure.toFixed(3)}`)
    console.log(`      ${name} ${value}: ${texts.join(', ')}`)
  }
  return outcomes
}

function print(name: string, value: number): void {
  console.log(`      ${name}: ${value.toFixed(3)}`)
}
