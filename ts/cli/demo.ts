/** `magicmix demo`: what MagicMix does, seen in a minute, with the model in the box. */
import { mkdir } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'

import type { MagicMix } from '../mixer.js'
import { fewStepsInTheBox, nativeRoot } from '../package-files.js'
import type { Picture } from '../pixels.js'
import { type Arguments, type Command, UsageError, textOption } from './command.js'
import { type Piece, type SheetPlan, demoSheets } from './demo-sheets.js'
import { deviceFlags, deviceFrom } from './model-options.js'
import { duration, startCount } from './report.js'
import { checkSweep } from '../sweep/axes.js'

const models = path.join(nativeRoot, 'models')

export const command: Command = {
  name: 'demo',
  usage: 'demo [options]',
  summary: 'see what it does, in a minute, without a model of your own',
  about: `Mixes the layouts of some pictures with prompts, with the small model in the package, and
writes sheets like the figures of the paper into a folder: the ratio nu, kMin and kMax, the scale of
a word, removal of a concept, mixes of two prompts, and where it fails.`,
  examples: ['magicmix demo'],
  options: {
    output: {
      type: 'string',
      short: 'o',
      value: 'FOLDER',
      help: 'where to write (default: magicmix-demo)',
    },
    ...deviceFlags,
  },
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  if (positionals.length > 0) throw new UsageError('demo takes no arguments')
  const folder = textOption(values, 'output') ?? 'magicmix-demo'
  await mkdir(folder, { recursive: true })
  const { sharp } = await import('../sharp.js')
  const { MagicMix } = await import('../mixer.js')
  const { drawSheet } = await import('../sweep/draw-sheet.js')

  const started = performance.now()
  const plans = demoSheets((name) => path.join(models, 'layouts', `${name}.png`), fewStepsInTheBox)
  const mixers = await loadMixers(() =>
    MagicMix.load({ threads: 1, ...deviceFrom(values), signal }),
  )
  const written: string[] = []
  const make = async (some: readonly SheetPlan[]) => {
    const pictures = await makeAll(some, mixers, signal)
    for (const { file, title, about, columns, rows } of some) {
      const drawn = rows.map(({ label, pieces }) => ({
        label,
        pictures: pieces.flatMap((piece) => pictures.get(piece)!),
      }))
      const { data, width, height } = await drawSheet({ title, about, columns, rows: drawn })
      const target = path.join(folder, file)
      await sharp(data, { raw: { width, height, channels: 3 } })
        .png()
        .toFile(target)
      written.push(target)
    }
  }
  try {
    // The quick sheet can be looked at while the others are made.
    const [quick, ...others] = plans
    await make([quick!])
    process.stderr.write(`${written[0]} is there, after ${duration(performance.now() - started)}\n`)
    await make(others)
  } finally {
    await Promise.all(mixers.map((mixer) => mixer.dispose()))
  }

  const milliseconds = performance.now() - started
  if (values.json) {
    console.log(JSON.stringify({ files: written, milliseconds }))
    return
  }
  const width = Math.max(...written.map((file) => file.length))
  console.log(`Wrote ${written.length} sheets in ${duration(milliseconds)}:

${plans.map(({ title }, i) => `  ${written[i]!.padEnd(width)}  ${title}`).join('\n')}

The model in the package is small: it knows 21 things, drawn by formula, at 128 x 128. With a
Stable Diffusion checkpoint it works the same way on anything:

  magicmix mix corgi.jpg "a photo of a coffee machine" -o mix.png --model sd-v1-4.safetensors`)
}

/** One of one thread for each core, up to four: small networks do not divide well among threads. */
async function loadMixers(load: () => Promise<MagicMix>): Promise<MagicMix[]> {
  const count = Math.min(4, availableParallelism())
  const settled = await Promise.allSettled(Array.from({ length: count }, load))
  const mixers = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const failure = settled.find((each) => each.status === 'rejected')
  if (failure) {
    await Promise.all(mixers.map((mixer) => mixer.dispose()))
    throw failure.reason
  }
  return mixers
}

/** Makes the pictures of every piece; whichever mixer is free takes the next. */
async function makeAll(
  plans: readonly SheetPlan[],
  mixers: readonly MagicMix[],
  signal: AbortSignal,
): Promise<Map<Piece, Picture[]>> {
  const pieces = plans.flatMap(({ rows }) => rows.flatMap((row) => row.pieces))
  const made = new Map<Piece, Picture[]>()
  const sizes = pieces.map((piece) => ('sweep' in piece ? checkSweep(piece.sweep).cells.length : 1))
  const count = startCount(sizes.reduce((sum, size) => sum + size, 0))
  let done = 0
  const waiting = pieces.values()
  const work = async (mixer: MagicMix) => {
    for (const piece of waiting) {
      const pictures: Picture[] = []
      for await (const { picture, index } of picturesOf(piece, mixer, signal)) {
        pictures[index] = picture
        count.show(++done)
      }
      made.set(piece, pictures)
    }
  }
  try {
    await Promise.all(mixers.map(work))
  } finally {
    count.end()
  }
  return made
}

/** From left to right, in any order. */
async function* picturesOf(
  piece: Piece,
  mixer: MagicMix,
  signal: AbortSignal,
): AsyncGenerator<{ picture: Picture; index: number }> {
  if ('sweep' in piece) {
    for await (const { mix, index } of mixer.sweep({ ...piece.sweep, signal })) {
      yield { picture: mix, index }
    }
  } else if ('mix' in piece) {
    yield { picture: await mixer.mix({ ...piece.mix, signal }), index: 0 }
  } else {
    const { readPicture } = await import('../input/picture.js')
    const { nativeSize } = mixer.model
    const size = { width: nativeSize, height: nativeSize, model: mixer.model }
    const look = { fit: 'cover', background: 'white' } as const
    yield { picture: (await readPicture(piece.layout, { ...size, ...look })).picture, index: 0 }
  }
}
