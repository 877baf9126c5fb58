/**
 * MagicMix in Node: mixes the meaning of a prompt into the layout of a picture, with Stable
 * Diffusion, after Liew et al. 2022 (arXiv 2210.16056). Begin at {@link MagicMix.load}.
 *
 * @packageDocumentation
 */
export type { AttentionScale, FilledAttentionScale } from './input/attention.js'
export { type Conversion, type ConvertOptions, type StoredType, convert } from './models/convert.js'
export { type Device, type DeviceKind, type DevicesOptions, devices } from './devices/devices.js'
export { MagicMixError, type MagicMixErrorCode, type MagicMixErrorDetails } from './errors.js'
export { type PullOptions, type PulledModel, pull } from './hub/pull.js'
export type { FilledLora, Lora } from './input/lora.js'
export { Mix, type MixState, type MixTimings, type PictureFormat } from './mix.js'
export { MagicMix } from './mixer.js'
export type {
  LoadOptions,
  ModelConfig,
  ModelInfo,
  ModelPart,
  Precision,
  Prediction,
} from './models/model.js'
export type { Fit, LayoutPicture, Picture, RawPixels } from './input/picture.js'
export type {
  ConvertProgressEvent,
  DownloadProgressEvent,
  LoadProgressEvent,
  ProgressEvent,
  WeightsProgressEvent,
} from './progress.js'
export type {
  FilledMixRequest,
  Interpolation,
  LayoutPrompt,
  MixRequest,
} from './request/request.js'
export type { Token } from './input/tokens.js'
