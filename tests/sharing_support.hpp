// A small model whose layers differ in their heads and of which two attend the caches of others,
// and its forward without sessions: all tokens at once, rows of keys and values in plain matrices.
#pragma once

#include "session_support.hpp"

namespace support {

struct SharingLayer {
    HeadLayout layout;
    int leader;  // -1: keys and values of its own
    Mask mask;
};
inline std::vector<SharingLayer> sharing_layers() {
    return {{{4, 2, 16, 16}, -1, Mask::causal()},
            {{2, 1, 32, 8}, -1, Mask::causal()},
            {{4, 1, 32, 8}, 1, Mask::causal()},
            {{6, 3, 8, 24}, -1, Mask::sliding_window(20)},
            {{8, 2, 16, 16}, 0, Mask::sliding_window(30)}};
}
inline constexpr int sharing_width = 32;
inline constexpr int sharing_words = 13;
inline constexpr int sharing_context = 300;

// The weights of a layer, the same whenever they are made.
struct SharingParts {
    SharingParts(const SharingLayer& like, int layer)
        : random(static_cast<std::uint64_t>(100 + layer)),
          before(norm()),
          q(linear(like.layout.heads * like.layout.key_dim)),
          k(linear(like.layout.kv_heads * like.layout.key_dim)),
          v(linear(like.layout.kv_heads * like.layout.value_dim)),
          out(random_linear(random, sharing_width, like.layout.heads * like.layout.value_dim,
                            ElementType::f32)),
          rotation(RotarySettings{like.layout.key_dim / 2, 10000.0, sharing_context, {}, {}}),
          between(norm()),
          mlp(linear(40), linear(40), random_linear(random, sharing_width, 40, ElementType::f32)) {}
    RmsNorm norm() { return RmsNorm(random_vector(random, sharing_width, 0.1, 1.0), 1e-5F); }
    cairn::Linear linear(int to) {
        return random_linear(random, to, sharing_width, ElementType::f32);
    }
    Random random;
    RmsNorm before;
    cairn::Linear q, k, v, out;
    RotaryHalf rotation;
    RmsNorm between;
    SwiGlu mlp;
};
// What is around the layers.
struct SharingFrame {
    SharingFrame()
        : random(99),
          table(random_matrix(random, sharing_words, sharing_width)),
          norm(random_vector(random, sharing_width, 0.1, 1.0), 1e-5F),
          output(random_linear(random, sharing_words, sharing_width, ElementType::f32)) {}
    Random random;
    RowMatrix table;
    RmsNorm norm;
    cairn::Linear output;
};

using SharingModel = TinyLlama;
inline DecoderWeights<SharingModel::Block, NoPositions> sharing_weights(
    const std::vector<SharingLayer>& layers = sharing_layers()) {
    SharingFrame frame;
    DecoderWeights<SharingModel::Block, NoPositions> weights;
    weights.architecture = "sharing";
    weights.embedding = Embedding(WeightMatrix::from(frame.table, ElementType::f32));
    weights.positions.context = sharing_context;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        SharingParts p(layers[i], static_cast<int>(i));
        std::vector<cairn::Linear> qkv;
        qkv.push_back(std::move(p.q));
        if (layers[i].leader < 0) {
            qkv.push_back(std::move(p.k));
            qkv.push_back(std::move(p.v));
        }
        AttentionSettings settings;
        settings.mask = layers[i].mask;
        settings.leader = layers[i].leader;
        weights.blocks.emplace_back(
            std::move(p.before),
            MultiHead<RotaryHalf>(layers[i].layout, JoinedLinear(std::move(qkv)), std::move(p.out),
                                  std::move(p.rotation), std::move(settings)),
            std::move(p.between), std::move(p.mlp));
    }
    weights.final_norm = std::move(frame.norm);
    weights.output = std::move(frame.output);
    return weights;
}
inline SharingModel sharing_model(const std::vector<SharingLayer>& layers = sharing_layers()) {
    return SharingModel(sharing_weights(layers));
}

// The logits of all tokens, [tokens][vocabulary]. `make(layer, layout, rows)` makes the caches that
// rows are put into, anew for every layer that attends them.
template <class Make>
std::vector<float> sharing_forward(const std::vector<SharingLayer>& layers, Tokens tokens,
                                   const Make& make) {
    const FpEnvironment environment;
    Context context;
    const SharingFrame frame;
    const auto n = static_cast<int>(tokens.size());
    const auto view = [](RowMatrix& m) { return Activations{m.data(), m.cols(), m.rows()}; };
    RowMatrix x(n, sharing_width);
    for (int r = 0; r < n; ++r) x.row(r) = frame.table.row(tokens[static_cast<std::size_t>(r)]);
    std::vector<RowMatrix> keys(layers.size()), values(layers.size());
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const HeadLayout& l = layers[i].layout;
        const SharingParts p(layers[i], static_cast<int>(i));
        RowMatrix normed(n, sharing_width), change(n, sharing_width);
        RowMatrix q(n, l.heads * l.key_dim), mixed(n, l.heads * l.value_dim);
        p.before.forward(view(x), view(normed), context);
        p.q.forward(view(normed), view(q), context);
        auto from = i;
        if (layers[i].leader < 0) {
            keys[i].resize(n, l.kv_heads * l.key_dim);
            values[i].resize(n, l.kv_heads * l.value_dim);
            p.k.forward(view(normed), view(keys[i]), context);
            p.v.forward(view(normed), view(values[i]), context);
            for (int r = 0; r < n; ++r)
                for (int h = 0; h < l.kv_heads; ++h)
                    p.rotation.rotate(keys[i].data() + r * keys[i].cols() + h * l.key_dim, r);
        } else {
            from = static_cast<std::size_t>(layers[i].leader);
        }
        auto cache = make(static_cast<int>(from), l, n);
        cache.stage({keys[from].data(), keys[from].cols(), n},
                    {values[from].data(), values[from].cols(), n});
        AttentionParameters parameters;
        parameters.scale = 1.0F / std::sqrt(static_cast<float>(l.key_dim));
        parameters.mask = layers[i].mask;
        parameters.rotation = &p.rotation;
        attend(cache, {q.data(), q.cols(), n, 0}, parameters, l.heads, mixed.data(), mixed.cols(),
               context);
        p.out.forward(view(mixed), view(change), context);
        x += change;
        p.between.forward(view(x), view(normed), context);
        p.mlp.forward(view(normed), view(change), context);
        x += change;
    }
    RowMatrix normed(n, sharing_width), logits(n, sharing_words);
    frame.norm.forward(view(x), view(normed), context);
    frame.output.forward(view(normed), view(logits), context);
    return {logits.data(), logits.data() + logits.size()};
}
inline std::vector<float> sharing_forward(Tokens tokens, const char* spec) {
    const CacheSpec parsed = CacheSpec::parse(spec);
    return sharing_forward(sharing_layers(), tokens, [&](int layer, const HeadLayout& l, int rows) {
        return parsed.make(l, rows, layer);
    });
}

}  // namespace support
