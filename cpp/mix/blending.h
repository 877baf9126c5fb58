#pragma once

#include "diffusion/random.h"

#include <cstdint>
#include <string>
#include <vector>

/// Mixing two meanings where the prompts are, for an honest look beside MagicMix. One run of the
/// sampler from pure noise, N steps, whose prompt is made of two:
///
///     A, B   the prompts of layout and content; c_A, c_B their text states [77, width]
///
///     interpolate   c = (1 - w) c_A + w c_B
///     switch        c = c_A for i < N - floor(f N), then c_B
///     alternate     c = c_A where i mod n = 0, else c_B; n >= 2
///     split         input_blocks attend to c_A, middle_block and output_blocks to c_B
///     swap          column k of c is that of c_B for the chosen k, else that of c_A
///
/// Where a prompt is not looked at, nothing changes: the unconditional half of guidance has the
/// negative prompt everywhere. At 1 (w, f, the share of columns) only B is left, at 0 only A.
///
/// The first four are TEXTUAL, SWITCH, ALTERNATE and UNET of Olearo, Longari, Melzi, Raganato and
/// Penaloza 2024 (arXiv 2407.14280; with user studies 2025, arXiv 2506.23630: none of them wins
/// everywhere). `swap` is the exchange of columns of Li, Zhang and Yang 2023 (arXiv 2310.01819,
/// E_f = E_1 diag(f) + E_2 diag(1 - f)) without their choice among many pictures by CLIP.
namespace magicmix {

struct Method {
    std::string name = "magicmix"; ///< or one of those above
    double share = 0.5;            ///< of B: w, f, or the share of columns
    int every = 2;                 ///< n of alternate
    std::uint64_t draw = 0;        ///< of swap: the seed of the choice of columns

    bool isMagicMix() const { return name == "magicmix"; }
};

/// "magicmix" and the methods above.
const std::vector<std::string> &methodNames();

/// What the prompt of a step is: one of the two, or made of both.
enum class Blend { Layout, Content, Interpolated, Split, Swapped };

/// Of step i of N; of MagicMix's content run it is the content.
Blend blendAt(const Method &method, int i, int steps);

/// Of `width` columns the share that comes from B: those with the smallest of as many normal
/// numbers, so that a larger share has all of a smaller one. In PyTorch:
/// `torch.randn(width).argsort(stable=True)[:floor(share * width + 0.5)]`.
std::vector<bool> chosenColumns(std::size_t width, double share, Generator &generator);

/// Rows `[., chosen.size()]` of `a` with the chosen columns of `b`.
std::vector<float> withColumns(std::vector<float> a, const std::vector<float> &b,
                               const std::vector<bool> &chosen);

} // namespace magicmix
