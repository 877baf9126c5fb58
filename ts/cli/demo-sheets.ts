/** The demo's sheets: the effects of the paper's figures, with the model in the box. */
import type { MixRequest } from '../request/mix-options.js'

/** A picture of a sheet: one of a file, or a mix. */
export type Cell = { layout: string } | { mix: MixRequest }

export interface SheetPlan {
  file: string
  title: string
  about: string[]
  columns: string[]
  rows: { label: string; cells: Cell[] }[]
}

type Change = Partial<MixRequest>

/**
 * The first sheet is the quick one.
 *
 * @param picture gives the path of a layout of the demo by its name
 * @param fewSteps the LoRA for few steps
 */
export function demoSheets(picture: (name: string) => string, fewSteps: string): SheetPlan[] {
  const common = { steps: 30, seed: 7 } as const
  const mix = (layout: string, content: string, change: Change = {}): Cell => ({
    mix: { layout: picture(layout), content: photo(content), ...common, ...change },
  })
  /** The layout, then one mix for each change. */
  const sweep = (layout: string, content: string, changes: Change[]) => ({
    label: `${layout}\n+ ${content}`,
    cells: [{ layout: picture(layout) }, ...changes.map((change) => mix(layout, content, change))],
  })
  /** A picture from a prompt alone: nothing is mixed where kMin is kMax. */
  const fromPrompt = (content: string, change: Change = {}): Cell => ({
    mix: {
      layout: { prompt: photo(content) },
      content: photo(content),
      kMin: 1,
      kMax: 1,
      ...common,
      ...change,
    },
  })

  const nus = [0.1, 0.3, 0.5, 0.7, 0.9, 1]
  const blends = [
    ['heart', 'tiger'],
    ['star', 'watermelon'],
    ['fish', 'brick wall'],
    ['leaf', 'zebra'],
  ] as const
  const quick: Change = {
    ...{ sampler: 'lcm', steps: 8, kMin: 0, kMax: 0.5, guidanceScale: 1 },
    loras: [{ file: fewSteps }],
  }
  const bounds = [
    [0.3, 0.4],
    [0.3, 0.5],
    [0.3, 0.6],
    [0.3, 0.7],
    [0.3, 0.8],
    [0.5, 0.8],
  ] as const
  const scales = [-1, 0, 0.5, 1, 1.5, 2]
  const weights = [0, 0.25, 0.5, 0.75, 1]

  return [
    {
      file: 'quick.png',
      title: 'A quick look: 4 calls of the network for each mix',
      about: [
        'Sampler lcm with a LoRA for few steps: 8 steps, of which 4 run (kMin 0, kMax 0.5), without guidance.',
        'Rougher than the other sheets, which take 30 steps of ddim with guidance; compare nu.png.',
      ],
      columns: ['layout', ...nus.map((nu) => `nu ${nu}`)],
      rows: blends.map(([layout, content]) =>
        sweep(
          layout,
          content,
          nus.map((nu) => ({ ...quick, nu })),
        ),
      ),
    },
    {
      file: 'nu.png',
      title: 'nu: how much the content counts (Figure 6 of the paper)',
      about: ['From left to right the content gains on the layout (kMin 0.2, kMax 0.5).'],
      columns: ['layout', ...nus.map((nu) => `nu ${nu}`)],
      rows: blends.map(([layout, content]) =>
        sweep(
          layout,
          content,
          nus.map((nu) => ({ nu, kMin: 0.2, kMax: 0.5 })),
        ),
      ),
    },
    {
      file: 'k.png',
      title: 'kMin .. kMax: when the two are mixed (Figure 5)',
      about: ['A later start (smaller kMax) keeps more of the layout, its colours too.'],
      columns: ['layout', ...bounds.map(([kMin, kMax]) => `${kMin} .. ${kMax}`)],
      rows: [
        ['heart', 'tiger'],
        ['moon', 'cheese'],
      ].map(([layout, content]) =>
        sweep(
          layout!,
          content!,
          bounds.map(([kMin, kMax]) => ({ kMin, kMax })),
        ),
      ),
    },
    {
      file: 'scale.png',
      title: 'Attention scale of the content word (Figure 7)',
      about: ['0 takes the word out of the cross-attention, 2 doubles it.'],
      columns: ['layout', ...scales.map((scale) => `${scale}`)],
      rows: [
        ['heart', 'strawberry'],
        ['leaf', 'cookie'],
      ].map(([layout, content]) =>
        sweep(
          layout!,
          content!,
          scales.map((scale) => ({ attention: { [content!]: scale } })),
        ),
      ),
    },
    {
      file: 'removal.png',
      title: 'Removal: the layout without its subject (Figure 11)',
      about: ['The content is the subject of the layout, with a negative attention scale.'],
      columns: ['layout', 'scale 1', 'scale -1', 'scale -2'],
      rows: ['tiger', 'watermelon', 'panda'].map((name) =>
        sweep(
          name,
          name,
          [1, -1, -2].map((scale) => ({ attention: { [name]: scale } })),
        ),
      ),
    },
    {
      file: 'text.png',
      title: 'Layout and content both from prompts (Figure 12)',
      about: ['No picture goes in. On the left is the picture of the layout prompt alone.'],
      columns: ['layout prompt', 'mix, nu 0.7', 'mix, nu 0.9'],
      rows: [
        ['donut', 'brick wall'],
        ['mushroom', 'lemon'],
        ['cactus', 'fish'],
      ].map(([layout, content]) => ({
        label: `${layout}\n+ ${content}`,
        cells: [
          fromPrompt(layout!),
          ...[0.7, 0.9].map((nu) => ({
            mix: {
              layout: { prompt: photo(layout!) },
              content: photo(content!),
              nu,
              ...common,
            },
          })),
        ],
      })),
    },
    {
      file: 'interpolation.png',
      title: 'Interpolated prompts, for comparison (Figure 2)',
      about: ['Text states between those of two prompts: mostly one of the two wins.'],
      columns: weights.map((weight) => `weight ${weight}`),
      rows: [
        ['heart', 'tiger'],
        ['house', 'zebra'],
        ['star', 'watermelon'],
      ].map(([one, other]) => ({
        label: `${one}\n.. ${other}`,
        cells: weights.map((weight) =>
          fromPrompt(one!, { interpolate: { prompt: photo(other!), weight } }),
        ),
      })),
    },
    {
      file: 'limits.png',
      title: 'Where it fails (Figure 13)',
      about: ['Shapes too far apart: the layout is lost before the content is whole.'],
      columns: ['layout', 'nu 0.5', 'nu 0.9', 'nu 1'],
      rows: [
        ['cactus', 'house'],
        ['moon', 'mug'],
      ].map(([layout, content]) =>
        sweep(
          layout!,
          content!,
          [0.5, 0.9, 1].map((nu) => ({ nu })),
        ),
      ),
    },
  ]
}

function photo(thing: string): string {
  return thing === 'cheese' ? 'a photo of cheese' : `a photo of a ${thing}`
}
