// What a file lacks for a model, all of it in one error, and what it has beyond.
#pragma once

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/models/tensor_source.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Collects everything that a source lacks, so that one error lists it all, and knows what is read,
/// so that the rest can be listed too. Recipes get one from their table.
class TensorCheck {
  public:
    explicit TensorCheck(const TensorSource& source) : source_(&source) {}

    /// Notes a problem unless the tensor exists with this shape.
    void expect(const std::string& name, const std::vector<std::size_t>& shape) {
        const std::vector<std::size_t>* found = source_->shape(name);
        if (found == nullptr)
            note("tensor " + name + " is missing");
        else if (*found != shape)
            note("tensor " + name + " is " + text(*found) + ", the configuration wants " +
                 text(shape));
        read_.insert(name);
    }
    /// A tensor that is read where there is one.
    void allow(const std::string& name) { read_.insert(name); }
    /// Notes every tensor named `prefix` and a layer's number from `layers` on: without them the
    /// model would be another one. The `predicting` layers behind the last are trained to guess
    /// several tokens at once and not part of the model.
    void expect_layers(const std::string& prefix, int layers, int predicting = 0) {
        for (const std::string& name : source_->names()) {
            const long long layer = number_in(name, prefix);
            if (layer >= static_cast<long long>(layers) + predicting)
                note("tensor " + name + " belongs to layer " + std::to_string(layer) +
                     ", the configuration has " + std::to_string(layers) + " layers");
        }
    }
    /// Error{bad_config} listing what was noted.
    void done() const {
        if (count_ > 0)
            fail(ErrorCode::bad_config, count_, " tensors do not fit: ", problems_,
                 count_ > shown ? "; ..." : "");
    }
    /// The source's tensors that the recipe does not read, sorted.
    std::vector<std::string> unread() const {
        std::vector<std::string> result;
        for (std::string& name : source_->names())
            if (!read_.contains(name)) result.push_back(std::move(name));
        std::sort(result.begin(), result.end());
        return result;
    }

  private:
    static constexpr int shown = 16;
    // The number behind the prefix, or -1; a number of more digits than a layer has is a big one.
    static long long number_in(std::string_view name, std::string_view prefix) {
        if (!name.starts_with(prefix)) return -1;
        long long number = -1;
        for (const char c : name.substr(prefix.size())) {
            if (c < '0' || c > '9') return c == '.' ? number : -1;
            number = std::min(std::max(number, 0LL) * 10 + (c - '0'), 1'000'000'000LL);
        }
        return number;
    }
    void note(const std::string& problem) {
        if (count_++ < shown) problems_ += (problems_.empty() ? "" : "; ") + problem;
    }
    static std::string text(const std::vector<std::size_t>& shape) {
        std::string result = "[";
        for (const std::size_t n : shape)
            result += (result.size() > 1 ? ", " : "") + std::to_string(n);
        return result + "]";
    }
    const TensorSource* source_;
    std::set<std::string, std::less<>> read_;
    std::string problems_;
    int count_ = 0;
};

}}  // namespace cairn
