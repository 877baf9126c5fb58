/** `magicmix mix`: a picture and a prompt to a mixed picture. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'

import { type MixRequest, checkRequest, mixOptions } from '../request/mix-options.js'
import { type Arguments, type Command, type Values, UsageError, textOption } from './command.js'
import { flagsOf, optionsFrom } from './flags.js'
import { loadFlags, loadOptionsFrom } from './model-options.js'
import { duration, startReport } from './report.js'

export const command: Command = {
  name: 'mix',
  usage: 'mix [options] LAYOUT CONTENT',
  summary: 'mix a prompt into the layout of a picture',
  about: `Keeps the layout (shape, colour, pose) of the picture LAYOUT and mixes in what the prompt
CONTENT says. With --layout-prompt the layout comes from a prompt, and only CONTENT is given.`,
  examples: [
    `# a corgi made of a coffee machine, with more coffee machine than usual
magicmix mix corgi.jpg "a photo of a coffee machine" -o mix.png \\
  --model sd-v1-4.safetensors --nu 0.9 --attention "coffee machine=1.4"`,
    `# the layout from a prompt; the recipe of the result as JSON
magicmix mix --layout-prompt "a photo of a rabbit" "a photo of a tiger" --seed 42 --json`,
  ],
  options: {
    output: {
      type: 'string',
      short: 'o',
      value: 'FILE',
      help: 'where to write; the extension names the format (default: mix.png)',
    },
    ...loadFlags,
    'layout-prompt': { type: 'string', value: 'TEXT', help: 'the layout, instead of a picture' },
    ...flagsOf(mixOptions),
  },
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const request = requestOf(positionals, values)
  const file = textOption(values, 'output') ?? 'mix.png'
  const options = loadOptionsFrom(values)
  const { MagicMix } = await import('../mixer.js')
  const { formatOf } = await import('../mix.js')
  // Whatever can be wrong should not be found after minutes of loading.
  formatOf(file)
  checkRequest(request)
  await mkdir(path.dirname(file), { recursive: true })

  const report = startReport()
  const onProgress = report.show.bind(report)
  try {
    await using mixer = await MagicMix.load({ ...options, signal, onProgress })
    const mix = await mixer.mix({ ...request, signal, onProgress })
    await mix.toFile(file)
    report.end()
    if (values.json) {
      console.log(JSON.stringify({ file, model: mixer.model, ...mix.toJSON() }))
    } else {
      const { width, height, seed, timings } = mix
      console.log(`Wrote ${file} (${width} x ${height}, seed ${seed}, ${duration(timings.total)})`)
    }
  } finally {
    report.end()
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
  return { layout, content, ...optionsFrom(mixOptions, values) }
}
