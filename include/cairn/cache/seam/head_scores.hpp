// How much each head of a model needs its far rows: measured once, kept in a small file of text.
#pragma once

#include <algorithm>
#include <charconv>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/core/small_file.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How much each KV head of a model needs its far rows: text of one line a layer, numbers apart by
/// blanks or tabs.
struct HeadScores {
    std::string file;             ///< that it came from; empty: none
    int layers = 0;               ///< lines
    std::vector<float> scores{};  ///< [layers][kv_heads]

    /// Reads a file. Error{io} where it cannot be read, Error{bad_file} where it is no table of
    /// finite numbers.
    [[gnu::cold]] static HeadScores from_word(std::string_view path) {
        HeadScores result;
        result.file = std::string(path);
        constexpr std::size_t most = (std::size_t{1} << 20) - 1;
        const std::vector<std::byte> bytes = read_small_file(result.file, most);
        require(bytes.size() <= most, ErrorCode::bad_file, "scores of heads: ", result.file,
                " is larger than any model's");
        const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        std::size_t columns = 0;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t end = std::min(text.find('\n', at), text.size());
            const std::size_t numbers = result.add_line(text.substr(at, end - at));
            at = end + 1;
            if (numbers == 0) continue;
            if (result.layers++ == 0) columns = numbers;
            require(numbers == columns, ErrorCode::bad_file, "scores of heads: line ",
                    result.layers, " of ", result.file, " has ", numbers, " numbers, the first ",
                    columns);
        }
        require(result.layers > 0, ErrorCode::bad_file, "scores of heads: nothing in ",
                result.file);
        return result;
    }
    const std::string& word() const noexcept { return file; }
    /// The text of such a file.
    [[gnu::cold]] std::string text() const {
        std::string lines;
        for (std::size_t i = 0; i < scores.size(); ++i) {
            char number[32];
            const auto end = std::to_chars(number, number + sizeof number, scores[i]).ptr;
            lines.append(number, end);
            lines +=
                (i + 1) % (scores.size() / static_cast<std::size_t>(layers)) == 0 ? '\n' : '\t';
        }
        return lines;
    }

    /// The `percent` of all heads with the highest scores; ties go to the lower ones.
    std::vector<bool> best(int percent) const {
        std::vector<std::size_t> order(scores.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
        std::vector<bool> full(scores.size());
        const std::size_t count = (scores.size() * static_cast<std::size_t>(percent) + 50) / 100;
        for (std::size_t i = 0; i < std::min(count, order.size()); ++i) full[order[i]] = true;
        return full;
    }

  private:
    std::size_t add_line(std::string_view line) {
        std::size_t numbers = 0;
        const char* at = line.data();
        const char* const end = at + line.size();
        while (true) {
            while (at < end && (*at == ' ' || *at == '\t' || *at == '\r')) ++at;
            if (at == end) return numbers;
            float value = 0.0F;
            const auto [next, error] = std::from_chars(at, end, value);
            require(error == std::errc() && value - value == 0.0F, ErrorCode::bad_file,
                    "scores of heads: \"", std::string(at, std::min(end, at + 20)), "\" in ", file);
            scores.push_back(value);
            ++numbers;
            at = next;
        }
    }
};

}}  // namespace cairn
