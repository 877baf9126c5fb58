/** `magicmix demo`: the whole way, without a model of the user's own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { formulaCheckpoint, tinyConfig, writeSafetensors } from '../formula-model.js'
import type { Mix } from '../mix.js'
import type { LoadOptions } from '../model.js'
import { type Arguments, type Command, UsageError } from './command.js'
import { deviceChoice, deviceOptions } from './model-options.js'
import { duration, startReport } from './report.js'

const side = 128
const file = 'magicmix-demo.png'
const content = 'a photo of a coffee machine'
const landscape = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="${side}" height="${side}">
  <rect width="100" height="100" fill="#9fd0f0"/>
  <circle cx="76" cy="22" r="11" fill="#ffd75e"/>
  <path d="M0 68 L28 30 L48 58 L64 40 L100 74 V100 H0 Z" fill="#6d7f95"/>
  <path d="M0 74 Q25 62 50 72 T100 68 V100 H0 Z" fill="#5d9f55"/>
  <path d="M44 100 Q50 84 58 76 L62 76 Q60 86 66 100 Z" fill="#4f93c9"/>
</svg>`

export const command: Command = {
  name: 'demo',
  usage: 'demo [options]',
  summary: 'see it run, without a model of your own',
  about: `Draws a small landscape, mixes "${content}" into it and writes ${file},
the layout beside the mix, into the current folder. No trained model is in the package yet: the
demo makes a tiny one whose weights come from a formula. It runs through all of the same code, but
has learnt nothing: expect a colourful pattern, not a coffee machine.`,
  examples: ['magicmix demo'],
  options: deviceOptions,
  run,
}

async function run({ positionals, values, signal }: Arguments): Promise<void> {
  if (positionals.length > 0) throw new UsageError('demo takes no arguments')
  const { default: sharp } = await import('sharp')
  const layout = await sharp(Buffer.from(landscape)).png().toBuffer()
  const mix = await withFormulaModel(signal, (model) =>
    mixOnce({ ...deviceChoice(values), model }, layout, signal),
  )
  const { width, height } = mix
  await sharp({ create: { width: 2 * width, height, channels: 3, background: 'white' } })
    .composite([
      { input: layout, left: 0, top: 0 },
      { input: await mix.toBuffer(), left: width, top: 0 },
    ])
    .toFile(file)

  if (values.json) {
    console.log(JSON.stringify({ file, ...mix.toJSON() }))
    return
  }
  console.log(`Wrote ${file}: the layout on the left, the mix on the right.
It took ${duration(mix.timings.total)}: ${mix.timings.steps.length} steps of ${mix.timings.step.toFixed(0)} ms.

The model of this demo is a tiny one with weights from a formula, which has learnt nothing, so the
mix shows a pattern instead of "${content}". With a trained Stable Diffusion 1.x checkpoint
(a .safetensors file, or a diffusers folder) it works the same way:

  magicmix mix corgi.jpg "${content}" -o mix.png --model sd-v1-4.safetensors`)
}

async function mixOnce(options: LoadOptions, layout: Buffer, signal: AbortSignal): Promise<Mix> {
  const { MagicMix } = await import('../mixer.js')
  const report = startReport()
  const onProgress = report.show.bind(report)
  try {
    await using mixer = await MagicMix.load({
      ...options,
      // The numbers that belong to `tinyConfig` and that a file of tensors cannot tell.
      config: { unet: { heads: 4 }, textEncoder: { heads: 2 } },
      signal,
      onProgress,
    })
    return await mixer.mix({
      layout,
      content,
      width: side,
      height: side,
      seed: 0,
      signal,
      onProgress,
    })
  } finally {
    report.end()
  }
}

/** Writes the formula-weight model into a temporary folder for as long as `use` needs it. */
async function withFormulaModel<T>(
  signal: AbortSignal,
  use: (model: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'magicmix-demo-'))
  try {
    const model = path.join(folder, 'tiny.safetensors')
    console.error('making a tiny model')
    await writeSafetensors(model, formulaCheckpoint(tinyConfig, 'F16'), { signal })
    return await use(model)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
