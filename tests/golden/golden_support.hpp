// Logits held against rows that a reference wrote: {"rows": [...], "logits": [[...], ...]}.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <cairn/io/json.hpp>

#include "support.hpp"

namespace support {

/// One golden row: its largest number, and the largest difference from it.
struct GoldenRow {
    std::size_t row = 0;
    float largest = 0.0F;
    float worst = 0.0F;
};
/// All of an item against logits [tokens][vocabulary].
inline std::vector<GoldenRow> golden_rows(const Json& item, std::span<const float> logits,
                                          std::size_t vocabulary) {
    std::vector<GoldenRow> result;
    for (std::size_t i = 0; i < item["rows"].size(); ++i) {
        const auto wanted = item["logits"][i].get<std::vector<float>>();
        GoldenRow golden{item["rows"][i].get<std::size_t>()};
        REQUIRE(wanted.size() == vocabulary);
        for (std::size_t v = 0; v < vocabulary; ++v) {
            golden.largest = std::max(golden.largest, std::abs(wanted[v]));
            golden.worst =
                std::max(golden.worst, std::abs(wanted[v] - logits[golden.row * vocabulary + v]));
        }
        result.push_back(golden);
    }
    return result;
}
/// Within 1e-4 of the largest, row by row.
inline void check_golden(const Json& item, std::span<const float> logits, std::size_t vocabulary) {
    for (const GoldenRow& golden : golden_rows(item, logits, vocabulary)) {
        INFO("row " << golden.row << ": off by " << golden.worst << " of " << golden.largest);
        CHECK(golden.worst < 1e-4F * golden.largest);
    }
}

}  // namespace support
