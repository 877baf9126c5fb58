#pragma once

namespace magicmix {

// Where the networks stand in an original Stable Diffusion checkpoint.
constexpr const char *kUnetPrefix = "model.diffusion_model.";
constexpr const char *kVaePrefix = "first_stage_model.";
/// A tiny decoder has none there; this one is ours.
constexpr const char *kTinyDecoderPrefix = "tiny_decoder.";
/// The text encoder as transformers names it: 1.x, and 2.x once it is read.
constexpr const char *kTransformersPrefix = "cond_stage_model.transformer.";
constexpr const char *kTextPrefix = "cond_stage_model.transformer.text_model.";
/// The text encoder as OpenCLIP names it: original files of 2.x.
constexpr const char *kOpenClipPrefix = "cond_stage_model.model.";

} // namespace magicmix
