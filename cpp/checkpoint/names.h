#pragma once

#include <map>
#include <string>
#include <vector>

namespace magicmix {

/// The names of a network's modules in diffusers' files and in original checkpoints of Stable
/// Diffusion: one table, read in both directions. Names of tensors are mapped as well; the part
/// behind a module's name stays.
class ModuleNames {
public:
    /// Of two diffusers names for one module, `diffusers` gives the first that was added.
    void add(const std::string &diffusers, const std::string &original);

    /// Empty if there is no such module.
    std::string original(const std::string &diffusersName) const;
    std::string diffusers(const std::string &originalName) const;

private:
    std::map<std::string, std::string> toOriginal_, toDiffusers_;
};

/// The part of a UNet's shape that its names depend on.
struct UnetOutline {
    int layers = 0; ///< ResBlocks per level on the way down; one more on the way up
    std::vector<bool> attentionOnWayUp; ///< by block of the way up, from coarse to fine
};

ModuleNames unetNames(const UnetOutline &outline);
/// With the names of attention in old repositories (`query`, `proj_attn`).
ModuleNames vaeNames(int levels);
/// An original name of the autoencoder in which some tools left diffusers' names of attention.
std::string vaeOriginalName(const std::string &name);

} // namespace magicmix
