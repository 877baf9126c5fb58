/**
 * The contract of the native addon, and the one place that loads it. Nothing else in `ts/` touches
 * the untyped module. Everything here is internal: no promise is made about it.
 */
import { readdirSync } from 'node:fs'
import path from 'node:path'

import type { ModelConfig, ModelInfo } from '../models/model.js'
import { loadAddon } from './addon.js'
import { nativeRoot } from '../package-files.js'

/** An operation on the model's own thread. */
export interface NativeJob<T> {
  /**
   * Settles after the operation has unwound. Rejects with a {@link NativeError}; a cancelled
   * operation rejects with code `CANCELLED`, one stopped by `dispose` with code `DISPOSED`.
   */
  readonly done: Promise<T>
  /** Asks the operation to stop, inside a step; safe at any time, any number of times. */
  cancel(): void
}

/** What the addon throws and rejects with. */
export interface NativeError extends Error {
  code: string
  details: Record<string, string | number>
}

export interface NativeDevice {
  id: string
  description: string
  backend: string
  kind: 'cpu' | 'discrete' | 'integrated' | 'software'
  /** bytes, 0 if unknown */
  totalMemory: number
  freeMemory: number
}

export interface NativeLora {
  file: string
  strength: number
}

export interface NativeLoadOptions {
  model: string
  embeddings: Readonly<Record<string, string>>
  device: string
  keepOnCpu: ('textEncoder' | 'vae')[]
  precision: string
  /** 0: as many as there are cores */
  threads: number
  config: ModelConfig
  loras: NativeLora[]
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
  format: string
  family: string
  fileBytes: number
  tensors: NativeTensorInfo[]
  ignored: string[]
  /** null if something that mixing needs is missing; `problem` says what */
  model: ModelInfo | null
  problem: string
  /** memory of a mix of the model's native size, beside the weights; 0 without a model */
  workingBytes: number
}

export interface NativeConvertOptions {
  input: string
  output: string
  type: string
  overwrite: boolean
  config: ModelConfig
}

export interface NativeConversion {
  path: string
  bytes: number
  /** how many were written in each type */
  tensors: Record<string, number>
}

export interface NativeTokenScale {
  /** 0 is BOS */
  position: number
  scale: number
  /** fractions of T, `from` <= `to` */
  from: number
  to: number
}

export interface NativeMixRequest {
  /** RGB `[height, width, 3]`, or 77 ids */
  layout: { pixels: Uint8Array } | { tokens: Int32Array }
  /** 77 ids each */
  content: Int32Array
  negativePrompt: Int32Array
  /** weight 0: the content alone, 1: the other alone */
  interpolate: { tokens: Int32Array; weight: number } | null
  attention: NativeTokenScale[]
  /** null: those that were loaded */
  loras: NativeLora[] | null
  width: number
  height: number
  kMin: number
  kMax: number
  nu: number
  guidanceScale: number
  eta: number
  steps: number
  /** a safe integer, >= 0 */
  seed: number
  /** 0: none */
  previewEvery: number
  trace: boolean
  sampler: string
}

export interface NativePicture {
  width: number
  height: number
  data: Uint8Array
}

export interface NativeProgress {
  stage: 'load' | 'convert' | 'encode' | 'layout' | 'content' | 'decode'
  step: number
  steps: number
  timestep: number
  etaMs: number
  preview?: NativePicture
}

export interface NativeState {
  index: number
  timestep: number
  latent: Float32Array
}

export interface NativeMixResult {
  width: number
  height: number
  data: Uint8Array
  trace: NativeState[]
  layoutTrace: NativeState[]
  timings: { encode: number; steps: number[]; decode: number; total: number }
}

export interface NativeStageValues {
  name: string
  shape: number[]
  values: Float32Array
}

/** A loaded model with its own thread; jobs run one after the other, first come, first served. */
export interface NativeMixer {
  readonly info: ModelInfo
  mix(
    request: NativeMixRequest,
    onProgress: ((event: NativeProgress) => void) | null,
  ): NativeJob<NativeMixResult>
  /** `[77, textWidth]` */
  encodeText(tokens: Int32Array): NativeJob<Float32Array>
  predictNoise(input: {
    latent: Float32Array
    latentWidth: number
    latentHeight: number
    timestep: number
    textStates: Float32Array
    attention: NativeTokenScale[]
    stages: boolean
  }): NativeJob<{ epsilon: Float32Array; stages: NativeStageValues[] }>
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
    stages: boolean
  }): NativeJob<{ rgb: Float32Array; stages: NativeStageValues[] }>
  /**
   * Cancels what runs and what waits (each rejects with `DISPOSED`), then frees the model off the
   * main thread. Resolves when its memory is free. Any later call rejects with `DISPOSED`;
   * calling `dispose` again returns a promise of the same end.
   */
  dispose(): Promise<void>
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
  inspect(path: string, config: ModelConfig): NativeJob<NativeInspection>
  convert(
    options: NativeConvertOptions,
    onProgress: ((event: NativeProgress) => void) | null,
  ): NativeJob<NativeConversion>
  load(
    options: NativeLoadOptions,
    onProgress: ((event: NativeProgress) => void) | null,
  ): NativeJob<NativeMixer>
  /** `torch.manual_seed(seed); torch.randn(count)` */
  randn(seed: number, count: number): Float32Array
  /** where the steps of DDIM lead; `schedule` as scheduler_config.json has it, with defaults */
  schedule(
    steps: number,
    schedule?: {
      betas?: 'linear' | 'scaled_linear'
      spacing?: 'leading' | 'trailing' | 'linspace'
      stepsOffset?: number
      /** the last step ends at a cumulative alpha of 1, not at that of timestep 0 */
      endsClean?: boolean
      zeroTerminalSnr?: boolean
    },
  ): {
    timesteps: Int32Array
    alphaBar: Float64Array
    alphaBarNext: Float64Array
  }
}

const addon = loadAddon(nativeRoot)

/** Where the addon lies. */
export const addonFile = addon.file

/** The libraries of its backends lie beside it: those of `magicmix.node` in `magicmix.backends`. */
export const backendsFolder = addonFile.replace(/\.node$/, '.backends')

export const native = addon.exports as NativeBinding

/** Why only the slowest of the CPU's operations are used; empty if that is not so. */
export const cpuProblem = chooseCpu()

/** Loads what suits this CPU best. Without it, everything works, some of it slower. */
function chooseCpu(): string {
  try {
    const files = readdirSync(backendsFolder).filter((name) =>
      /^magicmix-cpu-.*\.(so|dll)$/.test(name),
    )
    native.chooseCpu(files.map((name) => path.join(backendsFolder, name)))
    return ''
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? `there is no folder ${backendsFolder}` : message
  }
}
