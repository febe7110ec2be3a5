// What several tests of attention/ share.
#pragma once

#include "support.hpp"

namespace support {

struct Problem {
    HeadLayout layout;
    AttentionParameters parameters;
    std::vector<float> slopes, sinks;
    RowMatrix q, k, v;
};

inline Problem random_problem(Random& random, int most_rows) {
    Problem p;
    const int kv = draw(random, 1, 4);
    p.layout = {kv * draw(random, 1, 4), kv, draw(random, 1, 100), draw(random, 1, 100)};
    const int rows = draw(random, 1, most_rows);
    p.q = random_matrix(random, rows, p.layout.heads * p.layout.key_dim);
    p.k = random_matrix(random, rows, kv * p.layout.key_dim);
    p.v = random_matrix(random, rows, kv * p.layout.value_dim);
    p.parameters.scale = 1.0F / std::sqrt(static_cast<float>(p.layout.key_dim));
    if (draw(random, 0, 2) == 0) p.parameters.mask = Mask::sliding_window(draw(random, 1, 300));
    if (draw(random, 0, 2) == 0) p.parameters.soft_cap = 4.0F;
    if (draw(random, 0, 2) == 0) {
        for (int h = 0; h < p.layout.heads; ++h)
            p.slopes.push_back(0.5F / static_cast<float>(h + 1));
        p.parameters.alibi = p.slopes;
    }
    if (draw(random, 0, 2) == 0) {
        for (int h = 0; h < p.layout.heads; ++h)
            p.sinks.push_back(static_cast<float>(random.normal() * 3.0));
        p.parameters.sinks = p.sinks;
    }
    return p;
}

template <class C>
RowMatrix run(const Problem& p, C&& cache, Context& context, Random* cuts) {
    RowMatrix out(p.q.rows(), p.layout.heads * p.layout.value_dim);
    for (Eigen::Index at = 0; at < p.q.rows();) {
        const Eigen::Index n = cuts == nullptr
                                   ? p.q.rows()
                                   : std::min<Eigen::Index>(p.q.rows() - at, draw(*cuts, 1, 50));
        prefill(p.q.middleRows(at, n), p.k.middleRows(at, n), p.v.middleRows(at, n), cache,
                p.parameters, out.middleRows(at, n), context);
        at += n;
    }
    return out;
}

}  // namespace support
