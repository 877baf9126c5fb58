/**
 * The contract of the native addon, and the one place that loads it. Nothing else in `ts/` touches
 * the untyped module. Everything here is internal: no promise is made about it.
 */
import path from 'node:path'

import load = require('node-gyp-build')

import { MagicMixError } from './errors.js'

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
  available: boolean
  /** empty if available */
  reason: string
  /** bytes, 0 if unknown */
  totalMemory: number
  freeMemory: number
}

export interface NativeConfig {
  unetHeads?: number
  unetHeadWidth?: number
  unetPrediction?: string
  unetNormGroups?: number
  textEncoderHeads?: number
  vaeNormGroups?: number
  vaeScalingFactor?: number
}

/** A file of textual inversion, and what stands for it in prompts. */
export interface NativeEmbedding {
  placeholder: string
  file: string
}

/** `count` ids from `firstId` on. */
export interface NativeLearntToken {
  placeholder: string
  firstId: number
  count: number
}

export interface NativeLora {
  file: string
  strength: number
}

export interface NativeLoadOptions {
  model: string
  embeddings: NativeEmbedding[]
  device: string
  precision: string
  /** 0: as many as there are cores */
  threads: number
  config: NativeConfig
  loras: NativeLora[]
}

export interface NativeModelInfo {
  path: string
  format: string
  family: string
  /** '' in an inspection where only running the UNet could tell */
  prediction: string
  device: string
  precision: string
  threads: number
  textEncoderParameters: number
  unetParameters: number
  vaeParameters: number
  weightBytes: number
  textWidth: number
  textLayers: number
  textHeads: number
  /** ids of learnt tokens included */
  vocabulary: number
  learnt: NativeLearntToken[]
  unetChannels: number[]
  /** by level */
  unetHeads: number[]
  unetLayersPerLevel: number
  contextWidth: number
  unetNormGroups: number
  vaeChannels: number[]
  vaeNormGroups: number
  vaeScalingFactor: number
  /** pixels */
  nativeSize: number
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
  model: NativeModelInfo | null
  problem: string
  /** memory of a mix of the model's native size, beside the weights; 0 without a model */
  workingBytes: number
}

export interface NativeConvertOptions {
  input: string
  output: string
  type: string
  overwrite: boolean
  config: NativeConfig
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
  /** RGB `[height, width, 3]`, or null with `layoutTokens` */
  layoutPixels: Uint8Array | null
  /** 77 ids, or null with `layoutPixels` */
  layoutTokens: Int32Array | null
  contentTokens: Int32Array
  negativeTokens: Int32Array
  /** interpolated with the content's states, or null */
  otherTokens: Int32Array | null
  /** 0: the content alone, 1: the other alone */
  otherWeight: number
  scales: NativeTokenScale[]
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
  readonly info: NativeModelInfo
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
    scales: NativeTokenScale[]
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
  devices(): NativeDevice[]
  inspect(path: string, config: NativeConfig): NativeJob<NativeInspection>
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
  schedule(steps: number): {
    timesteps: Int32Array
    alphaBar: Float64Array
    alphaBarNext: Float64Array
  }
}

/** The package's root folder, seen from `dist/` and from `ts/` alike. */
export const packageRoot = path.join(__dirname, '..')

export const native = loadAddon()

function loadAddon(): NativeBinding {
  try {
    return load(packageRoot) as NativeBinding
  } catch (error) {
    throw new MagicMixError(
      'ADDON_UNAVAILABLE',
      `The native part of magicmix cannot be loaded on ${process.platform}-${process.arch} with ` +
        `Node ${process.versions.node}: ${(error as Error).message.trim()}\n` +
        'In a checkout, "npm run build" builds it.',
      { platform: process.platform, arch: process.arch, node: process.versions.node },
      { cause: error },
    )
  }
}
