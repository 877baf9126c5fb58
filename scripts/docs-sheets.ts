/** The pictures of the documentation: what is on each sheet. docs-pictures.ts makes them. */
import path from 'node:path'

import type { LoadOptions, MixRequest, RawPixels, StoredType } from 'magicmix'

import { fewStepsInTheBox, nativeRoot } from '../dist/package-files.js'
import { pairs } from '../models/eval/measure.js'

/** A place on a sheet. */
export type Cell =
  /** The picture of a file. */
  | { file: string }
  /** A mix, by a mixer of those options. */
  | { mix: MixRequest; load?: Loading }
  /** What `onProgress` showed of a mix at a step of its content. */
  | { previewOf: MixRequest; step: number; load?: Loading }
  /** Where two cells of the row differ: black where they do not. */
  | { difference: readonly [number, number] }

/** Options of `load`, the type that the model is converted to before, and an instruction set to cap at. */
export type Loading = Pick<LoadOptions, 'precision' | 'threads' | 'isolate' | 'tinyDecoder'> & {
  convertedTo?: StoredType
  kernels?: string
}

export interface Sheet {
  title: string
  about: readonly string[]
  columns: readonly string[]
  rows: readonly { label: string; cells: readonly Cell[] }[]
}

type Change = Partial<MixRequest>

const models = path.join(nativeRoot, 'models')
/** The picture of a layout in the package. */
const layoutFile = (name: string) => path.join(models, 'layouts', `${name}.png`)
const photo = (thing: string) =>
  thing === 'cheese' ? 'a photo of cheese' : `a photo of a ${thing}`
const common = { steps: 30, seed: 7 } as const
const fewSteps: Change = { sampler: 'lcm', guidanceScale: 1, loras: [{ file: fewStepsInTheBox }] }

const picture = (name: string): Cell => ({ file: layoutFile(name) })
/** A content in the layout of a picture. */
const mix = (layout: string, content: string, change: Change = {}, load?: Loading): Cell => ({
  mix: { layout: layoutFile(layout), content: photo(content), ...common, ...change },
  ...(load ? { load } : {}),
})
/** The same between two prompts. */
const prompts = (layout: string, content: string, change: Change = {}): Cell => ({
  mix: { layout: { prompt: photo(layout) }, content: photo(content), ...common, ...change },
})
/** A prompt alone: nothing is mixed where kMin is kMax. */
const alone = (content: string, change: Change = {}): Cell =>
  prompts(content, content, { kMin: 1, kMax: 1, ...change })
/** The layout, then a mix for each change. */
const row = (layout: string, content: string, changes: readonly Change[], before: Change = {}) => ({
  label: `${layout}\n+ ${content}`,
  cells: [
    picture(layout),
    ...changes.map((change) => mix(layout, content, { ...before, ...change })),
  ],
})

/** A grey map of 16 x 16, from the grey of each column. */
function map(grey: (x: number) => number): RawPixels {
  const data = Uint8Array.from({ length: 256 }, (_, i) => Math.round(255 * grey(i % 16)))
  return { data, width: 16, height: 16, channels: 1 }
}
const [half, soft] = [map((x) => (x < 8 ? 0 : 1)), map((x) => x / 15)]

const nus = [0.1, 0.3, 0.5, 0.7, 0.9, 1]
const scales = [-1, 0, 0.5, 1, 1.5, 2]
const blends = [
  ['heart', 'tiger'],
  ['star', 'watermelon'],
  ['fish', 'brick wall'],
  ['leaf', 'zebra'],
] as const
const fewer = blends.slice(0, 3)
const late = { kMin: 0.2, kMax: 0.5 }

/** By their names in docs/pictures. */
export const sheets: Readonly<Record<string, Sheet>> = {
  'first-mix': {
    title: 'A heart, "a photo of a tiger", and both',
    about: [],
    columns: ['layout', 'content alone', 'mix'],
    rows: [{ label: '', cells: [picture('heart'), alone('tiger'), mix('heart', 'tiger')] }],
  },
  progress: {
    title: 'Previews of a mix',
    about: ['Above a pixel per latent cell, below through a tiny decoder; 30 of 50 steps run.'],
    columns: ['step 1', 'step 10', 'step 15', 'step 20', 'step 25', 'the mix'],
    rows: [undefined, path.join(models, 'world-128-tiny')].map((tinyDecoder) => ({
      label: tinyDecoder ? 'with\ntinyDecoder' : 'without',
      cells: [
        ...[1, 10, 15, 20, 25].map((step): Cell => {
          const previewOf: MixRequest = {
            ...{ layout: layoutFile('fish'), content: photo('brick wall'), steps: 50, seed: 7 },
          }
          return { previewOf, step, ...(tinyDecoder ? { load: { tinyDecoder } } : {}) }
        }),
        mix('fish', 'brick wall', { steps: 50 }),
      ],
    })),
  },
  nu: {
    title: 'nu: how much the content counts',
    about: ['kMin 0.2, kMax 0.5, 30 steps, seed 7'],
    columns: ['layout', ...nus.map((nu) => `nu ${nu}`)],
    rows: blends.map(([layout, content]) =>
      row(
        layout,
        content,
        nus.map((nu) => ({ nu })),
        late,
      ),
    ),
  },
  kmax: {
    title: 'kMax: where mixing begins',
    about: ['kMin 0.3, nu 0.9, 30 steps, seed 7'],
    columns: ['layout', ...[0.4, 0.5, 0.6, 0.7, 0.8, 0.9].map((kMax) => `kMax ${kMax}`)],
    rows: [...fewer, ['moon', 'cheese'] as const].map(([layout, content]) =>
      row(
        layout,
        content,
        [0.4, 0.5, 0.6, 0.7, 0.8, 0.9].map((kMax) => ({ kMax })),
      ),
    ),
  },
  kmin: {
    title: 'kMin: where mixing ends',
    about: ['kMax 0.7, nu 0.5, 30 steps, seed 7'],
    columns: ['layout', ...[0, 0.1, 0.2, 0.3, 0.5, 0.7].map((kMin) => `kMin ${kMin}`)],
    rows: fewer.map(([layout, content]) =>
      row(
        layout,
        content,
        [0, 0.1, 0.2, 0.3, 0.5, 0.7].map((kMin) => ({ kMin })),
        {
          ...{ kMax: 0.7, nu: 0.5 },
        },
      ),
    ),
  },
  similar: {
    title: 'Similar concepts above, dissimilar ones below',
    about: ['kMin 0.3, kMax 0.6, 30 steps, seed 7'],
    columns: ['layout', ...nus.map((nu) => `nu ${nu}`)],
    rows: (
      [
        ['tiger', 'zebra'],
        ['watermelon', 'strawberry'],
        ['heart', 'brick wall'],
        ['star', 'tiger'],
      ] as const
    ).map(([layout, content]) =>
      row(
        layout,
        content,
        nus.map((nu) => ({ nu })),
      ),
    ),
  },
  style: {
    title: 'Semantic style transfer: the shape stays, the material changes',
    about: ['kMin 0.2, kMax 0.6, nu 0.5, 30 steps, seed 7'],
    columns: ['layout', 'brick wall', 'watermelon', 'zebra', 'cookie', 'strawberry'],
    rows: ['heart', 'fish', 'leaf'].map((layout) => ({
      label: layout,
      cells: [
        picture(layout),
        ...['brick wall', 'watermelon', 'zebra', 'cookie', 'strawberry'].map((content) =>
          mix(layout, content, { kMin: 0.2, kMax: 0.6, nu: 0.5 }),
        ),
      ],
    })),
  },
  novel: {
    title: 'Novel objects, from two prompts',
    about: ['kMin 0.3, kMax 0.6, 30 steps, seed 7'],
    columns: ['layout alone', 'content alone', 'mix, nu 0.7', 'mix, nu 0.9'],
    rows: (
      [
        ['mushroom', 'lemon'],
        ['heart', 'tiger'],
        ['leaf', 'brick wall'],
        ['donut', 'cookie'],
      ] as const
    ).map(([layout, content]) => ({
      label: `${layout}\n+ ${content}`,
      cells: [
        alone(layout),
        alone(content),
        prompts(layout, content, { nu: 0.7 }),
        prompts(layout, content, { nu: 0.9 }),
      ],
    })),
  },
  breeds: {
    title: 'Mixing breeds: two animals of one kind',
    about: ['kMin 0.3, kMax 0.6, 30 steps, seed 7'],
    columns: ['layout', 'nu 0.1', 'nu 0.3', 'nu 0.5', 'nu 0.7', 'nu 0.9'],
    rows: (
      [
        ['tiger', 'zebra'],
        ['panda', 'tiger'],
        ['tiger', 'panda'],
      ] as const
    ).map(([layout, content]) =>
      row(
        layout,
        content,
        nus.slice(0, 5).map((nu) => ({ nu })),
      ),
    ),
  },
  removal: {
    title: 'Removal: the layout without its subject',
    about: ["The content is the layout's subject, its word with a scale; 30 steps, seed 7"],
    columns: ['layout', 'scale 1', 'scale -1', 'scale -2'],
    rows: ['tiger', 'watermelon', 'panda'].map((name) => ({
      ...row(
        name,
        name,
        [1, -1, -2].map((scale) => ({ attention: { [name]: scale } })),
      ),
      label: name,
    })),
  },
  attention: {
    title: "Attention scale of the content's word",
    about: ['kMin 0.3, kMax 0.6, nu 0.9, 30 steps, seed 7'],
    columns: ['layout', ...scales.map((scale) => `scale ${scale}`)],
    rows: (
      [
        ['heart', 'strawberry'],
        ['leaf', 'cookie'],
      ] as const
    ).map(([layout, content]) =>
      row(
        layout,
        content,
        scales.map((scale) => ({ attention: { [content]: scale } })),
      ),
    ),
  },
  models: {
    title: 'The same mix with other weights',
    about: ['The model converted to each type, and the LoRA for few steps in the package'],
    columns: ['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q2_k', 'with a LoRA'],
    rows: fewer.slice(0, 2).map(([layout, content]) => ({
      label: `${layout}\n+ ${content}`,
      cells: [
        ...(['f32', 'f16', 'bf16', 'q8_0', 'q4_0', 'q2_k'] as const).map((convertedTo) =>
          mix(layout, content, {}, { convertedTo }),
        ),
        mix(layout, content, { ...fewSteps, steps: 8, kMax: 0.625, kMin: 0.25 }),
      ],
    })),
  },
  'few-steps': {
    title: 'Fewer steps',
    about: [
      'Calls of the UNet in brackets; the two of lcm are with the LoRA in the package. Seed 7',
    ],
    columns: ['layout', 'ddim 50 (60)', 'ddim 25 (30)', 'ddim 10 (12)', 'lcm 8 (5)', 'lcm 4 (3)'],
    rows: fewer.map(([layout, content]) =>
      row(layout, content, [
        ...[50, 25, 10].map((steps) => ({ steps })),
        { ...fewSteps, steps: 8, kMax: 0.625, kMin: 0.25 },
        { ...fewSteps, steps: 4, kMax: 0.75, kMin: 0.25, nu: 0.5 },
      ]),
    ),
  },
  cache: {
    title: 'Cheaper calls',
    about: ['50 steps, seed 7'],
    columns: ['layout', 'default', "fast: 'safe'", "fast: 'max'", 'every: 5', 'guided 0.3 .. 1'],
    rows: fewer.map(([layout, content]) =>
      row(
        layout,
        content,
        [
          {},
          { fast: 'safe' },
          { fast: 'max' },
          { cache: { every: 5 } },
          { guidanceInterval: [0.3, 1] },
        ],
        { steps: 50 },
      ),
    ),
  },
  place: {
    title: 'In place and in time: maps, and a nu that changes',
    about: ['Maps are black on the left, or go from black to white. kMin 0.2, kMax 0.7, nu 0.9'],
    columns: [
      'layout',
      'without',
      'nuMap',
      'nuMap, soft',
      'kMaxMap',
      'kMaxMap, soft',
      'nu 1 .. 0.3',
    ],
    rows: (
      [
        ['heart', 'tiger'],
        ['leaf', 'zebra'],
      ] as const
    ).map(([layout, content]) =>
      row(
        layout,
        content,
        [
          {},
          { nuMap: half },
          { nuMap: soft },
          { kMaxMap: half },
          { kMaxMap: soft },
          { nu: { from: 1, to: 0.3 } },
        ],
        { kMin: 0.2, kMax: 0.7, nu: 0.9 },
      ),
    ),
  },
  several: {
    title: 'Several layouts and several contents',
    about: ['30 steps, seed 7'],
    columns: ['layout', 'layout', 'both', 'first content', 'second', 'both'],
    rows: (
      [
        ['heart', 'star', 'tiger', 'zebra'],
        ['mug', 'cactus', 'watermelon', 'brick wall'],
      ] as const
    ).map(([one, other, first, second]) => {
      const layouts = [layoutFile(one), layoutFile(other)]
      const contents = [first, second].map((thing) => ({ prompt: photo(thing) }))
      const chosen = [[contents[0]!], [contents[1]!], contents]
      return {
        label: `${one}, ${other}\n+ ${first}, ${second}`,
        cells: [
          picture(one),
          picture(other),
          { mix: { layouts, content: photo(first), ...common, kMin: 0, nu: 0 } },
          ...chosen.map((contents): Cell => ({ mix: { layouts, contents, ...common } })),
        ],
      }
    }),
  },
  sweep: {
    title: 'A sweep: nu across, kMax down',
    about: ['a photo of a watermelon in the layout of star.png; kMin 0.3, 30 steps, seed 7'],
    columns: [0.3, 0.5, 0.7, 0.9, 1].map((nu) => `nu ${nu}`),
    rows: [0.5, 0.6, 0.7].map((kMax) => ({
      label: `kMax ${kMax}`,
      cells: [0.3, 0.5, 0.7, 0.9, 1].map((nu) => mix('star', 'watermelon', { nu, kMax })),
    })),
  },
  choosing: {
    title: 'a photo of a tiger in the layout of heart.png',
    about: ['kMin 0.3, 25 steps, seed 1'],
    columns: [0.1, 0.3, 0.5, 0.7, 0.9].map((nu) => `nu ${nu}`),
    rows: [0.4, 0.5, 0.6, 0.7].map((kMax) => ({
      label: `kMax ${kMax}`,
      cells: [0.1, 0.3, 0.5, 0.7, 0.9].map((nu) =>
        mix('heart', 'tiger', { nu, kMax, steps: 25, seed: 1 }),
      ),
    })),
  },
  recipes: {
    title: 'A mix, made again from its file, and gone on from',
    about: [],
    columns: ['layout', 'mix', 'replayed', 'difference', 'with nu 0.5', 'another content'],
    rows: [
      {
        label: 'leaf\n+ zebra',
        cells: [
          picture('leaf'),
          mix('leaf', 'zebra'),
          mix('leaf', 'zebra'),
          { difference: [1, 2] },
          mix('leaf', 'zebra', { nu: 0.5 }),
          mix('leaf', 'cookie'),
        ],
      },
    ],
  },
  methods: {
    title: 'Two prompts, mixed by every method',
    about: ['default numbers, 50 steps, seed 0; pairs and seed were fixed before looking'],
    columns: [
      'layout alone',
      ...['magicmix', 'interpolate', 'switch', 'alternate', 'split', 'swap'],
      'content alone',
    ],
    rows: pairs.map(([layout, content]) => ({
      label: `${layout}\n+ ${content}`,
      cells: [
        { name: 'switch', at: 0 } as const,
        ...(['magicmix', 'interpolate', 'switch', 'alternate', 'split', 'swap'] as const),
        { name: 'switch', at: 1 } as const,
      ].map((method) => prompts(layout, content, { method, steps: 50, seed: 0 })),
    })),
  },
  devices: {
    title: 'The same mix with the kernels of other machines',
    about: [
      'In f32, with MAGICMIX_KERNELS. The last is the difference of the first two, times ten.',
    ],
    columns: ['layout', 'avx512', 'avx2', 'portable', 'avx512 - avx2'],
    rows: [
      {
        label: 'star\n+ watermelon',
        cells: [
          picture('star'),
          ...['avx512', 'avx2', 'portable'].map((kernels) =>
            mix('star', 'watermelon', {}, { kernels, precision: 'f32' }),
          ),
          { difference: [1, 2] },
        ],
      },
    ],
  },
  threads: {
    title: 'One thread or two: the same picture',
    about: [],
    columns: ['layout', 'threads: 1', 'threads: 2', 'difference'],
    rows: [
      {
        label: 'fish\n+ brick wall',
        cells: [
          picture('fish'),
          mix('fish', 'brick wall', {}, { threads: 1 }),
          mix('fish', 'brick wall', {}, { threads: 2 }),
          { difference: [1, 2] },
        ],
      },
    ],
  },
  server: {
    title: 'What a client sees: previews, then the picture',
    about: ['previewEvery 5 with a tiny decoder; 30 of 50 steps run'],
    columns: ['layout', 'step 5', 'step 15', 'step 20', 'step 25', 'the picture'],
    rows: [
      {
        label: 'house\n+ zebra',
        cells: [
          picture('house'),
          ...[5, 15, 20, 25].map((step): Cell => ({
            previewOf: {
              ...{ layout: layoutFile('house'), content: photo('zebra'), steps: 50, seed: 3 },
            },
            step,
            load: { tinyDecoder: path.join(models, 'world-128-tiny') },
          })),
          mix('house', 'zebra', { steps: 50, seed: 3 }),
        ],
      },
    ],
  },
  embedding: {
    title: 'In the process, and in one of its own: the same picture',
    about: [],
    columns: ['layout', 'isolate: false', 'isolate: true', 'difference'],
    rows: [
      {
        label: 'heart\n+ strawberry',
        cells: [
          picture('heart'),
          mix('heart', 'strawberry'),
          mix('heart', 'strawberry', {}, { isolate: true }),
          { difference: [1, 2] },
        ],
      },
    ],
  },
  troubleshooting: {
    title: 'Not what you had in mind?',
    about: ['30 steps, seed 7'],
    columns: ['layout', 'symptom', 'remedy'],
    rows: [
      {
        label: 'only the layout:\nnu 0.1, then 0.9',
        cells: [
          picture('heart'),
          mix('heart', 'tiger', { nu: 0.1 }),
          mix('heart', 'tiger', { nu: 0.9 }),
        ],
      },
      {
        label: 'the layout is lost:\nkMax 0.7, then 0.4',
        cells: [
          picture('moon'),
          mix('moon', 'cheese', { kMax: 0.7 }),
          mix('moon', 'cheese', { kMax: 0.4 }),
        ],
      },
      {
        label: 'details are lost:\nkMin 0.3, then 0.1',
        cells: [
          picture('star'),
          mix('star', 'watermelon', { nu: 0.5, kMin: 0.3 }),
          mix('star', 'watermelon', { nu: 0.5, kMin: 0.1 }),
        ],
      },
      {
        label: 'the word is too weak:\nscale 0.5, then 1.5',
        cells: [
          picture('heart'),
          mix('heart', 'strawberry', { attention: { strawberry: 0.5 } }),
          mix('heart', 'strawberry', { attention: { strawberry: 1.5 } }),
        ],
      },
    ],
  },
  'from-diffusers': {
    title: 'mix_factor is nu, kmin and kmax are kMin and kMax',
    about: ['kMin 0.3, kMax 0.6, 30 steps, seed 7'],
    columns: ['layout', ...[0.1, 0.3, 0.5, 0.7, 0.9].map((nu) => `${nu}`)],
    rows: fewer.map(([layout, content]) =>
      row(
        layout,
        content,
        [0.1, 0.3, 0.5, 0.7, 0.9].map((nu) => ({ nu })),
      ),
    ),
  },
  'from-a1111': {
    title: 'Prompt editing, AND, img2img, and a mix',
    about: ['30 steps, seed 7'],
    columns: ['[A:B:0.5]', '[A|B]', 'A AND B', 'img2img 0.6', 'MagicMix'],
    rows: fewer.map(([layout, content]) => {
      const edited = (text: string): Cell => ({
        mix: {
          ...{ layout: { prompt: photo(layout) }, content: `a photo of a ${text}` },
          ...{ promptSyntax: 'a1111', kMin: 1, kMax: 1, ...common },
        },
      })
      const both = [{ prompt: photo(layout) }, { prompt: photo(content) }]
      return {
        label: `A: ${layout}\nB: ${content}`,
        cells: [
          edited(`[${layout}:${content}:0.5]`),
          edited(`[${layout}|${content}]`),
          {
            mix: { layout: { prompt: photo(layout) }, contents: both, kMin: 1, kMax: 1, ...common },
          },
          mix(layout, content, { kMin: 0.6, kMax: 0.6 }),
          mix(layout, content),
        ],
      }
    }),
  },
}
