// The settings of a rotation as models' files say them.
#pragma once

#include <string>

#include "cairn/layers/rotary.hpp"
#include "cairn/models/model_numbers.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

inline double scaling_factor(ModelNumbers& n, const NumberName& name) {
    const double factor = n.number(name);
    require(factor > 0.0 && factor < 1e6, n.code(), n.where(), ": ", name.hf, name.gguf, " ",
            factor);
    return factor;
}
// config.json: rope_theta and rope_scaling, or the newer rope_parameters that holds both.
[[gnu::cold]] inline void read_hf_rotary(ModelNumbers& n, RotarySettings& to) {
    const bool both = n.has({"rope_parameters"});
    if (!both && !n.has({"rope_scaling"})) return;
    const std::string in = both ? "rope_parameters." : "rope_scaling.";
    if (both) to.theta = n.number({in + "rope_theta", "rope.freq_base"}, to.theta);
    const std::string type = n.word({in + "rope_type"}, n.word({in + "type"}, "default"));
    if (type == "default") return;
    RotaryScaling& s = to.scaling;
    s.factor = scaling_factor(n, {in + "factor"});
    const auto context = [&](double fallback) {
        const double positions = n.number({in + "original_max_position_embeddings"}, fallback);
        require(positions >= 1.0 && positions <= 1e9, n.code(), n.where(), ": ", in,
                "original_max_position_embeddings ", positions);
        return positions;
    };
    if (type == "linear") {
        s.kind = RotaryScaling::Kind::linear;
    } else if (type == "llama3") {
        s.kind = RotaryScaling::Kind::llama3;
        s.low_frequency = n.number({in + "low_freq_factor"});
        s.high_frequency = n.number({in + "high_freq_factor"});
        s.original_context = context(8192);
        require(s.low_frequency > 0.0 && s.high_frequency > s.low_frequency, n.code(), n.where(),
                ": ", in, "low_freq_factor ", s.low_frequency, ", high_freq_factor ",
                s.high_frequency);
    } else if (type == "yarn") {
        s.kind = RotaryScaling::Kind::yarn;
        s.beta_fast = n.number({in + "beta_fast"}, 32.0);
        s.beta_slow = n.number({in + "beta_slow"}, 1.0);
        s.attention_factor = n.number({in + "attention_factor"}, 0.0);
        s.original_context = context(to.positions);
        require(s.beta_slow > 0.0 && s.beta_fast > s.beta_slow && s.attention_factor >= 0.0,
                n.code(), n.where(), ": ", in, "beta_fast ", s.beta_fast, ", beta_slow ",
                s.beta_slow, ", attention_factor ", s.attention_factor);
    } else {
        fail(ErrorCode::unsupported, n.where(), ": ", in, "type \"", type.substr(0, 60),
             "\"; known: default, linear, llama3, yarn");
    }
    if (s.kind == RotaryScaling::Kind::llama3) return;  // GGUF files hold divisors instead
    n.note("rope.scaling.type", type);
    n.note("rope.scaling.factor", s.factor);
    n.note("rope.scaling.original_context_length", static_cast<std::int64_t>(s.original_context));
}
[[gnu::cold]] inline void read_gguf_rotary(ModelNumbers& n, RotarySettings& to) {
    const std::string type = n.word({"", "rope.scaling.type"}, "none");
    if (type == "none") return;
    require(type == "linear" || type == "yarn", ErrorCode::unsupported, n.where(),
            ": rope.scaling.type \"", type.substr(0, 60), "\"; known: none, linear, yarn");
    to.scaling.kind = type == "yarn" ? RotaryScaling::Kind::yarn : RotaryScaling::Kind::linear;
    to.scaling.factor = scaling_factor(n, {"", "rope.scaling.factor"});
    to.scaling.original_context = static_cast<double>(
        n.integer({"", "rope.scaling.original_context_length"}, 1, 1 << 24, to.positions));
}

}  // namespace internal

/// Base and scaling of a rotation of `dims` numbers of each head, for `context` positions. Throws
/// what `ModelNumbers` throws, Error{unsupported} for a scaling that is not known.
inline RotarySettings read_rotary(ModelNumbers& n, int dims, int context) {
    RotarySettings result{
        dims, n.number({"rope_theta", "rope.freq_base"}, 10000.0), context, {}, {}};
    if (n.gguf())
        internal::read_gguf_rotary(n, result);
    else
        internal::read_hf_rotary(n, result);
    return result;
}

/// Adds the tensor by whose numbers GGUF files divide the frequencies, where they have one: Llama
/// 3's scaling.
[[gnu::cold]] inline void add_rotary_divisors(TensorTable& to, const RotarySettings& rotary) {
    std::vector<float> divisors;
    if (rotary.scaling.kind != RotaryScaling::Kind::llama3)
        return to.add_numbers("rope_freqs.weight", {});
    RotarySettings plain = rotary;
    plain.scaling = {};
    const auto scaled = rotary_frequencies(rotary);
    const auto whole = rotary_frequencies(plain);
    for (std::size_t i = 0; i < whole.size(); ++i)
        divisors.push_back(static_cast<float>(whole[i] / scaled[i]));
    to.add_numbers("rope_freqs.weight", std::move(divisors));
}

}}  // namespace cairn
