// The form of a cache outside memory: numbers with their limits, words, and bytes. One description
// serves writing and reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Where numbers and bytes go to, or come from.
class CacheArchive {
  public:
    virtual ~CacheArchive() = default;
    virtual bool loading() const noexcept = 0;
    /// Writes `value`, or reads it and refuses what is not in [least, most] (Error{bad_file}).
    virtual void number(std::string_view what, std::int64_t& value, std::int64_t least,
                        std::int64_t most) = 0;
    virtual void bytes(void* data, std::size_t size) = 0;

    void number(std::string_view what, int& value, int least, int most) {
        std::int64_t wide = value;
        number(what, wide, least, most);
        value = static_cast<int>(wide);
    }
    /// A word that must be the same on both sides. Error{model_mismatch} names both.
    [[gnu::cold]] void label(std::string_view what, const std::string& mine) {
        int size = static_cast<int>(mine.size());
        number(what, size, 0, 200);
        std::string word = mine;
        word.resize(static_cast<std::size_t>(size));
        bytes(word.data(), word.size());
        for (char& c : word) c = c >= ' ' && c <= '~' ? c : '?';
        require(word == mine, ErrorCode::model_mismatch, "the stored cache has ", what, " ", word,
                ", this one ", mine);
    }
};

}}  // namespace cairn
