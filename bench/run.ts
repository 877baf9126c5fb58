/**
 * All of it in one run on this machine: its ceilings, a mix with the sizes of Stable Diffusion 1.5,
 * the same with ggml's own operations, and the kernels alone.
 *
 *     npm run bench [-- --steps 5] [--precision bf16] [--threads 2] [--no-ggml] [--json] [--tiny]
 *
 * --tiny takes the model in the package and small shapes: seconds, to see that everything runs.
 *
 * Every mix is a process of its own, so that each has its own peak of memory.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { sd15Model } from '../test/support/models.js'
import { builtProgram, packageRoot } from '../test/support/package-root.js'
import { machine } from './machine.js'
import type { Result as Mix } from './mix.js'

interface Shape {
  shape: string
  count: number
  ms: number
  gflops: number
  gflop: number
}

interface Kernels {
  kernels: string
  threads: number
  ceilingGflops: number
  f32CeilingGflops: number
  copyGBs: number
  step: Record<string, Shape[]>
}

const modelInTheBox = path.join(packageRoot, 'models', 'world-128')
const mixSteps = 30 // of 50, with the default kMax

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      steps: { type: 'string', default: '5' },
      precision: { type: 'string', default: 'auto' },
      threads: { type: 'string', default: String(availableParallelism()) },
      'no-ggml': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      tiny: { type: 'boolean', default: false },
    },
  })
  const { threads, precision, steps } = values
  const log = (text: string) => values.json || console.error(text)
  const model = values.tiny ? modelInTheBox : await sd15Model() // made once
  const size = values.tiny ? '128x128' : '512x512'
  const common = ['--model', model, '--size', size, '--threads', threads]

  log('the machine and the kernels alone ...')
  const kernels = measureKernels(threads, values.tiny ? '8' : '64')
  log('a mix ...')
  const mix = measureMix(['--steps', steps, '--precision', precision, ...common])
  log('loading again, now that the file is in memory ...')
  const again = measureMix(['--steps', '1', '--precision', precision, ...common])
  let ggml: Mix | undefined
  if (!values['no-ggml']) {
    log("a step with ggml's operations ...")
    const stock = ['--steps', '2', '--precision', mix.precision, ...common]
    ggml = measureMix(stock, { MAGICMIX_KERNELS: 'off' })
  }

  const gflop = sumOf(kernels, ({ gflop, count }) => gflop * count)
  const ceiling = mix.precision === 'bf16' ? kernels.ceilingGflops : kernels.f32CeilingGflops
  const result = {
    machine: machine(),
    kernels: kernels.kernels,
    threads: Number(threads),
    ceilingGflops: kernels.ceilingGflops,
    f32CeilingGflops: kernels.f32CeilingGflops,
    copyGBs: kernels.copyGBs,
    precision: mix.precision,
    stepSeconds: mix.medianStepSeconds,
    stepGflops: gflop / mix.medianStepSeconds,
    shareOfCeiling: gflop / mix.medianStepSeconds / ceiling,
    encodeSeconds: mix.encodeSeconds,
    decodeSeconds: mix.decodeSeconds,
    wholeMixSeconds: mix.encodeSeconds + mixSteps * mix.medianStepSeconds + mix.decodeSeconds,
    loadSeconds: mix.loadSeconds,
    loadAgainSeconds: again.loadSeconds,
    weightsMiB: mix.weightsMiB,
    peakAboveWeightsMiB: mix.peakMemoryMiB - mix.weightsMiB,
    ...(ggml && {
      ggmlStepSeconds: ggml.medianStepSeconds,
      timesAsFastAsGgml: ggml.medianStepSeconds / mix.medianStepSeconds,
    }),
  }
  if (values.json) {
    console.log(JSON.stringify({ ...result, step: kernels.step }))
    return
  }
  for (const [name, value] of Object.entries(result)) {
    console.log(`${name.padEnd(20)} ${typeof value === 'number' ? rounded(value) : value}`)
  }
  console.log('\nOne UNet step, every kernel alone:\n')
  for (const [name, shapes] of Object.entries(kernels.step)) {
    const ms = sumOf({ step: { [name]: shapes } }, (shape) => shape.ms * shape.count)
    const work = sumOf({ step: { [name]: shapes } }, (shape) => shape.gflop * shape.count)
    console.log(`${name.padEnd(20)} ${rounded(ms)} ms, ${rounded((1e3 * work) / ms)} GFLOP/s`)
  }
}

/** `side` is that of the latent, in cells. */
function measureKernels(threads: string, side: string): Kernels {
  const prompts = '2' // of guidance
  const program = builtProgram('kernels_shapes')
  const out = execFileSync(program, [threads, prompts, 'best', side], { encoding: 'utf8' })
  return JSON.parse(out) as Kernels
}

function measureMix(args: string[], environment: NodeJS.ProcessEnv = {}): Mix {
  const program = ['--import', 'tsx', path.join(packageRoot, 'bench', 'mix.ts'), '--json']
  const env = { ...process.env, ...environment }
  const out = execFileSync(process.execPath, [...program, ...args], { encoding: 'utf8', env })
  return JSON.parse(out) as Mix
}

function sumOf({ step }: Pick<Kernels, 'step'>, value: (shape: Shape) => number): number {
  return Object.values(step)
    .flat()
    .reduce((sum, shape) => sum + value(shape), 0)
}

function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

void main()
