/** `magicmix mix`: a picture and a prompt to a mixed picture. */
import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'

import { MagicMixError } from '../errors.js'
import { isPrompt } from '../input/layout.js'
import { ClipTokens } from '../input/tokens.js'
import type { Mix } from '../mix.js'
import type { MagicMix } from '../mixer.js'
import { tokenizePrompts } from '../request/prompts.js'
import type { LoadOptions } from '../models/load-options.js'
import { type MixRequest, checkRequest, mixOptions } from '../request/mix-options.js'
import { checkPictures } from '../request/pictures.js'
import type { MixScore } from '../request/score.js'
import {
  type Arguments,
  type Command,
  type Options,
  type Values,
  UsageError,
  textOption,
} from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { duration, startReport } from './report.js'

/** Standard input or output in the place of a file. */
export const standard = '-'

export const command: Command = {
  name: 'mix',
  usage: 'mix [options] LAYOUT CONTENT',
  summary: 'mix a prompt into the layout of a picture',
  about: `Keeps the layout (shape, colour, pose) of the picture LAYOUT and mixes in what the prompt
CONTENT says. With --layout-prompt the layout comes from a prompt, and only CONTENT is given.
LAYOUT - is standard input, and -o - is standard output (a PNG).`,
  examples: [
    `# a corgi made of a coffee machine, with more coffee machine than usual
magicmix mix corgi.jpg "a photo of a coffee machine" -o mix.png \\
  --model sd-v1-4.safetensors --nu 0.9 --attention "coffee machine=1.4"`,
    `# the layout from a prompt; the recipe of the result as JSON
magicmix mix --layout-prompt "a photo of a rabbit" "a photo of a tiger" --seed 42 --json`,
  ],
  options: {
    ...outputFlag('mix.png'),
    ...loadFlags,
    'layout-prompt': { type: 'string', value: 'TEXT', help: 'the layout, instead of a picture' },
    ...flagsOf(mixOptions),
  },
  run,
}

export function outputFlag(byDefault: string): Options {
  const help = `where to write; the extension names the format (default: ${byDefault})`
  return { output: { type: 'string', short: 'o', value: 'FILE', help } }
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const request = requestOf(positionals, values)
  const file = await outputOf(values, 'mix.png')
  if (request.layout === standard) request.layout = await buffer(process.stdin)
  if (Array.isArray(request.layouts)) {
    const [first, ...others] = request.layouts as MixRequest['layouts'] & unknown[]
    if (first === standard) request.layouts = [await buffer(process.stdin), ...others]
  }
  await makeFile({ request, options: loadOptionsFrom(values), file, values, signal })
}

/** The file to write; checked before standard input is read, which may never end. */
export async function outputOf(values: Values, byDefault: string): Promise<string> {
  const file = textOption(values, 'output') ?? byDefault
  if (file === standard && values.json) {
    throw new UsageError('Standard output is either the picture (-o -) or the JSON (--json)')
  }
  const { formatOf } = await import('../mix.js')
  if (file !== standard) formatOf(file)
  return file
}

/** What {@link makeFile} makes. */
export interface Making {
  request: MixRequest
  options: LoadOptions
  file: string
  values: Values
  signal: AbortSignal
  /** Called when the model is loaded; what it returns is printed with `--json`. */
  beforeMixing?: (mixer: MagicMix) => Promise<object>
}

/** Mixes, writes the file, and says so. */
export async function makeFile(making: Making): Promise<void> {
  const { request, options, file, values, signal, beforeMixing } = making
  const { MagicMix } = await import('../mixer.js')
  await checkBeforeLoading(request, options)
  if (file !== standard) await mkdir(path.dirname(file), { recursive: true })

  const report = startReport()
  const onProgress = report.show.bind(report)
  try {
    await using mixer = await MagicMix.load({ ...options, signal, onProgress })
    report.end()
    const more = await beforeMixing?.(mixer)
    const mix = await mixer.mix({ ...request, signal, onProgress })
    report.end()
    if (file === standard) {
      process.stdout.write(await mix.withRecipe('png'))
      return
    }
    await save(mix, file)
    if (values.json) {
      console.log(JSON.stringify({ file, model: mixer.model, ...mix.toJSON(), ...more }))
    } else {
      const { width, height, seed, score, timings } = mix
      const judged = score ? `, ${scoreText(score)}` : ''
      console.log(
        `Wrote ${file} (${width} x ${height}, seed ${seed}, ${duration(timings.total)}${judged})`,
      )
    }
  } finally {
    report.end()
  }
}

/** `content 0.83, layout 0.71`, for people. */
export function scoreText({ content, layoutPrompt, layout }: MixScore): string {
  const shown = Object.entries({ content, 'layout prompt': layoutPrompt, layout })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${value!.toFixed(2)}`)
  return shown.join(', ')
}

/** Whatever can be wrong should not be found after minutes of loading. */
async function checkBeforeLoading(request: MixRequest, options: LoadOptions): Promise<void> {
  const checked = checkRequest(request)
  if (checked.decoder === 'tiny' && options.model && !options.tinyDecoder) {
    throw new UsageError('--decoder tiny needs a --tiny-decoder, such as hf:madebyollin/taesd')
  }
  // With embeddings the tokens depend on the model.
  if (!options.embeddings) tokenizePrompts(checked, await ClipTokens.load(), 0)
  await checkPictures(checked)
}

/** What was computed for minutes is not lost for a full disk. */
async function save(mix: Mix, file: string): Promise<void> {
  try {
    await mix.toFile(file)
  } catch (error) {
    if (!(error instanceof MagicMixError && error.code === 'PICTURE_UNWRITABLE')) throw error
    const rescue = path.join(tmpdir(), `magicmix-${Date.now()}.png`)
    try {
      await writeFile(rescue, await mix.withRecipe('png'))
    } catch {
      throw error
    }
    throw new MagicMixError(error.code, `${error.message}; it is in ${rescue} instead`, { file })
  }
}

function requestOf(positionals: readonly string[], values: Values): MixRequest {
  const layoutPrompt = textOption(values, 'layout-prompt')
  const [layout, content] =
    layoutPrompt === undefined ? positionals : [{ prompt: layoutPrompt }, positionals[0]]
  const expected = layoutPrompt === undefined ? 2 : 1
  if (layout === undefined || content === undefined || positionals.length !== expected) {
    throw new UsageError(
      `Expected ${expected === 2 ? 'a LAYOUT picture and a CONTENT prompt' : 'a CONTENT prompt and nothing else beside --layout-prompt'} ` +
        `but received ${positionals.length} arguments; prompts of several words need quotes`,
    )
  }
  return severalOf({ layout, content, ...optionsFrom(mixOptions, values) })
}

/** The arguments are the first of several layouts or contents, if there are flags for more. */
export function severalOf<T extends MixRequest>(request: T): MixRequest & T {
  const { layout, layouts, content, contents, ...rest } = request
  if (layouts && isPrompt(layout)) {
    throw new UsageError('--also-layout is for pictures, not for --layout-prompt')
  }
  return {
    ...rest,
    ...(layouts && layout !== undefined ? { layouts: [layout, ...layouts] } : { layout }),
    ...(contents && content !== undefined
      ? { contents: [{ prompt: content }, ...contents] }
      : { content }),
  } as MixRequest & T
}
