// The router of DeepSeek V3 (arXiv 2412.19437): experts are scored one by one, and a bias that
// training keeps them busy with counts for the choice only.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "cairn/layers/experts.hpp"
#include "cairn/numeric/elementary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The experts of largest sigmoid plus bias; their weights are the sigmoids alone. With groups,
/// only experts of the groups whose two best add up to most come into question.
struct SigmoidRouter {
    SoftmaxRouter numbers{};    ///< how many, groups, scale, and what weights are
    std::vector<float> bias{};  ///< of each expert; none: empty

    int chosen() const noexcept { return numbers.experts_used; }
    void check(int experts) const {
        numbers.check(experts);
        require(bias.empty() || std::ssize(bias) == experts, ErrorCode::invalid_argument,
                "experts: ", bias.size(), " biases for ", experts);
        internal::require_finite(bias, "experts: bias");
        // Two of them add up to a finite number.
        for (const float b : bias)
            require(std::abs(b) < 1e30F, ErrorCode::invalid_argument, "experts: a bias of ", b,
                    "; below 1e30 is needed");
    }
    void route(float* s, int experts, Chosen* to) const {
        for (int e = 0; e < experts; ++e)
            s[e] = static_cast<float>(1.0 / (1.0 + elementary::exp(-double{s[e]})));
        if (numbers.groups > numbers.groups_used) keep_groups(s, experts / numbers.groups);
        float all = 0.0F;
        Chosen* next = to;
        take_largest(
            experts, numbers.experts_used, [&](int e) { return choice(s, e); },
            [&](int e) {
                *next++ = {e, s[e]};
                all += s[e];
                s[e] = out_of_choice;
            });
        const bool shares = numbers.weights == SoftmaxRouter::Weights::shares;
        const float times = shares ? numbers.scale / (all + 1e-20F) : numbers.scale;
        for (Chosen* c = to; c != next; ++c) c->weight *= times;
    }
    void hash(Fingerprint& to) const {
        numbers.hash(to);
        to.add("sigmoid");
        to.add(bias.data(), bias.size() * sizeof(float));
    }

  private:
    float choice(const float* s, int e) const {
        return bias.empty() ? s[e] : s[e] + bias[static_cast<std::size_t>(e)];
    }
    // Takes out the experts of all other groups.
    void keep_groups(float* s, int size) const {
        float best[SoftmaxRouter::most_groups];
        bool kept[SoftmaxRouter::most_groups] = {};
        for (int g = 0; g < numbers.groups; ++g) {
            float first = out_of_choice;
            float second = out_of_choice;
            for (int e = g * size; e < (g + 1) * size; ++e) {
                const float c = choice(s, e);
                second = std::max(second, std::min(first, c));
                first = std::max(first, c);
            }
            best[g] = size > 1 ? first + second : first;
        }
        take_largest(
            numbers.groups, numbers.groups_used, [&](int g) { return best[g]; },
            [&](int g) {
                kept[g] = true;
                best[g] = out_of_choice;
            });
        for (int g = 0; g < numbers.groups; ++g)
            if (!kept[g]) std::fill_n(s + g * size, size, out_of_choice);
    }
};

}}  // namespace cairn
