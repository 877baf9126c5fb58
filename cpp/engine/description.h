#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace magicmix {

/// Some values one behind the other, each with its length: equal where all of them are.
class Description {
public:
    template <typename T>
    Description &add(const std::vector<T> &values) {
        const std::size_t bytes = values.size() * sizeof(T);
        text_.append(reinterpret_cast<const char *>(&bytes), sizeof bytes);
        text_.append(reinterpret_cast<const char *>(values.data()), bytes);
        return *this;
    }
    Description &add(const std::string &text) {
        return add(std::vector<char>(text.begin(), text.end()));
    }
    Description &add(double value) { return add(std::vector<double>{value}); }
    const std::string &text() const { return text_; }

private:
    std::string text_;
};

} // namespace magicmix
