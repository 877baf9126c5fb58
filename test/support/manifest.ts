/** The golden numbers: those of test/fixtures/*.json and the tensors that they name. */
import { readFileSync } from 'node:fs'

import { fixture } from './package-root.js'
import { readSafetensors, tensorValues } from './safetensors.js'
import type { SafetensorsFile } from './safetensors.js'

/** A reference tensor, and the errors of the same computation in lower precision. */
export interface Reference {
  file: string
  name: string
  shape: number[]
  f16in_rel_l2?: number
  f16in_rel_l2_each?: number[]
  f16in_mean_abs?: number
  bf16_rel_l2?: number
  bf16_rel_l2_each?: number[]
  bf16_mean_abs?: number
}

export interface Scale {
  word: string
  positions: number[]
  s: number
}

export interface RandnCase {
  kind: 'randn'
  id: string
  seed: number
  count: number
  /** all values, or of many only the ends, with a checksum of the rest */
  outputs: { values?: Reference; first?: Reference; last?: Reference }
  /** sum over i of round(8 v_i) (i mod 251 + 1) */
  checksum?: number
  'values_within_1e-6_of_a_rounding_boundary'?: number
}

export interface ScheduleTableCase {
  kind: 'schedule_table'
  id: string
  outputs: { alphas_cumprod: Reference }
}

export interface ScheduleCase {
  kind: 'schedule'
  id: string
  steps: number
  outputs: { timesteps: Reference; abar: Reference; abar_prev: Reference }
}

export interface WeightsCase {
  kind: 'weights'
  id: string
  probes: {
    config: 'tiny' | 'sd15'
    tensor: string
    shape: number[]
    sha256_f16le: string
    first: Reference
  }[]
}

export type ModelName = 'tiny' | 'sd15' | 'tiny2' | 'tiny2-epsilon'

export interface ClipCase {
  kind: 'clip'
  id: string
  model: ModelName
  prompt: string
  prompt_ids: number[]
  outputs: { hidden: Reference }
}

export interface UnetCase {
  kind: 'unet'
  id: string
  model: ModelName
  /** id of the clip case whose output is the context */
  clip: string
  t: number
  width: number
  height: number
  scales?: Scale[]
  inputs: { x: Reference }
  outputs: { epsilon: Reference }
}

export interface EncodeCase {
  kind: 'vae_encode'
  id: string
  model: ModelName
  image: string
  outputs: { mean: Reference }
}

export interface DecodeCase {
  kind: 'vae_decode'
  id: string
  model: ModelName
  width: number
  height: number
  inputs: { z: Reference }
  outputs: { rgb?: Reference; rgb_every4?: Reference; image: Reference }
}

export interface TraceCase {
  kind: 'trace'
  id: string
  model: ModelName
  /** id of the case that is traced */
  of: string
  stages: Record<string, { shape: number[]; mean: number; std: number; absmax: number }>
  outputs?: Record<string, Reference>
}

export interface MagicMixCase {
  kind: 'magicmix'
  id: string
  model: ModelName
  mode: 'image-text' | 'text-text'
  prompt: string
  prompt_ids: number[]
  negative: string
  negative_ids: number[]
  layout_prompt?: string
  layout_prompt_ids?: number[]
  image?: string
  scales?: Scale[]
  steps: number
  k_min: number
  k_max: number
  nu: number
  guidance: number
  seed: number
  width: number
  height: number
  i_max: number
  i_min: number
  timesteps: number[]
  outputs: {
    noise: Reference
    z0?: Reference
    layout_states?: Reference
    states: Reference
    image: Reference
  }
}

export type ModelCase = ClipCase | UnetCase | EncodeCase | DecodeCase | TraceCase | MagicMixCase
export type CommonCase = RandnCase | ScheduleCase | ScheduleTableCase | WeightsCase

const cases = ['manifest.json', 'sd2.json'].flatMap((file) => {
  const manifest = JSON.parse(readFileSync(fixture(file), 'utf8')) as {
    cases: (ModelCase | CommonCase)[]
  }
  return manifest.cases
})

/** The cases that need no model. */
export const commonCases = cases.filter((golden): golden is CommonCase => !('model' in golden))

export function casesOf(model: ModelName): ModelCase[] {
  return cases.filter((golden): golden is ModelCase => 'model' in golden && golden.model === model)
}

export function caseById<Kind extends ModelCase['kind']>(
  kind: Kind,
  id: string,
): Extract<ModelCase, { kind: Kind }> {
  const found = cases.find((golden) => golden.id === id)
  if (found?.kind !== kind) throw new Error(`the manifest has no ${kind} case '${id}'`)
  return found as Extract<ModelCase, { kind: Kind }>
}

/** Number and digest of the tensors of each configuration. */
export const inventory = JSON.parse(readFileSync(fixture('inventory.json'), 'utf8')) as Record<
  'tiny' | 'sd15' | 'tinyXl' | 'sdxl',
  { tensors: number; parameters: number; sha256: string }
> & {
  tiny_diffusers: Record<
    'unet' | 'vae' | 'text_encoder' | 'vae_old_names',
    { tensors: number; sha256: string }
  >
}

const files = new Map<string, SafetensorsFile>()

/** The values of a reference tensor. */
export function valuesOf({ file, name }: Reference): ArrayLike<number> {
  let opened = files.get(file)
  if (opened === undefined) {
    opened = readSafetensors(fixture(file))
    files.set(file, opened)
  }
  return tensorValues(opened, name)
}

/** The values of a reference tensor of floats, as the engine takes them. */
export function floatsOf(reference: Reference): Float32Array {
  return Float32Array.from(valuesOf(reference))
}
