/** Golden numbers of a tiny Stable Diffusion XL, from PyTorch and diffusers: one mocha test a case. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import { MagicMix } from 'magicmix'
import type { LoadOptions, Mix, MixRequest } from 'magicmix'

import { describeDifference, difference } from './closeness.js'
import { type Precision, pixelsOf } from './golden.js'
import { tinyXlHeads } from './models.js'
import { native, nativeOf, padded } from './native.js'
import { fixture } from './package-root.js'
import { readSafetensors, tensorValues } from './safetensors.js'

interface Reference {
  name: string
  shape: number[]
  bf16_rel_l2?: number
  bf16_max_abs?: number
}

type Outputs<Names extends string> = Record<Names, Reference>
type Sizes = [number, number]
interface TextCase {
  kind: 'text'
  id: string
  prompt: string
  ids: number[]
  outputs: Outputs<'hidden1' | 'hidden2' | 'pooled'>
}
interface UnetCase {
  kind: 'unet'
  id: string
  ids: number[]
  t: number
  seed: number
  height: number
  width: number
  sizes: [number, number, number, number, number, number]
  outputs: Outputs<'added' | 'out'>
}
interface EncodeCase {
  kind: 'vae_encode'
  id: string
  image: string
  outputs: Outputs<'mean'>
}
interface DecodeCase {
  kind: 'vae_decode'
  id: string
  seed: number
  height: number
  width: number
  outputs: Outputs<'rgb'>
}
interface MixCase {
  kind: 'magicmix'
  id: string
  prompt: string
  negative: string
  layout_prompt?: string
  image?: string
  guidance: number
  steps: number
  k_min: number
  k_max: number
  nu: number
  seed: number
  height: number
  width: number
  iMax: number
  scales?: [string, number][]
  prediction?: 'v_prediction'
  original_size?: Sizes
  crop_top_left?: Sizes
  target_size?: Sizes
  lora?: string
  strength?: number
  embedding?: string
  outputs: Outputs<'states' | 'image'> & Partial<Outputs<'z0' | 'layout_states'>>
}
export type Case = TextCase | UnetCase | EncodeCase | DecodeCase | MixCase

const { cases } = JSON.parse(readFileSync(fixture('sdxl/cases.json'), 'utf8')) as { cases: Case[] }
const expected = readSafetensors(fixture('sdxl/expected.safetensors'))

/** PyTorch's own f32 is 1e-6 to 2e-6 from f64 here. Elsewhere the price of bf16 is the measure. */
function allowed(precision: Precision, { bf16_rel_l2: bf16 = 0 }: Reference): number {
  if (precision === 'f32') return 1e-5
  // Rounding weights to 8 bits costs about as much as computing in bf16.
  return Math.max((precision === 'q8_0' ? 2 : 1.5) * bf16, 1e-5)
}

function assertClose(
  what: string,
  actual: ArrayLike<number>,
  reference: Reference,
  precision: Precision,
): void {
  const found = difference(actual, tensorValues(expected, reference.name))
  assert.ok(
    found.relativeL2 <= allowed(precision, reference),
    `${describeDifference(what, found, reference.shape)} (${found.relativeL2})`,
  )
}

/** `load` makes a mixer of the tiny model, in that precision. */
export function describeXl(
  as: string,
  precision: Precision,
  load: (options?: LoadOptions) => Promise<MagicMix>,
  wanted: (one: Case) => boolean = () => true,
): void {
  describe(`golden numbers: SDXL ${as} in ${precision}`, () => {
    let mixer: MagicMix
    before(async () => {
      mixer = await load()
      assert.equal(mixer.model.family, 'sdxl')
    })
    after(async () => mixer.dispose())

    for (const golden of cases.filter(wanted)) {
      it(golden.id, async () => {
        switch (golden.kind) {
          case 'text':
            return compareText(golden, mixer, precision)
          case 'unet':
            return compareUnet(golden, mixer, precision)
          case 'vae_encode': {
            const { data, width, height } = await pixelsOf(fixture(golden.image))
            const input = { data, width, height, stages: false }
            const { mean } = await nativeOf(mixer).encodePicture(input).done
            return assertClose('mean', mean, golden.outputs.mean, precision)
          }
          case 'vae_decode': {
            const { seed, width, height, outputs } = golden
            const latent = native.randn(seed, 4 * width * height).map((value) => 0.7 * value)
            const input = { latent, latentWidth: width, latentHeight: height, stages: false }
            const { rgb } = await nativeOf(mixer).decodeLatent(input).done
            return assertClose('rgb', rgb, outputs.rgb, precision)
          }
          case 'magicmix': {
            const options = loadOptionsOf(golden)
            if (!options) return compareMix(golden, mixer, precision)
            await using other = await load(options)
            return await compareMix(golden, other, precision)
          }
        }
      })
    }
  })
}

async function compareText(
  { prompt, ids, outputs }: TextCase,
  mixer: MagicMix,
  precision: Precision,
): Promise<void> {
  const tokens = mixer.tokenize(prompt).map(({ id }) => id)
  if (tokens.length <= 77) assert.deepEqual(tokens, ids)
  const { states, pooled } = await nativeOf(mixer).encodeText(padded(ids, mixer)).done
  const columns = (from: number, to: number) =>
    states.filter((_, i) => i % 160 >= from && i % 160 < to)
  assertClose('the first encoder', columns(0, 64), outputs.hidden1, precision)
  assertClose('the second encoder', columns(64, 160), outputs.hidden2, precision)
  assertClose('pooled', pooled, outputs.pooled, precision)
}

async function compareUnet(
  { ids, t, seed, height, width, sizes, outputs }: UnetCase,
  mixer: MagicMix,
  precision: Precision,
): Promise<void> {
  const engine = nativeOf(mixer)
  const text = await engine.encodeText(padded(ids, mixer)).done
  const [originalHeight, originalWidth, cropTop, cropLeft, targetHeight, targetWidth] = sizes
  const { epsilon, stages } = await engine.predictNoise({
    ...text,
    latent: native.randn(seed, 4 * width * height),
    latentWidth: width,
    latentHeight: height,
    timestep: t,
    conditioning: { originalHeight, originalWidth, cropTop, cropLeft, targetHeight, targetWidth },
    attention: [],
    stages: true,
  }).done
  const added = stages.find(({ name }) => name === 'label_emb')
  assertClose('added embedding', added?.values ?? [], outputs.added, precision)
  assertClose('epsilon', epsilon, outputs.out, precision)
}

/** Of cases that need another mixer. */
function loadOptionsOf({ prediction, embedding }: MixCase): LoadOptions | undefined {
  if (prediction) return { config: { ...tinyXlHeads, unet: { ...tinyXlHeads.unet, prediction } } }
  if (embedding) return { embeddings: { [embedding]: fixture('sdxl/embedding.safetensors') } }
  return undefined
}

function requestOf(golden: MixCase): MixRequest & { seed: number } {
  const {
    original_size: originalSize,
    crop_top_left: cropTopLeft,
    target_size: targetSize,
  } = golden
  return {
    layout: golden.image ? fixture(golden.image) : { prompt: golden.layout_prompt ?? '' },
    content: golden.prompt,
    negativePrompt: golden.negative,
    attention: Object.fromEntries(golden.scales ?? []),
    conditioning: originalSize ? { originalSize, cropTopLeft, targetSize } : null,
    loras: golden.lora
      ? [{ file: fixture(`sdxl/lora-${golden.lora}.safetensors`), strength: golden.strength ?? 1 }]
      : [],
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

async function compareMix(golden: MixCase, mixer: MagicMix, precision: Precision): Promise<void> {
  const mix = await mixer.mix(requestOf(golden))
  const { states, layout_states: layoutStates, image } = golden.outputs
  assert.equal(mix.trace?.[0]?.index, golden.iMax)
  assertClose('states', joined(mix.trace), states, precision)
  if (layoutStates && golden.k_max < 1) {
    assertClose('layout states', joined(mix.layoutTrace), layoutStates, precision)
  }
  const { maxAbs } = difference(mix.data, tensorValues(expected, image.name))
  const levels = precision === 'f32' ? 1 : 2 * (image.bf16_max_abs ?? 0)
  assert.ok(maxAbs <= levels, `the picture is up to ${maxAbs} levels off`)
}

function joined(trace: Mix['trace'] = []): number[] {
  return trace.flatMap(({ latent }) => [...latent])
}
