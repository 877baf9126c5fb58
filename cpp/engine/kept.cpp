#include "engine/kept.h"

#include <algorithm>

namespace magicmix {

std::shared_ptr<const void> Kept::findAny(const std::string &key) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry &entry) { return entry.key == key; });
    if (found == entries_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found);
    return found->value;
}

void Kept::keepAny(const std::string &key, std::shared_ptr<const void> value, std::size_t bytes) {
    const std::size_t all = bytes + key.size();
    if (all > limit_) return;
    entries_.push_front({key, std::move(value), all});
    bytes_ += all;
    while (bytes_ > limit_) {
        bytes_ -= entries_.back().bytes;
        entries_.pop_back();
    }
}

} // namespace magicmix
