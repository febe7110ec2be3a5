// Proves a cache of your own: does a model answer the same, bit for bit, however the prompt is cut?
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "cairn/models/session.hpp"
#include "cairn/numeric/random.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What `verify_equivalence` found.
struct Equivalence {
    bool exact = true;     ///< every way of feeding gave the same bits
    int first_token = -1;  ///< the first token whose logits differed
    int rounds = 0;        ///< ways of feeding that were compared
};

/// Feeds `tokens` at once, one by one, and in `rounds` random cuts, with truncations and rows that
/// are not accepted in between, each into a fresh session on caches from
/// `make(layer, layout, capacity)`, and compares all logits by their bits. Throws what forward
/// throws.
template <class Model, class Make>
Equivalence verify_equivalence(const Model& model, Tokens tokens, const Make& make, int rounds = 8,
                               std::uint64_t seed = 1) {
    using Cache = std::invoke_result_t<const Make&, int, const HeadLayout&, int>;
    require(!tokens.empty(), ErrorCode::empty_prompt, "verify_equivalence: no tokens");
    const auto count = static_cast<int>(tokens.size());
    const auto vocabulary = static_cast<std::size_t>(model.vocabulary());
    const auto fresh = [&] {
        return Session<Model, Cache>(model, count, Serial::instance(), make);
    };
    const auto commits_part = [&](auto& session) {
        bool good = true;
        for (int layer = 0; layer < model.layers(); ++layer)
            good &= session.cache(layer).commits_part();
        return good;
    };
    std::vector<float> wanted(tokens.size() * vocabulary);
    fresh().score(tokens, wanted.data());

    Equivalence result;
    Random random(seed);
    for (int round = 0; round < rounds && result.exact; ++round) {
        auto session = fresh();
        std::vector<float> got(wanted.size());
        for (int at = 0; at < count;) {
            const int most = round == 0 ? 1 : std::max(1, count / 4);
            int n = std::min(count - at,
                             1 + static_cast<int>(random.below(static_cast<std::uint64_t>(most))));
            const Tokens part =
                tokens.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n));
            float* logits = got.data() + static_cast<std::size_t>(at) * vocabulary;
            if (random.below(3) == 0 && n <= session.max_rows() && commits_part(session)) {
                n = 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(n)));
                session.propose(part, logits).accept(n);
            } else {
                session.score(part, logits);
            }
            at += n;
            if constexpr (Rewindable<Cache>) {
                const int back = at - static_cast<int>(random.below(static_cast<std::uint64_t>(n)));
                if (random.below(3) == 0 && session.can_truncate(back)) {
                    session.truncate(back);
                    at = back;
                }
            }
        }
        ++result.rounds;
        for (int t = 0; t < count && result.exact; ++t) {
            const std::size_t row = static_cast<std::size_t>(t) * vocabulary;
            if (std::memcmp(&wanted[row], &got[row], vocabulary * sizeof(float)) != 0) {
                result.exact = false;
                result.first_token = t;
            }
        }
    }
    return result;
}

}}  // namespace cairn
