/**
 * Every case of the manifest that needs a model, as one mocha test a case and precision, and the
 * table of measured errors that comes out of them.
 */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { MagicMix } from 'magicmix'
import type { MixRequest } from 'magicmix'
import sharp from 'sharp'

import type { TokenScale } from '../../dist/input/attention.js'
import type { NativeMixer, NativeStageValues } from '../../dist/native/contract.js'
import { describeDifference, difference } from './closeness.js'
import { caseById, casesOf, floatsOf, valuesOf } from './manifest.js'
import type {
  ClipCase,
  DecodeCase,
  EncodeCase,
  MagicMixCase,
  ModelCase,
  ModelName,
  Reference,
  Scale,
  TraceCase,
  UnetCase,
} from './manifest.js'
import { native, nativeOf, padded } from './native.js'
import { fixture, packageRoot } from './package-root.js'

export type Precision = 'f32' | 'f16' | 'bf16' | 'q8_0'

/**
 * Defines the tests of `model`'s golden cases that are `wanted`, with one mixer at a time; `as` says
 * of which file, or where.
 */
export function describeGolden(
  model: ModelName,
  load: (precision: Precision) => Promise<MagicMix>,
  precisions: readonly Precision[] = ['f32', 'f16', 'bf16', 'q8_0'],
  as = '',
  wanted: (golden: ModelCase, precision: Precision, index: number) => boolean = () => true,
): void {
  const table: Measurement[] = []
  after(() => writeTable(model + as.replace(/\W+/g, '-'), table))

  for (const precision of precisions) {
    describe(`golden numbers: ${model}${as} in ${precision}`, () => {
      let mixer: MagicMix
      before(async () => {
        mixer = await load(precision)
        assert.equal(mixer.model.precision, precision)
      })
      after(async () => {
        await mixer?.dispose()
      })

      for (const golden of casesOf(model).filter((each, i) => wanted(each, precision, i))) {
        it(golden.id, async () => {
          const check = new Check(golden.id, precision, table)
          await compare(golden, mixer, check)
          check.done()
        })
      }
    })
  }
}

function compare(golden: ModelCase, mixer: MagicMix, check: Check): Promise<void> {
  switch (golden.kind) {
    case 'clip':
      return compareText(golden, mixer, check)
    case 'unet':
      return compareUnet(golden, nativeOf(mixer), check)
    case 'vae_encode':
      return compareEncode(golden, nativeOf(mixer), check)
    case 'vae_decode':
      return compareDecode(golden, nativeOf(mixer), check)
    case 'trace':
      return compareStages(golden, nativeOf(mixer), check)
    case 'magicmix':
      return compareMix(golden, mixer, check)
  }
}

// -------------------------------------------------------------------------------------------------
// The kinds of cases

async function compareText(golden: ClipCase, mixer: MagicMix, check: Check): Promise<void> {
  const tokens = mixer.tokenize(golden.prompt)
  check.equal(
    'tokens',
    tokens.map(({ id }) => id),
    golden.prompt_ids,
  )
  const { states } = await nativeOf(mixer).encodeText(padded(golden.prompt_ids, mixer)).done
  check.tensor('hidden', states, golden.outputs.hidden)
}

async function compareUnet(golden: UnetCase, engine: NativeMixer, check: Check): Promise<void> {
  const { epsilon } = await predict(golden, engine, false)
  check.tensor('epsilon', epsilon, golden.outputs.epsilon)
}

async function predict(golden: UnetCase, engine: NativeMixer, stages: boolean) {
  return engine.predictNoise({
    latent: floatsOf(golden.inputs.x),
    latentWidth: golden.width,
    latentHeight: golden.height,
    timestep: golden.t,
    states: floatsOf(caseById('clip', golden.clip).outputs.hidden),
    pooled: new Float32Array(),
    attention: tokenScales(golden.scales),
    stages,
  }).done
}

function tokenScales(scales: Scale[] = []): TokenScale[] {
  return scales.flatMap(({ positions, s }) =>
    positions.map((position) => ({ position, scale: s, from: 0, to: 1 })),
  )
}

async function compareEncode(golden: EncodeCase, engine: NativeMixer, check: Check): Promise<void> {
  const { mean } = await encode(golden, engine, false)
  check.tensor('mean', mean, golden.outputs.mean)
}

async function encode(golden: EncodeCase, engine: NativeMixer, stages: boolean) {
  const { data, width, height } = await pixelsOf(fixture(golden.image))
  return engine.encodePicture({ data, width, height, stages }).done
}

/** The RGB pixels of a file, without any change. */
export async function pixelsOf(file: string) {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true })
  assert.equal(info.channels, 3)
  return { data: new Uint8Array(data), width: info.width, height: info.height }
}

async function compareDecode(golden: DecodeCase, engine: NativeMixer, check: Check): Promise<void> {
  const { rgb } = await decode(golden, engine, false)
  const { rgb: whole, rgb_every4: sparse, image } = golden.outputs
  const [width, height] = [8 * golden.width, 8 * golden.height]
  if (whole) check.tensor('rgb', rgb, whole)
  if (sparse) check.tensor('rgb_every4', everyFourth(rgb, width, height), sparse)
  check.picture('image', bytesOf(rgb, width, height), image)
}

async function decode(golden: DecodeCase, engine: NativeMixer, stages: boolean) {
  return engine.decodeLatent({
    latent: floatsOf(golden.inputs.z),
    latentWidth: golden.width,
    latentHeight: golden.height,
    stages,
  }).done
}

/** `rgb[:, ::4, ::4]` */
function everyFourth(rgb: Float32Array, width: number, height: number): Float32Array {
  return rgb.filter((_, i) => (i % width) % 4 === 0 && (Math.floor(i / width) % height) % 4 === 0)
}

/** Planes of -1..1 to interleaved bytes. */
function bytesOf(rgb: Float32Array, width: number, height: number): Uint8Array {
  const pixels = width * height
  return Uint8Array.from({ length: 3 * pixels }, (_, i) => {
    const value = rgb[(i % 3) * pixels + Math.floor(i / 3)] as number
    return Math.round(255 * Math.min(1, Math.max(0, value / 2 + 0.5)))
  })
}

async function compareStages(golden: TraceCase, engine: NativeMixer, check: Check): Promise<void> {
  const { stages, allowed } = await traced(golden.of, engine)
  for (const [name, statistics] of Object.entries(golden.stages)) {
    const stage = stages.find((candidate) => candidate.name === name)
    if (stage === undefined) {
      check.fail(`no stage '${name}' among ${stages.map((one) => one.name).join(', ')}`)
      continue
    }
    check.equal(`shape of ${name}`, withoutOnes(stage.shape), withoutOnes(statistics.shape))
    // Only the traced case's own output says what its precision costs.
    const reference = golden.outputs?.[name]
    if (reference) check.tensor(name, stage.values, { ...allowed, ...onlyPlace(reference) })
    else check.statistics(name, stage.values, statistics, allowed)
  }
}

async function traced(
  of: string,
  engine: NativeMixer,
): Promise<{ stages: NativeStageValues[]; allowed: Reference }> {
  const golden = [...casesOf('tiny'), ...casesOf('sd15')].find(({ id }) => id === of)
  switch (golden?.kind) {
    case 'unet': {
      const { stages } = await predict(golden, engine, true)
      return { stages, allowed: golden.outputs.epsilon }
    }
    case 'vae_encode': {
      const { stages } = await encode(golden, engine, true)
      return { stages, allowed: golden.outputs.mean }
    }
    case 'vae_decode': {
      const { stages } = await decode(golden, engine, true)
      const { rgb, rgb_every4, image } = golden.outputs
      return { stages, allowed: rgb ?? rgb_every4 ?? image }
    }
    default:
      throw new Error(`the manifest has no case '${of}' to trace`)
  }
}

function onlyPlace({ file, name, shape }: Reference): Reference {
  return { file, name, shape }
}

/** Batch axes of size 1 may be there or not. */
function withoutOnes(shape: number[]): number[] {
  return shape.filter((side) => side !== 1)
}

async function compareMix(golden: MagicMixCase, mixer: MagicMix, check: Check): Promise<void> {
  const { outputs } = golden
  const noise = native.randn(
    golden.seed,
    outputs.noise.shape.reduce((n, side) => n * side, 1),
  )
  check.absolute('noise', noise, outputs.noise, 1e-6)
  if (golden.image && outputs.z0) {
    const { data, width, height } = await pixelsOf(fixture(golden.image))
    const { mean } = await nativeOf(mixer).encodePicture({ data, width, height, stages: false })
      .done
    check.tensor(
      'z0',
      mean.map((value) => value * mixer.model.sizes.vae.scalingFactor),
      outputs.z0,
    )
  }

  const { trace = [], layoutTrace = [], data } = await mixer.mix(requestOf(golden))
  check.equal(
    'timesteps',
    trace.map(({ timestep }) => timestep),
    [...golden.timesteps.slice(golden.i_max), 0],
  )
  check.equal('first index', trace[0]?.index, golden.i_max)
  check.states('states', trace, outputs.states)
  if (outputs.layout_states) {
    check.states('layout_states', layoutTrace, outputs.layout_states)
  }
  check.picture('image', data, outputs.image)
}

/** A golden case as a user would ask for it. */
function requestOf(golden: MagicMixCase): MixRequest & { trace: true } {
  const scales = golden.scales ?? []
  return {
    layout: golden.image ? fixture(golden.image) : { prompt: golden.layout_prompt ?? '' },
    content: golden.prompt,
    negativePrompt: golden.negative,
    attention: Object.fromEntries(scales.map(({ word, s }) => [word, s])),
    kMin: golden.k_min,
    kMax: golden.k_max,
    nu: golden.nu,
    guidanceScale: golden.guidance,
    steps: golden.steps,
    seed: golden.seed,
    width: golden.width,
    height: golden.height,
    trace: true,
  }
}

// -------------------------------------------------------------------------------------------------
// Tolerances and the table

interface Measurement {
  golden: string
  precision: Precision
  output: string
  error: number
  tolerance: number
}

/**
 * What f32 is allowed. PyTorch's own f32 is about 2e-6 from f64; a single rounding to f16 on the way
 * would cost about `f16in`, so the second bound shows that f32 is really f32.
 */
function f32Tolerance(f16in: number): number {
  return Math.min(1e-4, Math.max(f16in / 5, exactTolerance))
}

/** Where the reference has no error at all: initial noise, for example. */
const exactTolerance = 1e-5

function tolerance(precision: Precision, f16in = 0, bf16 = 0): number {
  if (precision === 'f32') return f32Tolerance(f16in)
  return Math.max(precision === 'f16' ? 3 * f16in : 1.5 * bf16, exactTolerance)
}

/** Collects what one case measures, and fails it once, with everything that was too far off. */
class Check {
  readonly #problems: string[] = []

  constructor(
    private readonly golden: string,
    private readonly precision: Precision,
    private readonly table: Measurement[],
  ) {}

  done(): void {
    if (this.#problems.length > 0) assert.fail(`\n  ${this.#problems.join('\n  ')}`)
  }

  fail(problem: string): void {
    this.#problems.push(problem)
  }

  equal(output: string, actual: unknown, expected: unknown): void {
    try {
      assert.deepEqual(actual, expected)
    } catch {
      this.fail(`${output}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
    }
  }

  /** Relative L2 error. */
  tensor(output: string, actual: ArrayLike<number>, reference: Reference): void {
    const allowed = tolerance(this.precision, reference.f16in_rel_l2, reference.bf16_rel_l2)
    this.close(output, actual, valuesOf(reference), allowed, reference.shape)
  }

  /** All states together, and each of them. */
  states(output: string, trace: readonly { latent: Float32Array }[], reference: Reference): void {
    const [count = 0, ...shape] = reference.shape
    if (trace.length !== count) {
      this.fail(`${output}: ${trace.length} states instead of ${count}`)
      return
    }
    this.tensor(output, concatenated(trace.map(({ latent }) => latent)), reference)
    const expected = floatsOf(reference)
    const size = expected.length / count
    for (const [i, { latent }] of trace.entries()) {
      const allowed = tolerance(
        this.precision,
        reference.f16in_rel_l2_each?.[i],
        reference.bf16_rel_l2_each?.[i],
      )
      const state = expected.subarray(i * size, (i + 1) * size)
      this.close(`${output}[${i}]`, latent, state, allowed, shape)
    }
  }

  /** Largest absolute difference. */
  absolute(output: string, actual: ArrayLike<number>, reference: Reference, allowed: number): void {
    const found = difference(actual, valuesOf(reference))
    this.measure(output, found.maxAbs, allowed, describeDifference(output, found, reference.shape))
  }

  /** f32: the share of bytes that are off by more than a level. Else the mean distance in levels. */
  picture(output: string, actual: Uint8Array, reference: Reference): void {
    const expected = valuesOf(reference)
    const found = difference(actual, expected)
    const distances = Array.from(actual, (value, i) => Math.abs(value - (expected[i] as number)))
    if (this.precision === 'f32') {
      const share = distances.filter((distance) => distance > 1).length / distances.length
      const name = `${output} (share of bytes off by more than 1)`
      this.measure(name, share, 0.01, describeDifference(output, found, reference.shape))
      return
    }
    const mean = distances.reduce((sum, distance) => sum + distance, 0) / distances.length
    const allowed =
      this.precision === 'f16'
        ? 3 * (reference.f16in_mean_abs ?? 0)
        : 1.5 * (reference.bf16_mean_abs ?? 0)
    const name = `${output} (mean distance in levels)`
    this.measure(name, mean, allowed, describeDifference(output, found, reference.shape))
  }

  /** Mean, standard deviation and largest magnitude, which the manifest gives to 4 digits. */
  statistics(
    output: string,
    values: Float32Array,
    expected: { mean: number; std: number; absmax: number },
    { f16in_rel_l2, bf16_rel_l2 }: Reference,
  ): void {
    const allowed = tolerance(this.precision, f16in_rel_l2, bf16_rel_l2)
    const digits = 5e-4
    const found = statisticsOf(values)
    const compareOne = (name: 'mean' | 'std' | 'absmax', room: number) => {
      const error = Math.abs(found[name] - expected[name])
      const where = `${name} of ${output}`
      const bound = room * expected.std + digits * Math.abs(expected[name])
      this.measure(where, error, bound, `${where}: expected ${expected[name]}, got ${found[name]}`)
    }
    compareOne('mean', allowed)
    compareOne('std', allowed)
    // one element may be some standard deviations of the error away
    compareOne('absmax', 5 * allowed)
  }

  private close(
    output: string,
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    allowed: number,
    shape: number[],
  ): void {
    if (actual.length !== expected.length) {
      this.fail(`${output}: ${actual.length} values instead of ${expected.length}`)
      return
    }
    const found = difference(actual, expected)
    this.measure(output, found.relativeL2, allowed, describeDifference(output, found, shape))
  }

  private measure(output: string, error: number, allowed: number, description: string): void {
    const { golden, precision } = this
    this.table.push({ golden, precision, output, error, tolerance: allowed })
    if (!(error <= allowed)) {
      this.fail(`${description} (${error.toExponential(2)}, allowed ${allowed.toExponential(2)})`)
    }
  }
}

function concatenated(parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((length, part) => length + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}

/** As torch gives them: the standard deviation with n - 1. */
function statisticsOf(values: Float32Array): { mean: number; std: number; absmax: number } {
  let sum = 0
  let absmax = 0
  for (const value of values) {
    sum += value
    absmax = Math.max(absmax, Math.abs(value))
  }
  const mean = sum / values.length
  let squares = 0
  for (const value of values) squares += (value - mean) ** 2
  return { mean, std: Math.sqrt(squares / (values.length - 1)), absmax }
}

/** build/golden-<set>.md: per case and precision the output that uses most of its tolerance. */
function writeTable(set: string, table: Measurement[]): void {
  if (table.length === 0) return
  const worst = new Map<string, Measurement>()
  for (const row of table) {
    const key = `${row.precision} ${row.golden} ${row.output.replace(/\[\d+\]$/, '[i]')}`
    const known = worst.get(key)
    if (!known || row.error / row.tolerance > known.error / known.tolerance) worst.set(key, row)
  }
  const lines = [
    '| case | output | precision | error | tolerance |',
    '| --- | --- | --- | --- | --- |',
    ...[...worst.values()].map((row) => {
      const { golden, output, precision, error, tolerance: allowed } = row
      const numbers = [error, allowed].map((value) => value.toExponential(2)).join(' | ')
      return `| ${golden} | ${output} | ${precision} | ${numbers} |`
    }),
  ]
  const file = path.join(packageRoot, 'build', `golden-${set}.md`)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, `${lines.join('\n')}\n`)
  console.log(`\n  ${table.length} measurements: see ${path.relative(packageRoot, file)}`)
}
