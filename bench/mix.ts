/**
 * Seconds per step and peak memory of a mix.
 *
 *     npm run bench:mix -- [--steps 5] [--size 512x512] [--model sd15|sdxl|FILE] [--precision f16]
 *                          [--device cpu] [--threads 2] [--release-text-encoders] [--json]
 *
 * sd15 (the default) and sdxl are formula-weight models with their sizes, which are as fast as trained ones. They
 * are made once, under node_modules/.cache: 2.1 GB and 6.9 GB.
 */
import { parseArgs } from 'node:util'

import { MagicMix } from 'magicmix'
import type { Precision } from 'magicmix'

import { benchModel } from './models.js'
import { fixture } from '../test/support/package-root.js'
import { machine } from './machine.js'
import { Phases } from './phases.js'

export interface Result {
  machine: string
  model: string
  device: string
  precision: string
  threads: number
  size: string
  steps: number
  loadSeconds: number
  encodeSeconds: number
  /** of a UNet step with guidance, the first left out */
  medianStepSeconds: number
  fastestStepSeconds: number
  decodeSeconds: number
  totalSeconds: number
  weightsMiB: number
  /** of the process */
  peakMemoryMiB: number
  /** the same while the model was loaded, while prompts and picture were encoded, and so on */
  phasesMiB: Record<string, number>
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      steps: { type: 'string', default: '5' },
      size: { type: 'string' },
      model: { type: 'string', default: 'sd15' },
      precision: { type: 'string', default: 'auto' },
      device: { type: 'string', default: 'auto' },
      threads: { type: 'string' },
      'release-text-encoders': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  })
  const { json } = values
  const { file, side } = await benchModel(values.model)
  const size = values.size ?? `${side}x${side}`
  const [width = NaN, height = width] = size.split('x').map(Number)
  const steps = Number(values.steps)

  const phases = new Phases()
  phases.begin('load')
  await using mixer = await MagicMix.load({
    model: file,
    device: values.device,
    precision: values.precision as Precision,
    releaseTextEncoders: values['release-text-encoders'],
    ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
  })
  const { timings } = await mixer.mix({
    layout: fixture('landscape256.png'),
    content: 'a photo of a corgi wearing a red hat',
    // every step is run, one of them mixes
    kMin: 1 - 1 / steps,
    kMax: 1,
    steps,
    seed: 42,
    width,
    height,
    onProgress: ({ stage, step, steps }) => {
      phases.begin(stage)
      if (!json) process.stderr.write(`\r${stage} ${step}/${steps}   `)
    },
  })
  phases.end()
  if (!json) process.stderr.write('\n')

  const warm = timings.steps.slice(timings.steps.length > 1 ? 1 : 0).sort((a, b) => a - b)
  const { model } = mixer
  const result: Result = {
    machine: machine(),
    model: values.model,
    device: model.device,
    precision: model.precision,
    threads: model.threads,
    size: `${width}x${height}`,
    steps: timings.steps.length,
    loadSeconds: timings.load / 1000,
    encodeSeconds: timings.encode / 1000,
    medianStepSeconds: (warm[Math.floor(warm.length / 2)] ?? NaN) / 1000,
    fastestStepSeconds: (warm[0] ?? NaN) / 1000,
    decodeSeconds: timings.decode / 1000,
    totalSeconds: timings.total / 1000,
    weightsMiB: model.memory.weights / 2 ** 20,
    peakMemoryMiB: Math.max(...Object.values(phases.peaks)),
    phasesMiB: phases.peaks,
  }
  console.log(json ? JSON.stringify(result) : table(result))
}

function table(result: Result): string {
  return Object.entries<Result[keyof Result]>({ ...result })
    .map(([key, value]) => `${key.padEnd(20)} ${shown(value)}`)
    .join('\n')
}

function shown(value: Result[keyof Result]): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' ? String(Number(value.toPrecision(4))) : describe(value)
}

function describe(phases: Record<string, number>): string {
  return Object.entries(phases)
    .map(([phase, mebibytes]) => `${phase} ${mebibytes.toFixed(0)}`)
    .join(', ')
}

void main()
