#pragma once

#include "base/cancellation.h"
#include "checkpoint/stored_tensor.h"

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace magicmix {

/// The change of a LoRA to the weight of one module: (alpha / rank) up down, for a convolution of
/// `mid` as well (Hu et al. 2021; LoCon of the LyCORIS project).
struct LoraModule {
    StoredTensor down;                   ///< `[rank, in]` or `[rank, in, height, width]`
    StoredTensor up;                     ///< `[out, rank]`
    std::shared_ptr<StoredTensor> mid;   ///< `[rank, rank, height, width]`, or null
    std::shared_ptr<StoredTensor> alpha; ///< one number, or null
    std::optional<double> declaredAlpha; ///< as the file's metadata have it
    // Without either, alpha is the rank.
};

/// A file of a LoRA, of any format that is read.
struct LoraFile {
    std::string path;
    std::map<std::string, LoraModule> modules; ///< by the names of `loraModules`

    /// Is there another file at that path by now? One that is gone lives on in who has it open.
    bool isReplaced() const {
        return !modules.empty() && modules.begin()->second.up.file->isReplaced();
    }

    /// Reads the head of the file. Throws `MODEL_NOT_FOUND`, `MODEL_FORMAT`, and
    /// `MODEL_UNSUPPORTED` for what is another kind of file, or another method than LoRA and LoCon.
    static std::shared_ptr<const LoraFile> open(const std::string &path,
                                                const Cancellation &cancel);
};

} // namespace magicmix
