/** `magicmix compare`: a sheet of one mix by every method. */
import { parseMethod } from '../request/method.js'
import { mixOptions } from '../request/mix-options.js'
import {
  type CompareOptions,
  type CompareRequest,
  checkComparison,
  compareOptions,
} from '../sweep/comparison.js'
import { sweepOptions } from '../sweep/axes.js'
import { type Arguments, type Command, type Values, UsageError, textOption } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { loadFlags } from './model-options.js'
import { makeSheet, sheetFlag } from './sweep.js'

const { method: _, ...options } = mixOptions

export const command: Command = {
  name: 'compare',
  usage: 'compare [options] LAYOUT CONTENT',
  summary: 'a sheet of two prompts, mixed by MagicMix and by other methods',
  about: `Mixes the prompts LAYOUT and CONTENT by every method on one seed, and draws the pictures on a sheet:
magicmix; interpolate, text states between the two; switch, first LAYOUT and from a fraction of the
time on CONTENT; alternate, LAYOUT in every n-th step; split, LAYOUT for the way down of the UNet; swap,
some columns of the text states exchanged. --k-min, --k-max and --nu are for magicmix alone.`,
  examples: [
    `# with the model in the package
magicmix compare "a photo of a heart" "a photo of a tiger" --seed 7 -o compare.png`,
    `# other numbers, and every picture in a file too
magicmix compare "a corgi" "a coffee machine" --methods magicmix,switch:0.4,switch:0.6,alternate:3 \\
  --model sd-v1-4.safetensors --cells cells`,
  ],
  options: {
    ...sheetFlag('compare.png'),
    ...flagsOf(compareOptions),
    ...flagsOf({ cells: sweepOptions.cells }),
    ...loadFlags,
    ...flagsOf(options),
  },
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const request = requestOf(positionals, values)
  const chosen = textOption(values, 'methods')
  const compared: CompareOptions =
    chosen === undefined
      ? {}
      : { methods: chosen.split(',').map((text) => parseMethod(text.trim())) }
  await makeSheet({
    ...{ values, signal, byDefault: 'compare.png' },
    checked: checkComparison(request, compared),
    begin: (mixer, watch) => mixer.compare({ ...request, ...watch }, compared),
  })
}

function requestOf(positionals: readonly string[], values: Values): CompareRequest {
  const [layout, content] = positionals
  if (layout === undefined || content === undefined || positionals.length !== 2) {
    throw new UsageError(
      `Expected the prompts LAYOUT and CONTENT but received ${positionals.length} arguments; ` +
        'prompts of several words need quotes',
    )
  }
  const cells = textOption(values, 'cells')
  return {
    ...{ layout: { prompt: layout }, content, ...optionsFrom(options, values) },
    ...(cells === undefined ? {} : { cells }),
  }
}
