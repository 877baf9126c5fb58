#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>

namespace magicmix {

/// What was computed for one mix and may serve the next: values by the bytes of what they were made
/// from. Those that were not used for longest go when all together take more than the limit.
class Kept {
public:
    explicit Kept(std::size_t limit) : limit_(limit) {}

    /// Null if there is none. A key is asked for with one type only.
    template <typename Value>
    std::shared_ptr<const Value> find(const std::string &key) {
        return std::static_pointer_cast<const Value>(findAny(key));
    }

    /// `bytes` of the value; the key's are added.
    template <typename Value>
    void keep(const std::string &key, std::shared_ptr<const Value> value, std::size_t bytes) {
        keepAny(key, std::move(value), bytes);
    }

    std::size_t bytes() const { return bytes_; }

private:
    struct Entry {
        std::string key;
        std::shared_ptr<const void> value;
        std::size_t bytes = 0;
    };
    std::shared_ptr<const void> findAny(const std::string &key);
    void keepAny(const std::string &key, std::shared_ptr<const void> value, std::size_t bytes);

    std::size_t limit_, bytes_ = 0;
    std::list<Entry> entries_; ///< the last used first; there are few
};

/// What earlier mixes leave for those that come. What is large and quickly made again does not push
/// out the rest.
struct EarlierWork {
    /// `withContexts`: half of the limit is for keys and values. Where text encoders are given back
    /// it is better spent on what they say, a hundredth of the size and twenty times as slow to
    /// make.
    EarlierWork(std::size_t limit, bool withContexts)
        : contexts(withContexts ? limit / 2 : 0),
          encoded(withContexts ? limit - limit / 2 : limit) {}

    Kept contexts; ///< keys and values of prompts
    Kept encoded;  ///< states of texts, latents of pictures
};

} // namespace magicmix
