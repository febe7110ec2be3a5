// Cuts a stream of text exactly at the first stop string, even when it spans several pieces.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Feed it the text piece by piece; it lets through what cannot be the start of a stop string.
class StopStrings {
  public:
    /// Throws Error{invalid_argument} for an empty stop string.
    explicit StopStrings(std::vector<std::string> stops = {}) : stops_(std::move(stops)) {
        for (const std::string& stop : stops_)
            require(!stop.empty(), ErrorCode::invalid_argument, "a stop string is empty");
    }

    /// Text that is safe to show now. After a stop string was found it is always empty.
    std::string feed(std::string_view piece) {
        if (stopped_) return {};
        held_ += piece;
        std::size_t found = std::string::npos;
        for (const std::string& stop : stops_) found = std::min(found, held_.find(stop));
        if (found != std::string::npos) {
            stopped_ = true;
            std::string result = held_.substr(0, found);
            held_.clear();
            return result;
        }
        std::size_t keep = 0;  // the longest tail that some stop string starts with
        for (const std::string& stop : stops_)
            for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
                if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) keep = n;
        std::string result = held_.substr(0, held_.size() - keep);
        held_.erase(0, held_.size() - keep);
        return result;
    }
    /// What was held back, when the text ends without a stop string.
    std::string finish() { return std::exchange(held_, {}); }
    bool stopped() const noexcept { return stopped_; }

  private:
    std::vector<std::string> stops_;
    std::string held_;
    bool stopped_ = false;
};

}}  // namespace cairn
