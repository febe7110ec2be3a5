// GPT-2 (Radford et al. 2019) of every size, from tensors named as in Hugging Face's files.
#pragma once

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/core/fp_environment.hpp"
#include "cairn/models/session.hpp"
#include "cairn/models/tensor_source.hpp"
#include "cairn/numeric/random.hpp"

namespace cairn::inline CAIRN_ABI {

using Gpt2Block = SequentialBlock<LayerNorm, MultiHead<NoRotation>, Mlp<GeluNew>>;
/// The model; `Gpt2::session<Cache>(capacity)` starts a sequence.
using Gpt2 = Decoder<Gpt2Block, LearnedPositions>;

/// The numbers of a GPT-2. width is divisible by heads.
struct Gpt2Config {
    int layers = 0;
    int heads = 0;
    int width = 0;
    int hidden = 0;  ///< of the feed-forward part; 0: 4 * width
    int context = 1024;
    int vocabulary = 0;
    float epsilon = 1e-5F;
    bool tied = true;  ///< the output layer is the embedding

    int hidden_width() const noexcept { return hidden > 0 ? hidden : 4 * width; }
};

/// Throws Error{bad_config} for numbers no model can have.
inline void validate(const Gpt2Config& c) {
    require(c.layers > 0 && c.layers <= 1024 && c.heads > 0 && c.width > 0 && c.context > 0 &&
                c.vocabulary > 0 && c.hidden >= 0,
            ErrorCode::bad_config, "gpt2: layers ", c.layers, " (1..1024), heads ", c.heads,
            ", width ", c.width, ", context ", c.context, ", vocabulary ", c.vocabulary,
            ", hidden ", c.hidden);
    require(c.width % c.heads == 0, ErrorCode::bad_config, "gpt2: width ", c.width,
            " is not a multiple of ", c.heads, " heads");
    constexpr int most = 1 << 24;
    require(c.width <= most / 8 && c.context <= most && c.vocabulary <= most &&
                c.hidden_width() <= most,
            ErrorCode::bad_config, "gpt2: width ", c.width, ", context ", c.context,
            ", vocabulary ", c.vocabulary, ", hidden ", c.hidden_width(), ": at most ", most);
    require(c.epsilon > 0.0F && c.epsilon <= 1.0F, ErrorCode::bad_config,
            "gpt2: layer_norm_epsilon ", c.epsilon, " is not in (0, 1]");
}

namespace detail {

// Builds a GPT-2 from a function that fills each matrix and vector: files and random numbers share
// it.
struct Gpt2Filler {
    std::function<WeightMatrix(const std::string& name, std::ptrdiff_t out, std::ptrdiff_t in)>
        matrix;
    std::function<WeightMatrix(const std::string& name, std::ptrdiff_t rows, std::ptrdiff_t width)>
        table;
    std::function<std::vector<float>(const std::string& name, std::ptrdiff_t n)> vector;
};

using Gpt2Weights = DecoderWeights<Gpt2Block, LearnedPositions>;

[[gnu::cold]] inline Gpt2Weights build_gpt2(const Gpt2Config& c, const Gpt2Filler& fill,
                                            bool tied) {
    const std::ptrdiff_t d = c.width;
    const std::ptrdiff_t hidden = c.hidden_width();
    const HeadLayout layout{c.heads, c.heads, c.width / c.heads, c.width / c.heads};
    // One after the other: arguments of a call have no order, and random weights depend on it.
    const auto linear = [&](const std::string& name, std::ptrdiff_t out, std::ptrdiff_t in) {
        WeightMatrix matrix = fill.matrix(name + ".weight", out, in);
        return cairn::Linear(std::move(matrix), fill.vector(name + ".bias", out));
    };
    const auto norm = [&](const std::string& name) {
        std::vector<float> weight = fill.vector(name + ".weight", d);
        return LayerNorm(std::move(weight), fill.vector(name + ".bias", d), c.epsilon);
    };
    Gpt2Weights weights;
    weights.architecture = "gpt2";
    weights.embedding = Embedding(fill.table("wte.weight", c.vocabulary, d));
    weights.positions = LearnedPositions(fill.table("wpe.weight", c.context, d));
    for (int i = 0; i < c.layers; ++i) {
        const std::string h = "h." + std::to_string(i) + ".";
        LayerNorm first = norm(h + "ln_1");
        cairn::Linear qkv = linear(h + "attn.c_attn", 3 * d, d);
        cairn::Linear out = linear(h + "attn.c_proj", d, d);
        LayerNorm second = norm(h + "ln_2");
        cairn::Linear up = linear(h + "mlp.c_fc", hidden, d);
        cairn::Linear down = linear(h + "mlp.c_proj", d, hidden);
        weights.blocks.emplace_back(
            std::move(first), MultiHead<NoRotation>(layout, std::move(qkv), std::move(out)),
            std::move(second), Mlp<GeluNew>(std::move(up), std::move(down)));
    }
    weights.final_norm = norm("ln_f");
    if (!tied) weights.output = cairn::Linear(fill.table("lm_head.weight", c.vocabulary, d));
    return weights;
}

}  // namespace detail

/// How a file format names GPT-2's tensors. Layer tensors follow `layer` and the number.
struct Gpt2Names {
    const char* embedding;
    const char* positions;
    const char* layer;
    const char* parts[6];  ///< ln_1, attn.c_attn, attn.c_proj, ln_2, mlp.c_fc, mlp.c_proj
    const char* final_norm;
    const char* output;
    detail::StoredAs stored;  ///< of the four matrices of a layer
};
/// Hugging Face's names.
inline constexpr Gpt2Names gpt2_names{
    "wte",
    "wpe",
    "h.",
    {"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"},
    "ln_f",
    "lm_head",
    detail::StoredAs::in_out};

namespace detail {

// The names that build_gpt2 uses are Hugging Face's; a file may have others, or "transformer." in
// front.
class Gpt2FileNames {
  public:
    Gpt2FileNames(const TensorSource& source, const Gpt2Names& names)
        : names_(names),
          prefix_(source.shape("transformer.wte.weight") != nullptr ? "transformer." : "") {}

    std::string operator()(const std::string& name) const {
        if (name.starts_with("lm_head")) return names_.output + name.substr(7);
        if (name.starts_with("wte")) return prefix_ + names_.embedding + name.substr(3);
        if (name.starts_with("wpe")) return prefix_ + names_.positions + name.substr(3);
        if (name.starts_with("ln_f")) return prefix_ + names_.final_norm + name.substr(4);
        const std::size_t dot = name.find('.', 2);
        const std::size_t last = name.rfind('.');
        const std::string part = name.substr(dot + 1, last - dot - 1);
        for (std::size_t i = 0; i < 6; ++i)
            if (part == gpt2_names.parts[i])
                return layers() + name.substr(2, dot - 1) + names_.parts[i] + name.substr(last);
        return name;
    }
    /// In front of a layer's number.
    std::string layers() const { return prefix_ + names_.layer; }

  private:
    const Gpt2Names& names_;
    std::string prefix_;
};

inline TensorCheck check_gpt2(const Gpt2Config& c, const TensorSource& source,
                              const Gpt2Names& names) {
    const Gpt2FileNames file_name(source, names);
    const auto d = static_cast<std::size_t>(c.width);
    const auto hidden = static_cast<std::size_t>(c.hidden_width());
    TensorCheck check(source);
    check.expect(file_name("wte.weight"), {static_cast<std::size_t>(c.vocabulary), d});
    check.expect(file_name("wpe.weight"), {static_cast<std::size_t>(c.context), d});
    const auto expect_norm = [&](const std::string& name) {
        check.expect(file_name(name + ".weight"), {d});
        check.expect(file_name(name + ".bias"), {d});
    };
    const auto expect_linear = [&](const std::string& name, std::size_t out, std::size_t in) {
        check.expect(file_name(name + ".weight"), names.stored == StoredAs::in_out
                                                      ? std::vector{in, out}
                                                      : std::vector{out, in});
        check.expect(file_name(name + ".bias"), {out});
    };
    for (int i = 0; i < c.layers; ++i) {
        const std::string h = "h." + std::to_string(i) + ".";
        expect_norm(h + "ln_1");
        expect_linear(h + "attn.c_attn", 3 * d, d);
        expect_linear(h + "attn.c_proj", d, d);
        expect_norm(h + "ln_2");
        expect_linear(h + "mlp.c_fc", hidden, d);
        expect_linear(h + "mlp.c_proj", d, hidden);
    }
    expect_norm("ln_f");
    if (!c.tied)
        check.expect(file_name("lm_head.weight"), {static_cast<std::size_t>(c.vocabulary), d});
    check.expect_layers(file_name.layers(), c.layers);
    return check;
}

}  // namespace detail

/// The tensors of a source that a GPT-2 of these numbers does not read, sorted.
inline std::vector<std::string> unread_tensors(const Gpt2Config& c, const TensorSource& source,
                                               const Gpt2Names& names = gpt2_names) {
    return detail::check_gpt2(c, source, names).unread();
}

/// The weights of a GPT-2 from a source with Hugging Face's names (with or without "transformer."
/// in front) or those of `names`; [in][out] matrices are transposed while packing. Throws
/// Error{bad_config} listing every tensor that is missing, has another shape or belongs to a layer
/// that the configuration has not, and what the source throws.
inline detail::Gpt2Weights load_gpt2_weights(const Gpt2Config& c, const TensorSource& source,
                                             const LoadOptions& options = {},
                                             const Gpt2Names& names = gpt2_names) {
    validate(c);
    const detail::Gpt2FileNames file_name(source, names);
    detail::check_gpt2(c, source, names).done();

    int done = 0;
    const int total = 12 * c.layers + 4 + (c.tied ? 0 : 1);
    const auto count = [&] {
        if (options.progress) options.progress(++done, total);
    };
    const auto read = [&](const std::string& name, detail::StoredAs stored) {
        WeightMatrix result = detail::load_matrix(source, file_name(name), stored, options);
        count();
        return result;
    };
    return detail::build_gpt2(c,
                              {[&](const std::string& name, std::ptrdiff_t, std::ptrdiff_t) {
                                   return read(name, names.stored);
                               },
                               [&](const std::string& name, std::ptrdiff_t, std::ptrdiff_t) {
                                   return read(name, detail::StoredAs::out_in);
                               },
                               [&](const std::string& name, std::ptrdiff_t) {
                                   count();
                                   return detail::read_vector(source, file_name(name));
                               }},
                              c.tied);
}
/// The model.
inline Gpt2 load_gpt2(const Gpt2Config& c, const TensorSource& source,
                      const LoadOptions& options = {}, const Gpt2Names& names = gpt2_names) {
    return Gpt2(load_gpt2_weights(c, source, options, names));
}

/// A GPT-2 with random weights, the same on every machine: for tests and for measuring. Weights are
/// uniform with GPT-2's standard deviation of 0.02, residual projections smaller by sqrt(2 layers).
[[gnu::cold]] inline Gpt2 random_gpt2(const Gpt2Config& c, std::uint64_t seed,
                                      const PlainWeights& type = plain_weights<ElementType::f32>) {
    validate(c);
    const FpEnvironment environment;
    Random random(seed);
    const auto uniform = [&](float deviation) {
        const double bound = deviation * 1.7320508075688772;
        return static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
    };
    const auto matrix = [&](const std::string& name, std::ptrdiff_t out, std::ptrdiff_t in) {
        const float deviation = name.find("c_proj") != std::string::npos
                                    ? 0.02F / std::sqrt(2.0F * static_cast<float>(c.layers))
                                    : 0.02F;
        WeightMatrix result(out, in, type);
        std::vector<float> row(static_cast<std::size_t>(in));
        for (std::ptrdiff_t n = 0; n < out; ++n) {
            for (float& x : row) x = uniform(deviation);
            result.put(n, 0, 1, in, row.data(), in, 1);
        }
        return result;
    };
    return Gpt2(detail::build_gpt2(c,
                                   {matrix, matrix,
                                    [&](const std::string& name, std::ptrdiff_t n) {
                                        const bool gain = name.find("ln_") != std::string::npos &&
                                                          name.ends_with("weight");
                                        std::vector<float> result(static_cast<std::size_t>(n));
                                        for (float& x : result)
                                            x = (gain ? 1.0F : 0.0F) + uniform(0.02F);
                                        return result;
                                    }},
                                   c.tied));
}
/// The same with the type by value. Throws Error{invalid_argument} for a block type.
inline Gpt2 random_gpt2(const Gpt2Config& c, std::uint64_t seed, ElementType type) {
    return random_gpt2(c, seed, plain_weights_of(type));
}

}  // namespace cairn::inline CAIRN_ABI
