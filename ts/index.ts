/**
 * MagicMix in Node: mixes the meaning of a prompt into the layout of a picture, with Stable
 * Diffusion, after Liew et al. 2022 (arXiv 2210.16056). Begin at {@link MagicMix.load}.
 *
 * @packageDocumentation
 */
export type { AttentionScale, FilledAttentionScale } from './attention.js'
export { type Conversion, type ConvertOptions, type StoredType, convert } from './convert.js'
export { type Device, type DeviceKind, type DevicesOptions, devices } from './devices/devices.js'
export { MagicMixError, type MagicMixErrorCode, type MagicMixErrorDetails } from './errors.js'
export { type PullOptions, type PulledModel, pull } from './hub/pull.js'
export type { FilledLora, Lora } from './lora.js'
export { Mix, type MixState, type MixTimings, type PictureFormat } from './mix.js'
export { MagicMix } from './mixer.js'
export type {
  LoadOptions,
  ModelConfig,
  ModelInfo,
  ModelPart,
  Precision,
  Prediction,
} from './model.js'
export type { Fit, LayoutPicture, Picture, RawPixels } from './picture.js'
export type {
  ConvertProgressEvent,
  DownloadProgressEvent,
  LoadProgressEvent,
  ProgressEvent,
  WeightsProgressEvent,
} from './progress.js'
export type { FilledMixRequest, Interpolation, LayoutPrompt, MixRequest } from './request.js'
export type { Token } from './tokens.js'
