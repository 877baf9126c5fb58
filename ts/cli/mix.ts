/** `magicmix mix`: a picture and a prompt to a mixed picture. */
import type { Lora } from '../input/lora.js'
import type { MixRequest } from '../request/request.js'
import {
  type Arguments,
  type Command,
  type Values,
  UsageError,
  given,
  numberOption,
  textOption,
} from './command.js'
import { configOptions, loadOptions, modelOptions } from './model-options.js'
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
    ...modelOptions,
    embedding: {
      type: 'string',
      multiple: true,
      value: 'NAME=FILE',
      help: 'a textual inversion and what it is called in prompts; may be repeated',
    },
    'layout-prompt': { type: 'string', value: 'TEXT', help: 'the layout, instead of a picture' },
    nu: { type: 'string', value: 'X', help: 'weight of the content while mixing, 0..1 (0.9)' },
    'k-min': { type: 'string', value: 'X', help: 'where mixing ends, fraction of T (0.3)' },
    'k-max': { type: 'string', value: 'X', help: 'where mixing begins, fraction of T (0.6)' },
    attention: {
      type: 'string',
      multiple: true,
      value: 'PHRASE=X',
      help: 'scale of a phrase of CONTENT, -2..2; may be repeated',
    },
    lora: {
      type: 'string',
      multiple: true,
      value: 'FILE[=X]',
      help: 'a LoRA and its strength (1); may be repeated',
    },
    negative: { type: 'string', value: 'TEXT', help: 'what the picture should not show' },
    guidance: { type: 'string', value: 'X', help: 'strength of the prompts, 0..100 (7.5)' },
    steps: { type: 'string', value: 'N', help: 'steps of the sampler, 1..999 (50)' },
    eta: { type: 'string', value: 'X', help: '0 is DDIM, 1 as noisy as DDPM (0)' },
    seed: { type: 'string', value: 'N', help: 'seed of the noise (random)' },
    width: { type: 'string', value: 'N', help: 'a multiple of 8 (about 512, as the picture is)' },
    height: { type: 'string', value: 'N', help: 'a multiple of 8 (about 512, as the picture is)' },
    fit: { type: 'string', value: 'HOW', help: 'cover, contain or fill (cover)' },
    background: { type: 'string', value: 'COLOUR', help: 'behind transparent pixels (white)' },
    truncate: { type: 'boolean', help: 'cut prompts off after 75 tokens' },
    ...configOptions,
  },
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  const request = requestOf(positionals, values)
  const file = textOption(values, 'output') ?? 'mix.png'
  const options = { ...loadOptions(values), embeddings: embeddingsOf(values) }
  const { MagicMix } = await import('../mixer.js')
  const { formatOf } = await import('../mix.js')
  formatOf(file) // a name that cannot be written should not be found out after minutes

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
  return {
    layout,
    content,
    attention: ((values.attention ?? []) as readonly string[]).map(attentionScale),
    loras: ((values.lora ?? []) as readonly string[]).map(lora),
    ...given({
      nu: numberOption(values, 'nu'),
      kMin: numberOption(values, 'k-min'),
      kMax: numberOption(values, 'k-max'),
      negativePrompt: textOption(values, 'negative'),
      guidanceScale: numberOption(values, 'guidance'),
      steps: numberOption(values, 'steps'),
      eta: numberOption(values, 'eta'),
      seed: numberOption(values, 'seed'),
      width: numberOption(values, 'width'),
      height: numberOption(values, 'height'),
      fit: textOption(values, 'fit') as MixRequest['fit'],
      background: textOption(values, 'background'),
      truncate: values.truncate as boolean | undefined,
    }),
  }
}

/** `<cat-toy>=learned_embeds.safetensors`, any number of times. */
function embeddingsOf(values: Values): Record<string, string> {
  const given = (values.embedding ?? []) as readonly string[]
  return Object.fromEntries(
    given.map((text) => {
      const [, placeholder, file] = /^([^=\s]+)=(.+)$/.exec(text) ?? []
      if (placeholder === undefined || file === undefined) {
        throw new UsageError(`Expected NAME=FILE for --embedding but received '${text}'`)
      }
      return [placeholder, file]
    }),
  )
}

/** `coffee machine=1.4` */
function attentionScale(text: string): { text: string; scale: number } {
  const [, phrase, scale] = /^(.+)=\s*([^=\s]+)\s*$/.exec(text) ?? []
  if (phrase === undefined || Number.isNaN(Number(scale))) {
    throw new UsageError(`Expected PHRASE=NUMBER for --attention but received '${text}'`)
  }
  return { text: phrase, scale: Number(scale) }
}

/** `style.safetensors=0.8`; a file's name may have a '=' in it. */
function lora(text: string): Lora {
  const [, file, strength] = /^(.+)=\s*(-?[\d.]+)\s*$/.exec(text) ?? []
  return file === undefined ? { file: text } : { file, strength: Number(strength) }
}
