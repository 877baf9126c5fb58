#pragma once

namespace magicmix {

// Where the networks stand in an original Stable Diffusion checkpoint.
constexpr const char *kUnetPrefix = "model.diffusion_model.";
constexpr const char *kVaePrefix = "first_stage_model.";
/// A tiny decoder has none there; this one is ours.
constexpr const char *kTinyDecoderPrefix = "tiny_decoder.";

// The text encoders, as transformers names their tensors: behind these are "text_model." and, where
// there is one, "text_projection.".
/// Of 1.x, and of 2.x once it is read.
constexpr const char *kTransformersPrefix = "cond_stage_model.transformer.";
/// Of XL, the second once it is read.
constexpr const char *kXlFirstPrefix = "conditioner.embedders.0.transformer.";
constexpr const char *kXlSecondPrefix = "conditioner.embedders.1.transformer.";

// The same as OpenCLIP names them: original files of 2.x, and of XL for its second one.
constexpr const char *kOpenClipPrefix = "cond_stage_model.model.";
constexpr const char *kXlOpenClipPrefix = "conditioner.embedders.1.model.";

} // namespace magicmix
