/**
 * MagicMix in Node: mixes the meaning of a prompt into the layout of a picture, with Stable
 * Diffusion, after Liew et al. 2022 (arXiv 2210.16056). Begin at {@link MagicMix.load}.
 *
 * Every name has an example that can be copied. Where it does not make them itself, `mixer` is a loaded model and `request`
 * is `{ layout: 'heart.png', content: 'a photo of a tiger' }`.
 *
 * @module magicmix
 * @packageDocumentation
 */
export { type Conversion, convert } from './convert.js'
export { type Device, type DeviceKind, type DevicesOptions, devices } from './devices/devices.js'
export {
  MagicMixError,
  type MagicMixErrorCode,
  type MagicMixErrorDetails,
  type MagicMixErrorJson,
} from './errors.js'
export { type PullOptions, type PulledModel, pull } from './hub/pull.js'
export type { ModelKind } from './hub/selection.js'
export type { AttentionScale, FilledAttentionScale } from './input/attention.js'
export type { FilledPicture, JsonPixels, LayoutPrompt, WeightedPicture } from './input/layout.js'
export type { FilledLora, Lora } from './input/lora.js'
export type {
  ByteStream,
  BytesHolder,
  DeferredPicture,
  EncodedPicture,
  Fit,
  KeptPicture,
  LayoutPicture,
  RawPixels,
} from './input/picture-forms.js'
export type { PictureSource } from './input/picture.js'
export type { Token } from './input/tokens.js'
export {
  type BufferOptions,
  type Bytes,
  type FileBytes,
  Mix,
  type MixState,
  type MixTimings,
  type PictureFormat,
  type UnetCalls,
} from './mix.js'
export type { MixerStats, Queue, Times } from './mix-queue.js'
export { MagicMix, type MixPlan } from './mixer.js'
export type { ConvertOptions, StoredType } from './models/convert-options.js'
export type {
  LoadOptions,
  ModelConfig,
  ModelPart,
  Precision,
  Prediction,
  TextEncoderConfig,
  UnetConfig,
  VaeConfig,
} from './models/load-options.js'
export type {
  ModelFamily,
  ModelFormat,
  ModelInfo,
  Placeholder,
  TextEncoderSizes,
} from './models/model-info.js'
export type {
  ConvertProgressEvent,
  DownloadProgressEvent,
  LoadProgressEvent,
  ModelLicense,
  ProgressEvent,
  ProgressListener,
  SweepProgressEvent,
  TensorsProgressEvent,
  WeightsProgressEvent,
} from './progress.js'
export type { Picture } from './pixels.js'
export type { BestOptions, MixScore } from './request/score.js'
export { Sweep, type SweepCell, type SweepPlan } from './sweep.js'
export type { SweepSheet } from './sweep-sheet.js'
export {
  type SweepAxis,
  type SweepOption,
  type SweepPoint,
  type SweepRange,
  type SweepRequest,
  type Vary,
  sweepSchema,
} from './sweep/axes.js'
export type { CompareOptions, CompareRequest } from './sweep/comparison.js'
export {
  type Decoder,
  type Fast,
  type FilledMixRequest,
  type Interpolation,
  type MixRequest,
  type PromptSyntax,
  type SamplerName,
  type Spacing,
  type UnetCache,
  requestSchema,
} from './request/mix-options.js'
export type {
  ConditionedCorner,
  ConditionedSize,
  SizeConditioning,
} from './request/conditioning.js'
export type { FilledMethod, Method, MethodName } from './request/method.js'
export type { JsonSchema } from './options/option.js'
export type { PictureRecipe, RecipeFile, RecipeMade, RecipeModel } from './recipe/picture-recipe.js'
export { type PictureFile, readRecipe } from './recipe/read.js'
export { rewritePicture } from './recipe/rewrite.js'
export { type JsonPicture, type Recipe, recipe } from './request/recipe.js'
export type { FilledContent, WeightedContent } from './request/contents.js'
export type { FilledNu, NuCurve, NuSchedule } from './request/nu.js'
