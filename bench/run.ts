/**
 * All of it in one run on this machine: its ceilings, a mix with the sizes of Stable Diffusion 1.5 or XL,
 * the same with ggml's own operations, and the kernels alone.
 *
 *     npm run bench [-- --model sd15|sdxl] [--steps 5] [--precision bf16] [--threads 2] [--no-ggml] [--json] [--tiny]
 *                   [--size 512x512]
 *     npm run bench -- --only step [--json]
 *
 * --only step leaves out everything but the ceiling and a mix of a few steps: less than two minutes,
 * once the model has been made. --tiny takes the model in the package and small shapes: seconds, to see
 * that everything runs. With --json the last line is one JSON object.
 *
 * Every mix is a process of its own, so that each has its own peak of memory.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism, loadavg } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { builtProgram, packageRoot } from '../test/support/package-root.js'
import { machine } from './machine.js'
import type { Result as Mix } from './mix.js'
import { benchModel } from './models.js'
import { autoencoderGflop } from './work.js'

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
  /** Work of a step. */
  gflop: number
  step: Record<string, Shape[]>
}

const modelInTheBox = path.join(packageRoot, 'models', 'world-128')
const mixSteps = 30 // of 50, with the default kMax

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'sd15' },
      size: { type: 'string' },
      steps: { type: 'string', default: '5' },
      precision: { type: 'string', default: 'auto' },
      threads: { type: 'string', default: String(availableParallelism()) },
      only: { type: 'string' },
      'no-ggml': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      tiny: { type: 'boolean', default: false },
    },
  })
  const { threads, precision, steps, only } = values
  if (only !== undefined && only !== 'step') {
    console.error(`--only takes 'step', not '${only}'`)
    process.exitCode = 2
    return
  }
  if (values.model !== 'sd15' && values.model !== 'sdxl') {
    console.error(`--model takes sd15 or sdxl, not '${values.model}'`)
    process.exitCode = 2
    return
  }
  const load = loadavg()[0]
  const log = (text: string) => values.json || console.error(text)
  const bench = values.tiny
    ? ({ file: modelInTheBox, side: 128, sizes: values.model } as const)
    : await benchModel(values.model)
  const size = values.size ?? `${bench.side}x${bench.side}`
  const [width = NaN, height = width] = size.split('x').map(Number)
  const side = Math.sqrt(width * height) // of a square picture with as many pixels
  const common = ['--model', bench.file, '--size', size, '--threads', threads]

  log('the machine and the kernels alone ...')
  const cells = Math.round(side / (values.tiny ? 16 : 8))
  const kernels = measureKernels(threads, cells, only === undefined, bench.sizes ?? 'sd15')
  log('a mix ...')
  const mix = measureMix(['--steps', steps, '--precision', precision, ...common])

  const ceiling = mix.precision === 'bf16' ? kernels.ceilingGflops : kernels.f32CeilingGflops
  const timed = (seconds: number, gflop: number) => ({
    seconds,
    gflops: gflop / seconds,
    shareOfCeiling: gflop / seconds / ceiling,
  })
  const vae = autoencoderGflop(width * height)
  const result = {
    machine: machine(),
    model: values.model,
    size,
    loadBefore: load,
    kernels: kernels.kernels,
    threads: Number(threads),
    precision: mix.precision,
    ceiling: { gflops: ceiling, f32Gflops: kernels.f32CeilingGflops, copyGBs: kernels.copyGBs },
    step: timed(mix.medianStepSeconds, kernels.gflop),
    encode: timed(mix.encodeSeconds, vae.encode),
    decode: timed(mix.decodeSeconds, vae.decode),
    wholeMixSeconds: mix.encodeSeconds + mixSteps * mix.medianStepSeconds + mix.decodeSeconds,
    loadSeconds: mix.loadSeconds,
    weightsMiB: mix.weightsMiB,
    peakAboveWeightsMiB: mix.peakMemoryMiB - mix.weightsMiB,
  }
  if (only !== undefined) {
    print(result, values.json)
    return
  }

  log('loading again, now that the file is in memory ...')
  const again = measureMix(['--steps', '1', '--precision', precision, ...common])
  let ggml: Mix | undefined
  if (!values['no-ggml']) {
    log("a step with ggml's operations ...")
    const stock = ['--steps', '2', '--precision', mix.precision, ...common]
    ggml = measureMix(stock, { MAGICMIX_KERNELS: 'off' })
  }
  const classes = Object.fromEntries(
    Object.entries(kernels.step).map(([name, shapes]) => {
      const seconds = sumOf(shapes, ({ ms, count }) => ms * count) / 1e3
      return [
        name,
        timed(
          seconds,
          sumOf(shapes, ({ gflop, count }) => gflop * count),
        ),
      ]
    }),
  )
  print(
    {
      ...result,
      loadAgainSeconds: again.loadSeconds,
      ...(ggml && {
        ggmlStepSeconds: ggml.medianStepSeconds,
        timesAsFastAsGgml: ggml.medianStepSeconds / mix.medianStepSeconds,
      }),
      /** Every kernel of a step alone. */
      classes,
      ...(values.json && { shapes: kernels.step }),
    },
    values.json,
  )
}

/** `side` is that of the latent, in cells. */
function measureKernels(
  threads: string,
  side: number,
  shapes: boolean,
  sizes: 'sd15' | 'sdxl',
): Kernels {
  const prompts = '2' // of guidance
  const program = builtProgram('kernels_shapes')
  const args = [threads, prompts, 'best', String(side), shapes ? 'all' : 'ceiling', sizes]
  return JSON.parse(execFileSync(program, args, { encoding: 'utf8' })) as Kernels
}

function measureMix(args: string[], environment: NodeJS.ProcessEnv = {}): Mix {
  const program = ['--import', 'tsx', path.join(packageRoot, 'bench', 'mix.ts'), '--json']
  const env = { ...process.env, ...environment }
  const out = execFileSync(process.execPath, [...program, ...args], { encoding: 'utf8', env })
  return JSON.parse(out) as Mix
}

function sumOf(shapes: readonly Shape[], value: (shape: Shape) => number): number {
  return shapes.reduce((sum, shape) => sum + value(shape), 0)
}

function print(result: object, json: boolean): void {
  if (json) {
    console.log(JSON.stringify(result))
    return
  }
  for (const [name, value] of Object.entries(result)) {
    if (typeof value !== 'object') {
      console.log(`${name.padEnd(22)} ${shown(value)}`)
      continue
    }
    const nested = Object.entries(value as object)
    if (nested.some(([, inner]) => typeof inner === 'object')) {
      console.log(`\n${name}, each measured alone:`)
      print(value as object, false)
    } else {
      const line = nested.map(([key, inner]) => `${key} ${shown(inner)}`).join(', ')
      console.log(`${name.padEnd(22)} ${line}`)
    }
  }
}

function shown(value: unknown): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(4))) : String(value)
}

void main()
