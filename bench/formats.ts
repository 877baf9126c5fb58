/**
 * Quantised files and LoRAs, at the size of SD 1.5: seconds to convert and to load, seconds per step, the
 * weights' memory; seconds that a change of LoRAs takes.
 *
 *     npm run bench:formats -- [--types q8_0,q4_k] [--ranks 16,128] [--size 512x512] [--threads 2]
 *                            [--tiny]
 *
 * --tiny takes the tiny formula-weight model: seconds, to see that everything runs.
 */
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { MagicMix, convert } from 'magicmix'
import type { LoadOptions, Lora, MixRequest, ModelConfig, StoredType } from 'magicmix'

import { formulaTensors, sd15Config, tinyConfig } from '../test/support/formula-model.js'
import type { FormulaConfig } from '../test/support/formula-model.js'
import { sd15Model, tinyHeads, tinyModel } from '../test/support/models.js'
import { safetensorsBytes } from '../test/support/safetensors.js'
import type { Entry } from '../test/support/safetensors.js'
import { machine } from './machine.js'

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      types: { type: 'string', default: 'q8_0,q4_k' },
      ranks: { type: 'string', default: '16,128' },
      size: { type: 'string', default: '512x512' },
      threads: { type: 'string' },
      tiny: { type: 'boolean', default: false },
    },
  })
  const [width = NaN, height = width] = values.size.split('x').map(Number)
  const threads = values.threads === undefined ? undefined : Number(values.threads)
  const folder = await mkdtemp(path.join(tmpdir(), 'magicmix-bench-'))
  try {
    console.log(machine())
    const { tiny } = values
    const model = tiny ? await tinyModel() : await sd15Model()
    const config = tiny ? tinyHeads : {}
    await measureModel('f16', model, { width, height, threads, config })
    for (const type of values.types.split(',') as StoredType[]) {
      const output = path.join(folder, `${type}.gguf`)
      const seconds = await timed(() => convert({ input: model, output, type, config }))
      console.log(`${type}: converted in ${seconds} s, ${mebibytes((await stat(output)).size)} MiB`)
      await measureModel(type, output, { width, height, threads, config })
    }
    for (const rank of values.ranks.split(',').map(Number)) {
      const file = await loraOf(rank, tiny ? tinyConfig : sd15Config, folder)
      await measureLora(file, rank, { model, threads, config })
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

interface Options {
  width: number
  height: number
  threads: number | undefined
  config: ModelConfig
}

async function measureModel(name: string, model: string, options: Options): Promise<void> {
  const { threads, config, ...size } = options
  const started = performance.now()
  await using mixer = await MagicMix.load({ model, threads, config })
  const load = seconds(performance.now() - started)
  const { timings } = await mixer.mix({ ...request, ...size, steps: 10, kMax: 0.5, kMin: 0.5 })
  const weights = mebibytes(mixer.model.memory.weights)
  console.log(`${name}: load ${load} s, step ${seconds(timings.step)} s, weights ${weights} MiB`)
}

/** What a tiny mix takes longer with other LoRAs than with the same ones as before. */
async function measureLora(file: string, rank: number, options: LoadOptions): Promise<void> {
  await using mixer = await MagicMix.load(options)
  const mix = (loras: Lora[]) =>
    timed(() => mixer.mix({ ...request, width: 64, height: 64, steps: 2, kMax: 0.5, loras }))
  await mix([])
  const same = await mix([])
  const added = await mix([{ file }])
  const changed = await mix([{ file, strength: 0.5 }])
  const removed = await mix([])
  const cost = [added, changed, removed].map((time) => (Number(time) - Number(same)).toFixed(1))
  console.log(
    `LoRA of rank ${rank}: added ${cost[0]} s, changed ${cost[1]} s, removed ${cost[2]} s`,
  )
}

const request: MixRequest = { layout: { prompt: 'a hill' }, content: 'a lake', seed: 1 }

/** A LoRA of every linear layer of the transformers and of the text encoder. */
async function loraOf(rank: number, config: FormulaConfig, folder: string): Promise<string> {
  const header: Record<string, Entry> = {}
  let offset = 0
  const add = (name: string, shape: number[]) => {
    const bytes = shape.reduce((product, side) => product * side, 2)
    header[name] = { dtype: 'F16', shape, data_offsets: [offset, offset + bytes] }
    offset += bytes
  }
  for (const { name, shape } of formulaTensors(config)) {
    const isLayer = /transformer_blocks|self_attn|mlp|proj_in|proj_out/.test(name)
    const [out = 0, inner = 0, ...kernel] = shape
    if (!isLayer || shape.length < 2 || name.startsWith('first_stage_model.')) continue
    const module = name
      .replace('model.diffusion_model.', 'lora_unet_')
      .replace('cond_stage_model.transformer.', 'lora_te_')
      .replace(/\.weight$/, '')
      .replaceAll('.', '_')
    add(`${module}.lora_down.weight`, [rank, inner, ...kernel])
    add(`${module}.lora_up.weight`, [out, rank, ...kernel])
  }
  const file = path.join(folder, `rank-${rank}.safetensors`)
  const halves = new Uint16Array(offset / 2).map((_, i) => 0x1000 + (i % 977)) // about 0.0005
  await writeFile(file, safetensorsBytes(header, new Uint8Array(halves.buffer)))
  return file
}

async function timed(work: () => Promise<unknown>): Promise<string> {
  const started = performance.now()
  await work()
  return seconds(performance.now() - started)
}

function seconds(milliseconds: number): string {
  return (milliseconds / 1000).toFixed(2)
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0)
}

void main()
