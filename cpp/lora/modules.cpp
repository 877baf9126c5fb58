#include "lora/modules.h"

#include "base/error.h"
#include "lora/values.h"

#include <cmath>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace magicmix {
namespace {

using Part = LoraPart;
using Method = LoraChange::Method;

class Assembly {
public:
    Assembly(std::string name, LoraParts parts, const PeftConfig &config, std::string path)
        : name_(std::move(name)), parts_(std::move(parts)), config_(config),
          path_(std::move(path)) {}

    LoraModule module() {
        const TensorPointer alpha = take(Part::Alpha);
        const TensorPointer lengths = take(Part::Lengths), rowLengths = take(Part::RowLengths);
        if (lengths && rowLengths) refuse("has lengths of two kinds (DoRA)");
        LoraModule module;
        addProducts(module);
        for (auto &change : module.weight) {
            change.lengths = lengths ? lengths : rowLengths;
            change.ofRows = rowLengths != nullptr;
            change.scale = scaleOf(change, alpha);
        }
        if (const auto weight = take(Part::Weight)) module.weight.push_back(whole(weight));
        if (const auto bias = take(Part::Bias)) module.bias.push_back(whole(bias));
        if ((lengths || rowLengths) && (module.weight.size() != 1 || !module.weight[0].lengths)) {
            refuse("has lengths (DoRA), which need one change beside them");
        }
        if (!parts_.empty()) {
            refuse("has '" + nameOf(parts_.begin()->first) + "' beside what says the same");
        }
        if (module.weight.empty() && module.bias.empty()) refuse("has nothing but an alpha");
        return module;
    }

private:
    void addProducts(LoraModule &module) {
        if (hasAny({Part::Down, Part::Up, Part::Mid})) {
            module.weight.push_back(
                {Method::Sum, {product(Part::Up, Part::Mid, Part::Down)}, 1, nullptr, false});
        }
        if (hasAny({Part::FirstUp, Part::FirstDown, Part::FirstMid, Part::SecondUp,
                    Part::SecondDown, Part::SecondMid})) {
            Factors first = product(Part::FirstUp, Part::FirstMid, Part::FirstDown);
            Factors second = product(Part::SecondUp, Part::SecondMid, Part::SecondDown);
            first.upLiesDown = first.mid != nullptr;
            second.upLiesDown = second.mid != nullptr;
            module.weight.push_back({Method::Hadamard, {first, second}, 1, nullptr, false});
        }
        if (hasAny({Part::LeftWhole, Part::LeftUp, Part::LeftDown, Part::RightWhole, Part::RightUp,
                    Part::RightDown, Part::RightMid})) {
            Factors left, right;
            left.whole = take(Part::LeftWhole);
            if (!left.whole) left = product(Part::LeftUp, std::nullopt, Part::LeftDown);
            right.whole = take(Part::RightWhole);
            if (!right.whole) right = product(Part::RightUp, Part::RightMid, Part::RightDown);
            right.upLiesDown = right.mid != nullptr;
            module.weight.push_back({Method::Kronecker, {left, right}, 1, nullptr, false});
        }
        if (module.weight.size() > 1) refuse("is changed by two methods at once");
    }

    Factors product(Part up, std::optional<Part> mid, Part down) {
        Factors factors;
        factors.up = need(up);
        factors.down = need(down);
        if (mid) factors.mid = take(*mid);
        return factors;
    }

    static LoraChange whole(const TensorPointer &tensor) {
        Factors factors;
        factors.whole = tensor;
        return {Method::Sum, {factors}, 1, nullptr, false};
    }

    /// alpha / rank as the tensors have it, or as PEFT's configuration says. Where neither does,
    /// alpha is the rank; where nothing is a product, there is none.
    double scaleOf(const LoraChange &change, const TensorPointer &alpha) const {
        std::int64_t rank = 0;
        for (const auto &each : change.matrices) {
            if (each.down) rank = lengthOf(*each.down, 0);
        }
        const double scale =
            alpha ? ofAlpha(numberOf(*alpha), rank)
                  : config_.scaleOf({name_, methodOf(change), rank, change.lengths != nullptr})
                        .value_or(1);
        if (std::abs(scale) < static_cast<double>(std::numeric_limits<float>::max())) return scale;
        refuse("has an alpha that is too large");
    }

    static double ofAlpha(double alpha, std::int64_t rank) {
        return rank > 0 ? alpha / static_cast<double>(rank) : 1;
    }

    /// As PEFT calls it.
    static const char *methodOf(const LoraChange &change) {
        switch (change.method) {
        case Method::Sum: return "LORA";
        case Method::Hadamard: return "LOHA";
        case Method::Kronecker: return "LOKR";
        }
        return "";
    }

    bool hasAny(std::initializer_list<Part> some) const {
        for (const Part part : some) {
            if (parts_.count(part) > 0) return true;
        }
        return false;
    }

    TensorPointer take(Part part) {
        const auto found = parts_.find(part);
        if (found == parts_.end()) return nullptr;
        TensorPointer tensor = found->second;
        parts_.erase(found);
        return tensor;
    }

    TensorPointer need(Part part) {
        if (auto tensor = take(part)) return tensor;
        throw Error("MODEL_FORMAT",
                    "'" + path_ + "' has only one of the two matrices of a product in '" + name_ +
                        "': '" + nameOf(part) + "' is missing",
                    {{"path", path_}, {"module", name_}});
    }

    [[noreturn]] void refuse(const std::string &problem) const {
        throw Error("MODEL_FORMAT", "in '" + path_ + "' the module '" + name_ + "' " + problem,
                    {{"path", path_}, {"module", name_}});
    }

    std::string name_;
    LoraParts parts_;
    const PeftConfig &config_;
    std::string path_;
};

} // namespace

LoraModule moduleOf(const std::string &name, const LoraParts &parts, const PeftConfig &config,
                    const std::string &path) {
    return Assembly(name, parts, config, path).module();
}

} // namespace magicmix
