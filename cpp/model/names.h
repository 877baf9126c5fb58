#pragma once

namespace magicmix {

// Where the networks stand in an original Stable Diffusion checkpoint.
constexpr const char *kUnetPrefix = "model.diffusion_model.";
constexpr const char *kVaePrefix = "first_stage_model.";
constexpr const char *kTextPrefix = "cond_stage_model.transformer.text_model.";

} // namespace magicmix
