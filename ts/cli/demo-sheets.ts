/** The demo's sheets: the effects of the paper's figures, with the model in the box. */
import type { RawPixels } from '../input/picture-forms.js'
import type { MixRequest } from '../request/mix-options.js'
import type { SweepRequest, Vary } from '../sweep/axes.js'

/** A part of a row: the picture of a file, a mix, or the mixes of a sweep. */
export type Piece = { layout: string } | { mix: MixRequest } | { sweep: SweepRequest }

export interface SheetPlan {
  file: string
  title: string
  about: string[]
  columns: string[]
  rows: { label: string; pieces: Piece[] }[]
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
  const sweep = (layout: string, content: string, vary: Vary, change: Change = {}): Piece => ({
    sweep: { layout: picture(layout), content: photo(content), ...common, ...change, vary },
  })
  /** The layout, then one mix for each value. */
  const row = (layout: string, content: string, vary: Vary, change: Change = {}) => ({
    label: `${layout}\n+ ${content}`,
    pieces: [{ layout: picture(layout) }, sweep(layout, content, vary, change)],
  })
  /** A picture from a prompt alone: nothing is mixed where kMin is kMax. */
  const fromPrompt = (content: string) => ({
    layout: { prompt: photo(content) },
    content: photo(content),
    ...{ kMin: 1, kMax: 1, ...common },
  })

  const [half, soft] = [map((x) => (x < 8 ? 0 : 1)), map((x) => x / 15)]
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
      rows: blends.map(([layout, content]) => row(layout, content, { nu: nus }, quick)),
    },
    {
      file: 'nu.png',
      title: 'nu: how much the content counts (Figure 6 of the paper)',
      about: ['From left to right the content gains on the layout (kMin 0.2, kMax 0.5).'],
      columns: ['layout', ...nus.map((nu) => `nu ${nu}`)],
      rows: blends.map(([layout, content]) =>
        row(layout, content, { nu: nus }, { kMin: 0.2, kMax: 0.5 }),
      ),
    },
    {
      file: 'k.png',
      title: 'kMin .. kMax: when the two are mixed (Figure 5)',
      about: ['A later start (smaller kMax) keeps more of the layout, its colours too.'],
      columns: [
        'layout',
        ...[0.4, 0.5, 0.6, 0.7, 0.8].map((kMax) => `0.3 .. ${kMax}`),
        '0.5 .. 0.8',
      ],
      rows: [['heart', 'tiger'] as const, ['moon', 'cheese'] as const].map(([layout, content]) => {
        const { label, pieces } = row(layout, content, { kMax: [0.4, 0.5, 0.6, 0.7] })
        return {
          label,
          pieces: [...pieces, sweep(layout, content, { kMin: [0.3, 0.5] }, { kMax: 0.8 })],
        }
      }),
    },
    {
      file: 'scale.png',
      title: 'Attention scale of the content word (Figure 7)',
      about: ['0 takes the word out of the cross-attention, 2 doubles it.'],
      columns: ['layout', ...scales.map((scale) => `${scale}`)],
      rows: [['heart', 'strawberry'] as const, ['leaf', 'cookie'] as const].map(
        ([layout, content]) =>
          row(layout, content, { attention: scales.map((scale) => ({ [content]: scale })) }),
      ),
    },
    {
      file: 'removal.png',
      title: 'Removal: the layout without its subject (Figure 11)',
      about: ['The content is the subject of the layout, with a negative attention scale.'],
      columns: ['layout', 'scale 1', 'scale -1', 'scale -2'],
      rows: ['tiger', 'watermelon', 'panda'].map((name) =>
        row(name, name, { attention: [1, -1, -2].map((scale) => ({ [name]: scale })) }),
      ),
    },
    {
      file: 'text.png',
      title: 'Layout and content both from prompts (Figure 12)',
      about: ['No picture goes in. On the left is the picture of the layout prompt alone.'],
      columns: ['layout prompt', 'mix, nu 0.7', 'mix, nu 0.9'],
      rows: [
        ['donut', 'brick wall'] as const,
        ['mushroom', 'lemon'] as const,
        ['cactus', 'fish'] as const,
      ].map(([layout, content]) => {
        const mixed = { layout: { prompt: photo(layout) }, content: photo(content), ...common }
        return {
          label: `${layout}\n+ ${content}`,
          pieces: [{ mix: fromPrompt(layout) }, { sweep: { ...mixed, vary: { nu: [0.7, 0.9] } } }],
        }
      }),
    },
    {
      file: 'place.png',
      title: 'In place and in time: maps, and a nu that changes',
      about: [
        'nuMap scales nu, kMaxMap says how long a place stays the layout: black on the left, or from black to white.',
      ],
      columns: [
        'layout',
        'without',
        'nuMap',
        'nuMap, soft',
        'kMaxMap',
        'kMaxMap, soft',
        'nu 1 .. 0.3',
      ],
      rows: [['heart', 'tiger'] as const, ['leaf', 'zebra'] as const].map(([layout, content]) => {
        const window = { kMin: 0.2, kMax: 0.7, nu: 0.9 }
        const { label, pieces } = row(layout, content, { nuMap: [null, half, soft] }, window)
        return {
          label,
          pieces: [
            ...pieces,
            sweep(layout, content, { kMaxMap: [half, soft] }, window),
            sweep(layout, content, { nu: [{ from: 1, to: 0.3 }] }, window),
          ],
        }
      }),
    },
    {
      file: 'several.png',
      title: 'Several layouts and several contents',
      about: [
        'Two layouts are the mean of their latents; two contents the mean of what the network predicts for each.',
      ],
      columns: ['layout', 'layout', 'both', 'first content', 'second', 'both'],
      rows: [
        ['heart', 'star', 'tiger', 'zebra'] as const,
        ['mug', 'cactus', 'watermelon', 'brick wall'] as const,
      ].map(([one, other, first, second]) => {
        const layouts = [picture(one), picture(other)]
        const prompts = [first, second].map((thing) => ({ prompt: photo(thing) }))
        const contents = [[prompts[0]!], [prompts[1]!], prompts]
        return {
          label: `${one}, ${other}\n+ ${first}, ${second}`,
          pieces: [
            { layout: picture(one) },
            { layout: picture(other) },
            { mix: { layouts, content: photo(first), ...common, kMin: 0, nu: 0 } },
            { sweep: { layouts, ...common, vary: { contents } } },
          ],
        }
      }),
    },
    {
      file: 'interpolation.png',
      title: 'Interpolated prompts, for comparison (Figure 2)',
      about: ['Text states between those of two prompts: mostly one of the two wins.'],
      columns: weights.map((weight) => `weight ${weight}`),
      rows: [
        ['heart', 'tiger'] as const,
        ['house', 'zebra'] as const,
        ['star', 'watermelon'] as const,
      ].map(([one, other]) => {
        const interpolate = weights.map((weight) => ({ prompt: photo(other), weight }))
        return {
          label: `${one}\n.. ${other}`,
          pieces: [{ sweep: { ...fromPrompt(one), vary: { interpolate } } }],
        }
      }),
    },
    {
      file: 'limits.png',
      title: 'Where it fails (Figure 13)',
      about: ['Shapes too far apart: the layout is lost before the content is whole.'],
      columns: ['layout', 'nu 0.5', 'nu 0.9', 'nu 1'],
      rows: [['cactus', 'house'] as const, ['moon', 'mug'] as const].map(([layout, content]) =>
        row(layout, content, { nu: [0.5, 0.9, 1] }),
      ),
    },
  ]
}

/** 16 x 16, from the grey of each column. */
function map(grey: (x: number) => number): RawPixels {
  const data = Uint8Array.from({ length: 256 }, (_, i) => Math.round(255 * grey(i % 16)))
  return { data, width: 16, height: 16, channels: 1 }
}

function photo(thing: string): string {
  return thing === 'cheese' ? 'a photo of cheese' : `a photo of a ${thing}`
}
