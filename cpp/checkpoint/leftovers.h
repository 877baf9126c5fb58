#pragma once

#include "checkpoint/input_file.h"

namespace magicmix {

/// Refuses what lies in the place of a model's file when something went wrong on the way: a pointer
/// of Git LFS, a web page, an answer in JSON. Throws `MODEL_FORMAT` and says what to do.
void refuseLeftovers(const InputFile &file);

} // namespace magicmix
