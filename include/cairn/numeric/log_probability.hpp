// What a row of logits says of one token.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>

#include "cairn/core/fp_environment.hpp"
#include "cairn/core/types.hpp"
#include "cairn/numeric/elementary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Apart, so that no compiler computes any of it before or after the environment holds.
[[gnu::noinline]] inline double log_probability_to_nearest(std::span<const float> logits,
                                                           Token token) {
    double most = -std::numeric_limits<double>::infinity();
    for (const float x : logits) most = std::max(most, static_cast<double>(x));
    double sum = 0.0;
    for (const float x : logits) sum += elementary::exp(static_cast<double>(x) - most);
    return static_cast<double>(logits[static_cast<std::size_t>(token)]) - most -
           elementary::log(sum);
}

}  // namespace internal

/// ln of the probability of a token under a row of logits, in double.
inline double log_probability(std::span<const float> logits, Token token) {
    const FpEnvironment environment;
    return internal::log_probability_to_nearest(logits, token);
}

}}  // namespace cairn
