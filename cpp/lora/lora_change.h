#pragma once

#include "checkpoint/stored_tensor.h"

#include <memory>
#include <vector>

namespace magicmix {

using TensorPointer = std::shared_ptr<const StoredTensor>;

/// A matrix or kernel as files hold it: whole, or as a product `up down`, or `up mid down`.
struct Factors {
    TensorPointer whole; ///< of the shape itself; without the others
    TensorPointer up;    ///< `[out, rank]`, or `[rank, out]` if `upLiesDown`
    TensorPointer mid;  ///< `[rank, inner, height, width]`, or null (the CP decomposition of LoCon)
    TensorPointer down; ///< `[rank, in]`, `[rank, in, height, width]` or `[rank, in height width]`
    bool upLiesDown = false; ///< as LoHa and LoKr have it beside a `mid`
};

/// What a LoRA adds to a weight W: scale D, where D is made of one matrix or of two. With
/// `lengths` it brings W to lengths (W + scale D) / |W + scale D| (Liu et al. 2024, DoRA).
struct LoraChange {
    enum class Method {
        Sum,      ///< the one matrix: LoRA and LoCon, or a whole change
        Hadamard, ///< the product of two, element by element: LoHa
        Kronecker ///< the Kronecker product of two: LoKr
    };
    Method method = Method::Sum;
    std::vector<Factors> matrices;
    double scale = 1;
    TensorPointer lengths; ///< norms run over the axes in which it has length 1; or null
    bool ofRows = false;   ///< `lengths` are those of rows, whatever their shape (PEFT)

    /// All tensors, for messages.
    std::vector<TensorPointer> tensors() const;
};

/// What a LoRA changes of one module. Either can be changed in several ways.
struct LoraModule {
    std::vector<LoraChange> weight, bias;
};

/// Does a change fit a weight of that shape? Throws `MODEL_UNSUPPORTED` naming the shapes: the
/// LoRA is for another network, of which `note` says more (see made_for.h). After this, what is
/// computed with it takes no more memory than the weight and the file do.
void checkFit(const LoraChange &change, const std::vector<std::int64_t> &shape,
              const std::string &path, const std::string &note);

/// sum += strength (what the change makes of `base` - base), where `base` and `sum` have a shape
/// that was checked. Throws `MODEL_FORMAT` for NaN and infinite values in the file.
void addChange(const LoraChange &change, float strength, const WeightSource::Values &base,
               std::vector<float> &sum);

} // namespace magicmix
