/** `magicmix sweep`: a sheet of mixes with other values of some options. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'

import { checkPicture } from '../input/picture.js'
import { ClipTokens } from '../input/tokens.js'
import type { LoadOptions } from '../models/load-options.js'
import { mixOptions } from '../request/mix-options.js'
import { picturesOf } from '../request/pictures.js'
import { checkOptions } from '../options/option.js'
import { tokenizePrompts } from '../request/prompts.js'
import { type BestOptions, bestOptions } from '../request/score.js'
import type { MagicMix } from '../mixer.js'
import type { Sweep } from '../sweep.js'
import { checkFolder } from '../sweep-folder.js'
import {
  type CheckedSweep,
  type SweepRequest,
  type Vary,
  checkSweep,
  inCell,
  labelOf,
  sweepOptions,
} from '../sweep/axes.js'
import {
  type Arguments,
  type Command,
  type Options,
  type Values,
  UsageError,
  textOption,
} from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { scoreText, severalOf } from './mix.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { duration, startReport } from './report.js'
import { isVaried, varyFrom } from './vary.js'

/** A sheet of many cells is not written again after every one of them. */
const betweenSheets = 2000

export const command: Command = {
  name: 'sweep',
  usage: 'sweep [options] LAYOUT CONTENT',
  summary: 'a sheet of mixes to choose nu, kMin, kMax ... by',
  about: `Mixes like 'magicmix mix', over and over with other values of one to three options, and draws the
pictures on a sheet: the first option across, the second down, the third down in groups. Corners come
first, and the sheet is written anew while it fills. What the mixes have in common is computed once.

--vary takes the name of a flag, or 'layout', 'layout-prompt', 'content', and values: numbers with
commas between them (nu=0.3,0.6,0.9) or a range FROM:TO:STEP (k-max=0.5:0.8:0.1), texts with '|'
("content=a cat|a dog").`,
  examples: [
    `# 3 x 4 pictures
magicmix sweep corgi.jpg "a photo of a coffee machine" --vary nu=0.3,0.6,0.9 \\
  --vary k-max=0.5:0.8:0.1 -o sheet.png --model sd-v1-4.safetensors`,
    `# every picture in a file too; run it again to go on where it was stopped
magicmix sweep corgi.jpg --vary "content=a tiger|a zebra" --vary seed=1,2,3 --cells cells`,
    `# which of them the model finds best
magicmix sweep corgi.jpg "a photo of a coffee machine" --vary nu=0.3:0.9:0.2 --score`,
  ],
  options: {
    ...sheetFlag('sheet.png'),
    ...flagsOf(sweepOptions),
    ...flagsOf(bestOptions),
    ...loadFlags,
    'layout-prompt': { type: 'string', value: 'TEXT', help: 'the layout, instead of a picture' },
    ...flagsOf(mixOptions),
  },
  run,
}

export function sheetFlag(byDefault: string): Options {
  const help = `the sheet; the extension names the format (default: ${byDefault})`
  return { output: { type: 'string', short: 'o', value: 'FILE', help } }
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const request = requestOf(positionals, values)
  await makeSheet({
    ...{ values, signal, byDefault: 'sheet.png' },
    checked: checkSweep(request),
    begin: (mixer, watch) => mixer.sweep({ ...request, ...watch }),
  })
}

/** What {@link makeSheet} makes. */
interface SheetMaking {
  values: Values
  signal: AbortSignal
  /** Name of the file. */
  byDefault: string
  checked: CheckedSweep
  begin: (mixer: MagicMix, watch: Pick<SweepRequest, 'signal' | 'onProgress'>) => Sweep
}

/** Makes the cells of a sweep and their sheet, and says so. */
export async function makeSheet(making: SheetMaking): Promise<void> {
  const { values, signal, checked, begin } = making
  const file = textOption(values, 'output') ?? making.byDefault
  const balance = balanceOf(values)
  const isScored = checked.cells[0]!.request.score
  const options = loadOptionsFrom(values)
  const { MagicMix } = await import('../mixer.js')
  const { formatOf } = await import('../mix.js')
  formatOf(file)
  await checkBeforeLoading(checked, options)
  await mkdir(path.dirname(file), { recursive: true })

  const started = performance.now()
  const report = startReport()
  const loading = report.show.bind(report)
  try {
    await using mixer = await MagicMix.load({ ...options, signal, onProgress: loading })
    const sweep = begin(mixer, {
      signal,
      onProgress: ({ stage, cells, unetCalls, etaMs, ...event }) => {
        if (stage === 'download' || stage === 'queued') report.show({ ...event, stage, etaMs })
        else report.show(steps(unetCalls.done, unetCalls.all, etaMs))
      },
    })
    const { plan } = sweep
    report.end()
    process.stderr.write(`${described(plan)}\n`)
    try {
      await make(sweep, file)
    } finally {
      report.end()
      if (sweep.finished.length > 0 && sweep.finished.length < plan.cells) {
        await sweep.sheet().toFile(file)
        process.stderr.write(`${file} shows ${sweep.finished.length} of ${plan.cells} pictures\n`)
      }
    }
    const milliseconds = performance.now() - started
    if (values.json) {
      const cells = sweep.finished.map(({ index, at, mix }) => ({ index, at, ...mix.toJSON() }))
      const best = isScored ? { best: sweep.best(balance)!.index } : {}
      console.log(JSON.stringify({ file, plan, cells, ...best, milliseconds, model: mixer.model }))
      return
    }
    const { folder } = checked
    const into = folder === undefined ? '' : ` and the pictures in ${folder}`
    console.log(
      `Wrote ${file}${into} (${plan.cells} pictures, ${seedOf(sweep)}${duration(milliseconds)})`,
    )
    if (!isScored) return
    const { at, mix } = sweep.best(balance)!
    console.log(`Best by the scores: ${labelOf(at)} (${scoreText(mix.score!)})`)
  } finally {
    report.end()
  }
}

/** Of `best`; there is nothing to choose by without scores. */
function balanceOf(values: Values): BestOptions {
  const given = optionsFrom(bestOptions, values)
  if (given.balance !== undefined && !values.score) {
    throw new UsageError('--balance needs --score')
  }
  return checkOptions(bestOptions, given, 'best')
}

/** Makes all cells, with a sheet to look at on the way. */
async function make(sweep: Sweep, file: string): Promise<void> {
  let written = performance.now()
  for await (const cell of sweep) {
    void cell
    if (performance.now() - written < betweenSheets) continue
    await sweep.sheet().toFile(file)
    written = performance.now()
  }
  await sweep.sheet().toFile(file)
}

function steps(done: number, all: number, etaMs: number) {
  return { stage: 'content', step: done, steps: all, timestep: 0, etaMs } as const
}

function described({ cells, unetCalls, unetCallsOfSingleMixes }: Sweep['plan']): string {
  const saved =
    unetCalls < unetCallsOfSingleMixes ? ` instead of ${unetCallsOfSingleMixes} one by one` : ''
  return `${cells} pictures in ${unetCalls} calls of the network${saved}`
}

/** Nothing if it is varied. */
function seedOf({ finished: [first, ...others] }: Sweep): string {
  const seed = first?.mix.seed
  return others.every(({ mix }) => mix.seed === seed) ? `seed ${seed}, ` : ''
}

/** Whatever can be wrong should not be found after minutes of loading. */
async function checkBeforeLoading(
  { axes, cells, folder, seedGiven }: CheckedSweep,
  options: LoadOptions,
): Promise<void> {
  if (folder !== undefined) {
    const numbered = cells.map((cell) => ({ ...cell, pictures: 0 }))
    await checkFolder(folder, { axes, seedGiven, cells: numbered, loras: [] })
  }
  const tokens = await ClipTokens.load()
  for (const { at, request: checked } of cells) {
    if (checked.decoder === 'tiny' && options.model && !options.tinyDecoder) {
      throw new UsageError('--decoder tiny needs a --tiny-decoder, such as hf:madebyollin/taesd')
    }
    // With embeddings the tokens depend on the model.
    if (!options.embeddings) inCell(at, () => tokenizePrompts(checked, tokens, 0))
  }
  const seen = new Set<string>()
  for (const { request: checked } of cells) {
    for (const { place, picture } of picturesOf(checked)) {
      const key = `${picture as string} ${checked.background}`
      if (!seen.has(key)) await checkPicture(picture, checked.background, place)
      seen.add(key)
    }
  }
}

function requestOf(positionals: readonly string[], values: Values): SweepRequest {
  const options = optionsFrom(mixOptions, values)
  const texts = values.vary as readonly string[] | undefined
  if (!texts) throw new UsageError('Expected at least one --vary, such as --vary nu=0.3,0.6,0.9')
  const vary = varyFrom(texts, options)
  const { vary: _ofItsOwn, ...others } = sweepOptions

  const layoutPrompt = textOption(values, 'layout-prompt')
  const varies = (...names: (keyof Vary)[]) => names.some((name) => isVaried({ vary }, name))
  const wantsLayout = layoutPrompt === undefined && !varies('layout', 'layouts')
  const wantsContent = !varies('content', 'contents')
  const names = [wantsLayout ? 'a LAYOUT picture' : '', wantsContent ? 'a CONTENT prompt' : '']
  const expected = names.filter(Boolean)
  if (positionals.length !== expected.length) {
    throw new UsageError(
      `Expected ${expected.join(' and ') || 'no arguments'} but received ${positionals.length} ` +
        'arguments; prompts of several words need quotes',
    )
  }
  const rest = [...positionals]
  const layout = layoutPrompt === undefined ? undefined : { prompt: layoutPrompt }
  const base = severalOf({
    ...options,
    ...(wantsLayout ? { layout: rest.shift()! } : layout ? { layout } : {}),
    ...(wantsContent ? { content: rest.shift()! } : {}),
  })
  return { ...base, ...optionsFrom(others, values), vary }
}
