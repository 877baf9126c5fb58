#pragma once

#include "base/error.h"

#include <ggml-cpp.h>

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace magicmix {

/// A context of ggml for descriptions of tensors, in memory that we bring: ggml would assert if it
/// got none.
class Context {
public:
    /// For so many tensors, and as many bytes for other things.
    explicit Context(std::size_t tensors, std::size_t others = 0)
        : memory_(std::malloc(size(tensors, others)), std::free) {
        if (memory_) context_.reset(ggml_init({size(tensors, others), memory_.get(), true}));
        if (!context_) throw Error("OUT_OF_MEMORY", "no memory for the description of a graph");
    }

    ggml_context *get() const { return context_.get(); }
    /// Has it room for so many more tensors?
    bool hasRoomFor(std::size_t tensors) const {
        const std::size_t left = ggml_get_mem_size(get()) - ggml_used_mem(get());
        return left >= tensors * (ggml_tensor_overhead() + GGML_MEM_ALIGN);
    }

private:
    static std::size_t size(std::size_t tensors, std::size_t others) {
        return tensors * (ggml_tensor_overhead() + GGML_MEM_ALIGN) + others;
    }

    std::unique_ptr<void, decltype(&std::free)> memory_; // outlives the context
    ggml_context_ptr context_;
};

} // namespace magicmix
