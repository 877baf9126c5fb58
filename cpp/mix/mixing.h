#pragma once

#include "base/latent.h"

#include <vector>

namespace magicmix {

/// The index of the state at fraction k of the schedule: N - floor(k N).
int indexAt(double k, int steps);

/// A number in [0, 1] for every cell of a latent; empty: 1 for all.
using CellMap = std::vector<float>;

/// How much of a state is the content's, and how much the layout's (paper, section 3.2, in which nu
/// is one number).
///
///     N      number of the sampler's steps; state i is the latent at t_i, state N is clean
///     kMax   fraction of the schedule, from its clean end, at which the layout enters
///     kMin   fraction below which the content is left alone
///     iMax   N - floor(kMax N), iMin = N - floor(kMin N)
///     nu_i   weight of the content in state i between the two
///
/// Two maps say more of a cell c. m_c scales nu_i there. k_c scales kMax: the cell stays the
/// layout's down to its own iMax_c = N - floor(k_c kMax N), and from there on it is like the others
/// (differential diffusion, Levin and Fried 2023, arXiv 2306.00950). A cell of k_c = 0 is the
/// layout's to the end.
class Mixing {
public:
    struct Options {
        double kMin = 0, kMax = 1;
        int steps = 1;
        std::vector<double> nu; ///< of states iMax + 1 .. iMin - 1, one each
        CellMap nuMap, kMaxMap;
    };
    explicit Mixing(const Options &options);

    int iMax, iMin;
    /// How many states are mixed.
    static int mixedStates(double kMin, double kMax, int steps);

    /// The last state that the layout may go into, whatever is in the maps.
    int lastMixed() const;
    /// The last layout state that may be used.
    int lastLayout() const { return iMax > lastMixed() ? iMax : lastMixed(); }

    /// Whether the layout goes into state i, which is what a step gave.
    bool mixesAt(int i) const { return i > iMax && (i < iMin || i <= lastHeld_); }
    /// nu_i; 1 where all that is left of the layout is in cells that it holds.
    double nuAt(int i) const;
    /// nu x + (1 - nu) layout for state i, cell by cell.
    Latent mixed(int i, const Latent &layout, const Latent &x) const;

private:
    int steps_;
    std::vector<double> nu_;
    CellMap nuMap_;
    std::vector<int> held_; // iMax_c of every cell; empty: no cell is held
    int lastHeld_ = 0;
    bool mayHold_;
};

} // namespace magicmix
