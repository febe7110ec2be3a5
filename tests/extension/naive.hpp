// What the extension programs are held against: attention row by row, in the library's order of
// operations (segments of 256 row numbers, each reduced alone, merged in order), over rows that are
// plain f32 and a visibility that is a plain question.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include <cairn/cairn.hpp>

namespace extension {

using cairn::RowMatrix;

/// q [rows][heads * key_dim], k and v [rows][kv_heads * dim]: rows as a query would read them.
/// sees(kv_head, q, j) says whether query q sees row j.
inline RowMatrix naive(const RowMatrix& q, const RowMatrix& k, const RowMatrix& v,
                       const cairn::HeadLayout& layout, float scale,
                       const std::function<bool(int, int, int)>& sees) {
    const auto& kernel = cairn::kernels::active();
    const int dims = layout.value_dim;
    RowMatrix out = RowMatrix::Zero(q.rows(), layout.heads * dims);
    for (int row = 0; row < q.rows(); ++row)
        for (int h = 0; h < layout.heads; ++h) {
            const int kv = h / layout.group();
            std::vector<float> query(q.row(row).data() + h * layout.key_dim,
                                     q.row(row).data() + (h + 1) * layout.key_dim);
            kernel.scale(scale, layout.key_dim, query.data());
            float max = -std::numeric_limits<float>::infinity();
            float sum = 0.0F;
            std::vector<float> total(static_cast<std::size_t>(dims));
            for (int low = 0; low <= row; low += 256) {
                std::vector<float> p(256, -std::numeric_limits<float>::infinity());
                int first = 256;
                int last = 0;
                for (int j = low; j < std::min(low + 256, row + 1); ++j) {
                    if (!sees(kv, row, j)) continue;
                    const float* key = k.row(j).data() + kv * layout.key_dim;
                    kernel.scores_rows<cairn::ElementType::f32>(
                        {reinterpret_cast<const std::byte*>(key), 0, 0, 1, layout.key_dim},
                        query.data(), 0, 1, &p[static_cast<std::size_t>(j - low)], 0);
                    first = std::min(first, j - low);
                    last = j - low + 1;
                }
                if (first >= last) continue;
                float m = 0.0F;
                float l = 0.0F;
                kernel.softmax(p.data(), first, last, &m, &l);
                std::vector<float> part(static_cast<std::size_t>(dims));
                for (int j = first; j < last; ++j) {
                    if (!sees(kv, row, low + j)) continue;
                    const float* value = v.row(low + j).data() + kv * dims;
                    kernel.weigh_rows<cairn::ElementType::f32>(
                        {reinterpret_cast<const std::byte*>(value), 0, 0, 1, dims},
                        &p[static_cast<std::size_t>(j)], 0, 1, part.data(), 0);
                }
                if (max == -std::numeric_limits<float>::infinity()) {
                    max = m;
                    sum = l;
                    total = part;
                } else {
                    kernel.merge(&max, &sum, total.data(), m, l, part.data(), dims);
                }
            }
            if (max == -std::numeric_limits<float>::infinity()) continue;
            kernel.scale(1.0F / sum, dims, total.data());
            std::memcpy(out.row(row).data() + h * dims, total.data(),
                        static_cast<std::size_t>(dims) * sizeof(float));
        }
    return out;
}

/// Numbers to work on.
struct Text {
    RowMatrix q, k, v;
    Text(const cairn::HeadLayout& layout, int rows, std::uint64_t seed)
        : q(rows, layout.heads * layout.key_dim),
          k(rows, layout.kv_heads * layout.key_dim),
          v(rows, layout.kv_heads * layout.value_dim) {
        cairn::Random random(seed);
        for (RowMatrix* m : {&q, &k, &v})
            for (Eigen::Index i = 0; i < m->size(); ++i)
                m->data()[i] = static_cast<float>(random.normal());
    }
};

/// Feeds a cache the rows from `from` on in pieces of `piece`; returns what attention made of them.
inline RowMatrix through(cairn::AnyCache& cache, const Text& text, const cairn::HeadLayout& layout,
                         float scale, int piece, Eigen::Index from = 0) {
    RowMatrix out(text.q.rows() - from, layout.heads * layout.value_dim);
    cairn::Context context;
    cairn::AttentionParameters parameters;
    parameters.scale = scale;
    for (Eigen::Index at = from; at < text.q.rows();) {
        const Eigen::Index n = std::min<Eigen::Index>(piece, text.q.rows() - at);
        cairn::prefill(text.q.middleRows(at, n), text.k.middleRows(at, n), text.v.middleRows(at, n),
                       cache, parameters, out.middleRows(at - from, n), context);
        at += n;
    }
    return out;
}

inline bool same(const RowMatrix& a, const RowMatrix& b) {
    return a.rows() == b.rows() && a.cols() == b.cols() &&
           std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

/// Prints what was proved and returns the program's exit code.
inline int verdict(const char* what, bool good) {
    std::printf("%s: %s\n", what, good ? "the same bits" : "DIFFERENT");
    return good ? 0 : 1;
}

/// The rows of a text up to `rows`.
inline Text head_of(const Text& text, Eigen::Index rows) {
    Text head = text;
    for (RowMatrix* m : {&head.q, &head.k, &head.v}) m->conservativeResize(rows, Eigen::NoChange);
    return head;
}

/// The cache fed whole, in pieces and one by one: all equal to `wanted`. A fork on the way goes on
/// with other rows, as a cache of its own would, and the one it came from does not notice.
template <class Make>
bool everywhere(const Make& make, const Text& text, const cairn::HeadLayout& layout, float scale,
                const RowMatrix& wanted) {
    for (const int piece : {1 << 20, 37, 1}) {
        cairn::AnyCache cache = make();
        if (!same(through(cache, text, layout, scale, piece), wanted)) return false;
        const Eigen::Index half = text.q.rows() / 2 + 5;
        const Eigen::Index tail = text.q.rows() - half;
        Text other = text;
        for (RowMatrix* m : {&other.q, &other.k, &other.v})
            m->bottomRows(tail) = -m->bottomRows(tail);
        cairn::AnyCache root = make();
        through(root, head_of(text, half), layout, scale, piece);
        cairn::AnyCache fork = root.fork();
        cairn::AnyCache alone = make();
        const RowMatrix apart = through(alone, other, layout, scale, piece).bottomRows(tail);
        if (!same(through(fork, other, layout, scale, piece, half), apart) ||
            !same(through(root, text, layout, scale, piece, half), wanted.bottomRows(tail)))
            return false;
    }
    return true;
}

}  // namespace extension
