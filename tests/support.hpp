// What the tests share: random inputs, comparison by bits, and small models of other shapes.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/cairn.hpp>

#include "catch.hpp"

// Whether memory is a sanitizer's: g++ and clang say it in their own ways.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAIRN_TESTS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAIRN_TESTS_SANITIZED 1
#endif
#endif

namespace support {

using namespace cairn;

inline int draw(Random& random, int least, int most) {
    return least + static_cast<int>(random.below(static_cast<std::uint64_t>(most - least + 1)));
}
inline RowMatrix random_matrix(Random& random, Eigen::Index rows, Eigen::Index columns,
                               double deviation = 1.0) {
    RowMatrix m(rows, columns);
    for (Eigen::Index i = 0; i < m.size(); ++i)
        m.data()[i] = static_cast<float>(random.normal() * deviation);
    return m;
}
inline std::vector<float> random_vector(Random& random, std::size_t n, double deviation = 1.0,
                                        double mean = 0.0) {
    std::vector<float> v(n);
    for (float& x : v) x = static_cast<float>(mean + random.normal() * deviation);
    return v;
}
inline std::vector<Token> random_tokens(Random& random, int count, int vocabulary) {
    std::vector<Token> tokens;
    for (int i = 0; i < count; ++i) tokens.push_back(draw(random, 0, vocabulary - 1));
    return tokens;
}
inline bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}
inline bool same_bits(const RowMatrix& a, const RowMatrix& b) {
    return same_bits(std::span(a.data(), static_cast<std::size_t>(a.size())),
                     std::span(b.data(), static_cast<std::size_t>(b.size())));
}
/// The code of the Error that `body` throws; fails the test if there is none.
template <class Body>
ErrorCode code_of(Body&& body) {
    try {
        body();
    } catch (const Error& error) {
        INFO(error.what());
        CHECK(std::string(error.what()).size() > 5);
        return error.code();
    }
    FAIL("no Error was thrown");
    return {};
}

inline cairn::Linear random_linear(Random& random, int out, int in, ElementType type,
                                   bool bias = false) {
    return cairn::Linear(
        WeightMatrix::from(random_matrix(random, out, in, 0.5 / std::sqrt(in)), type),
        bias ? random_vector(random, static_cast<std::size_t>(out), 0.1) : std::vector<float>());
}

/// A Llama-shaped decoder (RMSNorm, rotary, SwiGLU, grouped heads) with random weights.
struct LlamaShape {
    HeadLayout layout{4, 2, 16, 16};
    int layers = 2;
    int width = 48;
    int hidden = 80;
    int vocabulary = 61;
    int context = 700;
    ElementType type = ElementType::f32;
    AttentionSettings attention{};
};
template <class R>
using LlamaLike = Decoder<SequentialBlock<RmsNorm, MultiHead<R>, SwiGlu>, NoPositions>;
template <class R>
using GptJLike = Decoder<ParallelBlock<LayerNorm, MultiHead<R>, Mlp<Gelu>>, NoPositions>;

template <class R>
MultiHead<R> random_attention(Random& random, const LlamaShape& s) {
    const HeadLayout& l = s.layout;
    const int dims = std::max(2, l.key_dim / 4 * 2);
    // One after the other: the order of a call's arguments is the compiler's, and a committed
    // session file knows these weights.
    auto out = random_linear(random, s.width, l.heads * l.value_dim, s.type);
    auto qkv = random_linear(random, (l.heads + l.kv_heads) * l.key_dim + l.kv_heads * l.value_dim,
                             s.width, s.type);
    return MultiHead<R>(l, std::move(qkv), std::move(out),
                        R(RotarySettings{dims, 10000.0, s.context, {}, {}}), s.attention);
}
template <class R>
LlamaLike<R> random_llama(Random& random, const LlamaShape& s) {
    const auto gain = [&] {
        return random_vector(random, static_cast<std::size_t>(s.width), 0.1, 1.0);
    };
    DecoderWeights<SequentialBlock<RmsNorm, MultiHead<R>, SwiGlu>, NoPositions> w;
    w.architecture = "test";
    w.embedding =
        Embedding(WeightMatrix::from(random_matrix(random, s.vocabulary, s.width), s.type));
    w.positions.context = s.context;
    for (int i = 0; i < s.layers; ++i) {
        auto down = random_linear(random, s.width, s.hidden, s.type);
        auto up = random_linear(random, s.hidden, s.width, s.type);
        auto gate = random_linear(random, s.hidden, s.width, s.type);
        RmsNorm second(gain(), 1e-5F);
        auto attention = random_attention<R>(random, s);
        RmsNorm first(gain(), 1e-5F);
        w.blocks.emplace_back(std::move(first), std::move(attention), std::move(second),
                              SwiGlu(std::move(gate), std::move(up), std::move(down)));
    }
    w.final_norm = RmsNorm(gain(), 1e-5F);
    w.output = random_linear(random, s.vocabulary, s.width, s.type);
    return LlamaLike<R>(std::move(w));
}
template <class R>
GptJLike<R> random_gpt_j(Random& random, const LlamaShape& s) {
    const auto norm = [&] {
        return LayerNorm(random_vector(random, static_cast<std::size_t>(s.width), 0.1, 1.0),
                         random_vector(random, static_cast<std::size_t>(s.width), 0.1), 1e-5F);
    };
    DecoderWeights<ParallelBlock<LayerNorm, MultiHead<R>, Mlp<Gelu>>, NoPositions> w;
    w.architecture = "test";
    w.embedding =
        Embedding(WeightMatrix::from(random_matrix(random, s.vocabulary, s.width), s.type));
    w.positions.context = s.context;
    for (int i = 0; i < s.layers; ++i)
        w.blocks.emplace_back(norm(), random_attention<R>(random, s),
                              Mlp<Gelu>(random_linear(random, s.hidden, s.width, s.type, true),
                                        random_linear(random, s.width, s.hidden, s.type, true)));
    w.final_norm = norm();
    return GptJLike<R>(std::move(w));
}

// A keep of all rows, each an interval of its own.
struct SplinterKeep {
    static constexpr KeepFacts facts{};
    Extent extent(int capacity, int chunk) const { return {capacity, 0, 0, chunk}; }
    void intervals(int, int length, Intervals& to) const {
        for (int row = 0; row < length; ++row) to.push_back({.begin = row, .end = row + 1});
    }
};

}  // namespace support
