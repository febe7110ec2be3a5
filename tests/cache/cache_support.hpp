// What several tests of cache/ share.
#pragma once

#include "support.hpp"

namespace support {

inline constexpr HeadLayout uneven_heads{4, 2, 20, 12};

struct Step {
    RowMatrix k, v;
    Step(Random& random, int rows)
        : k(random_matrix(random, rows, 40)), v(random_matrix(random, rows, 24)) {}
};

template <class C>
void append(C& cache, const Step& step) {
    cache.stage(token_rows(step.k), token_rows(step.v));
    cache.commit(static_cast<int>(step.k.rows()));
}

// All committed rows, decoded: what attention would see.
template <class C>
std::vector<float> decoded_rows(const C& cache) {
    std::vector<float> result;
    for (int h = 0; h < uneven_heads.kv_heads; ++h) {
        RunList keys, values;
        cache.runs(h, keys, values);
        for (const auto* list : {&keys, &values})
            for (const Run& run : *list) {
                const int dims = list == &keys ? uneven_heads.key_dim : uneven_heads.value_dim;
                std::vector<float> row(static_cast<std::size_t>(dims));
                for (int r = run.begin; r < std::min(run.end, cache.committed()); ++r) {
                    run.codec->decode(run.rows(r, r + 1), dims, row.data(), dims);
                    result.insert(result.end(), row.begin(), row.end());
                }
            }
    }
    return result;
}

}  // namespace support
