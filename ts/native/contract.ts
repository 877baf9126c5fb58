/**
 * The contract of the native addon: the shapes that cross the border, those of the public API wherever
 * there is one. Everything here is internal: no promise is made about it.
 */
import type { TokenScale } from '../input/attention.js'
import type { FilledLora } from '../input/lora.js'
import type { Picture } from '../pixels.js'
import type { NativeConvertOptions } from '../models/convert-options.js'
import type { ModelConfig, NativeLoadOptions } from '../models/load-options.js'
import type { ModelFamily, ModelFormat, ModelInfo } from '../models/model-info.js'
import type { Crossing } from '../options/option.js'
import type { NativeConditioning } from '../request/conditioning.js'
import type { MixScore } from '../request/score.js'
import type { NativeMethod } from '../request/method.js'
import type { PromptEdit } from '../request/prompts.js'
import type { SamplerName, Spacing, mixOptions } from '../request/mix-options.js'

/** An operation on the model's own thread. */
export interface NativeJob<T> {
  /**
   * Settles after the operation has unwound. Rejects with an Error that has a `code` and `details`; a cancelled
   * operation rejects with code `CANCELLED`, one stopped by `dispose` with code `DISPOSED`.
   */
  readonly done: Promise<T>
  /** Asks the operation to stop, inside a step; safe at any time, any number of times. */
  cancel(): void
}

export interface NativeDevice {
  id: string
  description: string
  backend: 'cpu' | 'cuda' | 'metal' | 'vulkan'
  kind: 'cpu' | 'discrete' | 'integrated' | 'software'
  /** bytes, 0 if unknown */
  totalMemory: number
  freeMemory: number
}

export interface NativeTensorInfo {
  name: string
  type: string
  shape: number[]
  bytes: number
  file: string
}

export interface NativeInspection {
  path: string
  format: ModelFormat
  /** '' without a model */
  family: ModelFamily | ''
  fileBytes: number
  tensors: NativeTensorInfo[]
  ignored: string[]
  /** null if something that mixing needs is missing; `problem` says what */
  model: ModelInfo | null
  problem: string
  /** memory of a mix of the model's native size, beside the weights; 0 without a model */
  workingBytes: number
}

export interface NativeConversion {
  path: string
  bytes: number
  /** how many were written in each type */
  tensors: Record<string, number>
}

/** The plain values of a request, under their names, and what its prompts and its picture became. */
export interface NativeMixRequest
  extends Omit<Crossing<typeof mixOptions>, 'width' | 'height'>, NativeMethod {
  guidanceFrom: number
  guidanceTo: number
  /** 1: no cache */
  cacheEvery: number
  cacheWhileMixing: number
  cacheBlocks: number
  /** '': as the model's files say */
  spacing: Spacing | ''
  /** pixels */
  width: number
  height: number
  /** RGB `[height, width, 3]` each, or 77 ids */
  layout: { pictures: { pixels: Uint8Array; weight: number }[] } | { tokens: Int32Array }
  /** 77 ids each */
  contents: {
    tokens: Int32Array
    /** null: it does not change */
    edit: PromptEdit | null
    attention: TokenScale[]
    weight: number
  }[]
  /** of every mixed state */
  nu: Float64Array
  /** null: 1 in every cell */
  nuMap: NativeMap | null
  kMaxMap: NativeMap | null
  negativePrompt: Int32Array
  /** null: it does not change */
  layoutEdit: PromptEdit | null
  negativeEdit: PromptEdit | null
  /** weight 0: the content alone, 1: the other alone */
  interpolate: { tokens: Int32Array; weight: number } | null
  /** null: the size of the mix */
  conditioning: NativeConditioning | null
  /** null: those that were loaded */
  loras: FilledLora[] | null
  /** mixed together, in the place of `seed`; absent: that one alone */
  seeds?: Float64Array
  /** absent: a mix by itself */
  sharing?: NativeSharing
}

/** A number 0..1 for every cell of a latent. */
export interface NativeMap {
  cells: Float32Array
  /** tells it from other maps of a sweep; not 0 */
  number: number
}

/** Mixes of one sweep leave states for each other, until `endSweep`. */
export interface NativeSharing {
  /** number of the sweep */
  sweep: number
  /** equal for mixes that differ only in what may differ from a step on */
  root: number
  /** indices of states to leave, as `planSweep` says */
  keepLayout: Int32Array
  keepContent: Int32Array
}

/** What a mix of a sweep has to compute after those before it. */
export interface NativePlannedCell extends Pick<NativeSharing, 'keepLayout' | 'keepContent'> {
  unetCalls: number
  callsOfSingleMix: number
}

/** What decides at which timesteps a sampler calls the network. */
export interface NativeSchedule {
  betas: 'linear' | 'scaled_linear'
  betaStart: number
  betaEnd: number
  spacing: 'leading' | 'trailing' | 'linspace'
  stepsOffset: number
  trainingSteps: number
  /** the last step ends at a cumulative alpha of 1, not at that of timestep 0 */
  endsClean: boolean
  zeroTerminalSnr: boolean
}

export interface NativeProgress {
  stage: 'load' | 'convert' | 'encode' | 'layout' | 'content' | 'score' | 'decode'
  step: number
  steps: number
  timestep: number
  etaMs: number
  preview?: Picture
}

export interface NativeState {
  index: number
  timestep: number
  latent: Float32Array
}

export interface NativeMixResult {
  width: number
  height: number
  /** one of every seed */
  pictures: {
    data: Uint8Array
    /** null unless asked for */
    scores: MixScore | null
  }[]
  trace: NativeState[]
  layoutTrace: NativeState[]
  unetCalls: { full: number; cached: number; unguided: number }
  timings: { encode: number; steps: number[]; score: number; decode: number; total: number }
}

export interface NativeTextStates {
  states: Float32Array
  pooled: Float32Array
}

export interface NativeStageValues {
  name: string
  shape: number[]
  values: Float32Array
}

/** A loaded model with its own thread; jobs run one after the other, first come, first served. */
export interface NativeMixer {
  readonly info: ModelInfo
  readonly schedule: NativeSchedule
  mix(
    request: NativeMixRequest,
    onProgress: ((event: NativeProgress) => void) | null,
  ): NativeJob<NativeMixResult>
  /** `states [77, contextWidth]` of all text encoders side by side; `pooled` is empty if there is none */
  encodeText(tokens: Int32Array): NativeJob<NativeTextStates>
  predictNoise(
    input: NativeTextStates & {
      latent: Float32Array
      latentWidth: number
      latentHeight: number
      timestep: number
      conditioning?: NativeConditioning
      attention: TokenScale[]
      stages: boolean
    },
  ): NativeJob<{ epsilon: Float32Array; stages: NativeStageValues[] }>
  encodePicture(input: {
    data: Uint8Array
    width: number
    height: number
    stages: boolean
  }): NativeJob<{ mean: Float32Array; stages: NativeStageValues[] }>
  decodeLatent(input: {
    latent: Float32Array
    latentWidth: number
    latentHeight: number
    /** by the tiny decoder, which has no stages */
    tiny?: boolean
    stages: boolean
  }): NativeJob<{ rgb: Float32Array; stages: NativeStageValues[] }>
  /** frees what the mixes of a sweep have left for each other */
  endSweep(sweep: number): NativeJob<undefined>
  /**
   * Cancels what runs and what waits (each rejects with `DISPOSED`), then frees the model off the
   * main thread. Resolves when its memory is free. Any later call rejects with `DISPOSED`;
   * calling `dispose` again returns a promise of the same end.
   */
  dispose(): Promise<void>
}

/** What becomes of a key in a configuration file of a model. */
export interface NativeConfigKey {
  /** 'unet/config.json' ... */
  file: string
  /** a dot and '*' at its end stand for all keys below it */
  key: string
  treatment: 'honoured' | 'harmless' | 'only'
  /** of 'only': JSON list of the accepted values */
  values: string
  why: string
}

export interface NativeBinding {
  /** of the backends that were loaded, the CPU last */
  devices(): NativeDevice[]
  /** loads the best of these libraries with the CPU's operations; the first call counts */
  chooseCpu(files: string[]): void
  /** loads the library of a GPU's backend for the whole process; may crash with its driver */
  loadBackend(file: string): NativeJob<undefined>
  /** computes a little on a device and on the CPU */
  preflight(device: string): NativeJob<{ error: number; passed: boolean }>
  /** cores and bytes that this process may use; `root` stands before /proc and /sys */
  machine(root: string): { cores: number; memory: number }
  inspect(
    path: string,
    config: ModelConfig,
    files?: {
      vae?: string | undefined
      tinyDecoder?: string | undefined
      originalConfig?: string
    },
  ): NativeJob<NativeInspection>
  configKeys(): NativeConfigKey[]
  convert(
    options: NativeConvertOptions,
    onProgress: ((event: NativeProgress) => void) | null,
  ): NativeJob<NativeConversion>
  load(
    options: NativeLoadOptions,
    onProgress: ((event: NativeProgress) => void) | null,
  ): NativeJob<NativeMixer>
  /** of mixes in this order; of their layouts' pixels and sizes only `sharing.root` counts */
  planSweep(sweep: {
    requests: (Omit<NativeMixRequest, 'sharing'> & { sharing: NativeSharing })[]
    schedule: NativeSchedule
  }): NativePlannedCell[]
  /** `torch.manual_seed(seed); torch.randn(count)` */
  randn(seed: number, count: number): Float32Array
  /** where the steps of a sampler lead; `schedule` as scheduler_config.json has it, with defaults */
  schedule(
    steps: number,
    schedule?: Partial<NativeSchedule> & {
      sampler?: SamplerName
      karras?: boolean
      eta?: number
      gamma?: number
    },
  ): {
    timesteps: Float64Array
    /** of states 0..N-1 */
    alphaBar: Float64Array
    /** behind step i */
    alphaBarNext: Float64Array
    /** how much fresh noise step i adds */
    fresh: Float64Array
    /** state 0 is this times the noise */
    first: number
    /** of state N */
    end: number
  }
}
